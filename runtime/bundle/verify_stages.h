// Verifies what belongs to the stages of a pipeline.
#ifndef INLAY_RUNTIME_BUNDLE_VERIFY_STAGES_H_
#define INLAY_RUNTIME_BUNDLE_VERIFY_STAGES_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"

#include <string_view>

namespace inlay {

// Checks that the stages have all layers and the same number of ranks, and that each has a cache. The cache groups of
// the model are verified.
absl::Status VerifyStageLayers(const plan::Plan &plan);

// Checks that all stages have the same entry points, that each receives the rows that the one before it sends, and that
// the last one alone samples. The entries' sizes are verified.
absl::Status VerifyStageEntries(const plan::Target &target, const plan::Model &model);

// Checks that a launch of an entry uses the weights and caches of its stage only, and logits in the last one. The
// arguments are verified.
absl::Status VerifyStageArgument(const plan::Argument &argument, std::string_view kernel, const plan::Entry &entry,
                                 const plan::Target &target, const plan::Model &model);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_VERIFY_STAGES_H_

//===- RequestOptions.h - which options of a request fit each other --------===//
//
// The options of compile-model that concern several ranks, the sizes of steps and sums over ranks. Errors name the
// option, what was found and what was expected.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_REQUESTOPTIONS_H
#define INLAY_COMPILER_PIPELINES_REQUESTOPTIONS_H

#include "compiler/pipelines/CompileModel.h"
#include "frontends/hf/Checkpoint.h"

namespace inlay {

/// Whether the targets of `request` run on so many ranks.
absl::Status checkRanks(const CompileRequest &request);

/// The limits of the steps of a model, as `request` has them or by default; an error if they contradict each other.
absl::StatusOr<StepLimits> stepLimitsOf(const CompileRequest &request, const hf::ModelConfig &config);

/// Checks the options --overlap-collectives and --sum-prologues.
absl::Status checkSums(const CompileRequest &request, const StepLimits &limits);

/// The optimizations that `request` disables.
Ablation ablationOf(const CompileRequest &request);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_REQUESTOPTIONS_H

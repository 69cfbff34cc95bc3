//===- ParallelSizes.h - whether ranks can divide a model ------------------===//

#ifndef INLAY_COMPILER_PIPELINES_PARALLELSIZES_H
#define INLAY_COMPILER_PIPELINES_PARALLELSIZES_H

#include "absl/status/status.h"
#include "frontends/hf/Config.h"

namespace inlay {

/// How many ranks run a bundle: `tensor` for each of `pipeline` stages.
struct ParallelSizes {
  int64_t tensor = 1, pipeline = 1;

  int64_t getRanks() const { return tensor * pipeline; }
};

/// InvalidArgument if a bundle cannot be for so many ranks, whatever the model.
absl::Status checkLimits(const ParallelSizes &sizes);

/// InvalidArgument if these ranks cannot divide the model, as compile-model --tensor-parallel-size and
/// --pipeline-parallel-size have it: it names the part of the model and the sizes that can.
absl::Status checkParallelSizes(const hf::ModelConfig &config, const ParallelSizes &sizes);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_PARALLELSIZES_H

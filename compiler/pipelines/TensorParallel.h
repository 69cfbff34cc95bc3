//===- TensorParallel.h - whether ranks can divide a model -----------------===//

#ifndef INLAY_COMPILER_PIPELINES_TENSORPARALLEL_H
#define INLAY_COMPILER_PIPELINES_TENSORPARALLEL_H

#include "absl/status/status.h"
#include "frontends/hf/Config.h"

namespace inlay {

/// InvalidArgument if `ranks` ranks cannot divide the model, as compile-model --tensor-parallel-size has it: it names
/// the part of the model and the numbers of ranks that can.
absl::Status checkTensorParallel(const hf::ModelConfig &config, int64_t ranks);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TENSORPARALLEL_H

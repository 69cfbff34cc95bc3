//===- ParallelSizes.cpp - whether ranks can divide a model ----------------===//

#include "compiler/pipelines/ParallelSizes.h"

#include "fmt/format.h"
#include "frontends/hf/import/Import.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"
#include "runtime/bundle/stages.h"

using namespace mlir;
using namespace inlay;

absl::Status inlay::checkLimits(const ParallelSizes &sizes) {
  if (sizes.tensor <= kMaxRanks && sizes.pipeline <= kMaxRanks && sizes.getRanks() <= kMaxRanks)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("--tensor-parallel-size {} and --pipeline-parallel-size {} are more than {} ranks; lower one of them",
                  sizes.tensor, sizes.pipeline, kMaxRanks));
}

absl::Status inlay::checkParallelSizes(const hf::ModelConfig &config, const ParallelSizes &sizes) {
  if (absl::Status status = checkLimits(sizes); !status.ok() || sizes.getRanks() == 1)
    return status;
  MLIRContext context;
  std::string errors;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
      return success();
    auto name = dyn_cast<NameLoc>(diagnostic.getLocation());
    errors += (errors.empty() ? "" : "\n") + (name ? name.getName().str() + ": " : "") + diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> model = hf::importHuggingFace(context, config);
  PassManager passes(&context);
  SplitStagesPassOptions split;
  split.pipelineParallelSize = sizes.pipeline;
  passes.addPass(createSplitStagesPass(split));
  ShardPassOptions options;
  options.tensorParallelSize = sizes.tensor;
  passes.addPass(createShardPass(options));
  if (succeeded(passes.run(*model)))
    return absl::OkStatus();
  return errors.empty() ? absl::InternalError("dividing the model among ranks failed without a diagnostic")
                        : absl::InvalidArgumentError(errors);
}

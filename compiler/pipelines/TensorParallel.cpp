//===- TensorParallel.cpp - whether ranks can divide a model ---------------===//

#include "compiler/pipelines/TensorParallel.h"

#include "frontends/hf/import/Import.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"

using namespace mlir;
using namespace inlay;

absl::Status inlay::checkTensorParallel(const hf::ModelConfig &config, int64_t ranks) {
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
  ShardPassOptions options;
  options.tensorParallelSize = ranks;
  passes.addPass(createShardPass(options));
  if (succeeded(passes.run(*model)))
    return absl::OkStatus();
  return errors.empty() ? absl::InternalError("dividing the model among ranks failed without a diagnostic")
                        : absl::InvalidArgumentError(errors);
}

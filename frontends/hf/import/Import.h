//===- Import.h - a Hugging Face model as a module of the llm dialect ------===//
//
// Writes what a checked checkpoint computes as `llm` ops, one op for each op of
// the model. Checking is done before (Checkpoint.h): an import cannot fail.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_FRONTENDS_HF_IMPORT_IMPORT_H
#define INLAY_FRONTENDS_HF_IMPORT_IMPORT_H

#include "frontends/hf/Config.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace inlay::hf {

/// Builds the module of the model that `config` describes: its weights as
/// symbols that name the checkpoint's tensors, its rope tables, and `@step`.
/// Every op carries the name of its module in the checkpoint as its location,
/// and the module attribute `llm.model` holds the configuration. Loads the
/// dialects that it needs into `context`.
mlir::OwningOpRef<mlir::ModuleOp> importHuggingFace(mlir::MLIRContext &context, const ModelConfig &config);

/// Registers `inlay-translate --hf-to-llm`.
void registerHuggingFaceTranslation();

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_IMPORT_IMPORT_H

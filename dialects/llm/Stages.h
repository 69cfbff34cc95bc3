//===- Stages.h - attributes of a pipeline's stages ------------------------===//
//
// `llm-split-stages` writes them, the passes to the tile dialect hand them on to
// entries, and the plan is built from these.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_STAGES_H
#define INLAY_DIALECTS_LLM_STAGES_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace inlay::llm {

/// The attribute of a module whose functions are stages of a pipeline: the number of layers of each.
inline constexpr llvm::StringLiteral kStageLayersAttr = "llm.stage_layers";

/// Its values; empty if `module` has one stage.
inline llvm::ArrayRef<int64_t> getStageLayers(mlir::ModuleOp module) {
  auto layers = module->getAttrOfType<mlir::DenseI64ArrayAttr>(kStageLayersAttr);
  return layers ? layers.asArrayRef() : llvm::ArrayRef<int64_t>();
}

/// The attribute of a stage's function or entry that has its number.
inline constexpr llvm::StringLiteral kStageAttr = "llm.stage";

/// Its value; 0 without it.
inline int64_t getStage(mlir::Operation *op) {
  auto stage = op->getAttrOfType<mlir::IntegerAttr>(kStageAttr);
  return stage ? stage.getInt() : 0;
}

/// Rows that a stage receives or sends: one for each token of the step, in the workspace.
struct Transfer {
  int64_t offset = 0, rowBytes = 0;

  mlir::DictionaryAttr toAttribute(mlir::Builder &b) const {
    return b.getDictionaryAttr({b.getNamedAttr("offset", b.getI64IntegerAttr(offset)),
                                b.getNamedAttr("row_bytes", b.getI64IntegerAttr(rowBytes))});
  }
  static Transfer of(mlir::DictionaryAttr attribute) {
    auto number = [&](llvm::StringRef name) { return attribute.getAs<mlir::IntegerAttr>(name).getInt(); };
    return {number("offset"), number("row_bytes")};
  }
};

/// The attributes of an entry with the transfers of its stage.
inline constexpr llvm::StringLiteral kReceivesAttr = "llm.receives", kSendsAttr = "llm.sends";

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_STAGES_H

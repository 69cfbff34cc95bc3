//===- StageCuts.h - where a model is cut into stages ----------------------===//
//
// Finds the places between layers where a function can be cut, and chooses among
// them. It changes nothing.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_STAGECUTS_H
#define INLAY_PASSES_LLM_STAGECUTS_H

#include "dialects/llm/Llm.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace inlay::llm {

/// Consecutive ops of a function that one stage runs.
struct StageOps {
  llvm::SmallVector<mlir::Operation *> ops;
  int64_t layers = 0; // of attention
  int64_t bytes = 0;  // of the weights that `ops` read, each counted once
};

/// True if `value` is a row for each token or each row of logits.
inline bool isRowsValue(mlir::Value value) {
  auto type = llvm::dyn_cast<mlir::RankedTensorType>(value.getType());
  return type && type.getRank() == 2;
}

/// Divides the ops of `function` among `stages` stages. Fails if it has too few layers.
mlir::FailureOr<llvm::SmallVector<StageOps>> chooseStages(mlir::func::FuncOp function, int64_t stages);

} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_STAGECUTS_H

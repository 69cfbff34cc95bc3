//===- Verify.h - what verifiers of ops share -----------------------------===//

#ifndef INLAY_DIALECTS_LLM_VERIFY_H
#define INLAY_DIALECTS_LLM_VERIFY_H

#include "dialects/llm/Llm.h"

namespace inlay::llm {

/// Columns of a rows value.
inline int64_t columns(mlir::Value value) { return llvm::cast<mlir::RankedTensorType>(value.getType()).getDimSize(1); }

/// Checks that the weight `name` has the shape that `op` needs. Rows of -1 are as many as it has.
mlir::LogicalResult verifyWeight(mlir::Operation *op, mlir::FlatSymbolRefAttr name, llvm::ArrayRef<int64_t> expected,
                                 mlir::SymbolTableCollection &symbols);
/// Checks that `name` is a column of f32, of which `op` takes the largest as the scale of all rows; null is valid.
mlir::LogicalResult verifyRowScale(mlir::Operation *op, mlir::FlatSymbolRefAttr name,
                                   mlir::SymbolTableCollection &symbols);
/// Checks that a product has scales if its input has codes, one for each row and group of columns.
mlir::LogicalResult verifyInput(LinearOp op);
/// Checks that the codes of a product's weight are of the kind of its input.
mlir::LogicalResult verifyCodesOfWeight(LinearOp op, mlir::SymbolTableCollection &symbols);

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_VERIFY_H

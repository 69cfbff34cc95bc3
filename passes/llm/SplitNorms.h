//===- SplitNorms.h - norms as parts of the products around them ------------===//
//
// A kernel that takes rows as they are in memory cannot change them, so a norm in front of it would be a kernel of its
// own. An rms_norm between two products is split instead: the first one's kernel, or that of its sum over ranks, writes
// x * weight and the sums of the squares of its columns, the second one's multiplies its sums by 1/rms.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_SPLITNORMS_H
#define INLAY_PASSES_LLM_SPLITNORMS_H

#include "dialects/llm/Llm.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace inlay::llm {
/// Splits each rms_norm of `function` that is between products of which `takesParts` is true. In place of the first one
/// may stand a sum over ranks of which `makesParts` is true.
void splitNorms(mlir::func::FuncOp function, llvm::function_ref<bool(LinearOp)> takesParts,
                llvm::function_ref<bool(AllReduceOp)> makesParts);
} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_SPLITNORMS_H

//===- Llm.h - the llm dialect ---------------------------------------------===//
//
// The dialect's types, attributes and ops. Their meaning stands in LlmOps.td.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_DIALECTS_LLM_LLM_H
#define INLAY_DIALECTS_LLM_LLM_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace inlay::llm {

/// What ranks divide among them of the columns of a value: heads, columns of an MLP, rows of the vocabulary.
struct SplitUnits {
  int64_t count = 0;    // 0: the value is not divided
  llvm::StringRef name; // "heads"
  bool repeats = false; // where ranks are a multiple of `count`, several have the same unit
  bool pads = false;    // a unit that some ranks lack is zeros

  /// Whether `ranks` ranks can divide them.
  bool canDivide(int64_t ranks) const { return pads || count % ranks == 0 || (repeats && ranks % count == 0); }
  /// Different parts of `ranks` ranks.
  int64_t getParts(int64_t ranks) const { return repeats ? std::min(count, ranks) : ranks; }
};

} // namespace inlay::llm

#include "dialects/llm/LlmDialect.h.inc"
#include "dialects/llm/LlmEnums.h.inc"
#include "dialects/llm/LlmInterfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/llm/LlmAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/llm/LlmTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/llm/LlmOps.h.inc"

namespace inlay::llm {

/// The library that may compute a linear (its attribute `library`), and the family of its group and program.
inline constexpr llvm::StringLiteral kCublasLt = "cublaslt";

/// Columns of a row whose squares are summed together where a product's kernel that computes the row sums them
/// (sum_of_squares), and where that of a sum over ranks does: a warp has 16 bytes of 16 bits a lane. Fewer parts are
/// read faster.
inline constexpr int64_t kNormPart = 64, kNormPartOfSum = 256;
/// Columns whose squares are summed together.
int64_t normPartOf(SumOfSquaresOp op);

/// Columns of the widest row that a block of a GPU holds in its registers while it norms it.
inline constexpr int64_t kHeldColumns = 8192;

/// Checks that `squares` has an f32 for each of equal parts of a row of `rows`.
mlir::LogicalResult verifySquares(mlir::Operation *op, mlir::Value rows, mlir::Value squares);

/// The attribute of a module that says how many ranks run it together, each with its part of the weights.
inline constexpr llvm::StringLiteral kRanksAttr = "llm.ranks";
/// Its value in the module of `op`; 1 without it.
int64_t getRanks(mlir::Operation *op);

/// The name that `op` has in the checkpoint, or its mnemonic where it has none.
llvm::StringRef getCheckpointName(mlir::Operation *op);

} // namespace inlay::llm

#endif // INLAY_DIALECTS_LLM_LLM_H

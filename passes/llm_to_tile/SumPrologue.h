//===- SumPrologue.h - a sum over ranks in front of a product ---------------===//
//
// The rows of a product that are a sum over ranks and a residual: r + all_reduce(x). Another
// kernel has pushed x to the other ranks, so each block receives it while it stages its rows.
// The new residual goes to memory of its own: other blocks still read the old one.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_SUMPROLOGUE_H
#define INLAY_PASSES_LLM_TO_TILE_SUMPROLOGUE_H

#include "passes/llm_to_tile/Placement.h"
#include "passes/llm_to_tile/ProgramBuilder.h"

#include <optional>

namespace inlay {

class SumPrologue {
public:
  /// `op`, if it adds a sum over ranks of `group`, whose rows are pushed, to rows from outside.
  static std::optional<SumPrologue> find(llm::GroupOp group, mlir::Operation *op);

  /// The rows of this rank.
  mlir::Value input() { return sum.getInput(); }
  /// Fails with a diagnostic if ranks cannot exchange the rows.
  mlir::LogicalResult check(ProgramBuilder &b);
  /// Makes the rows of this rank the first argument, which a communicator would sum in place.
  void declareViews(ProgramBuilder &b);
  /// The rows from `row` on, columns from `at` on, rounded to their type. They are stored if anything else reads them.
  mlir::Value load(mlir::Value row, mlir::Value at, llvm::ArrayRef<int64_t> shape, ProgramBuilder &b);

private:
  llm::AllReduceOp sum;
  mlir::Value residual;   // from outside the group
  mlir::OpResult newRows; // the group's result that they are; null if nothing else reads them
  tile::ExchangeAttr exchange;
};

} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_SUMPROLOGUE_H

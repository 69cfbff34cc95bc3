//===- ShardPlan.h - what ranks divide of a function -----------------------===//
//
// Which columns of which values are divided among ranks, for any number of them, and
// which numbers of ranks can. It changes nothing.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_LLM_SHARDPLAN_H
#define INLAY_PASSES_LLM_SHARDPLAN_H

#include "passes/llm/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace inlay::llm {

class ShardPlan {
public:
  /// Finds what ops of `function` divide. Fails where it does not come from a matrix product.
  mlir::LogicalResult find(mlir::func::FuncOp function);
  /// Fails at the first op whose units `ranks` ranks cannot divide; the error has the numbers that can.
  mlir::LogicalResult check(int64_t ranks) const;

  /// What `linear` makes in parts; nothing if it makes whole rows.
  SplitUnits getUnits(LinearOp linear) const { return units.lookup(linear.getResult(0)); }

private:
  /// Units that ranks must divide evenly, and the op that they are of.
  struct Constraint {
    mlir::Operation *op = nullptr;
    SplitUnits units;
    std::string text; // "8 groups of 32 columns of 'down_proj.weight'"
  };

  mlir::LogicalResult divide(mlir::Value value, const SplitUnits &wanted, mlir::Operation *reader);
  void findGroups(LinearOp linear);
  bool canDivide(int64_t ranks) const;

  llvm::MapVector<mlir::Value, SplitUnits> units; // of values that are divided
  std::vector<Constraint> constraints;
};

} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_SHARDPLAN_H

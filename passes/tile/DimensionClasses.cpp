//===- DimensionClasses.cpp - dimensions of tiles that have one size -------===//

#include "passes/tile/DimensionClasses.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

DimensionClasses::DimensionClasses(tile::ProgramOp program) {
  program.walk([&](Operation *op) { visit(op); });
}

void DimensionClasses::join(Value x, unsigned xDim, Value y, unsigned yDim) {
  classes.unionSets({x.getAsOpaquePointer(), xDim}, {y.getAsOpaquePointer(), yDim});
}

/// All dimensions of two tiles of one shape; scalars have none.
void DimensionClasses::join(Value x, Value y) {
  auto xType = dyn_cast<RankedTensorType>(x.getType()), yType = dyn_cast<RankedTensorType>(y.getType());
  if (!xType || !yType || xType.getShape() != yType.getShape())
    return;
  for (unsigned dim = 0; dim < xType.getRank(); ++dim)
    join(x, dim, y, dim);
}

void DimensionClasses::visit(Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](tile::DotOp dot) {
        join(dot.getAccumulator(), dot.getResult());
        join(dot.getLhs(), 0, dot.getResult(), 0);
        join(dot.getRhs(), dot.getTransposeRhs() ? 0 : 1, dot.getResult(), 1);
        join(dot.getLhs(), 1, dot.getRhs(), dot.getTransposeRhs() ? 1 : 0);
      })
      .Case([&](tile::BroadcastOp broadcast) {
        join(broadcast.getValue(), 0, broadcast.getResult(), 1 - broadcast.getAxis());
      })
      .Case([&](tile::DeinterleaveOp split) {
        join(split.getEven(), split.getOdd());
        join(split.getEven(), 0, split.getValue(), 0);
        halves.push_back({{split.getValue().getAsOpaquePointer(), 1}, {split.getEven().getAsOpaquePointer(), 1}});
      })
      .Case<tile::ReduceOp>([&](tile::ReduceOp reduce) {
        unsigned kept = 0;
        for (unsigned dim = 0; dim <= tile::ReduceOp(reduce).getResult().getType().getRank(); ++dim)
          if (dim != reduce.getAxis())
            join(reduce.getValue(), dim, reduce.getResult(), kept++);
      })
      .Case([&](tile::GatherOp gather) { join(gather.getIndices(), 0, gather.getResult(), 0); })
      .Case([&](tile::ScatterOp scatter) { join(scatter.getIndices(), 0, scatter.getValue(), 0); })
      .Case([&](scf::ForOp loop) {
        for (auto [init, argument, next, result] :
             llvm::zip_equal(loop.getInitArgs(), loop.getRegionIterArgs(),
                             loop.getBody()->getTerminator()->getOperands(), loop.getResults())) {
          join(init, argument);
          join(next, argument);
          join(result, argument);
        }
      })
      .Case([&](scf::IfOp branch) {
        for (auto [i, result] : llvm::enumerate(branch.getResults())) {
          join(branch.thenYield().getOperand(i), result);
          join(branch.elseYield().getOperand(i), result);
        }
      })
      .Default([&](Operation *other) {
        if (other->getNumResults() == 1 && other->hasTrait<OpTrait::Elementwise>())
          for (Value operand : other->getOperands())
            join(operand, other->getResult(0));
      });
}

bool DimensionClasses::areSame(Value x, unsigned xDim, Value y, unsigned yDim) const {
  Dimension a{x.getAsOpaquePointer(), xDim}, b{y.getAsOpaquePointer(), yDim};
  return a == b || classes.isEquivalent(a, b);
}

bool DimensionClasses::isHalf(Value x, unsigned xDim, Value y, unsigned yDim) const {
  Dimension half{x.getAsOpaquePointer(), xDim}, whole{y.getAsOpaquePointer(), yDim};
  auto same = [&](Dimension a, Dimension b) { return a == b || classes.isEquivalent(a, b); };
  return llvm::any_of(halves, [&](const auto &pair) { return same(pair.first, whole) && same(pair.second, half); });
}

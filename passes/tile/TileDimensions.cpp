//===- TileDimensions.cpp - dimensions of tiles that have one size ---------===//

#include "passes/tile/TileDimensions.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

bool inlay::isTileGenerator(Operation *op) {
  if (!op)
    return false;
  SplatElementsAttr splat;
  return isa<tile::IotaOp, tensor::SplatOp>(op) || matchPattern(op, m_Constant(&splat));
}

static unsigned rankOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getRank() : 0;
}

Slot::Slot(Value value) : key(value.getAsOpaquePointer()), rank(rankOf(value)) {}

Slot::Slot(OpOperand &use) : Slot(use.get()) {
  if (isTileGenerator(use.get().getDefiningOp()))
    key = &use;
}

Slot Slot::ofUse(Value value) {
  bool isGenerated = isTileGenerator(value.getDefiningOp()) && value.hasOneUse();
  return isGenerated ? Slot(*value.use_begin()) : Slot(value);
}

TileDimensions::TileDimensions(tile::ProgramOp program) {
  program.walk([&](Operation *op) { visit(op); });
}

void TileDimensions::join(Slot x, Slot y) {
  for (unsigned dim = 0; dim < std::min(x.rank, y.rank); ++dim)
    join(x, dim, y, dim);
}

void TileDimensions::fix(Operation *op) {
  auto add = [&](Slot slot) {
    for (unsigned dim = 0; dim < slot.rank; ++dim)
      fixed.push_back({slot, dim, op});
  };
  for (OpOperand &operand : op->getOpOperands())
    add(operand);
  for (Value result : op->getResults())
    add(result);
}

void TileDimensions::visit(Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](tile::DotOp dot) {
        OpOperand &lhs = dot.getLhsMutable(), &rhs = dot.getRhsMutable();
        unsigned k = dot.getTransposeRhs() ? 1 : 0;
        join(dot.getAccumulatorMutable(), dot.getResult());
        join(lhs, 0, dot.getResult(), 0);
        join(rhs, 1 - k, dot.getResult(), 1);
        join(lhs, 1, rhs, k);
      })
      .Case([&](tile::ReduceOp reduce) {
        unsigned kept = 0;
        for (unsigned dim = 0; dim < rankOf(reduce.getValue()); ++dim)
          if (dim != reduce.getAxis())
            join(reduce.getValueMutable(), dim, reduce.getResult(), kept++);
      })
      .Case([&](tile::ArgMaxOp most) {
        join(most.getValueMutable(), 0, most.getMaximum(), 0);
        join(most.getMaximum(), most.getIndex());
      })
      .Case([&](tile::BroadcastOp broadcast) {
        join(broadcast.getValueMutable(), 0, broadcast.getResult(), 1 - broadcast.getAxis());
      })
      .Case([&](tile::TransposeOp transpose) {
        for (unsigned dim : {0u, 1u})
          join(transpose.getValueMutable(), dim, transpose.getResult(), 1 - dim);
      })
      .Case([&](tile::DeinterleaveOp split) {
        join(split.getValueMutable(), 0, split.getEven(), 0);
        join(split.getEven(), split.getOdd());
        Slot whole = split.getValueMutable(), half = split.getEven();
        halves.push_back({{whole.key, 1}, {half.key, 1}});
        fixed.push_back({whole, 1, op});
        fixed.push_back({half, 1, op});
      })
      .Case([&](tile::ClusterReduceOp reduce) { join(reduce.getValueMutable(), reduce.getResult()); })
      .Case([&](tile::GatherOp gather) { join(gather.getIndicesMutable(), 0, gather.getResult(), 0); })
      .Case([&](tile::ScatterOp scatter) { join(scatter.getIndicesMutable(), 0, scatter.getValueMutable(), 0); })
      .Case<tile::LoadOp, tile::StoreOp, tile::ReceiveSumOp>([](Operation *) {}) // as large as they are
      .Case([&](scf::ForOp loop) {
        for (auto [init, argument, result] :
             llvm::zip_equal(loop.getInitArgsMutable(), loop.getRegionIterArgs(), loop.getResults())) {
          join(init, argument);
          join(argument, result);
        }
      })
      .Case([](scf::IfOp) {})
      .Case([&](scf::YieldOp yield) {
        if (!isa<scf::ForOp, scf::IfOp>(op->getParentOp()))
          return fix(op);
        for (auto [next, result] : llvm::zip_equal(op->getOpOperands(), op->getParentOp()->getResults()))
          join(next, result);
      })
      .Default([&](Operation *) {
        if (isTileGenerator(op))
          return;
        if (!op->hasTrait<OpTrait::Elementwise>() || op->getNumResults() != 1)
          return fix(op);
        for (OpOperand &operand : op->getOpOperands())
          join(operand, op->getResult(0));
      });
}

bool TileDimensions::areSame(Slot x, unsigned xDim, Slot y, unsigned yDim) const {
  Dimension a{x.key, xDim}, b{y.key, yDim};
  return a == b || classes.isEquivalent(a, b);
}

bool TileDimensions::isHalf(Slot x, unsigned xDim, Slot y, unsigned yDim) const {
  Dimension half{x.key, xDim}, whole{y.key, yDim};
  auto same = [&](Dimension a, Dimension b) { return a == b || classes.isEquivalent(a, b); };
  return llvm::any_of(halves, [&](const auto &pair) { return same(pair.first, whole) && same(pair.second, half); });
}

//===- Materialization.cpp - which tiles lie in memory ---------------------===//

#include "codegen/tile_to_cpu/Materialization.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

/// Vector instructions for an element, roughly, beyond which a tile is not computed twice. A load, a conversion and a
/// product are under it, a function of math is over it.
static constexpr int64_t kCheap = 8;

static bool isElementwise(Operation *op) {
  return OpTrait::hasElementwiseMappableTraits(op) &&
         isa_and_nonnull<arith::ArithDialect, math::MathDialect>(op->getDialect());
}

bool cpu::isExpression(Operation *op) {
  if (op->getNumResults() == 0 || !isa<RankedTensorType>(op->getResult(0).getType()))
    return false;
  return isa<arith::ConstantOp, tensor::SplatOp, tile::IotaOp, tile::BroadcastOp, tile::DeinterleaveOp, tile::LoadOp,
             tile::GatherOp, tile::DequantizeOp>(op) ||
         isElementwise(op);
}

/// The cost of the op alone.
static int64_t costOf(Operation *op) {
  return TypeSwitch<Operation *, int64_t>(op)
      .Case<arith::ConstantOp, tensor::SplatOp, tile::IotaOp, tile::BroadcastOp, tile::DeinterleaveOp>(
          [](auto) { return 0; })
      .Case<tile::LoadOp, arith::ExtFOp>([](auto) { return 1; })
      .Case<tile::GatherOp, arith::TruncFOp>([](auto) { return 2; })
      .Case<arith::DivFOp, arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, math::SqrtOp>(
          [](auto) { return 4; })
      .Case<math::AbsFOp, math::CeilOp, math::FloorOp, math::FmaOp, math::RoundEvenOp>([](auto) { return 1; })
      .Default([](Operation *other) { return isa<math::MathDialect>(other->getDialect()) ? 2 * kCheap : 1; });
}

static tile::ViewType viewOf(Operation *op) {
  return TypeSwitch<Operation *, tile::ViewType>(op)
      .Case<tile::LoadOp, tile::GatherOp, tile::StoreOp, tile::ScatterOp>(
          [](auto access) { return cast<tile::ViewType>(access.getView().getType()); })
      .Default(tile::ViewType());
}

static Operation *loopAround(Operation *op) {
  do
    op = op->getParentOp();
  while (!isa<tile::ProgramOp, scf::ForOp, scf::WhileOp>(op));
  return op;
}

namespace {
/// Decides from the last op to the first, so that what consumes a tile is known before the tile.
class Analysis {
public:
  explicit Analysis(tile::ProgramOp program) {
    program.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<tile::StoreOp, tile::ScatterOp>(op))
        written.insert(viewOf(op).getProvenance());
      if (!cpu::isExpression(op))
        return;
      int64_t sum = costOf(op);
      for (Value operand : op->getOperands())
        if (Operation *def = operand.getDefiningOp())
          sum += costs.lookup(def);
      costs[op] = sum;
      expressions.push_back(op);
    });
    for (Operation *op : llvm::reverse(expressions))
      decide(op);
  }

  DenseSet<Value> materialized;

private:
  void decide(Operation *op) {
    llvm::SmallSetVector<Operation *, 4> &consumers = consumersOf[op];
    bool repeated = false;
    for (Operation *user : op->getUsers()) {
      if (!cpu::isExpression(user) || materialized.contains(user->getResult(0)))
        consumers.insert(user);
      else
        consumers.insert(consumersOf[user].begin(), consumersOf[user].end());
      // A row's index, or a value for a whole row or for each row, is one element at a time.
      repeated |= isa<tile::BroadcastOp, tile::GatherOp, tile::ScatterOp>(user);
    }
    repeated |= consumers.size() > 1;
    for (Operation *consumer : consumers)
      repeated |= loopAround(consumer) != loopAround(op);
    if (isOverwritten(op) || (repeated && costs[op] > kCheap))
      materialized.insert(op->result_begin(), op->result_end());
  }

  /// Whether memory that the op reads may be written by this program: then it is read at once.
  bool isOverwritten(Operation *op) {
    tile::ViewType view = viewOf(op);
    if (!view)
      return false;
    tile::Provenance provenance = view.getProvenance();
    return provenance != tile::Provenance::Weight && provenance != tile::Provenance::Meta &&
           provenance != tile::Provenance::Activation && written.contains(provenance);
  }

  llvm::DenseSet<tile::Provenance> written;
  SmallVector<Operation *> expressions;
  DenseMap<Operation *, int64_t> costs;
  DenseMap<Operation *, llvm::SmallSetVector<Operation *, 4>> consumersOf;
};
} // namespace

DenseSet<Value> cpu::tilesToMaterialize(tile::ProgramOp program) { return Analysis(program).materialized; }

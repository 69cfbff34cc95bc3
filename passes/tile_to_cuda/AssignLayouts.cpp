//===- AssignLayouts.cpp - a layout for each tile of a program -------------===//

#include "passes/tile_to_cuda/AssignLayouts.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

bool inlay::isElementwise(Operation *op) {
  return op->hasTrait<OpTrait::Elementwise>() && op->getNumResults() == 1 &&
         isa<RankedTensorType>(op->getResult(0).getType());
}

bool inlay::isInWarpRing(Value tile) {
  auto wait = tile.getDefiningOp<WaitOp>();
  return wait && isa<ForWarpsOp>(wait.getRing().getDefiningOp()->getParentOp());
}

Value inlay::rowsOfPackedProduct(DotOp dot) {
  return isInWarpRing(dot.getLhs()) ? dot.getRhs() : isInWarpRing(dot.getRhs()) ? dot.getLhs() : Value();
}

bool inlay::isOfUnwrittenMemory(Operation *op) {
  Value view;
  if (auto load = dyn_cast_or_null<LoadOp>(op))
    view = load.getView();
  else if (auto gather = dyn_cast_or_null<GatherOp>(op))
    view = gather.getView();
  if (!view)
    return false;
  return llvm::none_of(view.getUsers(), [](Operation *user) { return isa<StoreOp, ScatterOp>(user); });
}

LayoutAssignment::LayoutAssignment(ProgramOp program) {
  int64_t largest = 1, rows = 0, widestProduct = 0;
  program.walk([&](Operation *op) {
    for (Value result : op->getResults())
      if (auto type = dyn_cast<RankedTensorType>(result.getType()))
        largest = std::max(largest, type.getNumElements());
    if (auto dot = dyn_cast<DotOp>(op)) {
      rows = std::max(rows, dot.getType().getDimSize(0));
      widestProduct = std::max(widestProduct, dot.getType().getDimSize(1));
    }
    if (isa<arith::ConstantOp, tensor::SplatOp, IotaOp, BroadcastOp>(op)) {
      if (isa<RankedTensorType>(op->getResult(0).getType()))
        inlined.insert(op->getResult(0));
    } else if (isElementwise(op) && llvm::all_of(op->getOperands(), [&](Value operand) {
                 auto type = dyn_cast<RankedTensorType>(operand.getType());
                 return !type || isInline(operand) || (type.getRank() == 1 && isPulled(operand));
               })) {
      inlined.insert(op->getResult(0));
    }
  });
  // Products: up to 16 rows a warp, more warps where accumulators are large. Rows: a few registers a thread.
  if (rows > 0)
    warpBits = rows * widestProduct > 64 * 128 || widestProduct > 128 ? 3 : 2;
  else
    warpBits = std::clamp(log2Ceil(largest / 8) - 5, 2, 4);
  rowWarpBits = rows > 0 ? std::clamp(log2Ceil(rows) - 4, 0, warpBits) : 0;
}

/// Whether the tile stays in shared memory.
static bool isStaged(Value tile) {
  Operation *op = tile.getDefiningOp();
  if (auto reduce = dyn_cast_or_null<ClusterReduceOp>(op))
    return isStaged(reduce.getValue());
  return isa_and_nonnull<StageOp, WarpReduceOp, WarpRolesOp>(op);
}

bool LayoutAssignment::isPulled(Value tile) const {
  if (auto slice = tile.getDefiningOp<tensor::ExtractSliceOp>())
    return isStaged(slice.getSource());
  if (tile.getDefiningOp<WarpReduceOp>())
    return true;
  return isOfUnwrittenMemory(tile.getDefiningOp());
}

Layout LayoutAssignment::accumulator(RankedTensorType type) const {
  return Layout::mmaAccumulator(type.getDimSize(0), type.getDimSize(1), rowWarpBits, warpBits - rowWarpBits);
}

Layout LayoutAssignment::lhs(RankedTensorType type) const {
  return Layout::mmaLhs(type.getDimSize(0), type.getDimSize(1), rowWarpBits, warpBits - rowWarpBits);
}

Layout LayoutAssignment::blocked(RankedTensorType type) const {
  unsigned bits = std::max(8u, type.getElementTypeBitWidth());
  return Layout::blocked(type.getShape(), 128 / bits, warpBits);
}

Layout LayoutAssignment::of(Value tile) {
  auto it = layouts.find(tile);
  if (it != layouts.end())
    return it->second;
  llvm::DenseSet<Value> visited;
  std::optional<Layout> layout = preferred(tile, visited);
  // A load that must be made at once takes the layout of what it is combined with.
  if (isa_and_nonnull<LoadOp, GatherOp>(tile.getDefiningOp()))
    for (Operation *user : tile.getUsers()) {
      while (isElementwise(user) && user->getNumOperands() == 1 && user->hasOneUse())
        user = *user->user_begin();
      if (isElementwise(user) && user->getNumOperands() > 1)
        layout = of(user->getResult(0));
    }
  // In a warp, a tile that would take any layout takes that of what is computed from it, up to the store: so a chain
  // of ops on 32 and 16 bits has one.
  if (!layout && warpBits == 0 && inProgress.insert(tile).second) {
    for (Operation *user : tile.getUsers())
      if (isa<DeinterleaveOp>(user)) {
        // Each half in 16 bits is 8 bytes of a thread.
        layout = Layout::blocked(cast<RankedTensorType>(tile.getType()).getShape(), 8, warpBits);
        break;
      } else if (auto dot = dyn_cast<DotOp>(user); dot && rowsOfPackedProduct(dot) == tile) {
        auto type = cast<RankedTensorType>(tile.getType());
        layout = Layout::mmaPackedRows(type.getDimSize(0), type.getDimSize(1));
        break;
      } else if (auto broadcast = dyn_cast<BroadcastOp>(user)) {
        layout = demanded(broadcast.getResult());
        if (layout)
          layout = layout->slice(broadcast.getAxis());
        if (layout)
          break;
      } else if (auto loop = dyn_cast<scf::ForOp>(user->getParentOp()); loop && isa<scf::YieldOp>(user)) {
        // What the loop carries on has the layout of what it was.
        Value carried = loop.getRegionIterArg(llvm::find(user->getOperands(), tile) - user->operand_begin());
        if (carried != tile && !inProgress.contains(carried)) {
          layout = of(carried);
          break;
        }
      } else if (isElementwise(user) && !isInline(user->getResult(0)) && !inProgress.contains(user->getResult(0)) &&
                 cast<RankedTensorType>(user->getResult(0).getType()).getShape() ==
                     cast<RankedTensorType>(tile.getType()).getShape()) {
        layout = of(user->getResult(0));
        break;
      }
    // Or that of what else is computed from its operands, so that they are loaded once.
    if (Operation *op = tile.getDefiningOp(); !layout && op && isElementwise(op))
      for (Value operand : op->getOperands())
        if (!layout && operand.getType() == tile.getType() && !isInline(operand) && !inProgress.contains(operand))
          layout = of(operand);
    inProgress.erase(tile);
  }
  Layout result = layout ? *layout : blocked(cast<RankedTensorType>(tile.getType()));
  layouts.try_emplace(tile, result);
  return result;
}

std::optional<Layout> LayoutAssignment::demanded(Value tile) {
  auto sliced = [](std::optional<Layout> layout, int axis) {
    return layout ? std::optional<Layout>(layout->slice(axis)) : std::nullopt;
  };
  auto rankOf = [](Value value) { return cast<RankedTensorType>(value.getType()).getRank(); };
  for (OpOperand &use : tile.getUses()) {
    std::optional<Layout> layout =
        llvm::TypeSwitch<Operation *, std::optional<Layout>>(use.getOwner())
            .Case([&](BroadcastOp broadcast) { return sliced(demanded(broadcast.getResult()), broadcast.getAxis()); })
            .Case([&](GatherOp gather) {
              std::optional<Layout> own = demanded(gather.getResult());
              return rankOf(gather.getResult()) == 2 ? sliced(own, 1) : own;
            })
            .Case([&](ScatterOp scatter) -> std::optional<Layout> {
              bool isIndex = use.get() == scatter.getIndices();
              return isIndex && rankOf(scatter.getValue()) == 2 ? sliced(of(scatter.getValue()), 1) : std::nullopt;
            })
            .Default([&](Operation *user) -> std::optional<Layout> {
              if (!isElementwise(user))
                return std::nullopt;
              Value result = user->getResult(0);
              return isInline(result) ? demanded(result) : of(result);
            });
    if (layout)
      return layout;
  }
  return std::nullopt;
}

/// The layout that comes from products and reductions; nothing for values that would take any.
std::optional<Layout> LayoutAssignment::preferred(Value tile, llvm::DenseSet<Value> &visited) {
  if (!isa<RankedTensorType>(tile.getType()) || !visited.insert(tile).second || isInline(tile))
    return std::nullopt;
  if (auto it = layouts.find(tile); it != layouts.end())
    return it->second;
  auto firstOf = [&](ValueRange values) -> std::optional<Layout> {
    std::optional<Layout> fallback;
    for (Value value : values)
      if (std::optional<Layout> layout = preferred(value, visited))
        return layout;
    return fallback;
  };
  if (auto argument = dyn_cast<BlockArgument>(tile)) {
    auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
    if (!loop)
      return std::nullopt;
    unsigned i = argument.getArgNumber() - 1;
    return firstOf({loop.getBody()->getTerminator()->getOperand(i), loop.getInitArgs()[i]});
  }
  Operation *op = tile.getDefiningOp();
  unsigned number = cast<OpResult>(tile).getResultNumber();
  return llvm::TypeSwitch<Operation *, std::optional<Layout>>(op)
      .Case([&](DotOp dot) {
        if (Value rows = rowsOfPackedProduct(dot))
          return Layout::mmaPackedAccumulator(cast<RankedTensorType>(rows.getType()).getDimSize(0),
                                              isInWarpRing(dot.getLhs()));
        return accumulator(cast<RankedTensorType>(dot.getType()));
      })
      .Case([&](ReduceOp reduce) -> std::optional<Layout> {
        Layout in = isInline(reduce.getValue()) ? blocked(cast<RankedTensorType>(reduce.getValue().getType()))
                                                : of(reduce.getValue());
        return in.slice(reduce.getAxis());
      })
      .Case([&](ArgMaxOp argMax) -> std::optional<Layout> {
        return (isInline(argMax.getValue()) ? blocked(cast<RankedTensorType>(argMax.getValue().getType()))
                                            : of(argMax.getValue()))
            .slice(1);
      })
      .Case([&](DeinterleaveOp split) -> std::optional<Layout> {
        Layout in = of(split.getValue());
        if (in.registers.empty() || in.registers[0] != LayoutBit{1, 0})
          in = blocked(cast<RankedTensorType>(split.getValue().getType()));
        in.registers.erase(in.registers.begin());
        for (auto *bits : {&in.registers, &in.lanes, &in.warps})
          for (LayoutBit &bit : *bits)
            bit.position -= bit.dim == 1;
        return in;
      })
      .Case([&](ClusterReduceOp reduce) { return preferred(reduce.getValue(), visited); })
      .Case([&](DotAsyncOp dot) {
        // Warpgroups have 64 rows each, their warps 16 of them.
        auto type = cast<RankedTensorType>(dot.getType());
        return Layout::mmaAccumulator(type.getDimSize(0), type.getDimSize(1), warpBits, 0);
      })
      .Case([&](tensor::ExtractSliceOp slice) -> std::optional<Layout> {
        if (slice.getSource().getDefiningOp<WarpReduceOp>()) {
          // Pairs of columns, which may be even and odd ones; more where all lanes have some.
          int64_t elements = slice.getType().getNumElements() / 32;
          return Layout::blocked(slice.getType().getShape(), elements >= 4 ? 4 : 2, warpBits);
        }
        if (!isStaged(slice.getSource()) || !slice.getSource().getDefiningOp<ClusterReduceOp>())
          return std::nullopt;
        // 16 bytes, in which 8 lanes read 128 neighbouring bytes of a block's shared memory.
        return Layout::blocked(slice.getType().getShape(), 4, warpBits);
      })
      .Case([&](DotWaitOp wait) { return preferred(wait.getSums(), visited); })
      .Case([&](TransposeOp transpose) {
        std::optional<Layout> in = preferred(transpose.getValue(), visited);
        if (!in)
          return in;
        for (auto *bits : {&in->registers, &in->lanes, &in->warps})
          for (LayoutBit &bit : *bits)
            bit.dim = bit.dim < 0 ? bit.dim : 1 - bit.dim;
        return in;
      })
      .Case([&](scf::ForOp loop) {
        return firstOf({loop.getBody()->getTerminator()->getOperand(number), loop.getInitArgs()[number]});
      })
      .Case([&](scf::IfOp branch) {
        return firstOf({branch.thenYield().getOperand(number), branch.elseYield().getOperand(number)});
      })
      .Default([&](Operation *other) -> std::optional<Layout> {
        if (isElementwise(other))
          return firstOf(other->getOperands());
        return std::nullopt;
      });
}

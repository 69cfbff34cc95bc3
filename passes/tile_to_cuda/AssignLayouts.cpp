//===- AssignLayouts.cpp - a layout for each tile of a program -------------===//

#include "passes/tile_to_cuda/AssignLayouts.h"

#include "passes/tile_to_cuda/AsyncLayouts.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

static unsigned bitsOfElement(Value tile) { return cast<RankedTensorType>(tile.getType()).getElementTypeBitWidth(); }

LayoutAssignment::LayoutAssignment(ProgramOp program) : computed(program) {
  int64_t largest = 1, rows = 0, widestProduct = 0;
  program.walk<WalkOrder::PreOrder>([&](Operation *op) {
    order.try_emplace(op, order.size());
    for (Value result : op->getResults())
      if (auto type = dyn_cast<RankedTensorType>(result.getType()))
        largest = std::max(largest, type.getNumElements());
    // 16 bytes of codes are computed from 16 elements.
    if (auto store = dyn_cast<StoreOp>(op); store && bitsOfElement(store.getValue()) == 8)
      together = 16;
    if (auto dot = dyn_cast<DotOp>(op)) {
      rows = std::max(rows, dot.getType().getDimSize(0));
      widestProduct = std::max(widestProduct, dot.getType().getDimSize(1));
    }
  });
  // Products: up to 16 rows a warp, more warps where accumulators are large. Rows: a few registers a thread.
  Schedule schedule = program.getScheduleAttr();
  std::optional<PipelineShape> pipeline = schedule ? schedule.getPipeline() : std::nullopt;
  if (pipeline && pipeline->producers == 0)
    warpBits = log2Ceil(pipeline->consumers);
  else if (rows > 0)
    warpBits = rows * widestProduct > 64 * 128 || widestProduct > 128 ? 3 : 2;
  else
    warpBits = std::clamp(log2Ceil(largest / std::max<int64_t>(8, together)) - 5, 2, 4);
  rowWarpBits = rows > 0 ? std::clamp(log2Ceil(rows) - 4, 0, warpBits) : 0;
}

/// The users of a tile, last in the program first.
SmallVector<Operation *> LayoutAssignment::usersOf(Value tile) const {
  SmallVector<Operation *> users(tile.getUsers());
  llvm::sort(users, [&](Operation *x, Operation *y) { return order.lookup(x) > order.lookup(y); });
  return users;
}

Layout LayoutAssignment::sums(DotOp dot) const {
  ArrayRef<int64_t> shape = dot.getType().getShape();
  if (std::optional<SlotOperand> left = slotOperandOf(dot))
    return slotSums(*mmaOf(dot), *left, shape[0], shape[1]);
  int rowBits = std::min(rowWarpBits, warpBits);
  return sumsLayout(*mmaOf(dot), shape[0], shape[1], rowBits, warpBits - rowBits);
}

Layout LayoutAssignment::left(DotOp dot) const {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(dot.getLhs().getType()).getShape();
  int rowBits = std::min(rowWarpBits, warpBits);
  return leftLayout(*mmaOf(dot), shape[0], shape[1], rowBits, warpBits - rowBits);
}

Layout LayoutAssignment::packedRows(DotOp dot) {
  Value rows = isInWarpRing(dot.getLhs()) ? dot.getRhs() : dot.getLhs();
  ArrayRef<int64_t> shape = cast<RankedTensorType>(rows.getType()).getShape();
  return packedRowsLayout(*mmaOf(dot), shape[0], shape[1]);
}

Layout LayoutAssignment::packedRowsInMemory(DotOp dot) {
  Layout rows = packedRows(dot);
  const MmaInstruction &mma = *mmaOf(dot);
  if (mma.left != OperandPlace::Codes8 && mma.left != OperandPlace::Codes4)
    return rows;
  // A lane has 32 bytes or more of a row. Neighbours share a sector of 32 bytes in each load of 16, and exchange
  // halves.
  constexpr int chunkBits = 3;
  Layout loaded;
  LayoutPoint ofRegister = rows.bases(LayoutDim::Register)[chunkBits], ofLane = rows.bases(LayoutDim::Lane)[0];
  for (LayoutDim in : {LayoutDim::Register, LayoutDim::Lane})
    for (auto [i, basis] : llvm::enumerate(rows.bases(in))) {
      bool isExchanged = in == LayoutDim::Register ? i == chunkBits : i == 0;
      loaded.addBit(in, !isExchanged ? basis : in == LayoutDim::Register ? ofLane : ofRegister);
    }
  return loaded;
}

Layout LayoutAssignment::blocked(RankedTensorType type) const {
  unsigned bits = std::max(8u, type.getElementTypeBitWidth());
  return blockedLayout(type.getShape(), std::max<int64_t>(together, 128 / bits), warpBits);
}

/// Whether single elements of a tile are extracted, here or where loops and branches carry it.
static bool isExtracted(Value tile, llvm::DenseSet<Value> &visited) {
  if (!visited.insert(tile).second)
    return false;
  return llvm::any_of(tile.getUses(), [&](OpOperand &use) {
    Operation *user = use.getOwner();
    if (isa<tensor::ExtractOp>(user))
      return true;
    if (auto loop = dyn_cast<scf::ForOp>(user))
      return isExtracted(loop.getTiedLoopRegionIterArg(&use), visited);
    if (!isa<scf::YieldOp>(user))
      return false;
    auto loop = dyn_cast<scf::ForOp>(user->getParentOp());
    return isExtracted(user->getParentOp()->getResult(use.getOperandNumber()), visited) ||
           (loop && isExtracted(loop.getRegionIterArg(use.getOperandNumber()), visited));
  });
}

Layout LayoutAssignment::of(Value tile) {
  auto it = layouts.find(tile);
  if (it != layouts.end())
    return it->second;
  llvm::DenseSet<Value> visited;
  std::optional<Layout> layout = preferred(tile, visited);
  // A load that must be made at once takes the layout of what it is combined with.
  if (isa_and_nonnull<LoadOp, GatherOp>(tile.getDefiningOp()))
    for (Operation *user : usersOf(tile)) {
      while (isElementwise(user) && user->getNumOperands() == 1 && user->hasOneUse())
        user = *user->user_begin();
      if (isElementwise(user) && user->getNumOperands() > 1)
        layout = of(user->getResult(0));
    }
  // Single elements are taken from the lanes that have them.
  llvm::DenseSet<Value> followed;
  if (!layout && cast<RankedTensorType>(tile.getType()).getRank() == 1 && isExtracted(tile, followed))
    layout = blockedLayout(cast<RankedTensorType>(tile.getType()).getShape(), 1, warpBits);
  // In a warp, a tile that would take any layout takes that of what is computed from it, up to the store: so a chain
  // of ops on 32 and 16 bits has one.
  if (!layout && warpBits == 0 && inProgress.insert(tile).second) {
    for (Operation *user : usersOf(tile))
      if (!layout)
        layout = ofUser(tile, user);
    // Or that of what else is computed from its operands, so that they are loaded once.
    if (Operation *op = tile.getDefiningOp(); !layout && op && isElementwise(op))
      for (Value operand : op->getOperands())
        if (!layout && operand.getType() == tile.getType() && !isInline(operand) && !inProgress.contains(operand))
          layout = of(operand);
    // Or the one in which its rows are reduced with the fewest shuffles, where they are in 16 bits in memory.
    if (auto type = cast<RankedTensorType>(tile.getType()); !layout && type.getRank() == 2 && type.getDimSize(0) > 1)
      for (Operation *user : tile.getUsers())
        if (auto reduce = dyn_cast<ReduceOp>(user); reduce && reduce.getAxis() == 1)
          layout = layoutOfRows(type.getShape(), 8);
    inProgress.erase(tile);
  }
  Layout result = layout ? *layout : blocked(cast<RankedTensorType>(tile.getType()));
  layouts.try_emplace(tile, result);
  return result;
}

/// The layout of a warp's tile that `user` suggests.
std::optional<Layout> LayoutAssignment::ofUser(Value tile, Operation *user) {
  auto type = cast<RankedTensorType>(tile.getType());
  if (isa<DeinterleaveOp>(user)) // each half in 16 bits is 8 bytes of a thread
    return blockedLayout(type.getShape(), 8, warpBits);
  if (auto dot = dyn_cast<DotOp>(user)) {
    Value weights = tile == dot.getLhs() ? dot.getRhs() : dot.getLhs();
    return isInWarpRing(weights) && tile != dot.getAccumulator() ? std::optional(packedRowsInMemory(dot))
                                                                 : std::nullopt;
  }
  // What a loop carries has one layout.
  if (auto loop = dyn_cast<scf::ForOp>(user)) {
    for (auto [init, carried] : llvm::zip_equal(loop.getInitArgs(), loop.getRegionIterArgs()))
      if (init == tile && !inProgress.contains(carried))
        return of(carried);
    return std::nullopt;
  }
  if (auto loop = dyn_cast<scf::ForOp>(user->getParentOp()); loop && isa<scf::YieldOp>(user)) {
    Value carried = loop.getRegionIterArg(llvm::find(user->getOperands(), tile) - user->operand_begin());
    return carried != tile && !inProgress.contains(carried) ? std::optional(of(carried)) : std::nullopt;
  }
  if (isElementwise(user) && !isInline(user->getResult(0)) && !inProgress.contains(user->getResult(0)) &&
      cast<RankedTensorType>(user->getResult(0).getType()).getShape() == type.getShape())
    return of(user->getResult(0));
  return std::nullopt;
}

Layout LayoutAssignment::readBy(Value tile) {
  return isInline(tile) || isPulled(tile) ? blocked(cast<RankedTensorType>(tile.getType())) : of(tile);
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
      .Case([&](DotOp dot) { return sums(dot); })
      // Words of 16 bytes.
      .Case([&](ReceiveSumOp sum) { return blocked(cast<RankedTensorType>(sum.getType())); })
      .Case([&](ReduceOp reduce) -> std::optional<Layout> {
        Value in = reduce.getValue();
        return (isInline(in) ? blocked(cast<RankedTensorType>(in.getType())) : of(in)).slice(reduce.getAxis());
      })
      .Case([&](ArgMaxOp argMax) -> std::optional<Layout> {
        return (isInline(argMax.getValue()) ? blocked(cast<RankedTensorType>(argMax.getValue().getType()))
                                            : of(argMax.getValue()))
            .slice(1);
      })
      .Case([&](DeinterleaveOp split) -> std::optional<Layout> {
        Layout in = of(split.getValue());
        if (in.contiguous(LayoutDim::Register, LayoutDim::Dim1) < 2)
          in = blocked(cast<RankedTensorType>(split.getValue().getType()));
        return halfOf(in);
      })
      .Case([&](ClusterReduceOp reduce) { return preferred(reduce.getValue(), visited); })
      .Case([&](DotAsyncOp dot) {
        const MmaInstruction *mma = mmaOf(dot);
        ArrayRef<int64_t> shape = cast<RankedTensorType>(dot.getType()).getShape();
        return sumsLayout(*mma, shape[0], shape[1], std::max(0, warpBits - log2Ceil(mma->warps())), 0);
      })
      .Case([&](tensor::ExtractSliceOp slice) -> std::optional<Layout> {
        if (slice.getSource().getDefiningOp<WarpReduceOp>()) {
          // Pairs of columns, which may be even and odd ones; more where all lanes have some.
          int64_t elements = slice.getType().getNumElements() / 32;
          return blockedLayout(slice.getType().getShape(), elements >= 4 ? 4 : 2, warpBits);
        }
        if (!isKeptInShared(slice.getSource()) || !slice.getSource().getDefiningOp<ClusterReduceOp>())
          return std::nullopt;
        // 16 bytes, in which 8 lanes read 128 neighbouring bytes of a block's shared memory.
        return blockedLayout(slice.getType().getShape(), 4, warpBits);
      })
      .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp>([&](auto reshape) -> std::optional<Layout> {
        return reshapedLayout(of(reshape.getSrc()), reshape.getSrcType(), reshape.getResultType());
      })
      .Case([&](tensor::ConcatOp concat) -> std::optional<Layout> {
        Value first = concat.getInputs().front();
        std::optional<Layout> part = preferred(first, visited);
        if (part && concat.getType().getRank() == 2)
          part = concatenated(*part, cast<RankedTensorType>(first.getType()).getDimSize(1), concat.getInputs().size());
        return part;
      })
      .Case([&](DotWaitOp wait) { return preferred(wait.getSums()[number], visited); })
      .Case(
          [&](InTurnOp turn) { return preferred(turn.getBody().front().getTerminator()->getOperand(number), visited); })
      .Case([&](IfAllOp branch) {
        return firstOf({branch.getAll().front().getTerminator()->getOperand(number),
                        branch.getSome().front().getTerminator()->getOperand(number)});
      })
      .Case([&](DequantizeOp op) -> std::optional<Layout> {
        // In a slot: the left side of a product of a warp, or of warpgroups.
        if (isInWarpRing(op.getBytes()))
          return unpackedCodesLayout(op);
        if (isInSlot(op.getBytes())) {
          const MmaInstruction *mma =
              findMma(op.getType().getElementType(), OperandPlace::Registers, OperandPlace::Slot);
          return mma ? std::optional(leftOfGroups(*mma, op.getType(), warpBits)) : std::nullopt;
        }
        // 16 bytes in a thread; of codes that are not packed, 16 neighbours: 16 or 8 bytes of a row.
        if (std::optional<Layout> layout = registersOfPieces(op, warpBits))
          return layout;
        return blockedLayout(op.getType().getShape(), 16, warpBits);
      })
      .Case([&](TransposeOp transpose) {
        std::optional<Layout> in = preferred(transpose.getValue(), visited);
        return in ? std::optional(in->transposed()) : std::nullopt;
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

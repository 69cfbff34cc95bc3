//===- CheckLayouts.cpp - whether the lowering can take a program's layouts ===//
//
// tile-assign-layouts gives tiles layouts that fit each other. A program that was written
// by hand may have others: each op says here which it takes.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/AsyncLayouts.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/MmaInstructions.h"
#include "passes/tile_to_cuda/SharedLayouts.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

static bool isInShared(Value tile) { return isa_and_nonnull<SharedAttr>(tileType(tile).getEncoding()); }

/// Whether an op may take or give a tile in shared memory there.
static bool mayBeShared(OpOperand &operand) {
  Operation *op = operand.getOwner(), *source = operand.get().getDefiningOp();
  if (auto dot = dyn_cast<DotOp>(op)) {
    bool isSlot = operand == dot.getLhsMutable() && slotOperandOf(dot);
    return isSlot || (operand == dot.getRhsMutable() && isa_and_nonnull<LoadOp, GatherOp>(source)) ||
           (operand != dot.getAccumulatorMutable() && isInWarpRing(operand.get()));
  }
  if (isa<arith::ExtFOp>(op))
    return isa_and_nonnull<ClearRowsOp, WaitOp>(source);
  if (isa<TransposeOp>(op))
    return isa_and_nonnull<ClearRowsOp, arith::ExtFOp, WaitOp>(source);
  if (auto dot = dyn_cast<DotAsyncOp>(op))
    return operand != dot.getAccumulatorMutable() && isInSlot(operand.get());
  if (isa<DequantizeOp>(op))
    return isa_and_nonnull<WaitOp>(source);
  if (auto clear = dyn_cast<ClearRowsOp>(op))
    return operand == clear.getTileMutable() && isa_and_nonnull<WaitOp>(source);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op); slice && isInSlot(slice))
    return true;
  return isa<tensor::ExtractSliceOp, ClusterReduceOp, ConvertLayoutOp, YieldOp>(op) && isKeptInShared(operand.get());
}
static bool mayBeShared(OpResult result) {
  Operation *op = result.getOwner();
  if (auto reduce = dyn_cast<ClusterReduceOp>(op))
    return isKeptInShared(reduce.getValue());
  if (auto turn = dyn_cast<TransposeOp>(op))
    return isInShared(turn.getValue());
  if (auto wide = dyn_cast<arith::ExtFOp>(op))
    return isInShared(wide.getIn());
  return isCopiedToShared(op) || isa<ClearRowsOp, StageOp, WaitOp, WarpReduceOp, WarpRolesOp>(op) || isInSlot(result);
}

/// Warps among which the tiles of a block are divided.
static int64_t warpsAround(Block *block, int64_t warpsOfProgram) {
  for (Operation *op = block->getParentOp(); op && !isa<ProgramOp>(op); op = op->getParentOp()) {
    if (isa<ForWarpsOp>(op))
      return 1;
    if (auto roles = dyn_cast<WarpRolesOp>(op))
      return roles.getConsumers();
  }
  return warpsOfProgram;
}

/// `warps`: those among which the tile is divided; none where its users say that.
static LogicalResult checkTile(Value tile, Operation *op, bool mayBeShared, std::optional<int64_t> warps) {
  if (isInShared(tile))
    return mayBeShared ? success() : op->emitOpError() << "has a tile in shared memory; expected a #tile.layout";
  std::optional<Layout> layout = tile::layoutOf(tile);
  if (!layout)
    return op->emitOpError("has a tile without a layout; run tile-assign-layouts first");
  bool mayBeDivided = isElementwise(op) || isa<arith::ConstantOp, BroadcastOp, ClusterMergeOp, GatherOp, IotaOp, LoadOp,
                                               ScatterOp, StoreOp, tensor::SplatOp>(op);
  if (layout->bits(LayoutDim::Block) != 0 && !mayBeDivided)
    return op->emitOpError("has a tile that is divided among the blocks of a cluster; expected the same in each");
  if (warps && layout->bits(LayoutDim::Warp) != log2Ceil(*warps))
    return op->emitOpError() << "has a tile that is divided among " << layout->size(LayoutDim::Warp)
                             << " warps; expected " << *warps;
  return success();
}

/// Whether a reduction along `axis` can combine registers, then lanes, then warps: no bit changes another coordinate,
/// too.
static bool isReducible(const Layout &layout, int axis) {
  for (LayoutDim in : {LayoutDim::Register, LayoutDim::Lane, LayoutDim::Warp})
    for (const LayoutPoint &basis : layout.bases(in)) {
      LayoutPoint along;
      along[dimension(axis)] = basis[dimension(axis)];
      if (along[dimension(axis)] != 0 && along != basis)
        return false;
    }
  return true;
}

static bool isReduced(Value from, Value to, int axis) {
  return isReducible(registerLayout(from), axis) && registerLayout(to) == registerLayout(from).slice(axis);
}

/// Whether the threads that have an output of an online softmax have the maximum and the sum of its row.
static bool areMerged(ValueRange parts) {
  Layout rows = registerLayout(parts[2]).slice(1);
  return registerLayout(parts[0]) == rows && registerLayout(parts[1]) == rows;
}

/// Whether the layouts of an op's tiles fit each other. Each is known to be in registers, or where it may be shared.
static bool doFit(Operation *op, int64_t warps) {
  auto indicesFit = [](Value tile, Value indices) {
    return registerLayout(indices) == layoutOfIndices(registerLayout(tile), tileType(tile).getRank());
  };
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](GatherOp gather) {
        Value tile = gather.getResult();
        if (isInShared(tile))
          return registerLayout(gather.getIndices()) == layoutOfIndices(copyLayout(tileType(tile), log2Ceil(warps)), 2);
        return indicesFit(tile, gather.getIndices());
      })
      .Case([&](LoadOp load) {
        // Two codes of 4 bits are read at a time.
        Value view = load.getView(), tile = load.getResult();
        return !tileType(tile).getElementType().isInteger(4) || isInShared(tile) ||
               vectorWidth(view, load.getOffsets().back(), registerLayout(tile), tileType(tile).getShape()) > 1;
      })
      .Case([&](ReceiveSumOp sum) {
        RankedTensorType type = tileType(sum.getResult());
        int64_t width = vectorWidth(sum.getView(), sum.getOffsets().back(), registerLayout(sum), type.getShape());
        return width * bytesOf(type.getElementType()) == kExchangeWordBytes;
      })
      .Case([&](ScatterOp scatter) { return indicesFit(scatter.getValue(), scatter.getIndices()); })
      .Case([&](ReduceOp reduce) { return isReduced(reduce.getValue(), reduce.getResult(), reduce.getAxis()); })
      .Case([&](ArgMaxOp argMax) {
        return isReduced(argMax.getValue(), argMax.getMaximum(), 1) &&
               isReduced(argMax.getValue(), argMax.getIndex(), 1);
      })
      .Case([&](BroadcastOp broadcast) {
        return registerLayout(broadcast.getValue()) == registerLayout(broadcast.getResult()).slice(broadcast.getAxis());
      })
      .Case([&](TransposeOp turn) {
        if (isInShared(turn.getValue()))
          return tileType(turn.getResult()).getEncoding() ==
                 transposedShared(cast<SharedAttr>(tileType(turn.getValue()).getEncoding()));
        return registerLayout(turn.getValue()) == registerLayout(turn.getResult()).transposed();
      })
      .Case([&](DeinterleaveOp split) {
        return registerLayout(split.getValue()) == interleaved(registerLayout(split.getEven()));
      })
      .Case([&](DequantizeOp op) {
        if (isInShared(op.getBytes())) {
          auto isOfSlot = [](Value tile) {
            return !tile || tileType(tile).getEncoding() == slotTile(tileType(tile).dropEncoding());
          };
          const MmaInstruction *mma =
              findMma(op.getType().getElementType(), OperandPlace::Registers, OperandPlace::Slot);
          bool isLeft = isInWarpRing(op.getBytes()) ? registerLayout(op.getResult()) == unpackedCodesLayout(op)
                                                    : mma && registerLayout(op.getResult()) ==
                                                                 leftOfGroups(*mma, op.getType(), log2Ceil(warps));
          return isLeft && isOfSlot(op.getBytes()) && isOfSlot(op.getScales()) && isOfSlot(op.getZeros());
        }
        std::optional<DequantizedLayouts> operands = dequantizedLayouts(op, registerLayout(op.getResult()));
        return operands && registerLayout(op.getBytes()) == operands->bytes &&
               (!op.getScales() || registerLayout(op.getScales()) == operands->groups) &&
               (!op.getZeros() || registerLayout(op.getZeros()) == operands->groups);
      })
      .Case([&](ClusterMergeOp merge) { return areMerged(merge.getParts()) && areMerged(merge.getResults()); })
      .Case([&](ForWarpsOp op) {
        return op.getNumResults() == 0 ||
               (areMerged(op.getResults()) && areMerged(op.getBody().front().getTerminator()->getOperands()));
      })
      .Case([&](ClusterReduceOp reduce) { return reduce.getValue().getType() == reduce.getResult().getType(); })
      .Case([&](DotOp dot) {
        const MmaInstruction *mma = mmaOf(dot);
        if (!mma)
          return false;
        // Any division of rows and columns over the warps.
        ArrayRef<int64_t> sums = tileType(dot.getResult()).getShape(), lhs = tileType(dot.getLhs()).getShape();
        if (isInWarpRing(dot.getLhs()) || isInWarpRing(dot.getRhs())) {
          bool isLeft = isInWarpRing(dot.getLhs());
          Value weights = isLeft ? dot.getLhs() : dot.getRhs(), rows = isLeft ? dot.getRhs() : dot.getLhs();
          ArrayRef<int64_t> shape = tileType(rows).getShape();
          return registerLayout(dot.getResult()) == sumsLayout(*mma, sums[0], sums[1], 0, 0) &&
                 registerLayout(rows) == packedRowsLayout(*mma, shape[0], shape[1]) &&
                 (mma->left == OperandPlace::Codes8 || mma->left == OperandPlace::Codes4 ||
                  tileType(weights).getEncoding() == packedTile(tileType(weights)));
        }
        int bits = log2Ceil(warps);
        if (isInShared(dot.getLhs())) {
          std::optional<SlotOperand> left = slotOperandOf(dot);
          return left && dot.getTransposeRhs() && !isInShared(dot.getRhs()) && bits == 0 &&
                 registerLayout(dot.getResult()) == slotSums(*mma, *left, sums[0], sums[1]) &&
                 registerLayout(dot.getRhs()) == slotRight(*mma, *left, sums[1], lhs[1]);
        }
        for (int rowBits = 0; rowBits <= bits; ++rowBits)
          if (registerLayout(dot.getResult()) == sumsLayout(*mma, sums[0], sums[1], rowBits, bits - rowBits) &&
              registerLayout(dot.getLhs()) == leftLayout(*mma, lhs[0], lhs[1], rowBits, bits - rowBits))
            return !isInShared(dot.getRhs()) ||
                   tileType(dot.getRhs()).getEncoding() == copiedTile(tileType(dot.getRhs()));
        return false;
      })
      .Case([&](DotAsyncOp dot) {
        ArrayRef<int64_t> sums = tileType(dot.getResult()).getShape();
        auto isSwizzled = [](Value tile) { return tileType(tile).getEncoding() == swizzledTile(tileType(tile)); };
        const MmaInstruction *mma = mmaOf(dot);
        if (!mma)
          return false;
        int groupBits = std::max(0, log2Ceil(warps) - log2Ceil(mma->warps()));
        bool isLeft = mma->left == OperandPlace::Registers
                          ? layoutOf(dot.getLhs()) == leftOfGroups(*mma, tileType(dot.getLhs()), log2Ceil(warps))
                          : isSwizzled(dot.getLhs());
        return registerLayout(dot.getResult()) == sumsLayout(*mma, sums[0], sums[1], groupBits, 0) && isLeft &&
               isSwizzled(dot.getRhs());
      })
      .Case([&](StageOp stage) {
        RankedTensorType type = tileType(stage.getResult());
        if (type.getRank() == 1 || cast<SharedAttr>(type.getEncoding()).getPitch() > 0)
          return type.getElementTypeBitWidth() == 16 || type.getElementTypeBitWidth() == 32;
        if (type.getElementTypeBitWidth() == 16)
          return type.getEncoding() == swizzledTile(type) &&
                 registerLayout(stage.getValue()) == layoutOfLeft(type, log2Ceil(warps));
        return false;
      })
      .Case([&](tensor::ConcatOp concat) {
        RankedTensorType part = tileType(concat.getInputs().front());
        Layout layout = registerLayout(concat.getInputs().front());
        return concat.getDim() == 1 && llvm::all_equal(concat.getInputs().getTypes()) &&
               layout.extent(LayoutDim::Dim1) == part.getDimSize(1) &&
               registerLayout(concat) == concatenated(layout, part.getDimSize(1), concat.getInputs().size());
      })
      .Case([&](WarpReduceOp reduce) {
        return llvm::all_of(reduce.getResults(), [](Value result) {
          return tileType(result).getEncoding() == paddedTile(tileType(result));
        });
      })
      .Case([&](FetchRowsOp fetch) {
        Layout layout = registerLayout(fetch.getIndices());
        return layout ==
               layoutOfRuns(tileType(fetch.getIndices()).getDimSize(0), fetch.getRun(), layout.bits(LayoutDim::Warp));
      })
      .Case([&](ClearRowsOp clear) {
        return registerLayout(clear.getHeld()) ==
               layoutOfCleared(tileType(clear.getHeld()).getDimSize(0), clear.getRun(), log2Ceil(warps));
      })
      .Case([&](tensor::ExtractSliceOp slice) {
        if (isInSlot(slice))
          return tileType(slice.getResult()).getEncoding() == swizzledTile(slice.getType());
        if (auto shared = dyn_cast<SharedAttr>(tileType(slice.getSource()).getEncoding()))
          return shared.getRank() == 1 || shared.getPitch() > 0 || isScalesInSlot(slice.getSource());
        return layoutOfSlice(registerLayout(slice.getSource()), slice.getType().getShape()) ==
               registerLayout(slice.getResult());
      })
      .Default([](Operation *) { return true; }); // verifiers of elementwise ops, loops and branches see to theirs
}

LogicalResult inlay::checkLayouts(ProgramOp program) {
  int64_t warpsOfProgram = program->getAttrOfType<IntegerAttr>(kWarpsAttr).getInt();
  ComputedTiles computed(program);
  auto check = [&](Operation *op) -> LogicalResult {
    int64_t warps = warpsAround(op->getBlock(), warpsOfProgram);
    bool isMadeAtUse = isa<FetchRowsOp>(op) || (op->getNumResults() == 1 &&
                                                (computed.contains(op->getResult(0)) || isPulled(op->getResult(0))));
    std::optional<int64_t> checked = isMadeAtUse ? std::nullopt : std::optional(warps);
    for (OpOperand &operand : op->getOpOperands())
      if (isa<RankedTensorType>(operand.get().getType()) &&
          failed(checkTile(operand.get(), op, mayBeShared(operand), checked)))
        return failure();
    for (OpResult result : op->getResults())
      if (isa<RankedTensorType>(result.getType()) && failed(checkTile(result, op, mayBeShared(result), checked)))
        return failure();
    if (!doFit(op, warps))
      return op->emitOpError("has tiles whose layouts do not fit each other; run tile-assign-layouts first");
    return success();
  };
  return failure(program.getBody().walk([&](Operation *op) { return WalkResult(check(op)); }).wasInterrupted());
}

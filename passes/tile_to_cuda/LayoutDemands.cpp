//===- LayoutDemands.cpp - layouts in which ops take and leave tiles ------===//

#include "passes/tile_to_cuda/LayoutDemands.h"

#include "passes/tile_to_cuda/AsyncLayouts.h"
#include "passes/tile_to_cuda/SharedLayouts.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

static RankedTensorType tileType(Value value) { return cast<RankedTensorType>(value.getType()); }

LogicalResult LayoutDemands::collect(Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<LoadOp, GatherOp>([&](auto load) { return collectLoad(load); })
      .Case([&](ReceiveSumOp sum) {
        keep(sum.getResult(), assignment.of(sum.getResult()));
        return success();
      })
      .Case([&](StoreOp store) {
        Layout layout = assignment.readBy(store.getValue());
        StringAttr packing = packingOf(store->getParentOfType<ProgramOp>(), store.getView());
        want(store.getValueMutable(), packing && packing.getValue() == kCodeRowsPacking ? inPieces(layout) : layout);
        return success();
      })
      .Case([&](ScatterOp scatter) {
        Layout layout = assignment.readBy(scatter.getValue());
        want(scatter.getValueMutable(), layout);
        want(scatter.getIndicesMutable(), layoutOfIndices(layout, tileType(scatter.getValue()).getRank()));
        return success();
      })
      .Case([&](DotOp dot) {
        Layout sums = assignment.sums(dot);
        if (isInWarpRing(dot.getLhs()) || isInWarpRing(dot.getRhs())) {
          want(isInWarpRing(dot.getLhs()) ? dot.getRhsMutable() : dot.getLhsMutable(), assignment.packedRows(dot));
          want(dot.getAccumulatorMutable(), sums);
          keep(dot.getResult(), sums);
          return success();
        }
        want(dot.getAccumulatorMutable(), sums);
        if (std::optional<SlotOperand> left = slotOperandOf(dot)) {
          ArrayRef<int64_t> rhs = tileType(dot.getRhs()).getShape();
          want(dot.getRhsMutable(), slotRight(*mmaOf(dot), *left, rhs[0], rhs[1]));
        } else {
          want(dot.getLhsMutable(), assignment.left(dot));
          if (!shared.contains(dot.getRhs()))
            want(dot.getRhsMutable(), assignment.readBy(dot.getRhs()));
        }
        keep(dot.getResult(), sums);
        return success();
      })
      .Case([&](ReduceOp reduce) {
        Layout layout = assignment.readBy(reduce.getValue());
        want(reduce.getValueMutable(), layout);
        keep(reduce.getResult(), layout.slice(reduce.getAxis()));
        return success();
      })
      .Case([&](ArgMaxOp argMax) {
        Layout layout = assignment.readBy(argMax.getValue());
        want(argMax.getValueMutable(), layout);
        keep(argMax.getMaximum(), layout.slice(1));
        keep(argMax.getIndex(), layout.slice(1));
        return success();
      })
      .Case([&](DeinterleaveOp split) {
        Layout half = assignment.of(split.getEven());
        want(split.getValueMutable(), interleaved(half));
        keep(split.getEven(), half);
        keep(split.getOdd(), half);
        return success();
      })
      .Case([&](TransposeOp turn) {
        if (auto encoding = shared.find(turn.getValue()); encoding != shared.end()) {
          shared.insert({turn.getResult(), transposedShared(cast<SharedAttr>(encoding->second))});
          return success();
        }
        Layout layout = assignment.of(turn.getResult());
        want(turn.getValueMutable(), layout.transposed());
        keep(turn.getResult(), layout);
        return success();
      })
      .Case([&](ClusterReduceOp reduce) {
        if (auto encoding = shared.find(reduce.getValue()); encoding != shared.end()) {
          shared.insert({reduce.getResult(), encoding->second});
          return success();
        }
        Layout layout = assignment.of(reduce.getResult());
        want(reduce.getValueMutable(), layout);
        keep(reduce.getResult(), layout);
        return success();
      })
      .Case([&](DequantizeOp op) { return collectDequantize(op); })
      .Case([&](WaitOp wait) {
        for (auto [i, tile] : llvm::enumerate(wait.getTiles()))
          shared.insert({tile, slotTile(wait, i)});
        return success();
      })
      .Case([&](DotAsyncOp dot) {
        if (const MmaInstruction &mma = *mmaOf(dot); mma.left == OperandPlace::Registers)
          want(dot.getLhsMutable(), leftOfGroups(mma, tileType(dot.getLhs()), assignment.warps()));
        Layout sums = assignment.of(dot.getResult());
        want(dot.getAccumulatorMutable(), sums);
        keep(dot.getResult(), sums);
        return success();
      })
      .Case([&](DotWaitOp wait) {
        for (auto [operand, result] : llvm::zip_equal(wait->getOpOperands(), wait.getResults())) {
          want(operand, assignment.of(result));
          keep(result, assignment.of(result));
        }
        return success();
      })
      .Case([&](FetchRowsOp fetch) {
        want(fetch.getIndicesMutable(),
             layoutOfRuns(tileType(fetch.getIndices()).getDimSize(0), fetch.getRun(), assignment.warps()));
        return success();
      })
      .Case([&](ClearRowsOp clear) -> LogicalResult {
        if (!shared.contains(clear.getTile()))
          return clear.emitOpError("clears rows of a tile that is in no slot of a ring");
        want(clear.getHeldMutable(),
             layoutOfCleared(tileType(clear.getHeld()).getDimSize(0), clear.getRun(), assignment.warps()));
        shared.insert({clear.getResult(), shared.lookup(clear.getTile())});
        return success();
      })
      .Case([&](arith::ExtFOp wide) -> LogicalResult {
        // In a slot: widened by the product that reads it.
        if (!shared.contains(wide.getIn()))
          return collectOther(wide);
        shared.insert({wide.getResult(), shared.lookup(wide.getIn())});
        return success();
      })
      .Case([&](InTurnOp turn) { return collectRegions(turn); })
      .Case([&](IfAllOp branch) { return collectVariants(branch); })
      .Case([&](StageOp stage) -> LogicalResult {
        RankedTensorType type = tileType(stage.getResult());
        bool isSliced =
            llvm::any_of(stage->getUsers(), [](Operation *user) { return isa<tensor::ExtractSliceOp>(user); });
        if (type.getRank() == 2 && type.getElementTypeBitWidth() == 16 && !isSliced) {
          want(stage.getValueMutable(), layoutOfLeft(type, assignment.warps()));
          shared.insert({stage.getResult(), swizzledTile(type)});
          return success();
        }
        bool isRow = type.getRank() == 1 && isSliced;
        if ((type.getRank() != 2 && !isRow) ||
            (type.getElementTypeBitWidth() != 32 && type.getElementTypeBitWidth() != 16))
          return stage.emitOpError() << "of " << type << " has no CUDA lowering; expected rank 2 and 16 or 32 bits";
        want(stage.getValueMutable(), assignment.of(stage.getValue()));
        shared.insert({stage.getResult(), paddedTile(type)});
        return success();
      })
      .Case([&](WarpReduceOp reduce) { return collectReduced(reduce); })
      .Case([&](tensor::ConcatOp concat) { return collectConcat(concat); })
      .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp>([&](auto reshape) { return collectReshape(reshape); })
      .Case([&](tensor::ExtractSliceOp slice) { return collectSlice(slice); })
      .Case([&](tensor::ExtractOp extract) {
        RankedTensorType type = tileType(extract.getTensor());
        want(extract.getTensorMutable(), type.getNumElements() > 1
                                             ? blockedLayout(type.getShape(), 1, assignment.warps())
                                             : assignment.blocked(type));
        return success();
      })
      .Case([&](ClusterMergeOp merge) { return collectMerge(merge); })
      .Case([](UnwrittenOp unwritten) {
        return unwritten.emitOpError(
            "stands before a loop without rings; run tile-assign-stages and tile-pipeline first");
      })
      .Case([&](WarpRolesOp roles) {
        if (failed(collect(roles.getConsume(), roles.getConsumers())) ||
            failed(collect(roles.getProduce(), roles.getProducers())))
          return failure();
        Operation *yield = roles.getConsume().front().getTerminator();
        for (auto [value, result] : llvm::zip_equal(yield->getOperands(), roles.getResults()))
          shared.insert({result, shared.lookup(value)});
        return success();
      })
      .Case([&](ForWarpsOp op) { return collectParts(op); })
      .Case([&](scf::ForOp loop) { return collectLoop(loop); })
      .Case([&](scf::IfOp branch) { return collectBranch(branch); })
      .Case<scf::YieldOp, YieldOp, ReturnOp>([](Operation *) { return success(); })
      .Default([&](Operation *other) { return collectOther(other); });
}

LogicalResult LayoutDemands::collect(Region &region, int64_t warps) {
  int before = assignment.enter(log2Ceil(warps));
  LogicalResult result = collect(region.front());
  assignment.enter(before);
  return result;
}

LogicalResult LayoutDemands::collectLoad(Operation *load) {
  Value result = load->getResult(0);
  std::optional<Layout> layout;
  if (isCopiedToShared(load)) {
    layout = copyLayout(tileType(result), assignment.warps());
    shared.insert({result, copiedTile(tileType(result))});
  } else if (!isPulled(result)) {
    layout = assignment.of(result);
    keep(result, *layout);
  }
  if (auto gather = dyn_cast<GatherOp>(load); gather && layout)
    want(gather.getIndicesMutable(), layoutOfIndices(*layout, tileType(result).getRank()));
  return success();
}

LogicalResult LayoutDemands::collectDequantize(DequantizeOp op) {
  Layout layout = assignment.of(op.getResult());
  if (shared.contains(op.getBytes())) {
    keep(op.getResult(), layout);
    return success();
  }
  std::optional<DequantizedLayouts> operands = dequantizedLayouts(op, layout);
  if (!operands)
    return op.emitOpError() << "with groups of " << op.getGroup()
                            << " columns has no CUDA lowering; expected a power of two, or one group";
  want(op.getBytesMutable(), operands->bytes);
  for (OpOperand &scales : op.getScalesMutable())
    want(scales, operands->groups);
  for (OpOperand &zeros : op.getZerosMutable())
    want(zeros, operands->groups);
  keep(op.getResult(), layout);
  return success();
}

LogicalResult LayoutDemands::collectSlice(tensor::ExtractSliceOp slice) {
  int64_t rank = slice.getSourceType().getRank();
  bool isRow = rank == 1 && shared.contains(slice.getSource());
  if (isScalesInSlot(slice.getSource()) && slice.getType().getRank() == 1 && slice.hasUnitStride() &&
      slice.getStaticSizes().back() == 1)
    return success(); // a column, read where it is used
  if ((rank != 2 && !isRow) || slice.getType().getRank() != rank || !slice.hasUnitStride())
    return slice.emitOpError("has no CUDA lowering; expected neighbouring rows and columns of a tile of rank 2");
  if (isInSlot(slice)) {
    shared.insert({slice, swizzledTile(slice.getType())});
    return success();
  }
  if (shared.contains(slice.getSource()))
    return success(); // read where it is used
  Layout from = assignment.of(slice.getSource());
  std::optional<Layout> to = layoutOfSlice(from, slice.getType().getShape());
  if (!to)
    return slice.emitOpError("takes elements of other threads' registers; stage the tile first");
  want(slice.getSourceMutable(), from);
  assignment.set(slice.getResult(), *to);
  keep(slice.getResult(), *to);
  return success();
}

LogicalResult LayoutDemands::collectConcat(tensor::ConcatOp concat) {
  RankedTensorType part = tileType(concat.getInputs().front());
  Layout layout = assignment.of(concat.getInputs().front());
  bool areEqual = llvm::all_equal(concat.getInputs().getTypes());
  if (concat.getDim() != 1 || part.getRank() != 2 || !areEqual || layout.extent(LayoutDim::Dim1) != part.getDimSize(1))
    return concat.emitOpError(
        "has no CUDA lowering; expected tiles of one size side by side, whose columns are a power "
        "of two");
  for (OpOperand &operand : concat.getInputsMutable())
    want(operand, layout);
  Layout whole = concatenated(layout, part.getDimSize(1), concat.getInputs().size());
  assignment.set(concat.getResult(), whole);
  keep(concat.getResult(), whole);
  return success();
}

LogicalResult LayoutDemands::collectReshape(Operation *reshape) {
  OpOperand &source = reshape->getOpOperand(0);
  RankedTensorType from = tileType(source.get()), to = tileType(reshape->getResult(0));
  auto isFit = [](RankedTensorType type) {
    return type.getRank() <= 2 && llvm::all_of(type.getShape(), llvm::isPowerOf2_64);
  };
  if (!isFit(from) || !isFit(to) || shared.contains(source.get()))
    return reshape->emitOpError() << "of " << from << " to " << to
                                  << " has no CUDA lowering; expected rank 1 or 2 and powers of two in registers";
  Layout layout = assignment.readBy(source.get());
  want(source, layout);
  layout = reshapedLayout(layout, from, to);
  assignment.set(reshape->getResult(0), layout);
  keep(reshape->getResult(0), layout);
  return success();
}

LogicalResult LayoutDemands::collectReduced(WarpReduceOp reduce) {
  for (auto [operand, result] : llvm::zip_equal(reduce.getValuesMutable(), reduce.getResults())) {
    RankedTensorType type = tileType(result);
    if (type.getRank() > 2 || type.getRank() < 1 || type.getElementTypeBitWidth() != 32)
      return reduce.emitOpError() << "of " << type << " has no CUDA lowering; expected rank 1 or 2 and 32 bits";
    want(operand, assignment.readBy(operand.get()));
    shared.insert({result, paddedTile(type)});
  }
  return success();
}

LogicalResult LayoutDemands::collectParts(ForWarpsOp op) {
  for (auto [part, operand] : llvm::zip_equal(op.getParts(), op.getDividedMutable())) {
    Layout whole = assignment.of(operand.get());
    RankedTensorType own = ForWarpsOp::partOf(withLayout(tileType(operand.get()), whole), op.getCount());
    if (!own)
      return op.emitOpError() << "divides a tile whose rows lie in registers of other warps";
    want(operand, whole);
    assignment.set(part, *layoutOf(own));
    keep(part, *layoutOf(own));
  }
  if (failed(collect(op.getBody(), /*warps=*/1)))
    return failure();
  if (op.getNumResults() == 0)
    return success();
  int before = assignment.enter(0);
  for (OpOperand &part : op.getBody().front().getTerminator()->getOpOperands())
    want(part, assignment.of(part.get()));
  assignment.enter(before);
  // Neighbours of a row in a thread, as far as all threads have some.
  RankedTensorType out = tileType(op.getResult(2));
  int64_t threads = int64_t(32) << before, vector = std::clamp<int64_t>(out.getNumElements() / threads, 1, 4);
  keepMerged(op.getResults(), blockedLayout(out.getShape(), llvm::bit_floor(static_cast<uint64_t>(vector)), before));
  return success();
}

/// Maxima, sums and outputs that were merged, with the outputs in `layout`.
void LayoutDemands::keepMerged(ValueRange merged, const Layout &layout) {
  for (Value tile : merged) {
    Layout own = tileType(tile).getRank() == 2 ? layout : layout.slice(1);
    assignment.set(tile, own);
    keep(tile, own);
  }
}

LogicalResult LayoutDemands::collectMerge(ClusterMergeOp op) {
  int64_t blocks = clusterOf(op->getParentOfType<ProgramOp>());
  if (!llvm::isPowerOf2_64(blocks))
    return op.emitOpError() << "over a cluster of " << blocks
                            << " blocks has no CUDA lowering; expected a power of two";
  for (OpOperand &part : op.getPartsMutable())
    want(part, assignment.of(part.get()));
  keepMerged(op.getResults(),
             dividedLayout(tileType(op.getResult(2)).getShape(), assignment.warps(), log2Ceil(blocks)));
  return success();
}

LogicalResult LayoutDemands::collectLoop(scf::ForOp loop) {
  for (auto [operand, argument, result] :
       llvm::zip_equal(loop.getInitArgsMutable(), loop.getRegionIterArgs(), loop.getResults())) {
    if (!isTile(argument))
      continue;
    Layout layout = assignment.of(argument);
    want(operand, layout);
    keep(argument, layout);
    keep(result, layout);
  }
  if (failed(collect(*loop.getBody())))
    return failure();
  for (auto [operand, argument] :
       llvm::zip_equal(loop.getBody()->getTerminator()->getOpOperands(), loop.getRegionIterArgs()))
    if (isTile(argument))
      want(operand, kept.lookup(argument));
  return success();
}

/// Each region of `op` ends with its results.
LogicalResult LayoutDemands::collectRegions(Operation *op) {
  for (Value result : op->getResults())
    if (isTile(result))
      keep(result, assignment.of(result));
  for (Region &region : op->getRegions()) {
    if (region.empty())
      continue;
    if (failed(collect(region.front())))
      return failure();
    for (auto [operand, result] : llvm::zip_equal(region.front().getTerminator()->getOpOperands(), op->getResults()))
      if (isTile(result))
        want(operand, kept.lookup(result));
  }
  return success();
}

LogicalResult LayoutDemands::collectBranch(scf::IfOp branch) { return collectRegions(branch); }

/// A warp decides by the rows that it has of the results.
LogicalResult LayoutDemands::collectVariants(IfAllOp branch) {
  for (Value result : branch.getResults()) {
    RankedTensorType type = tileType(result), condition = tileType(branch.getCondition());
    if (condition.getRank() != 1 || type.getDimSize(0) != condition.getDimSize(0))
      continue;
    Layout layout = assignment.of(result);
    want(branch.getConditionMutable(), type.getRank() == 2 ? layout.slice(1) : layout);
    return collectRegions(branch);
  }
  return branch.emitOpError("has no result with the rows of its condition, which say what a warp decides");
}

LogicalResult LayoutDemands::collectOther(Operation *op) {
  if (op->getNumResults() == 1 && assignment.isInline(op->getResult(0))) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op);
        constant && !cast<DenseElementsAttr>(constant.getValue()).isSplat())
      return constant.emitOpError() << "of different elements has no CUDA lowering";
    return success();
  }
  if (isElementwise(op)) {
    Layout layout = assignment.of(op->getResult(0));
    for (OpOperand &operand : op->getOpOperands())
      if (isTile(operand.get()))
        want(operand, layout);
    keep(op->getResult(0), layout);
    return success();
  }
  if (op->getNumRegions() > 0 || llvm::any_of(op->getOperands(), isTile) || llvm::any_of(op->getResults(), isTile))
    return op->emitOpError() << "has no CUDA lowering";
  return success();
}

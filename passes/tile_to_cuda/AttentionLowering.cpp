//===- AttentionLowering.cpp - what a kernel of attention begins with ------===//

#include "passes/tile_to_cuda/AttentionLowering.h"
#include "passes/tile/AttentionTraits.h"

using namespace mlir;
using namespace inlay;

PointEvaluator AttentionLowering::evaluator(PointEvaluator::Source source) {
  return PointEvaluator(
      b, [&](Value view) { return pointerOf(view); },
      [this, source = std::move(source)](Value value, ArrayRef<Value> point) -> Value {
        if (Value given = source(value, point))
          return given;
        return block.find(value, point);
      });
}

/// Everything scalar that `body` computes before the loop (or the branch that holds it), so that it is known wherever
/// it is used, and its loads are under way together.
LogicalResult AttentionLowering::evaluateScalars(Block &body) {
  for (Operation &op : body) {
    if (op.isAncestor(loop.loop))
      break;
    bool isScalar = op.getNumRegions() == 0 && op.getNumResults() == 1 && op.getResult(0).getType().isIntOrIndex();
    if (isScalar && !block.at(op.getResult(0)))
      return failure();
  }
  return success();
}

LogicalResult AttentionLowering::loadPositions(ArrayRef<Value> rows) {
  for (Operation &op : *loop.loop->getBlock()) {
    auto gather = dyn_cast<tile::GatherOp>(op);
    if (!gather || gather.getColumn() || gather.getType().getDimSize(0) != loop.rows)
      continue;
    for (Value row : rows)
      if (!block.at(gather.getResult(), row))
        return failure();
  }
  return success();
}

LogicalResult AttentionLowering::build(llvm::function_ref<LogicalResult()> attend) {
  if (failed(evaluateScalars(program.getBody().front())))
    return failure();
  auto branch = dyn_cast<scf::IfOp>(loop.loop->getParentOp());
  bool isBranch = branch && branch->getParentOp() == program && !branch.elseBlock();
  if (!isBranch && loop.loop->getParentOp() != program)
    return loop.loop.emitError("stands in more than one branch without an else");
  LogicalResult result = success();
  auto build = [&] { result = success(succeeded(evaluateScalars(*loop.loop->getBlock())) && succeeded(attend())); };
  if (isBranch)
    b.ifThen(block.at(branch.getCondition()), build, [&] { cuda::DependOp::create(b); });
  else
    build();
  return result;
}

void AttentionLowering::addCacheMaps() {
  SmallVector<cuda::TensorMapAttr> maps;
  for (tile::GatherOp gather : {loop.keys, loop.values}) {
    // How many rows a cache has is known when the engine is loaded; page numbers are the host's.
    int64_t rowBytes = loop.headDim * shape.elementBytes;
    maps.push_back(cuda::TensorMapAttr::get(program.getContext(), cast<BlockArgument>(gather.getView()).getArgNumber(),
                                            queryType(), {rowBytes / 2, std::numeric_limits<int32_t>::max()},
                                            /*capacity=*/std::nullopt, /*strides=*/{rowBytes},
                                            /*box=*/{kMapColumns, kKeys},
                                            /*swizzle=*/kRowBytes, /*l2Promotion=*/256));
  }
  setTensorMaps(kernel, maps);
}

LogicalResult inlay::requireTile(tile::ProgramOp program, const AttentionLoop &loop) {
  tile::AttentionTile tile = *program.getScheduleAttr().getAttentionTile();
  if (loop.rows == tile.rows && loop.keysPerStep == tile.keys)
    return success();
  tile::DotOp scores = loop.scores;
  return scores.emitError("has ") << loop.rows << " rows x " << loop.keysPerStep << " keys, the schedule tiles of "
                                  << tile.rows << " x " << tile.keys << "; run tile-apply-schedule first";
}

LogicalResult inlay::requireRunsOfKeys(const AttentionLoop &loop) {
  tile::GatherOp keys = loop.keys;
  if (int64_t pageSize = pageSizeOf(loop); pageSize > 0 && pageSize % kKeys == 0)
    return success();
  return keys.emitError("gathers rows of pages that do not hold whole steps of ") << kKeys << " keys";
}

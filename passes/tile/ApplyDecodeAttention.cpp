//===- ApplyDecodeAttention.cpp - keys divided over warps and blocks -------===//
//
// Attention of few rows reads much and computes little. Each block of the cluster has a
// run of keys, and each of its warps every n-th step of them, with a maximum, a sum and
// outputs of its own. The parts of the warps and then of the blocks are merged.
//
// Products compute their transposes: 16 keys or columns of values are the rows of an
// instruction, and 8 queries its columns.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/ApplyAttention.h"
#include "passes/tile/Pipelining.h"

using namespace mlir;
using namespace inlay;

/// The transpose of a tile; of a constant, the same constant.
static Value transposed(ImplicitLocOpBuilder &b, Value tile) {
  auto type = cast<RankedTensorType>(tile.getType());
  auto turned = RankedTensorType::get({type.getDimSize(1), type.getDimSize(0)}, type.getElementType());
  SplatElementsAttr splat;
  if (matchPattern(tile, m_Constant(&splat)))
    return arith::ConstantOp::create(b, splat.resizeSplat(turned));
  return tile::TransposeOp::create(b, turned, tile);
}

/// Computes the transpose of a product: its right operand becomes the left one.
static void swapOperands(tile::DotOp dot) {
  ImplicitLocOpBuilder b(dot.getLoc(), dot);
  Value left = dot.getTransposeRhs() ? dot.getRhs() : transposed(b, dot.getRhs());
  Value sums = transposed(b, dot.getAccumulator());
  Value swapped = tile::DotOp::create(b, left, dot.getLhs(), sums, /*transpose_rhs=*/true);
  dot.getResult().replaceAllUsesWith(transposed(b, swapped));
  dot.erase();
}

/// Carries a sum for each column of a step of keys, and reduces them after the loop: lanes that have different keys
/// meet once, and not in each step.
static void reduceSumsAfterLoop(AttentionLoop &found) {
  scf::ForOp loop = found.loop;
  unsigned number = cast<OpResult>(found.finalSum).getResultNumber();
  BlockArgument carried = loop.getRegionIterArgs()[number];
  OpOperand &yielded = loop.getBody()->getTerminator()->getOpOperand(number);
  auto sum = yielded.get().getDefiningOp<arith::AddFOp>();
  auto scaled = sum.getLhs().getDefiningOp<arith::MulFOp>();
  Value scale = scaled.getLhs() == carried ? scaled.getRhs() : scaled.getLhs();

  ImplicitLocOpBuilder b(sum.getLoc(), loop);
  Type rows = carried.getType(), columns = found.weights.getType();
  loop.getInitArgsMutable()[number].assign(arith::ConstantOp::create(b, b.getZeroAttr(columns)));
  carried.setType(columns);
  b.setInsertionPoint(sum);
  Value scales = tile::BroadcastOp::create(b, cast<RankedTensorType>(columns), scale, /*axis=*/1);
  yielded.set(arith::AddFOp::create(b, arith::MulFOp::create(b, carried, scales), found.weights));
  Operation *reduced = sum.getRhs().getDefiningOp();
  for (Operation *op : {sum.getOperation(), scaled.getOperation(), reduced})
    op->erase();
  Value all = loop.getResult(number);
  all.setType(columns);
  b.setInsertionPointAfter(loop);
  auto total = tile::ReduceOp::create(b, rows, tile::Reduction::Add, all, /*axis=*/1);
  all.replaceAllUsesExcept(total, total);
  found.finalSum = total;
}

void inlay::divideKeysOverWarps(AttentionLoop &found, Value end, int64_t warps, int64_t writtenKeys, bool isCluster) {
  swapOperands(found.scores);
  swapOperands(found.outputs);
  reduceSumsAfterLoop(found);
  scf::ForOp loop = found.loop;
  ImplicitLocOpBuilder b(loop.getLoc(), loop);
  auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value).getResult(); };
  SmallVector<Value> parts{found.lastTop, found.finalSum, found.finalOut};
  auto ofWarps = tile::ForWarpsOp::create(b, warps, ValueRange{}, ValueRange(parts).getTypes());
  ValueRange merged = ofWarps.getResults();
  if (isCluster)
    merged = tile::ClusterMergeOp::create(b, merged).getResults();
  for (auto [part, whole] : llvm::zip_equal(parts, merged))
    part.replaceAllUsesWith(whole);

  b.setInsertionPointToEnd(&ofWarps.getBody().front());
  Value first = arith::MulIOp::create(b, ofWarps.getWarp(), index(found.keysPerStep));
  first = arith::AddIOp::create(b, loop.getLowerBound(), first);
  // A step that begins there or later may have one of the last keys, which launches of this step write.
  Value limit = arith::SubIOp::create(b, end, index(writtenKeys + found.keysPerStep - 1));
  Value step = index(warps * found.keysPerStep);
  tile::UnwrittenOp::create(b, limit);
  loop->moveBefore(&ofWarps.getBody().front(), ofWarps.getBody().front().end());
  loop.setLowerBound(first);
  loop.setStep(step);
  found.finalSum.getDefiningOp()->moveAfter(loop);
  tile::YieldOp::create(b, parts);
  sinkTiles(ofWarps.getBody());
}

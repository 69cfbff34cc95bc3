//===- ApplyAttention.cpp - attention in the tiles and blocks of its schedule ===//

#include "passes/tile/ApplyAttention.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/tile/AttentionSchedule.h"
#include "passes/tile/Retile.h"

using namespace mlir;
using namespace inlay;
using tile::Reduction;

/// Gives each block of the cluster a run of whole tiles of keys.
static void splitBounds(AttentionLoop &found, Value rank, int64_t cluster) {
  scf::ForOp loop = found.loop;
  ImplicitLocOpBuilder b(loop.getLoc(), loop);
  auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value); };
  Value from = loop.getLowerBound(), to = loop.getUpperBound();
  Value span = arith::SubIOp::create(b, to, from);
  Value tiles = arith::CeilDivSIOp::create(b, span, index(cluster * found.keysPerStep));
  Value share = arith::MulIOp::create(b, tiles, index(found.keysPerStep));
  Value first = arith::AddIOp::create(b, from, arith::MulIOp::create(b, rank, share));
  loop.setLowerBound(first);
  loop.setUpperBound(arith::MinSIOp::create(b, to, arith::AddIOp::create(b, first, share)));
}

/// Combines maxima, sums and outputs of the cluster's blocks after the loop.
static void mergeResults(AttentionLoop &found) {
  ImplicitLocOpBuilder b(found.loop.getLoc(), found.loop->getContext());
  b.setInsertionPointAfter(found.loop);
  Value top = tile::ClusterReduceOp::create(b, Reduction::Max, found.lastTop);
  Value weight = math::Exp2Op::create(b, arith::SubFOp::create(b, found.lastTop, top));
  auto merge = [&](Value own, Value factor) {
    Value scaled = arith::MulFOp::create(b, own, factor);
    Value merged = tile::ClusterReduceOp::create(b, Reduction::Add, scaled);
    own.replaceUsesWithIf(merged, [&](OpOperand &use) { return use.getOwner() != scaled.getDefiningOp(); });
  };
  // Ops after the loop that use the maximum (the logit of a sink) get the cluster's.
  Value difference = weight.getDefiningOp()->getOperand(0);
  found.lastTop.replaceUsesWithIf(top, [&](OpOperand &use) {
    Operation *user = use.getOwner();
    return user != found.loop && user != top.getDefiningOp() && user != difference.getDefiningOp();
  });
  merge(found.finalSum, weight);
  merge(found.finalOut, tile::BroadcastOp::create(b, found.finalOut.getType(), weight, /*axis=*/1));
}

/// Lets the first block of the cluster store, for all have the result.
static void storeOnce(AttentionLoop &found, Value rank) {
  ImplicitLocOpBuilder b(found.store.getLoc(), found.store);
  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rank, arith::ConstantIndexOp::create(b, 0).getResult());
  auto branch = scf::IfOp::create(b, isFirst, /*withElseRegion=*/false);
  found.store->moveBefore(branch.thenYield());
}

/// Splits the loop over keys over the blocks of the program's cluster. Returns a block's number.
static Value splitLoop(AttentionLoop &found, int64_t cluster) {
  OpBuilder builder(found.loop);
  Value rank = tile::ClusterRankOp::create(builder, found.loop.getLoc(), builder.getIndexType());
  splitBounds(found, rank, cluster);
  return rank;
}

/// Splits the keys over the blocks of a cluster, whose first one stores the results.
static void splitKeys(AttentionLoop &found, int64_t cluster) {
  Value rank = splitLoop(found, cluster);
  mergeResults(found);
  storeOnce(found, rank);
}

/// Splits the keys over the blocks of a cluster and their warps.
static void splitKeys(AttentionLoop &found, tile::DecodeAttentionAttr schedule) {
  Value end = found.loop.getUpperBound();
  int64_t cluster = schedule.getCluster();
  if (cluster > 1)
    splitLoop(found, cluster);
  divideKeysOverWarps(found, end, schedule.getWarps(), schedule.getQueryRows(), /*isCluster=*/cluster > 1);
}

/// Gives the program the tile of its schedule.
static LogicalResult retileAttention(tile::ProgramOp program, AttentionLoop &found, tile::AttentionTile tile) {
  Value scores = found.scores.getResult(), keys = found.keys.getResult();
  Retiling rows{scores, /*dimension=*/0, tile.rows, /*loop=*/{}, /*grid=*/{}};
  Retiling steps{keys, /*dimension=*/0, tile.keys, found.loop, /*grid=*/{}};
  if (failed(retile(program, rows)) || failed(retile(program, steps)))
    return failure();
  found.rows = tile.rows;
  found.keysPerStep = tile.keys;
  return success();
}

template <typename Op> static bool has(tile::ProgramOp program) {
  return program.walk([](Op) { return WalkResult::interrupt(); }).wasInterrupted();
}

LogicalResult inlay::applyAttention(tile::ProgramOp program) {
  tile::Schedule schedule = program.getScheduleAttr();
  std::optional<tile::AttentionTile> tile = schedule.getAttentionTile();
  auto decode = dyn_cast<tile::DecodeAttentionAttr>(schedule);
  if (decode && has<tile::ForWarpsOp>(program))
    return success(); // applied already
  bool isSplit = has<tile::ClusterRankOp>(program);
  // Of the programs that the generic lowering takes, attention has products; others divide their work themselves.
  bool isGeneric = isa<tile::GenericAttr>(schedule) && schedule.getClusterBlocks() > 1 && has<tile::DotOp>(program);
  if (!tile && (!isGeneric || isSplit))
    return success();
  if (decode && isSplit)
    return program.emitError("divides its keys among the blocks of a cluster, and not among their warps; expected a "
                             "program without tile.cluster_rank for the schedule ")
           << schedule;
  // One that is not split yet is found as if a block were alone.
  if (!isSplit)
    program.removeScheduleAttr();
  FailureOr<AttentionLoop> found = findAttentionLoop(program);
  program.setScheduleAttr(schedule);
  if (failed(found))
    return failure();
  bool isRetiled = tile && (found->rows != tile->rows || found->keysPerStep != tile->keys);
  if (isRetiled && isSplit)
    return found->scores.emitError("has ")
           << found->rows << " rows x " << found->keysPerStep
           << " keys and is split over a cluster; the schedule has tiles of " << tile->rows << " x " << tile->keys;
  if (isRetiled && failed(retileAttention(program, *found, *tile)))
    return failure();
  if (decode && failed(requireDecodeAttention(*found)))
    return failure();
  if (decode)
    splitKeys(*found, decode);
  else if (!isSplit && schedule.getClusterBlocks() > 1)
    splitKeys(*found, schedule.getClusterBlocks());
  return success();
}

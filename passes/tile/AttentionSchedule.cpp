//===- AttentionSchedule.cpp - how attention's program is run on a chip ----===//

#include "passes/tile/AttentionSchedule.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace mlir;
using namespace inlay;

tile::DecodeAttentionAttr inlay::chooseDecodeAttention(const AttentionShape &shape, int64_t cluster,
                                                       tile::TargetAttr target) {
  // A thread's sums: 4 for each 16 columns and 8 rows. Where they are many, fewer warps have more registers.
  int64_t accumulators = (shape.headDim + 15) / 16 * 4 * ((shape.rows + 7) / 8);
  int64_t warps = accumulators > 32 ? 4 : 8, slots = target.costs().getSlots();
  // What is left beside the rings is for barriers and the merge.
  constexpr int64_t besideRings = 12 * 1024;
  int64_t bytes = target.slotSharedBytes(slots) - besideRings;
  int64_t stages = std::clamp<int64_t>(bytes / (warps * shape.stepBytes()), 2, 8);
  return tile::DecodeAttentionAttr::get(target.getContext(), /*query_rows=*/1, shape.rows, shape.keysPerStep, warps,
                                        stages, slots, cluster);
}

bool inlay::isDecodeAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows <= 16 && shape.headDim % 8 == 0 && shape.headDim >= 16 && shape.headDim <= 256 &&
         pageSize % shape.keysPerStep == 0;
}

tile::PrefillAttentionAttr inlay::choosePrefillAttention(const AttentionShape &shape, int64_t queryRows,
                                                         tile::TargetAttr target) {
  constexpr int64_t besideRings = 1024; // barriers
  int64_t queries = shape.slabs() * AttentionShape::slabColumns * 2 * shape.rows;
  int64_t stages =
      std::clamp<int64_t>((target.getBlockSharedBytes() - queries - besideRings) / (2 * shape.stepBytes()), 1, 2);
  // Of the 65536 of a multiprocessor, 512 for a thread of each warpgroup.
  int64_t consumers = shape.rows / kConsumerRows, producerRegisters = 24;
  int64_t consumerRegisters = std::min<int64_t>(240, llvm::alignDown((512 - producerRegisters) / consumers, 8));
  return tile::PrefillAttentionAttr::get(target.getContext(), queryRows, shape.rows, shape.keysPerStep, consumers,
                                         stages, producerRegisters, consumerRegisters);
}

bool inlay::isPrefillAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows % kConsumerRows == 0 && shape.rows >= kConsumerRows &&
         shape.rows <= kConsumerRows * AttentionShape::mostConsumers &&
         shape.keysPerStep % AttentionShape::keysPerCopy == 0 && shape.keysPerStep <= AttentionShape::mostKeys &&
         shape.headDim % 8 == 0 && shape.headDim >= 16 && shape.headDim <= 128 &&
         pageSize % AttentionShape::keysPerCopy == 0;
}

int64_t inlay::chooseAttentionCluster(int64_t kvHeads, int64_t sequences, tile::TargetAttr target) {
  constexpr int64_t most = 16;
  tile::CostModelAttr costs = target.costs();
  auto fits = [&](int64_t cluster) {
    int64_t resident = sequences <= costs.getSpreadSequences() ? target.getMultiprocessors()
                                                               : target.residentBlocks(cluster, costs.getSlots());
    return cluster * kvHeads * sequences <= resident;
  };
  int64_t cluster = most;
  while (cluster > 1 && !fits(cluster))
    cluster /= 2;
  return cluster;
}

AttentionShape inlay::shapeOf(const AttentionLoop &loop) { return {loop.rows, loop.keysPerStep, loop.headDim}; }

/// Begins an error that says what `loop` has.
static InFlightDiagnostic refuse(const AttentionLoop &loop) {
  tile::DotOp scores = loop.scores;
  return scores.emitError("has ") << loop.rows << " rows, " << loop.keysPerStep << " keys a step and heads of "
                                  << loop.headDim;
}

static bool isHalf(const AttentionLoop &loop) {
  tile::GatherOp keys = loop.keys;
  return keys.getView().getType().getElementType().getIntOrFloatBitWidth() == 16;
}

LogicalResult inlay::requireDecodeAttention(const AttentionLoop &loop) {
  if (loop.keysPerStep == AttentionShape::keysPerCopy && isHalf(loop) &&
      isDecodeAttention(shapeOf(loop), AttentionShape::keysPerCopy))
    return success();
  return refuse(loop) << "; the family decode_attention takes up to 16 rows, " << AttentionShape::keysPerCopy
                      << " keys a step and heads of 16 to 256 in 8s, in 16 bits";
}

LogicalResult inlay::requirePrefillAttention(const AttentionLoop &loop) {
  if (isHalf(loop) && isPrefillAttention(shapeOf(loop), AttentionShape::keysPerCopy))
    return success();
  return refuse(loop) << "; the family prefill_attention takes " << kConsumerRows << " rows for each of up to "
                      << AttentionShape::mostConsumers << " consumers, up to " << AttentionShape::mostKeys
                      << " keys a step in " << AttentionShape::keysPerCopy
                      << "s, and heads of 16 to 128 in 8s, in 16 bits";
}

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
  int64_t bytes = target.slotSharedBytes(slots) - kDecodeBesideRings;
  int64_t stages = std::clamp<int64_t>(bytes / (warps * shape.stepBytes()), 2, 8);
  return tile::DecodeAttentionAttr::get(target.getContext(), /*query_rows=*/1, shape.rows, shape.keysPerStep, warps,
                                        stages, slots, cluster);
}

bool inlay::isDecodeAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows <= 16 && shape.headDim % shape.decodeColumns() == 0 && shape.headDim >= 16 &&
         shape.headDim <= 256 && pageSize % shape.keysPerStep == 0;
}

namespace {
/// Registers of a thread that fetches, and of one that multiplies.
struct RoleRegisters {
  int64_t producer, consumer;
};
} // namespace

/// Most for the consumers, which hold scores and outputs.
static RoleRegisters prefillRegisters(const AttentionShape &shape) {
  // What widens has the codes of several loads, or ptxas puts each load after the one before has been widened: at 40
  // registers, a warp waited for memory four times as often.
  constexpr int64_t warpgroup = 128, toWiden = 56, toCopy = 24, mostToCopy = 40, mostConsumer = 240;
  int64_t leastProducer = shape.widens ? toWiden : toCopy, mostProducer = shape.widens ? toWiden : mostToCopy;
  int64_t consumers = shape.rows / kConsumerRows, pool = tile::registerPool(warpgroup * (1 + consumers)) / warpgroup;
  int64_t consumer = std::min<int64_t>(mostConsumer, llvm::alignDown((pool - leastProducer) / consumers, 8));
  return {std::min<int64_t>(mostProducer, pool - consumers * consumer), consumer};
}

/// Tiles of keys, and as many of values, in shared memory beside the queries.
static int64_t prefillStages(const AttentionShape &shape, tile::TargetAttr target) {
  int64_t queries = shape.slabs() * AttentionShape::slabBytes * shape.rows;
  return std::min<int64_t>(2, (target.getBlockSharedBytes() - queries - kPrefillBesideRings) / (2 * shape.stepBytes()));
}

bool inlay::hasPrefillRegisters(const AttentionShape &shape) {
  // A thread has outputs and scores of half a column each, and pairs of weights; and addresses, maxima and sums.
  constexpr int64_t besides = 44;
  int64_t outputs = llvm::alignTo(shape.headDim, 32) / 2, keys = shape.keysPerStep;
  return outputs + keys / 2 + keys / 4 + besides <= prefillRegisters(shape).consumer;
}

int64_t inlay::choosePrefillKeys(const AttentionShape &shape, tile::TargetAttr target) {
  for (int64_t keys : llvm::reverse(kPrefillKeys)) {
    AttentionShape taken = shape;
    taken.keysPerStep = keys;
    if (keys <= shape.keysPerStep && hasPrefillRegisters(taken) && prefillStages(taken, target) == 2)
      return keys;
  }
  return std::min<int64_t>(shape.keysPerStep, 16);
}

tile::PrefillAttentionAttr inlay::choosePrefillAttention(const AttentionShape &shape, int64_t queryRows,
                                                         tile::TargetAttr target) {
  RoleRegisters registers = prefillRegisters(shape);
  return tile::PrefillAttentionAttr::get(target.getContext(), queryRows, shape.rows, shape.keysPerStep,
                                         shape.rows / kConsumerRows, std::max<int64_t>(1, prefillStages(shape, target)),
                                         registers.producer, registers.consumer);
}

bool inlay::isPrefillAttention(const AttentionShape &shape, int64_t pageSize) {
  return shape.rows % kConsumerRows == 0 && shape.rows >= kConsumerRows &&
         shape.rows <= kConsumerRows * AttentionShape::mostConsumers &&
         shape.keysPerStep % AttentionShape::keysPerCopy == 0 && shape.keysPerStep <= AttentionShape::mostKeys &&
         shape.headDim % 8 == 0 && shape.headDim >= 16 && shape.headDim <= AttentionShape::mostHead &&
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

/// Bytes of an element of what `gather` reads.
static int64_t elementBytes(tile::GatherOp gather) {
  return gather.getView().getType().getElementType().getIntOrFloatBitWidth() / 8;
}

AttentionShape inlay::shapeOf(const AttentionLoop &loop) {
  return {loop.rows, loop.keysPerStep, loop.headDim, elementBytes(loop.keys)};
}

/// Begins an error that says what `loop` has.
static InFlightDiagnostic refuse(const AttentionLoop &loop) {
  tile::DotOp scores = loop.scores;
  return scores.emitError("has ") << loop.rows << " rows, " << loop.keysPerStep << " keys a step and heads of "
                                  << loop.headDim;
}

LogicalResult inlay::requireDecodeAttention(const AttentionLoop &loop) {
  if (loop.keysPerStep == AttentionShape::keysPerCopy && elementBytes(loop.queries) == 2 &&
      elementBytes(loop.keys) <= 2 && isDecodeAttention(shapeOf(loop), AttentionShape::keysPerCopy))
    return success();
  return refuse(loop) << "; the family decode_attention takes up to 16 rows, " << AttentionShape::keysPerCopy
                      << " keys a step and heads of 16 to 256 in 8s, in 16 bits, or in 32s with keys of 8 bits";
}

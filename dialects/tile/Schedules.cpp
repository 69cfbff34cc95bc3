//===- Schedules.cpp - what the numbers of a schedule must fulfil ----------===//

#include "dialects/tile/Tile.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay::tile;

#include "dialects/tile/TileInterfaces.cpp.inc"

using EmitError = function_ref<InFlightDiagnostic()>;

int64_t inlay::tile::registerPool(int64_t threads) {
  constexpr int64_t ofMultiprocessor = 65536;
  return threads * llvm::alignDown(ofMultiprocessor / threads, 8);
}

namespace {
struct Bounds {
  StringRef name;
  int64_t value, least, most;
};
} // namespace

static constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

/// The first number outside of its range is an error.
static LogicalResult verifyRanges(EmitError emitError, std::initializer_list<Bounds> ranges) {
  for (const Bounds &range : ranges) {
    if (range.least <= range.value && range.value <= range.most)
      continue;
    InFlightDiagnostic diagnostic = emitError() << "has " << range.name << " of " << range.value << ", expected ";
    if (range.least == range.most)
      return diagnostic << range.least;
    if (range.most == kMost)
      return diagnostic << "at least " << range.least;
    return diagnostic << range.least << " to " << range.most;
  }
  return success();
}

/// setmaxnreg takes multiples of 8, and the warpgroups share the registers that the launch gives them.
static LogicalResult verifyRegisters(EmitError emitError, int64_t consumers, int64_t producer, int64_t consumer) {
  for (int64_t registers : {producer, consumer})
    if (registers % 8 != 0 || registers < 24 || registers > 256)
      return emitError() << "gives " << registers << " registers to a thread, expected a multiple of 8 from 24 to 256";
  int64_t registers = 128 * (producer + consumers * consumer), pool = registerPool(128 * (1 + consumers));
  if (registers > pool)
    return emitError() << "needs " << registers << " registers, expected at most " << pool;
  return success();
}

LogicalResult StreamAttr::verify(EmitError emitError, int64_t blocks, int64_t warps, int64_t tileColumns, int64_t tileK,
                                 int64_t stages, int64_t tiles, int64_t rows, int64_t depth, int64_t slots,
                                 int64_t sharedBytes) {
  if (rows != 1 && rows != 8 && rows != 16)
    return emitError() << "has rows of " << rows << ", expected 1, 8 or 16";
  if (tileColumns != 8 && tileColumns != 16)
    return emitError() << "has tile_columns of " << tileColumns << ", expected 8 or 16";
  if (tileK % kAtomColumns != 0)
    return emitError() << "has tile_k of " << tileK << ", expected a multiple of " << kAtomColumns;
  return verifyRanges(emitError, {{"blocks", blocks, 1, kMost},
                                  {"warps", warps, 1, 32},
                                  {"tile_k", tileK, kAtomColumns, 1024},
                                  {"stages", stages, 1, 16},
                                  {"tiles", tiles, 1, 16},
                                  {"depth", depth, 1, 4},
                                  {"slots", slots, 1, 32},
                                  {"shared_bytes", sharedBytes, 1, kMost}});
}

int64_t StreamAttr::share(int64_t k) const { return llvm::divideCeil(llvm::divideCeil(k, getTileK()), getWarps()); }

LogicalResult GemmAttr::verify(EmitError emitError, int64_t blocks, int64_t tileRows, int64_t tileColumns,
                               int64_t tileK, int64_t stages, int64_t consumers, int64_t producerRegisters,
                               int64_t consumerRegisters) {
  if (failed(verifyRanges(emitError, {{"blocks", blocks, 1, kMost},
                                      {"consumers", consumers, 1, 3},
                                      {"tile_rows", tileRows, 64 * consumers, 64 * consumers},
                                      {"stages", stages, 2, 16}})))
    return failure();
  if (tileK != kAtomColumns && tileK != kSlabBytes)
    return emitError() << "has tile_k of " << tileK << ", expected " << kAtomColumns << ", or " << kSlabBytes
                       << " elements of 8 bits";
  if (tileColumns != 128 && tileColumns != 256)
    return emitError() << "has tile_columns of " << tileColumns << ", expected 128 or 256";
  return verifyRegisters(emitError, consumers, producerRegisters, consumerRegisters);
}

int64_t inlay::tile::swapAbTileRows(int64_t rows) {
  return rows <= 16 ? 16 : static_cast<int64_t>(llvm::alignTo(rows, 32));
}

LogicalResult SwapAbAttr::verify(EmitError emitError, int64_t tileRows, int64_t tileColumns, int64_t tileK,
                                 int64_t consumers, int64_t split, int64_t slots, int64_t stages, int64_t sharedBytes) {
  // Registers of a multiprocessor bound the warpgroups; those that unpack codes need more of them.
  bool areCodes = tileK > kAtomColumns;
  if ((areCodes && consumers == 3) || (consumers > 2 && (slots != 1 || tileRows > 64)))
    return emitError() << "has " << consumers << " consumers for " << tileRows << " rows in " << slots
                       << " slots; expected 1, 2, or " << (areCodes ? "4" : "3 to 7")
                       << " for up to 64 rows in one slot";
  if (tileRows < 1 || tileRows > 256 || tileRows != swapAbTileRows(tileRows))
    return emitError() << "has tile_rows of " << tileRows << ", expected 16, or 32 to 256 in steps of 32";
  return verifyRanges(emitError, {{"consumers", consumers, 1, areCodes ? 4 : 7},
                                  {"tile_columns", tileColumns, 64 * consumers, 64 * consumers},
                                  {"tile_k", tileK, kAtomColumns, 2 * kAtomColumns},
                                  {"split", split, 1, 8},
                                  {"slots", slots, 1, 2},
                                  {"stages", stages, 2, 16},
                                  {"shared_bytes", sharedBytes, 1, kMost}});
}

int64_t SwapAbAttr::share(int64_t k) const { return llvm::divideCeil(llvm::divideCeil(k, getTileK()), getSplit()); }

bool SwapAbAttr::givesEachBlockSteps(int64_t k) const {
  return (getSplit() - 1) * share(k) < static_cast<int64_t>(llvm::divideCeil(k, getTileK()));
}

/// Blocks of a cluster: sizes that the launch of the cuda dialect takes.
static LogicalResult verifyCluster(EmitError emitError, int64_t cluster) {
  if ((cluster >= 1 && cluster <= 8) || cluster == 16)
    return success();
  return emitError() << "has a cluster of " << cluster << " blocks, expected 1 to 8, or 16";
}

LogicalResult DecodeAttentionAttr::verify(EmitError emitError, int64_t queryRows, int64_t tileRows, int64_t tileKeys,
                                          int64_t warps, int64_t stages, int64_t slots, int64_t cluster) {
  if (failed(verifyRanges(emitError, {{"tile_rows", tileRows, 1, 16},
                                      {"query_rows", queryRows, 1, tileRows},
                                      {"tile_keys", tileKeys, 16, 16},
                                      {"warps", warps, 1, 32},
                                      {"stages", stages, 2, 16},
                                      {"slots", slots, 1, 32}})))
    return failure();
  return verifyCluster(emitError, cluster);
}

LogicalResult PrefillAttentionAttr::verify(EmitError emitError, int64_t queryRows, int64_t tileRows, int64_t tileKeys,
                                           int64_t consumers, int64_t stages, int64_t producerRegisters,
                                           int64_t consumerRegisters) {
  if (failed(verifyRanges(emitError, {{"consumers", consumers, 1, 3},
                                      {"tile_rows", tileRows, 64 * consumers, 64 * consumers},
                                      {"query_rows", queryRows, 1, tileRows},
                                      {"tile_keys", tileKeys, 16, 256},
                                      {"stages", stages, 1, 16}})))
    return failure();
  if (tileKeys % 16 != 0)
    return emitError() << "has tile_keys of " << tileKeys << ", expected a multiple of 16";
  return verifyRegisters(emitError, consumers, producerRegisters, consumerRegisters);
}

LogicalResult GenericAttr::verify(EmitError emitError, int64_t cluster, int64_t slots, int64_t queryRows,
                                  int64_t tileRows, int64_t tileKeys) {
  if (failed(verifyRanges(emitError, {{"slots", slots, 1, 32}})))
    return failure();
  if (queryRows || tileRows || tileKeys)
    if (failed(verifyRanges(emitError, {{"tile_rows", tileRows, 1, kMost},
                                        {"query_rows", queryRows, 1, tileRows},
                                        {"tile_keys", tileKeys, 1, kMost}})))
      return failure();
  return verifyCluster(emitError, cluster);
}

//===----------------------------------------------------------------------===//
// What all schedules say
//===----------------------------------------------------------------------===//

int64_t SwapAbAttr::getClusterBlocks() const { return getSplit(); }
int64_t DecodeAttentionAttr::getClusterBlocks() const { return getCluster(); }
int64_t GenericAttr::getClusterBlocks() const { return getCluster(); }

std::optional<PipelineShape> SwapAbAttr::getPipeline() const {
  PipelineShape shape{.stages = getStages(),
                      .producers = 1,
                      .consumers = 4 * getConsumers(),
                      .streamsWeights = true,
                      .slots = getSlots(),
                      .sharedBytes = getSharedBytes()};
  // Codes become pairs in registers beside the sums; a warpgroup that fetches leaves its registers to the others.
  bool areCodes = getTileK() > kAtomColumns,
       isFull = getConsumers() > 2 || (getConsumers() == 2 && getTileRows() > 128);
  if (areCodes && isFull) {
    shape.producers = 4;
    shape.producerRegisters = getConsumers() > 2 ? 64 : 56;
    shape.consumerRegisters = getConsumers() > 2 ? 104 : 224;
  }
  return shape;
}
std::optional<PipelineShape> StreamAttr::getPipeline() const {
  return PipelineShape{.stages = getStages(),
                       .producers = 0,
                       .consumers = getWarps(),
                       .streamsWeights = true,
                       .slots = getSlots(),
                       .sharedBytes = getSharedBytes()};
}
std::optional<PipelineShape> GemmAttr::getPipeline() const {
  return PipelineShape{getStages(), /*producers=*/4, /*consumers=*/4 * getConsumers(), getProducerRegisters(),
                       getConsumerRegisters()};
}

std::optional<PipelineShape> PrefillAttentionAttr::getPipeline() const {
  return PipelineShape{.stages = getStages(),
                       .producers = 4,
                       .consumers = 4 * getConsumers(),
                       .producerRegisters = getProducerRegisters(),
                       .consumerRegisters = getConsumerRegisters(),
                       .products = 2,
                       .takesTurns = getConsumers() > 1};
}

std::optional<PipelineShape> DecodeAttentionAttr::getPipeline() const {
  return PipelineShape{
      .stages = getStages(), .producers = 0, .consumers = getWarps(), .products = 2, .slots = getSlots()};
}

std::optional<AttentionTile> DecodeAttentionAttr::getAttentionTile() const {
  return AttentionTile{getQueryRows(), getTileRows(), getTileKeys()};
}
std::optional<AttentionTile> PrefillAttentionAttr::getAttentionTile() const {
  return AttentionTile{getQueryRows(), getTileRows(), getTileKeys()};
}
std::optional<AttentionTile> GenericAttr::getAttentionTile() const {
  if (!getTileRows())
    return std::nullopt;
  return AttentionTile{getQueryRows(), getTileRows(), getTileKeys()};
}

int64_t inlay::tile::clusterOf(ProgramOp program) {
  Schedule schedule = program.getScheduleAttr();
  return schedule ? schedule.getClusterBlocks() : 1;
}

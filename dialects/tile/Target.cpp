//===- Target.cpp - what passes know of a chip -----------------------------===//

#include "dialects/tile/Tile.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace inlay::tile;

/// The architecture that knownTarget knows.
static constexpr llvm::StringLiteral kKnownArch = "sm_90a";

int64_t TargetAttr::slotSharedBytes(int64_t slots) const {
  return std::min(getSharedBytes() / slots - getReservedSharedBytes(), getBlockSharedBytes());
}

CostModelAttr TargetAttr::costs() const {
  return getCostModel() ? getCostModel() : knownTarget(getContext(), getArch()).getCostModel();
}

/// A cluster stays within one of the chip's parts, whose numbers of multiprocessors differ; what does not fit waits for
/// a second round.
int64_t TargetAttr::residentBlocks(int64_t cluster, int64_t slots) const {
  return slots * getMultiprocessors() * (cluster <= 2 ? 100 : costs().getClusteredPercent()) / 100;
}

LogicalResult CostModelAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t slots,
                                    int64_t clusteredPercent, int64_t memoryBytes, int64_t cacheBytes, int64_t products,
                                    int64_t roundTrip, int64_t clusterWait, int64_t streamingRows,
                                    int64_t scaledColumns, int64_t splitNormRows, int64_t prefillRows,
                                    int64_t prefillKeys, int64_t spreadSequences, int64_t oneShotPairBytes,
                                    int64_t oneShotBytes, int64_t gatherBytes, int64_t prologueSumRows,
                                    int64_t sumKernel) {
  if (clusteredPercent < 1 || clusteredPercent > 100)
    return emitError() << "has clustered_percent of " << clusteredPercent << ", expected 1 to 100";
  if (streamingRows > 16)
    return emitError() << "has streaming_rows of " << streamingRows << ", expected at most the 16 of one product";
  if (prefillRows < 64 || prefillRows > 192 || prefillRows % 64 != 0)
    return emitError() << "has prefill_rows of " << prefillRows << ", expected 64, 128 or 192";
  if (prefillKeys < 16 || prefillKeys > 256 || prefillKeys % 16 != 0)
    return emitError() << "has prefill_keys of " << prefillKeys << ", expected 16 to 256 in steps of 16";
  if (prologueSumRows > 1)
    return emitError() << "has prologue_sum_rows of " << prologueSumRows
                       << ", expected 0 or 1: kernels stage one row before their product";
  for (auto [name, value] :
       {std::pair("slots", slots), std::pair("memory_bytes", memoryBytes), std::pair("cache_bytes", cacheBytes),
        std::pair("products", products), std::pair("round_trip", roundTrip)})
    if (value < 1)
      return emitError() << "has " << name << " of " << value << ", expected at least 1";
  for (auto [name, value] :
       {std::pair("cluster_wait", clusterWait), std::pair("streaming_rows", streamingRows),
        std::pair("scaled_columns", scaledColumns), std::pair("split_norm_rows", splitNormRows),
        std::pair("spread_sequences", spreadSequences), std::pair("one_shot_pair_bytes", oneShotPairBytes),
        std::pair("one_shot_bytes", oneShotBytes), std::pair("gather_bytes", gatherBytes),
        std::pair("prologue_sum_rows", prologueSumRows), std::pair("sum_kernel", sumKernel)})
    if (value < 0)
      return emitError() << "has " << name << " of " << value << ", expected at least 0";
  return success();
}

LogicalResult TargetAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef arch, int64_t multiprocessors,
                                 int64_t sharedBytes, int64_t reservedSharedBytes, int64_t blockSharedBytes,
                                 CostModelAttr costModel) {
  if (!costModel && arch != kKnownArch)
    return emitError() << "a target of the unknown architecture " << arch << " needs a cost_model; known is "
                       << kKnownArch;
  if (multiprocessors <= 0)
    return emitError() << "a target has at least one multiprocessor, found " << multiprocessors;
  if (costModel && sharedBytes / costModel.getSlots() <= reservedSharedBytes)
    return emitError() << "has no shared memory for the " << costModel.getSlots() << " slots of its cost model";
  if (blockSharedBytes <= 0 || reservedSharedBytes < 0 || blockSharedBytes > sharedBytes - reservedSharedBytes)
    return emitError() << "a block has at most the " << sharedBytes << " bytes of a multiprocessor less the "
                       << reservedSharedBytes << " reserved ones, found " << blockSharedBytes;
  return success();
}

/// Measured on an H200 in bfloat16, with weights out of cache:
/// - slots: while one block waits for its predecessor, the ring of the other block keeps the memory busy. A
///   chain of decode kernels reaches .89 of the read bandwidth with one slot, .93 with two, .89 with three.
/// - clustered_percent: 264 slots have room for 132 clusters of 2, 79 of 3, 62 of 4 and 30 of 8
///   (cuOccupancyMaxActiveClusters).
/// - round_trip, cluster_wait, products: fitted to QKV, O and down of Llama 3.1 8B and Llama 3.2 1B at 16 to
///   256 rows. For each of these 30 cases, the model chooses the fastest of seven schedules, or one that is at
///   most 5 % slower.
/// - streaming_rows: with 16 rows, matvec needs no more registers, but each warp loads all rows that it needs.
///   A step of 8B with 16 rows takes 4.95 ms with matvec and 4.50 with swap_ab; with 8 rows 4.18 and 4.44.
/// - scaled_columns: if a norm scales several rows, matvec scales them again in each pass over the rows, and
///   short rows have many passes. With 8 rows, 1B (K 2048): QKV takes 6.2 us with matvec and 4.1 with swap_ab,
///   gate and up 20.7 and 14.6, the norm as a kernel of its own 1.4. 8B (K 4096): 14.9 and 13.9, 55.9 and 58.3,
///   2.
/// - split_norm_rows: steps of 8B with norms split between two products, and with norms as kernels of their own: 16
/// rows
///   4.15 and 4.22 ms, 32 rows 4.50 and 4.53, 64 rows 5.31 and 5.34, 128 rows 7.07 and 6.99, 256 rows 12.10 and 11.78.
/// - spread_sequences: at 512 tokens each, attention of 2 and 4 sequences takes 3.7 us with one block a
///   multiprocessor and 7.4 with two, because all blocks start at once beside the previous kernel. With 8 and
///   more sequences, two blocks balance ragged lengths better. With 8, 64 clusters of 4 blocks, two more than
///   fit, took 12.1 us, 64 of 2 take 9.
/// - one_shot_pair_bytes, one_shot_bytes: where a sum in one shot takes as long as NCCL without multicast. Two
/// H200s: 2.9 us
///   for 256 KiB, 6.1 for 1 MiB, 11.9 for 2 MiB, NCCL 33.5. Four: 7.5 us for 512 KiB, 14.5 for 1 MiB, NCCL 25.3.
/// - gather_bytes: rounds of 8 MiB gather at half of the rate of the links (two H200s, 256 rows of logits: 360 us).
/// - prologue_sum_rows, sum_kernel: a kernel of a sum of one row takes 2.3 us, but in a step of two H200s it costs less
/// than a prologue that receives the sum: 8B 2.10 and 2.14 ms, 70B 16.72 and 16.75. So llm-form-groups joins them by an
/// option only.
static CostModelAttr costsOfH200(MLIRContext *context) {
  return CostModelAttr::get(context, /*slots=*/2, /*clustered_percent=*/88, /*memory_bytes=*/4400,
                            /*cache_bytes=*/5500, /*products=*/2500, /*round_trip=*/2500, /*cluster_wait=*/500,
                            /*streaming_rows=*/8, /*scaled_columns=*/2048, /*split_norm_rows=*/64,
                            /*prefill_rows=*/128, /*prefill_keys=*/128,
                            /*spread_sequences=*/4, /*one_shot_pair_bytes=*/2 << 20, /*one_shot_bytes=*/512 << 10,
                            /*gather_bytes=*/8 << 20, /*prologue_sum_rows=*/1, /*sum_kernel=*/2300);
}

TargetAttr inlay::tile::knownTarget(MLIRContext *context, StringRef arch) {
  // H100 and H200 SXM; CUDA C++ Programming Guide, "Compute Capability 9.0".
  if (arch == kKnownArch)
    return TargetAttr::get(context, arch, /*multiprocessors=*/132, /*shared_bytes=*/228 * 1024,
                           /*reserved_shared_bytes=*/1024, /*block_shared_bytes=*/227 * 1024, costsOfH200(context));
  return TargetAttr();
}

TargetAttr inlay::tile::targetOf(Operation *op) {
  for (Operation *outer = op; outer; outer = outer->getParentOp())
    if (auto target = outer->getAttrOfType<TargetAttr>(kTargetAttr))
      return target;
  return knownTarget(op->getContext(), kKnownArch);
}

LogicalResult TileDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() == kWarpsAttr) {
    auto warps = dyn_cast<IntegerAttr>(attribute.getValue());
    if (!isa<ProgramOp>(op) || !warps || warps.getInt() < 1 || warps.getInt() > 32)
      return op->emitError() << "has " << kWarpsAttr << " = " << attribute.getValue()
                             << "; expected 1 to 32 warps, on a tile.program";
    return success();
  }
  if (attribute.getName() != kTargetAttr)
    return success();
  if (!isa<ModuleOp>(op))
    return op->emitError() << "has " << kTargetAttr << ", which stands on a module";
  if (!isa<TargetAttr>(attribute.getValue()))
    return op->emitError() << "has " << kTargetAttr << " = " << attribute.getValue() << ", expected #tile.target<...>";
  return success();
}

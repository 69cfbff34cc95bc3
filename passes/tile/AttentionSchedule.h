//===- AttentionSchedule.h - how attention's program is run on a chip ------===//
//
// The analytic model of attention: from the shape of a program and a chip to a
// schedule, and which shapes the families of attention take.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_ATTENTIONSCHEDULE_H
#define INLAY_PASSES_TILE_ATTENTIONSCHEDULE_H

#include "passes/tile/AttentionLoop.h"

namespace inlay {
struct AttentionShape {
  int64_t rows = 0; // queries of a block
  int64_t keysPerStep = 0, headDim = 0;
  int64_t elementBytes = 2; // of keys and values in shared memory
  bool widens = false;      // the warps that fetch widen keys and values (prefill_attention)

  /// Columns as they lie in shared memory: slabs of 128 bytes.
  static constexpr int64_t slabBytes = 128;
  static constexpr int64_t keysPerCopy = 16; // neighbours in one page
  static constexpr int64_t mostKeys = 256;   // of a product of wgmma
  static constexpr int64_t mostConsumers = 3;
  static constexpr int64_t mostHead = 256; // of the family prefill_attention
  int64_t slabColumns() const { return slabBytes / elementBytes; }
  int64_t slabs() const { return (headDim + slabColumns() - 1) / slabColumns(); }
  int64_t stepBytes() const { return slabs() * slabBytes * keysPerStep; }
  /// Heads of the family decode_attention have a multiple of so many columns: copies bring 16 bytes, and products read
  /// 32 columns of 8 bits together.
  int64_t decodeColumns() const { return elementBytes == 1 ? 32 : 8; }
};

/// Shared memory beside the rings of the family decode_attention: barriers and the merge; of prefill_attention:
/// barriers.
inline constexpr int64_t kDecodeBesideRings = 12 * 1024, kPrefillBesideRings = 1024;

/// Keys of a step that the family prefill_attention has a product for, and more than the least.
inline constexpr int64_t kPrefillKeys[] = {32, 64, 80, 96, 128, 160, 192, 224, 256};

/// Query rows of a consumer of the family prefill_attention.
inline constexpr int64_t kConsumerRows = 64;

/// For query tiles of one row. `cluster`: see chooseAttentionCluster.
tile::DecodeAttentionAttr chooseDecodeAttention(const AttentionShape &shape, int64_t cluster, tile::TargetAttr target);
/// Whether the scores and outputs of `shape` fit the registers of the family prefill_attention, by an estimate.
bool hasPrefillRegisters(const AttentionShape &shape);
/// Keys of a step of the family prefill_attention: as many as registers and shared memory have room for, at most those
/// of `shape`.
int64_t choosePrefillKeys(const AttentionShape &shape, tile::TargetAttr target);
tile::PrefillAttentionAttr choosePrefillAttention(const AttentionShape &shape, int64_t queryRows,
                                                  tile::TargetAttr target);

/// Blocks that share the keys of a query tile in decode steps of up to `sequences` sequences: as many as fit the chip
/// at once when all of them run, each with a tile for `kvHeads` heads of keys.
int64_t chooseAttentionCluster(int64_t kvHeads, int64_t sequences, tile::TargetAttr target);

/// Whether the family decode_attention takes queries of this shape over pages of `pageSize` positions.
bool isDecodeAttention(const AttentionShape &shape, int64_t pageSize);
/// The same of the family prefill_attention.
bool isPrefillAttention(const AttentionShape &shape, int64_t pageSize);

AttentionShape shapeOf(const AttentionLoop &loop);
/// Fails with a diagnostic unless the family decode_attention takes `loop`, as far as its types say.
mlir::LogicalResult requireDecodeAttention(const AttentionLoop &loop);
} // namespace inlay

#endif // INLAY_PASSES_TILE_ATTENTIONSCHEDULE_H

//===- AttentionConfig.h - how attention's program is run on a chip --------===//
//
// From the shape of a program and a chip to the numbers of its pipeline, which stand
// on the program as its attribute `config`, as those of linear layers do.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_ATTENTIONCONFIG_H
#define INLAY_PASSES_TILE_ATTENTIONCONFIG_H

#include "dialects/tile/Tile.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace inlay {
/// Keys and values of a few query rows stream through a ring for each warp; a warp takes every `warps`-th step of keys.
struct DecodeAttentionConfig {
  int64_t warps = 8;
  int64_t stages = 3; // steps of keys or of values in a warp's ring
  int64_t blocks = 2; // that share a multiprocessor

  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;
  static DecodeAttentionConfig from(mlir::DictionaryAttr attribute);
};

struct AttentionShape {
  int64_t rows = 0; // queries of a block
  int64_t keysPerStep = 0, headDim = 0;

  /// Columns as they lie in shared memory: slabs of 128 bytes.
  static constexpr int64_t slabColumns = 64;
  static constexpr int64_t keysPerCopy = 16; // neighbours in one page
  int64_t slabs() const { return (headDim + slabColumns - 1) / slabColumns; }
  int64_t stepBytes() const { return slabs() * slabColumns * 2 * keysPerStep; }
};

/// Query rows of a tile of the family prefill_attention: 64 for each consumer.
inline constexpr int64_t kPrefillRows = 128;
/// Keys of such a tile.
inline constexpr int64_t kPrefillKeys = 128;

/// Tiles of keys and values stream past many query rows: one warpgroup fetches, each of the others has 64 rows.
struct PrefillAttentionConfig {
  int64_t consumers = kPrefillRows / 64;                   // warpgroups
  int64_t stages = 2;                                      // tiles of keys, and as many of values, in the rings
  int64_t producerRegisters = 24, consumerRegisters = 240; // a thread

  mlir::DictionaryAttr toAttribute(mlir::MLIRContext *context) const;
  static PrefillAttentionConfig from(mlir::DictionaryAttr attribute);
};

DecodeAttentionConfig chooseDecodeAttention(const AttentionShape &shape, tile::TargetAttr target);
PrefillAttentionConfig choosePrefillAttention(const AttentionShape &shape, tile::TargetAttr target);

/// Whether the family decode_attention takes queries of this shape over pages of `pageSize` positions.
bool isDecodeAttention(const AttentionShape &shape, int64_t pageSize);
/// The same of the family prefill_attention.
bool isPrefillAttention(const AttentionShape &shape, int64_t pageSize);
} // namespace inlay

#endif // INLAY_PASSES_TILE_ATTENTIONCONFIG_H

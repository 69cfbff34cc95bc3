//===- PrefillAttention.h - a kernel of the family prefill_attention -------===//
//
// Shared by the files that build its parts: rings, queries and the loop over tiles of
// keys (LowerPrefillAttention.cpp), the products of a tile, its softmax and what
// becomes of it (PrefillAttentionStep.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_PREFILLATTENTION_H
#define INLAY_PASSES_TILE_TO_CUDA_PREFILLATTENTION_H

#include "passes/tile_to_cuda/AttentionLowering.h"

namespace inlay {
class PrefillAttentionLowering : AttentionLowering {
public:
  PrefillAttentionLowering(tile::ProgramOp program, const AttentionLoop &loop, tile::PrefillAttentionAttr schedule,
                           cuda::KernelOp kernel)
      : AttentionLowering(program, loop, kernel), schedule(schedule) {}
  LogicalResult run();

  static constexpr int64_t kWarpgroup = 128;
  static constexpr int64_t kProduct = 16; // along k, of one wgmma

private:
  /// Barriers of the stages of keys or of values.
  struct Ring {
    Value full, empty;
  };
  void setUp();
  Value countOfTiles();
  Value stageOf(Value tile);
  Value parityOf(Value tile);
  Value elementsAt(Value stage);
  LogicalResult produce(Value tiles);
  LogicalResult consume(Value tiles);
  LogicalResult stageQueries();
  void meet(Value bars);
  void takeTurn(Value tile);
  void passTurn();
  void release(const Ring &ring, Value tile);
  Value waitFor(const Ring &ring, Value ringMemory, Value tile);
  void multiplyKeys(Value tile);
  void multiplyValues(Value tile);
  LogicalResult softmax(Value tile);
  LogicalResult softmaxOf(Value tile, bool isWhole);
  Value visibility() const;
  Value keyAt(Value block, int64_t c);
  void clearTail(Value tile);
  LogicalResult store();

  /// Elements of a tile of keys or values, and of 64 of their columns.
  int64_t slabElements() const { return loop.keysPerStep * AttentionShape::slabColumns; }
  int64_t stageElements() const { return slabs * slabElements(); }
  int64_t productsOfHead() const { return llvm::divideCeil(loop.headDim, kProduct); }
  /// Columns of the outputs: as many as wgmma has, the last of them zeros.
  int64_t outputColumns() const { return llvm::alignTo(loop.headDim, 32); }

  tile::PrefillAttentionAttr schedule;
  int64_t slabs = 0;
  std::string element;
  Value zero, thread, lane, warp, warpgroup, consumer, group, pair;
  Value queriesTile, keysRing, valuesRing, turns, staged, cleared;
  Ring keys, values;
  Value from, to;
  llvm::SmallVector<Value, 2> rows;           // of a thread, in the program's tile
  Value scores, weights, tops, sums, outputs; // variables
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_PREFILLATTENTION_H

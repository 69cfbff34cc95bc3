//===- DecodeAttention.h - a kernel of the family decode_attention ---------===//
//
// Shared by the files that build its parts: the steps and their copies
// (LowerDecodeAttention.cpp), the products of a step and its softmax
// (DecodeAttentionStep.cpp), what warps and blocks merge (DecodeAttentionMerge.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_DECODEATTENTION_H
#define INLAY_PASSES_TILE_TO_CUDA_DECODEATTENTION_H

#include "passes/tile_to_cuda/AttentionLowering.h"

namespace inlay {
/// Queries of one product, lanes that hold a row of keys, columns of one product with values.
inline constexpr int64_t kQueries = 8, kLanesOfRow = 4, kValueColumns = 16;

class DecodeAttentionLowering : AttentionLowering {
public:
  DecodeAttentionLowering(tile::ProgramOp program, const AttentionLoop &loop, tile::DecodeAttentionAttr schedule,
                          cuda::KernelOp kernel)
      : AttentionLowering(program, loop, kernel), schedule(schedule) {}
  LogicalResult run();

private:
  void setUpThread();
  void setUpMemory();
  LogicalResult attend();
  Value stepAt(Value number);
  LogicalResult issue(Value entry);
  LogicalResult loadQueries();
  Value waitFor(Value entry);
  void multiplyKeys(Value slot);
  LogicalResult softmax(Value at);
  void clearTail(Value at, Value slot);
  void multiplyValues(Value slot);
  /// Column of a block of values that a lane's sums 2 h and 2 h + 1 belong to.
  Value valueColumn(int64_t h);
  void storePartials();
  LogicalResult merge();
  LogicalResult store(Value row, Value column, Value sum, Value out);
  void forUnits(Value from, Value to, llvm::function_ref<void(Value, Value, Value)> body);

  /// Elements of the output, and those of them that one block of the cluster finishes.
  int64_t units() const { return loop.rows * loop.headDim; }
  int64_t share() const { return llvm::divideCeil(units(), cluster); }

  tile::DecodeAttentionAttr schedule;

  // Known when compiling.
  int64_t cluster = 1, slabs = 0, slabBytes = 0, stepBytes = 0, warpBytes = 0, pitch = 0;
  int64_t queryBlocks = 0, keyBlocks = 0, valueBlocks = 0;
  int64_t keyColumns = 0; // that the lanes of a row hold of a block of keys
  bool areCodes = false;  // keys and values, which are widened before they are multiplied
  std::string element;
  Value zero, thread, lane, warp, isLeader, group, pair, order;
  Value rings, ring, full, warpStats, inboxStats, inbox, received;
  Value from, to, entries;
  Value rowsOfLane; // variable: the cache's first row of the step that a lane looks up
  Value queries, scores, weights, tops, sums, outputs; // variables
  llvm::SmallVector<llvm::SmallVector<Value, 2>>
      rows; // of the program's tile, by block of queries and column of a pair
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_DECODEATTENTION_H

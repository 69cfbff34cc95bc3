//===- GenericLowering.h - a kernel of a tile program, op by op -----------===//
//
// Tiles in registers and in memory are those of TileValues, rings those of RingLowering. Here are products
// (GenericProducts.cpp), codes of quantized weights (GenericDequantize.cpp), reductions (GenericReductions.cpp), loops
// and branches (GenericControl.cpp), products of warpgroups (GenericAsync.cpp), work of warps (GenericWarps.cpp), parts
// of an online softmax (GenericMerges.cpp), sums over ranks (GenericExchange.cpp), and which of these an op goes to
// (LowerGeneric.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_GENERICLOWERING_H
#define INLAY_PASSES_TILE_TO_CUDA_GENERICLOWERING_H

#include "passes/tile_to_cuda/RingLowering.h"

#include <functional>

namespace inlay {
/// A tile in shared memory, rows of `pitch` elements.
struct SharedTile {
  mlir::Value pointer;
  int64_t pitch;
  size_t group; // of cp.async, counted over the kernel's text
};

/// Where warps leave their parts of an online softmax: outputs, `partPitch` elements from one warp to the next, and a
/// maximum and a sum for each warp and row.
struct MergeMemory {
  mlir::Value parts, rowStats;
  int64_t partPitch = 0;
};

/// Where other blocks of the cluster leave theirs: those that this block finishes, and the maxima and sums of all rows.
struct MergeInbox {
  mlir::Value outs, stats, received;
};

/// Whether a staged tile is the left side of asynchronous products, and not kept for slices.
inline bool isLeftOfProducts(tile::StageOp stage) {
  auto layout = mlir::cast<tile::SharedAttr>(tileType(stage.getResult()).getEncoding());
  return layout.getRank() == 2 && layout.getPitch() == 0;
}
/// Fails with a diagnostic where a tile has no layout, or one that its op cannot take or give.
mlir::LogicalResult checkLayouts(tile::ProgramOp program);

/// Lowers the ops of a program in their order.
class GenericLowering : RingLowering {
public:
  GenericLowering(tile::ProgramOp program, cuda::KernelOp kernel, int64_t warps, const FetchMaps &maps)
      : RingLowering(program, kernel, warps, maps) {}
  LogicalResult run();

private:
  // Memory.
  SharedTile stage(Operation *op, tile::SharedAttr layoutThere);

  // Sums over ranks.
  bool comesBeforeRanks(Operation *load);
  bool beginsEarly();
  Value exchangeVariable(llvm::StringRef name, mlir::Type type);
  void beginExchange();
  void arriveAndClear();
  LogicalResult receiveSum(tile::ReceiveSumOp op);
  Operation *placeOfPushes();
  mlir::Type pushesType();
  Value beginPushes();
  void endExchange();

  // Parts of an online softmax.
  LogicalResult storeParts(tile::ForWarpsOp op, MergeMemory &memory);
  void mergeParts(mlir::ValueRange results, int64_t count, int64_t lanes,
                  llvm::function_ref<Value(Value, Value)> statsOf, llvm::function_ref<Value(Value, Value)> outsOf,
                  int64_t width);
  void mergeWarps(tile::ForWarpsOp op, const MergeMemory &memory);
  void announceMerge(tile::ClusterMergeOp op);
  LogicalResult clusterMerge(tile::ClusterMergeOp op);

  // Products of warpgroups.
  LogicalResult stageLeft(tile::StageOp op);
  Value packLeft(Value tile);
  LogicalResult dotAsync(tile::DotAsyncOp op);
  LogicalResult dotWait(tile::DotWaitOp op);
  LogicalResult inTurn(tile::InTurnOp op);

  // Warps.
  LogicalResult lowerRegion(mlir::Region &region, mlir::Block *to, ThreadGroup group);
  LogicalResult warpRoles(tile::WarpRolesOp op);
  LogicalResult forWarps(tile::ForWarpsOp op);
  LogicalResult stage(tile::StageOp op);
  Value stagedBefore(tile::StageOp op);
  LogicalResult extractSlice(mlir::tensor::ExtractSliceOp op);
  LogicalResult combineKept(tile::ClusterReduceOp op);

  // Ops.
  LogicalResult lower(Operation *op);
  LogicalResult lowerBlock(mlir::Block &block);
  LogicalResult dot(tile::DotOp op);
  LogicalResult dequantize(tile::DequantizeOp op);
  Value unpackPairs(tile::DequantizeOp op, const Layout &layout, int64_t from, int64_t columns);
  void applyGroups(tile::DequantizeOp op, Value packed, Value row, int64_t from, int64_t columns);
  LogicalResult reduce(tile::ReduceOp op);
  LogicalResult argMax(tile::ArgMaxOp op);
  LogicalResult deinterleave(tile::DeinterleaveOp op);
  LogicalResult clusterReduce(tile::ClusterReduceOp op);
  LogicalResult transpose(tile::TransposeOp op);
  LogicalResult forOp(mlir::scf::ForOp op);
  LogicalResult ifOp(mlir::scf::IfOp op);
  LogicalResult ifAll(tile::IfAllOp op);
  LogicalResult lowerBranch(mlir::Region &from, mlir::Block *to, llvm::ArrayRef<Value> arrays);

  Value round; // of the exchange between ranks, a Round of peers.h; null before it has begun
  const tile::ReceiveSumOp receivedSum = tile::ReceiveSumOp::of(program); // null if the program has none
  tile::StoreOp push = tile::StoreOp::pushOf(program);                    // null if the program pushes nothing
  Operation *const pushesBegin = placeOfPushes(); // the op before which, or the roles in which, threads read the table
  Value pushes;                                   // a Pushes of peers.h

  llvm::DenseMap<Value, SharedTile> staged;
  MergeInbox inbox;
  llvm::DenseMap<Value, Value> packedTiles; // left sides of products of warpgroups, as pairs in registers
  llvm::SmallVector<std::pair<tile::StageOp, Value>> stagedOfWarps; // and the memory of the warp
  /// Sums that the first product of a loop overwrites: whether this product is a later one.
  llvm::DenseMap<Value, std::function<Value()>> firstProducts;
  Operation *clusterUser = nullptr;        // of tile.for_warps, before which the blocks of the cluster meet
  bool leavesCluster = false;              // other blocks may read this one's memory until the end
  llvm::SmallVector<mlir::Block *> groups; // where each group of cp.async is committed
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_GENERICLOWERING_H

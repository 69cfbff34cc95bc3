//===- GenericLowering.h - a kernel of the generic lowering ----------------===//
//
// Shared by the files that build its parts: what a thread owns of a tile
// (GenericCoordinates.cpp), tiles in registers and in other layouts
// (GenericValues.cpp), memory (GenericMemory.cpp), products (GenericProducts.cpp),
// codes of quantized weights (GenericDequantize.cpp), reductions (GenericReductions.cpp), loops and branches
// (GenericControl.cpp), rings (GenericRings.cpp), products of warpgroups (GenericAsync.cpp), work of warps
// (GenericWarps.cpp), warps that fetch for themselves (GenericWarpRings.cpp for rows of caches, GenericStream.cpp for
// weights and sums over warps, GenericStreamCodes.cpp for codes of weights), parts of an online softmax
// (GenericMerges.cpp), and which of these an op goes to (LowerGeneric.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_GENERICLOWERING_H
#define INLAY_PASSES_TILE_TO_CUDA_GENERICLOWERING_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile_to_cuda/ComputedTiles.h"
#include "llvm/ADT/MapVector.h"

#include <functional>

namespace inlay {
/// A tile in shared memory, rows of `pitch` elements.
struct SharedTile {
  mlir::Value pointer;
  int64_t pitch;
  size_t group; // of cp.async, counted over the kernel's text
};

/// A tile that stays in shared memory: tile.stage. Of a cluster, each block has its own, and a reader combines them; so
/// it does with those of `parts` warps, `partPitch` elements apart.
struct KeptTile {
  mlir::Value pointer;
  int64_t pitch = 0;
  int64_t parts = 1, partPitch = 0;
  bool isOfCluster = false;
  tile::Reduction combination = tile::Reduction::Add;
};

/// Where an end of a ring is: the slot, and the parity of its barriers (variables).
struct RingCursor {
  mlir::Value stage, parity;
};

struct RingState {
  llvm::SmallVector<mlir::Value> buffers; // one for each tile of a slot
  mlir::Value full, empty;
  RingCursor producer, consumer, released;
  bool isOfWarp = false;
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

/// mbarriers, one for each warpgroup of the consumers, and the parity of their phase (a variable).
struct WarpgroupBarriers {
  mlir::Value barriers, parity;
};

/// The threads that run what is built, among which tiles are divided: all of a block, the warps of a role, one warp of
/// its own work, or the warp that fetches rows.
struct ThreadGroup {
  enum Group { Block, Role, Warp, Fetch } group = Block;
  int64_t warps = 1;
};

/// The kernel's tensor maps, and the number of each fetch's.
struct FetchMaps {
  llvm::SmallVector<cuda::TensorMapAttr> maps;
  llvm::DenseMap<mlir::Operation *, unsigned> numbers;
};
/// What a slot of a ring has the elements of a tile in: codes are copied and read in units of 16 bits.
mlir::Type bufferElement(mlir::RankedTensorType tile);
/// Elements of a tile in a slot, in units of bufferElement.
int64_t elementsInSlot(mlir::Type tile);
class KernelBuilder;
/// The slot at which an end of a ring is, and the next one; the parity turns where the ring begins anew.
mlir::Value advance(KernelBuilder &k, RingCursor cursor, int64_t stages);
/// Fails with a diagnostic at a fetch that TMA cannot do.
mlir::LogicalResult collectTensorMaps(tile::ProgramOp program, FetchMaps &maps);

inline constexpr int64_t kWarpgroup = 128;

/// Overlays of shared memory: sums go where the rings were.
inline constexpr int64_t kRingOverlay = 0, kSumsOverlay = 1;

inline mlir::RankedTensorType tileType(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}
/// The layout of a tile in registers.
inline Layout registerLayout(mlir::Value tile) { return *tile::layoutOf(tile); }
/// Whether a staged tile is the left side of asynchronous products, and not kept for slices.
inline bool isLeftOfProducts(tile::StageOp stage) {
  auto layout = mlir::cast<tile::SharedAttr>(tileType(stage.getResult()).getEncoding());
  return layout.getRank() == 2 && layout.getPitch() == 0;
}
/// The bits that a XOR of `components` may have.
int64_t bitsOf(llvm::ArrayRef<int64_t> components);
/// Fails with a diagnostic where a tile has no layout, or one that its op cannot take or give.
mlir::LogicalResult checkLayouts(tile::ProgramOp program);

/// Whether elements of the view become wider ones in the slot that `fetch` fills.
inline bool widens(tile::FetchRowsOp fetch) {
  auto tile = mlir::cast<mlir::RankedTensorType>(fetch.getRing().getType().getTiles()[fetch.getTile()]);
  return tile.getElementType() != fetch.getView().getType().getElementType();
}

class GenericLowering {
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Operation = mlir::Operation;
  using LogicalResult = mlir::LogicalResult;

public:
  GenericLowering(tile::ProgramOp program, cuda::KernelOp kernel, int64_t warps, const FetchMaps &maps)
      : program(program), kernel(kernel), computed(program), maps(maps), b(kernel.getContext()), loc(kernel.getLoc()),
        threads{ThreadGroup::Block, warps} {}
  LogicalResult run();

private:
  // Scalars and loops.
  Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, loc, value); }
  Value add(Value x, Value y);
  Value mul(Value x, int64_t factor);
  Value both(Value x, Value y) { return x && y ? Value(mlir::arith::AndIOp::create(b, loc, x, y)) : (x ? x : y); }
  Value less(Value x, Value y) { return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::slt, x, y); }
  Value always() { return mlir::arith::ConstantIntOp::create(b, loc, 1, 1); }
  Value special(cuda::Special which) { return cuda::SpecialOp::create(b, loc, b.getIndexType(), which); }
  void where(Value condition, llvm::function_ref<void()> body);
  void unrolled(int64_t count, llvm::function_ref<void(Value)> body);
  Value local(int64_t count, Type element, llvm::StringRef name);
  Value get(Value array, Value i) {
    return cuda::GetOp::create(b, loc, mlir::cast<cuda::LocalType>(array.getType()).getElementType(), array,
                               mlir::ValueRange{i});
  }
  void set(Value value, Value array, Value i) { cuda::SetOp::create(b, loc, value, array, mlir::ValueRange{i}); }
  Value address(Value array, Value i);
  Value call(llvm::StringRef callee, llvm::StringRef header, mlir::ValueRange operands, Type result = {});
  Value shared(llvm::StringRef name, int64_t bytes, int64_t alignment, Type element,
               std::optional<int64_t> overlay = {});
  Value pointerAt(Value base, Value i) { return cuda::OffsetOp::create(b, loc, base.getType(), base, i); }
  void barrier();
  Value scalar(Value value) { return scalars.lookup(value); }

  // Coordinates.
  Value joined(Value x, int64_t inX, Value y, int64_t inY);
  Value image(Value source, llvm::ArrayRef<int64_t> components);
  Value threadCoordinate(const Layout &layout, int dim);
  Value coordinate(const Layout &layout, int dim, Value reg);
  Value keptRegister(const Layout &layout, int axis, Value reg);
  Value insideTile(const Layout &layout, llvm::ArrayRef<int64_t> shape, Value reg);
  Value onlyOneHolder(const Layout &layout);

  // Values.
  void prepare(Value tile);
  Value element(Value tile, Value reg);
  Value arrayOf(Value tile);
  Value find(Value tile) const;
  void define(Value tile, Value array);
  Value materialize(Value tile, llvm::StringRef name);
  Value convert(tile::ConvertLayoutOp op);
  Value exchangeNeighbours(Value array, int bit);

  // Memory.
  Value placeInBlocks(Value row, Value column, int64_t columns, const Layout &inBlock);
  std::pair<Value, Value> place(Operation *access, Value view, mlir::ValueRange offsets, Value indices,
                                const Layout &layout, llvm::ArrayRef<int64_t> shape, Value reg);
  Value loadArray(Operation *op);
  LogicalResult storeTile(Operation *op, Value value, Value view, mlir::ValueRange offsets, Value indices);
  SharedTile stage(Operation *op, tile::SharedAttr layoutThere);

  // Rings.
  Value tensorMap(unsigned i);
  void startCursors(bool ofProducers);
  LogicalResult ring(tile::RingOp op);
  LogicalResult acquire(tile::AcquireOp op);
  LogicalResult fetch(tile::FetchOp op);
  LogicalResult wait(tile::WaitOp op);
  LogicalResult release(tile::ReleaseOp op);
  LogicalResult fetchRows(tile::FetchRowsOp op);
  LogicalResult widenRows(tile::FetchRowsOp op);
  LogicalResult clearRows(tile::ClearRowsOp op);
  void meetWarpgroup();

  // Warps that fetch for themselves.
  LogicalResult warpRing(tile::RingOp op);
  LogicalResult fetchRowsOfWarp(tile::FetchOp op);
  LogicalResult clearRowsOfWarp(tile::ClearRowsOp op);
  Value packRight(Value tile, int64_t inner, int64_t innerOfStep, bool asCodes);
  LogicalResult dotOfRows(tile::DotOp op);
  Value transposeMatrices(Value array, Type element);

  // Parts of an online softmax.
  static int64_t partBytes(tile::ForWarpsOp op);
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

  // Rings and sums of single warps.
  LogicalResult fetchWeightsOfWarp(tile::FetchOp op);
  LogicalResult fetchUnitsOfWarp(tile::FetchOp op);
  LogicalResult dotOfWeights(tile::DotOp op);
  LogicalResult dotOfCodes(tile::DotOp op);
  Value packRows(Value rows, int64_t pairs);
  LogicalResult warpReduce(tile::WarpReduceOp op);
  LogicalResult concat(mlir::tensor::ConcatOp op);
  Value loadReduced(Value tile, const Layout &layout);

  // Warps.
  LogicalResult lowerRegion(mlir::Region &region, mlir::Block *to, ThreadGroup group);
  LogicalResult warpRoles(tile::WarpRolesOp op);
  LogicalResult forWarps(tile::ForWarpsOp op);
  LogicalResult stage(tile::StageOp op);
  Value stagedBefore(tile::StageOp op);
  LogicalResult extractSlice(mlir::tensor::ExtractSliceOp op);
  Value clusterRank();
  Value loadSlice(mlir::tensor::ExtractSliceOp op);
  void loadParts(const KeptTile &tile, Value array, int64_t width, llvm::function_ref<Value(Value)> address);
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
  Value applyTo(Operation *op, mlir::ValueRange operands, Type type);
  void computeElements(Operation *op, Value array);
  Value combine(tile::Reduction kind, Value x, Value y);
  Value identity(tile::Reduction kind, Type type);
  void
  reduceOverThreads(const Layout &layout, int axis, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<Value> arrays,
                    llvm::function_ref<llvm::SmallVector<Value>(mlir::ValueRange, mlir::ValueRange)> combineValues);

  tile::ProgramOp program;
  cuda::KernelOp kernel;
  const ComputedTiles computed;
  const FetchMaps &maps;
  mlir::OpBuilder b;
  mlir::Location loc;
  Value lane, warp;
  Operation *entryEnd = nullptr; // what is used everywhere is put before this
  Operation *laneRead = nullptr; // what depends on the lane alone is put behind this; null: before `entryEnd`
  llvm::DenseMap<Value, Value> scalars;
  /// The blocks being built, outermost first: what was computed in each, and the op of the block that holds the next.
  struct Scope {
    llvm::DenseMap<Value, Value> tiles; // in registers: !cuda.local<RxT>
    Operation *inner = nullptr;
  };
  llvm::SmallVector<Scope> scopes;
  llvm::DenseMap<Value, unsigned> scopeOf; // where a tile was defined
  llvm::DenseMap<Value, SharedTile> staged;
  llvm::SmallVector<std::pair<std::pair<Layout, int>, Value>> coordinates;
  int64_t exchanges = 0; // between threads, each with an overlay of shared memory: only one is going on at a time
  ThreadGroup threads;
  llvm::MapVector<Value, RingState> rings;
  llvm::DenseMap<Value, std::pair<Value, Value>> ringTiles; // tiles that wgmma can read: buffer and first element
  llvm::DenseMap<Operation *, std::pair<Value, int64_t>> ringsOfWarps; // of a tile.for_warps, and a warp's bytes
  MergeInbox inbox;
  WarpgroupBarriers turns, meetings;
  llvm::DenseMap<Value, Value> packedTiles; // left sides of products of warpgroups, as pairs in registers
  llvm::DenseMap<Value, KeptTile> kept;
  llvm::SmallVector<std::pair<tile::StageOp, Value>> stagedOfWarps; // and the memory of the warp
  /// Sums that the first product of a loop overwrites: whether this product is a later one.
  llvm::DenseMap<Value, std::function<Value()>> firstProducts;
  Value ownRank;                           // of clusterRank
  Value evictFirst;                        // the policy, in the warps that fetch
  bool leavesCluster = false;              // other blocks may read this one's memory until the end
  llvm::SmallVector<mlir::Block *> groups; // where each group of cp.async is committed
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_GENERICLOWERING_H

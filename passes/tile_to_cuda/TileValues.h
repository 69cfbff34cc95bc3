//===- TileValues.h - what the threads of a kernel hold of its tiles ------===//
//
// Scalars, loops and calls of the kernel that is built; what a thread owns of a tile (GenericCoordinates.cpp); tiles in
// registers, in other layouts (GenericValues.cpp) and in memory (GenericMemory.cpp); values that threads combine
// (GenericReductions.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_TILEVALUES_H
#define INLAY_PASSES_TILE_TO_CUDA_TILEVALUES_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile_to_cuda/ComputedTiles.h"

namespace inlay {
/// A tile that stays in shared memory: tile.stage. Of a cluster, each block has its own, and a reader combines them; so
/// it does with those of `parts` warps, `partPitch` elements apart.
struct KeptTile {
  mlir::Value pointer;
  int64_t pitch = 0;
  int64_t parts = 1, partPitch = 0;
  bool isOfCluster = false;
  tile::Reduction combination = tile::Reduction::Add;
};

/// The threads that run what is built, among which tiles are divided: all of a block, the warps of a role, one warp of
/// its own work, or the warp that fetches rows.
struct ThreadGroup {
  enum Group { Block, Role, Warp, Fetch } group = Block;
  int64_t warps = 1;
};

inline mlir::RankedTensorType tileType(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}
/// The layout of a tile in registers.
inline Layout registerLayout(mlir::Value tile) { return *tile::layoutOf(tile); }
/// The bits that a XOR of `components` may have.
int64_t bitsOf(llvm::ArrayRef<int64_t> components);

/// Tiles as values in registers, and the place in the kernel where the next op is built.
class TileValues {
protected:
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Operation = mlir::Operation;
  using LogicalResult = mlir::LogicalResult;

  TileValues(tile::ProgramOp program, cuda::KernelOp kernel, int64_t warps)
      : program(program), kernel(kernel), computed(program), b(kernel.getContext()), loc(kernel.getLoc()),
        threads{ThreadGroup::Block, warps} {}

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
  Value clusterRank();

  // Values.
  void prepare(Value tile);
  Value element(Value tile, Value reg);
  Value arrayOf(Value tile);
  Value find(Value tile) const;
  void define(Value tile, Value array);
  Value materialize(Value tile, llvm::StringRef name);
  Value convert(tile::ConvertLayoutOp op);
  Value exchangeNeighbours(Value array, int bit);
  Value transposeMatrices(Value array, Type element);
  Value applyTo(Operation *op, mlir::ValueRange operands, Type type);
  void computeElements(Operation *op, Value array);

  // Memory.
  Value placeInBlocks(Value row, Value column, int64_t columns, const Layout &inBlock);
  std::pair<Value, Value> place(Operation *access, Value view, mlir::ValueRange offsets, Value indices,
                                const Layout &layout, llvm::ArrayRef<int64_t> shape, Value reg);
  Value loadArray(Operation *op);
  /// `pushes`: a Pushes of peers.h, to which the elements go as well; null: they are stored only.
  LogicalResult storeTile(Operation *op, Value value, Value view, mlir::ValueRange offsets, Value indices,
                          Value pushes = {});
  Value slotOf(tile::ViewType view);
  bool isEarly = false; // calls may stand before the wait for earlier launches (early of cuda.call)
  Value loadSlice(mlir::tensor::ExtractSliceOp op);
  void loadParts(const KeptTile &tile, Value array, int64_t width, llvm::function_ref<Value(Value)> address);
  Value loadReduced(Value tile, const Layout &layout);

  // Values of several threads.
  Value combine(tile::Reduction kind, Value x, Value y);
  Value identity(tile::Reduction kind, Type type);
  void
  reduceOverThreads(const Layout &layout, int axis, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<Value> arrays,
                    llvm::function_ref<llvm::SmallVector<Value>(mlir::ValueRange, mlir::ValueRange)> combineValues);

  tile::ProgramOp program;
  cuda::KernelOp kernel;
  const ComputedTiles computed;
  mlir::OpBuilder b;
  mlir::Location loc;
  ThreadGroup threads;
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
  llvm::SmallVector<std::pair<std::pair<Layout, int>, Value>> coordinates;
  llvm::DenseMap<Value, KeptTile> kept;
  int64_t exchanges = 0; // between threads, each with an overlay of shared memory: only one is going on at a time
  Value ownRank;         // of clusterRank
  Value mayStore;        // whether the thread may write to memory; null: it may
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_TILEVALUES_H

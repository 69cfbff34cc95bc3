//===- RingLowering.h - rings of slots that copies fill -------------------===//
//
// Rings that producers fill for warpgroups (GenericRings.cpp, GenericWiden.cpp), and those of warps that fetch for
// themselves: rows of caches (GenericWarpRings.cpp), weights (GenericStream.cpp) and codes (GenericStreamCodes.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_RINGLOWERING_H
#define INLAY_PASSES_TILE_TO_CUDA_RINGLOWERING_H

#include "passes/tile_to_cuda/TileValues.h"
#include "llvm/ADT/MapVector.h"

namespace inlay {
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

/// mbarriers, one for each warpgroup of the consumers, and the parity of their phase (a variable).
struct WarpgroupBarriers {
  mlir::Value barriers, parity;
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

/// Whether elements of the view become wider ones in the slot that `fetch` fills.
inline bool widens(tile::FetchRowsOp fetch) {
  auto tile = mlir::cast<mlir::RankedTensorType>(fetch.getRing().getType().getTiles()[fetch.getTile()]);
  return tile.getElementType() != fetch.getView().getType().getElementType();
}

/// Lowers rings, and the products of warps that read their slots.
class RingLowering : protected TileValues {
protected:
  RingLowering(tile::ProgramOp program, cuda::KernelOp kernel, int64_t warps, const FetchMaps &maps)
      : TileValues(program, kernel, warps), maps(maps) {}

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
  /// Bytes of the parts of an online softmax that the warps of `op` leave where their rings were.
  static int64_t partBytes(tile::ForWarpsOp op);

  // Rings and sums of single warps.
  LogicalResult fetchWeightsOfWarp(tile::FetchOp op);
  LogicalResult fetchUnitsOfWarp(tile::FetchOp op);
  LogicalResult dotOfWeights(tile::DotOp op);
  LogicalResult dotOfCodes(tile::DotOp op);
  Value packRows(Value rows, int64_t pairs);
  LogicalResult warpReduce(tile::WarpReduceOp op);
  LogicalResult concat(mlir::tensor::ConcatOp op);

  const FetchMaps &maps;
  llvm::MapVector<Value, RingState> rings;
  llvm::DenseMap<Value, std::pair<Value, Value>> ringTiles; // tiles that wgmma can read: buffer and first element
  llvm::DenseMap<Operation *, std::pair<Value, int64_t>> ringsOfWarps; // of a tile.for_warps, and a warp's bytes
  WarpgroupBarriers turns, meetings;
  Value evictFirst; // the policy, in the warps that fetch
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_RINGLOWERING_H

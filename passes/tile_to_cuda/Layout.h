//===- Layout.h - where the elements of a tile lie in a block's registers --===//
//
// A thread holds 2^r registers of a tile; an element is found by the bits of its
// register's number, of the lane, and of the warp. Each such bit either is one
// bit of one coordinate of the element, or it is nobody's: then the element is
// held twice. For a 16 x 8 accumulator of mma.m16n8k16 in one warp:
//
//   register bits: column bit 0, row bit 3
//   lane bits:     column bits 1 and 2, row bits 0, 1 and 2
//
// which says that lane l's register r is element (l / 4 + 8 * (r / 2), 2 * (l % 4) + r % 2).
// A layout's extent may be larger than the tile: what lies past the tile's end
// is anything, and is masked where it would be seen (stores, reductions, the
// inner dimension of products).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H
#define INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>

namespace inlay {
/// Bit `position` of coordinate `dim`; nobody's where dim is negative.
struct LayoutBit {
  int dim = -1;
  int position = 0;
  bool operator==(const LayoutBit &) const = default;
};

struct Layout {
  llvm::SmallVector<LayoutBit> registers, lanes, warps;

  bool operator==(const Layout &) const = default;
  int64_t registerCount() const { return int64_t(1) << registers.size(); }
  /// One past the largest coordinate in `dim`.
  int64_t extent(int dim) const;
  /// The layout of what is left when the tile is reduced along `axis`: held by every thread that held a part.
  Layout slice(int axis) const;
  /// The bits of a register's number that stay in slice(axis), lowest first.
  llvm::SmallVector<unsigned> keptRegisterBits(int axis) const;
  /// Neighbours along `dim` in consecutive registers.
  int64_t contiguous(int dim) const;

  /// Consecutive elements in consecutive threads, `vector` of them (a power of two) in each thread's registers.
  static Layout blocked(llvm::ArrayRef<int64_t> shape, int64_t vector, int warpBits);
  /// The accumulators of mma.m16n8k16, rows over 2^warpRows warps and columns over 2^warpColumns.
  static Layout mmaAccumulator(int64_t rows, int64_t columns, int warpRows, int warpColumns);
  /// Of products with weights in packed order (tile::kAtomPacking): activations, rows x K, of which each lane has 8
  /// columns of each 32. One row is held by all lanes that would hold others.
  static Layout mmaPackedRows(int64_t rows, int64_t inner);
  /// Their accumulators: rows x 8 where the weights are on the right, or 16 x rows. Lanes have weight rows in the order
  /// in which 8 of them read different banks.
  static Layout mmaPackedAccumulator(int64_t rows, bool isLeft);
  /// The left operand, M x K: each warp holds all of K for its rows.
  static Layout mmaLhs(int64_t rows, int64_t inner, int warpRows, int warpColumns);
};

/// The registers, from the first on, that hold all elements of a tile of `shape`; the others lie past its end.
int64_t liveRegisters(const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// ceil(log2(size)).
int log2Ceil(int64_t size);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H

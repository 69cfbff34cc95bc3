//===- Layout.h - layouts of tiles in a block's registers ------------------===//
//
// The layouts that tile-assign-layouts chooses from: fragments of mma, and tiles that are
// spread over the threads. LinearLayout.h says what a layout is. A layout's extent may
// be larger than the tile: what lies past the tile's end is anything, and is masked where
// it would be seen (stores, reductions, the inner dimension of products).
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H
#define INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H

#include "dialects/tile/LinearLayout.h"

namespace inlay {
using Layout = tile::LinearLayout;
using tile::LayoutDim;

/// Consecutive elements in consecutive threads, `vector` of them (a power of two) in each thread's registers.
Layout blockedLayout(llvm::ArrayRef<int64_t> shape, int64_t vector, int warpBits);
/// The accumulators of mma.m16n8k16, rows over 2^warpRows warps and columns over 2^warpColumns. With rows over warps
/// only, those of wgmma.
Layout mmaAccumulator(int64_t rows, int64_t columns, int warpRows, int warpColumns);
/// The left operand of mma.m16n8k16, M x K: each warp holds all of K for its rows.
Layout mmaLhs(int64_t rows, int64_t inner, int warpRows, int warpColumns);

/// The columns of a tile whose even or odd columns `half` holds: neighbours are in registers 2 * r and 2 * r + 1.
Layout interleaved(const Layout &half);
/// The inverse, of a layout that has neighbouring columns in registers 2 * r and 2 * r + 1.
Layout halfOf(const Layout &interleaved);

/// The layout of the indices of a gather or scatter, one for each row, of a tile of `rank` dimensions in `layout`.
inline Layout layoutOfIndices(const Layout &layout, int64_t rank) { return rank == 2 ? layout.slice(1) : layout; }
/// A slice of `shape` of a tile in registers: a bit of a register's number is one of the slice's coordinates, or one of
/// its offset's. None where parts of a slice are in other threads.
std::optional<Layout> layoutOfSlice(const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// The registers, from the first on, that hold all elements of a tile of `shape`; the others lie past its end.
int64_t liveRegisters(const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// ceil(log2(size)).
int log2Ceil(int64_t size);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H

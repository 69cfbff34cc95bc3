//===- Layout.h - layouts of tiles in a block's registers ------------------===//
//
// Tiles that are spread over the threads, and what follows from a layout. LinearLayout.h
// says what a layout is, MmaInstructions.h has those of products. A layout's extent may be
// larger than the tile: what lies past the tile's end is anything, and is masked where it
// would be seen (stores, reductions, the inner dimension of products).
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
/// Rows of a matrix in lanes of a warp that are far apart: a row is reduced in a thread and the few lanes that share
/// it. `vector` neighbours (a power of two) lie in a thread.
Layout layoutOfRows(llvm::ArrayRef<int64_t> shape, int64_t vector);
/// A tile that is divided among 2^blockBits blocks. Where a block has fewer elements than threads, lanes that hold the
/// same elements share the work of making them.
Layout dividedLayout(llvm::ArrayRef<int64_t> shape, int warpBits, int blockBits);
/// The columns of a tile whose even or odd columns `half` holds: neighbours are in registers 2 * r and 2 * r + 1.
Layout interleaved(const Layout &half);
/// The inverse, of a layout that has neighbouring columns in registers 2 * r and 2 * r + 1.
Layout halfOf(const Layout &interleaved);

/// The layout of a tile that has one element for each 2^bits neighbouring columns of a row: each thread has those of
/// its elements of a tile in `layout`.
Layout groupedColumns(const Layout &layout, int bits);
/// The register of groupedColumns(layout, bits) for each bit of a register's number in `layout`; 0 where both are in
/// the same one.
llvm::SmallVector<int64_t> groupedRegisters(const Layout &layout, int bits);

/// The layout of the indices of a gather or scatter, one for each row, of a tile of `rank` dimensions in `layout`.
inline Layout layoutOfIndices(const Layout &layout, int64_t rank) { return rank == 2 ? layout.slice(1) : layout; }
/// Whether `to` is `from` with 8 x 8 elements transposed: what lanes 4 apart hold becomes what the pairs of registers
/// and the lanes next to each other hold. Of 16 bits, one instruction does it.
bool isMatrixTransposed(const Layout &from, const Layout &to);
/// The bit of a register's number that changes places with the lowest bit of a lane's between `from` and `to`:
/// neighbouring lanes exchange half of their registers. None where the layouts differ in another way.
std::optional<int> exchangedRegisterBit(const Layout &from, const Layout &to);
/// A slice of `shape` of a tile in registers: a bit of a register's number is one of the slice's coordinates, or one of
/// its offset's. None where parts of a slice are in other threads.
std::optional<Layout> layoutOfSlice(const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// Tiles of `columns` columns side by side, `count` of them: each in registers of its own, with the layout `part`.
Layout concatenated(const Layout &part, int64_t columns, int64_t count);

/// The registers, from the first on, that hold all elements of a tile of `shape`; the others lie past its end.
int64_t liveRegisters(const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// Whether those registers of all threads hold elements of the tile only.
bool liveRegistersFit(const Layout &layout, llvm::ArrayRef<int64_t> shape);

/// ceil(log2(size)).
int log2Ceil(int64_t size);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_LAYOUT_H

//===- SharedLayouts.h - layouts of tiles in shared memory -----------------===//
//
// Which layout a tile has in shared memory follows from what writes and reads it there.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_SHAREDLAYOUTS_H
#define INLAY_PASSES_TILE_TO_CUDA_SHAREDLAYOUTS_H

#include "dialects/tile/Tile.h"

namespace inlay {
/// 2^rowBits rows of 2^columnBits elements, whose chunk of 2^chunkBits elements c lies at chunk c ^ (r % 8) in row r.
tile::LinearLayout swizzledRows(int rowBits, int columnBits, int chunkBits);
/// A tile in a slot of a ring. Rows of 128 bytes are swizzled for wgmma: chunk c (16 bytes) of row r lies at chunk c ^
/// (r % 8). TMA writes rows so under its 128-byte swizzle; packed weights (`atom_8x64`) are stored so. Other rows lie
/// one after the other.
tile::SharedAttr swizzledTile(mlir::RankedTensorType tile);
/// The same for what else a slot may have: packed codes of quantized weights (i8, i4) and their scales and zero points
/// (f32), which lie there as in memory.
tile::SharedAttr slotTile(mlir::RankedTensorType tile);
/// The layout of a tile's transpose, in the same memory.
tile::SharedAttr transposedShared(tile::SharedAttr layout);
/// Packed numbers in a slot of the ring of a warp: as in memory, 8 rows one after the other in atoms of 64 columns.
tile::SharedAttr packedTile(mlir::RankedTensorType tile);
/// What lies in tile `number` of a slot of `ring`, which follows from how it comes there.
tile::SharedAttr slotTile(tile::RingOp ring, unsigned number);
/// The same of tile `number` that `wait` gives. Codes that only products of warpgroups read are rows under the swizzle.
tile::SharedAttr slotTile(tile::WaitOp wait, unsigned number);
/// The right side of mma, copied by cp.async and read by ldmatrix: whole tiles of 16 x 16 elements, in rows with 16
/// bytes more, so that the 8 rows that are read at a time lie in different banks.
tile::SharedAttr copiedTile(mlir::RankedTensorType tile);
/// A tile of tile.stage or tile.warp_reduce, of rank 1 or 2: rows with 16 bytes more.
tile::SharedAttr paddedTile(mlir::RankedTensorType tile);
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_SHAREDLAYOUTS_H

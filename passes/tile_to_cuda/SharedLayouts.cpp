//===- SharedLayouts.cpp - layouts of tiles in shared memory ---------------===//

#include "passes/tile_to_cuda/SharedLayouts.h"

#include "passes/tile_to_cuda/ComputedTiles.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;
using enum inlay::tile::LayoutDim;

/// Rows of 2^columnBits elements, one after the other.
static LinearLayout rowsOf(int rowBits, int columnBits) {
  return LinearLayout::identity(Offset, columnBits, Dim1) * LinearLayout::identity(Offset, rowBits, Dim0);
}

LinearLayout inlay::swizzledRows(int rowBits, int columnBits, int chunkBits) {
  LinearLayout layout = LinearLayout::identity(Offset, columnBits, Dim1);
  for (int bit = 0; bit < rowBits; ++bit) {
    LayoutPoint basis;
    basis[Dim0] = int64_t(1) << bit;
    if (bit < 3)
      basis[Dim1] = int64_t(1) << (chunkBits + bit);
    layout.addBit(Offset, basis);
  }
  return layout;
}

SharedAttr inlay::swizzledTile(RankedTensorType tile) {
  int64_t bytes = bytesOf(tile.getElementType()), chunk = 16 / bytes;
  int64_t columns = kSlabBytes / bytes;
  LinearLayout layout = swizzledRows(log2Ceil(tile.getDimSize(0)), log2Ceil(columns), log2Ceil(chunk));
  // The next slab comes after all rows.
  for (; columns < tile.getDimSize(1); columns *= 2) {
    LayoutPoint basis;
    basis[Dim1] = columns;
    layout.addBit(Offset, basis);
  }
  return SharedAttr::of(tile.getContext(), 2, layout);
}

SharedAttr inlay::slotTile(RankedTensorType tile) {
  LinearLayout block;
  if (tile.getElementType().isInteger(4) || tile.getElementType().isInteger(8))
    block = codeLayout(tile.getElementTypeBitWidth());
  else if (tile.getElementType().isF32())
    block = LinearLayout::identity(Offset, log2Ceil(kUnitRows), Dim0);
  else
    return swizzledTile(tile);
  // Blocks along the columns, then along the rows, as in memory.
  LinearLayout layout =
      block * LinearLayout::identity(Offset, std::max(0, log2Ceil(tile.getDimSize(1)) - block.outBits(Dim1)), Dim1) *
      LinearLayout::identity(Offset, std::max(0, log2Ceil(tile.getDimSize(0)) - block.outBits(Dim0)), Dim0);
  return SharedAttr::of(tile.getContext(), 2, layout);
}

SharedAttr inlay::transposedShared(SharedAttr layout) {
  return SharedAttr::of(layout.getContext(), 2, layout.getLayout().transposed());
}

SharedAttr inlay::packedTile(RankedTensorType tile) {
  int groupBits = log2Ceil(kGroupRows), atomBits = log2Ceil(kAtomColumns);
  LinearLayout layout = swizzledRows(groupBits, atomBits, /*chunkBits=*/3);
  layout = layout * LinearLayout::identity(Offset, std::max(0, log2Ceil(tile.getDimSize(1)) - atomBits), Dim1) *
           LinearLayout::identity(Offset, std::max(0, log2Ceil(tile.getDimSize(0)) - groupBits), Dim0);
  return SharedAttr::of(tile.getContext(), 2, layout);
}

/// Whether tile `number` of a slot of `ring` comes from a matrix of rows, and not from a packed one.
static bool comesInRows(RingOp ring, unsigned number) {
  return llvm::any_of(ring->getUsers(), [&](Operation *user) {
    auto fetch = dyn_cast<FetchOp>(user);
    return fetch && fetch.getTile() == number && !packingOf(fetch->getParentOfType<ProgramOp>(), fetch.getView());
  });
}

SharedAttr inlay::slotTile(RingOp ring, unsigned number) {
  auto tile = cast<RankedTensorType>(ring.getType().getTiles()[number]);
  if (tile.getElementType().isF32() && comesInRows(ring, number))
    return SharedAttr::of(tile.getContext(), 2, rowsOf(log2Ceil(tile.getDimSize(0)), log2Ceil(tile.getDimSize(1))));
  return holdsWeights(ring) && tile.getElementTypeBitWidth() == 16 ? packedTile(tile) : slotTile(tile);
}

SharedAttr inlay::slotTile(WaitOp wait, unsigned number) {
  auto ring = wait.getRing().getDefiningOp<RingOp>();
  Value tile = wait.getTiles()[number];
  bool areRows = !tile.use_empty() && llvm::all_of(tile.getUsers(), llvm::IsaPred<DotAsyncOp>);
  return areRows && !holdsWeights(ring) ? swizzledTile(cast<RankedTensorType>(tile.getType())) : slotTile(ring, number);
}

SharedAttr inlay::copiedTile(RankedTensorType tile) {
  int rowBits = std::max(4, log2Ceil(tile.getDimSize(0))), columnBits = std::max(4, log2Ceil(tile.getDimSize(1)));
  return SharedAttr::of(tile.getContext(), 2, rowsOf(rowBits, columnBits),
                        (int64_t(1) << columnBits) + 16 / bytesOf(tile.getElementType()));
}

SharedAttr inlay::paddedTile(RankedTensorType tile) {
  if (tile.getRank() == 1)
    return SharedAttr::of(tile.getContext(), 1, LinearLayout::identity(Offset, log2Ceil(tile.getDimSize(0)), Dim0));
  return SharedAttr::of(tile.getContext(), 2, rowsOf(log2Ceil(tile.getDimSize(0)), log2Ceil(tile.getDimSize(1))),
                        tile.getDimSize(1) + 16 / bytesOf(tile.getElementType()));
}

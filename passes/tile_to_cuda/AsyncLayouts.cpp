//===- AsyncLayouts.cpp - layouts of what warpgroups and fetches read -------===//

#include "passes/tile_to_cuda/AsyncLayouts.h"

#include <algorithm>

using namespace inlay;
using enum inlay::tile::LayoutDim;

Layout inlay::layoutOfRuns(int64_t rows, int64_t run, int warpBits) {
  int runBits = std::min(5, log2Ceil((rows + run - 1) / run));
  return Layout::identity(Register, log2Ceil(run), Dim0) * Layout::identity(Lane, runBits, Dim0) *
         Layout::broadcast(Lane, 5 - runBits) * Layout::broadcast(Warp, warpBits);
}

Layout inlay::layoutOfCleared(int64_t rows, int64_t run, int warpBits) {
  if (warpBits > 0)
    return layoutOfRuns(rows, run, warpBits);
  int rowBits = std::min(5, log2Ceil(rows));
  return Layout::broadcast(Lane, 5 - rowBits) * Layout::identity(Lane, rowBits, Dim0) *
         Layout::identity(Register, log2Ceil(rows) - rowBits, Dim0);
}

Layout inlay::layoutOfLeft(mlir::RankedTensorType tile, int warpBits) {
  // 64 rows are 6 bits, of which lanes and the 4 warps of a warpgroup have some.
  constexpr int chunkBits = 3, warpsOfGroup = 2, rowBits = 6;
  int columns = std::clamp(log2Ceil(tile.getDimSize(1)) - chunkBits, 1, 5), rows = 5 - columns;
  return Layout::identity(Register, chunkBits, Dim1) * Layout::identity(Lane, columns, Dim1) *
         Layout::identity(Lane, rows, Dim0) * Layout::identity(Warp, warpsOfGroup, Dim0) *
         Layout::identity(Register, rowBits - warpsOfGroup - rows, Dim0) *
         Layout::identity(Warp, std::max(0, warpBits - warpsOfGroup), Dim0);
}

Layout inlay::leftOfGroups(const MmaInstruction &mma, mlir::RankedTensorType tile, int warpBits) {
  return leftLayout(mma, tile.getDimSize(0), tile.getDimSize(1), std::max(0, warpBits - log2Ceil(mma.warps())), 0);
}

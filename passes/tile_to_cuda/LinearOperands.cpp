//===- LinearOperands.cpp - what the family matvec takes -------------------===//

#include "passes/tile_to_cuda/LinearOperands.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;

LogicalResult inlay::requirePackedWeights(tile::ProgramOp program, MainLoop &loop, StringRef family) {
  auto weights = cast<BlockArgument>(loop.weight.getView());
  auto packing = program.getArgAttrOfType<StringAttr>(weights.getArgNumber(), tile::kPackingAttr);
  if (packing && packing.getValue() == tile::kAtomPacking)
    return success();
  return loop.weight.emitError("reads weights that are not packed; the family ")
         << family << " needs tile.packing = \"atom_8x64\"";
}

/// The view whose rows, from the first on, are those of the layer: the rows themselves, or what says where they lie.
static tile::ViewType rowsReadOf(MainLoop &loop) {
  auto gather = dyn_cast<tile::GatherOp>(loop.rows);
  auto indices = gather ? gather.getIndices().getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  return indices ? indices.getView().getType() : cast<tile::ViewType>(loop.rowsView().getType());
}

LayerRows::LayerRows(tile::ProgramOp program, MainLoop &loop) {
  AffineMap grid = program.getGrid();
  AffineExpr tiles = grid.getNumResults() > 1 ? grid.getResult(1) : getAffineConstantExpr(1, program.getContext());
  // createKernel refuses a grid that is no count.
  cuda::Count count = countOf(tiles).value_or(cuda::Count());
  if (!count.isConstant()) {
    size = count.size;
    return;
  }
  most = count.multiplier * loop.tokens;
  tile::ViewType view = rowsReadOf(loop);
  if (!ShapedType::isDynamic(view.getShape()[0]))
    most = std::min(*most, view.getShape()[0]);
  else if (view.getExtent())
    size = static_cast<uint32_t>(*view.getExtent());
}

Value LayerRows::count(KernelBuilder &b) const {
  if (!most)
    return b.size(*size);
  return size ? b.min(b.index(*most), b.size(*size)) : b.index(*most);
}

cuda::Count LayerRows::tilesOf(int64_t rows) const {
  cuda::Count tiles;
  if (most) {
    tiles.multiplier = llvm::divideCeil(*most, rows);
  } else {
    tiles.size = *size;
    tiles.divisor = rows;
  }
  return tiles;
}

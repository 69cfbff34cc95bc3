//===- LinearOperands.cpp - what linear layers' families take --------------===//

#include "passes/tile_to_cuda/LinearOperands.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kGroupRows;

LogicalResult inlay::requirePackedWeights(tile::ProgramOp program, MainLoop &loop, StringRef family) {
  auto weights = cast<BlockArgument>(loop.weight.getView());
  auto packing = program.getArgAttrOfType<StringAttr>(weights.getArgNumber(), "tile.packing");
  if (packing && packing.getValue() == "atom_8x64")
    return success();
  return loop.weight.emitError("reads weights that are not packed; the family ")
         << family << " needs tile.packing = \"atom_8x64\"";
}

LogicalResult inlay::requireTmaOperands(tile::ProgramOp program, MainLoop &loop, StringRef family) {
  if (failed(requirePackedWeights(program, loop, family)))
    return failure();
  if (!loop.isPlain() || !isa<tile::LoadOp>(loop.rows))
    return loop.rows->emitError("brings rows that are gathered or changed before the product; the family ")
           << family << " takes them as they are in memory";
  if (loop.k % 8 != 0)
    return loop.loop.emitError("runs over ") << loop.k << " columns; TMA takes rows of a multiple of 16 bytes";
  return success();
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

void inlay::addTmaMaps(MainLoop &loop, const LayerRows &layerRows, int64_t tileRows, int64_t tileColumns, int64_t tileK,
                       cuda::KernelOp kernel) {
  MLIRContext *context = kernel.getContext();
  auto rows = cast<tile::ViewType>(loop.rowsView().getType()), weights = loop.weight.getView().getType();
  int64_t rowColumns = rows.getShape()[1], atoms = llvm::divideCeil(weights.getShape()[1], kAtomColumns);
  bool isDynamic = ShapedType::isDynamic(rows.getShape()[0]);
  // Where a size of the step counts the rows, the entry point's capacity multiplies a dimension of 1.
  std::optional<uint32_t> capacity = isDynamic ? layerRows.size : std::nullopt;
  int64_t rowsOfMap = !isDynamic ? rows.getShape()[0] : capacity ? 1 : *layerRows.most;
  auto ofRows = cuda::TensorMapAttr::get(context, cast<BlockArgument>(loop.rowsView()).getArgNumber(),
                                         rows.getElementType(), {rowColumns, rowsOfMap}, capacity,
                                         /*strides=*/{rowColumns * 2},
                                         /*box=*/{tileK, tileRows}, /*swizzle=*/128, /*l2Promotion=*/256);
  int64_t groups = llvm::divideCeil(weights.getShape()[0], kGroupRows);
  auto ofWeights = cuda::TensorMapAttr::get(
      context, cast<BlockArgument>(loop.weight.getView()).getArgNumber(), weights.getElementType(),
      {kAtomColumns, kGroupRows, atoms, groups}, /*capacity=*/std::nullopt,
      /*strides=*/{kAtomColumns * 2, kAtomBytes, atoms * kAtomBytes},
      /*box=*/{kAtomColumns, kGroupRows, 1, tileColumns / kGroupRows}, /*swizzle=*/0, /*l2Promotion=*/256);
  setTensorMaps(kernel, {ofRows, ofWeights});
}

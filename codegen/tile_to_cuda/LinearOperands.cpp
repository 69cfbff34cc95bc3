//===- LinearOperands.cpp - what linear layers' families take --------------===//

#include "codegen/tile_to_cuda/LinearOperands.h"

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

void inlay::addTmaMaps(MainLoop &loop, const cuda::Count &rowTiles, int64_t tileRows, int64_t tileColumns,
                       int64_t tileK, cuda::KernelOp kernel) {
  MLIRContext *context = kernel.getContext();
  auto rows = cast<tile::ViewType>(loop.rowsView().getType()), weights = loop.weight.getView().getType();
  int64_t rowColumns = rows.getShape()[1], atoms = llvm::divideCeil(weights.getShape()[1], kAtomColumns);
  bool isDynamic = ShapedType::isDynamic(rows.getShape()[0]);
  auto ofRows = cuda::TensorMapAttr::get(context, cast<BlockArgument>(loop.rowsView()).getArgNumber(),
                                         rows.getElementType(), {rowColumns, isDynamic ? 1 : rows.getShape()[0]},
                                         isDynamic ? std::optional<uint32_t>(rowTiles.size) : std::nullopt,
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

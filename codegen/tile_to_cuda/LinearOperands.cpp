//===- LinearOperands.cpp - what linear layers' families take --------------===//

#include "codegen/tile_to_cuda/LinearOperands.h"

#include "passes/tile/LinearConfig.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;

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

void inlay::addTmaMaps(MainLoop &loop, const GridCount &rowTiles, int64_t tileRows, int64_t tileColumns, int64_t tileK,
                       LoweredKernel &lowered) {
  auto rows = cast<tile::ViewType>(loop.rowsView().getType()), weights = loop.weight.getView().getType();
  uint64_t rowColumns = rows.getShape()[1], atoms = llvm::divideCeil(weights.getShape()[1], kAtomColumns);
  bool isDynamic = ShapedType::isDynamic(rows.getShape()[0]);
  CudaTensorMap map;
  map.argument = cast<BlockArgument>(loop.rowsView()).getArgNumber();
  map.elementType = rows.getElementType();
  map.dims = {rowColumns, isDynamic ? 1 : static_cast<uint64_t>(rows.getShape()[0])};
  map.capacityExtent = isDynamic ? static_cast<int>(rowTiles.extent) : -1;
  map.strides = {rowColumns * 2};
  map.box = {static_cast<uint32_t>(tileK), static_cast<uint32_t>(tileRows)};
  map.swizzle = 128;
  map.l2Promotion = 256;
  lowered.tensorMaps.push_back(map);
  map = {};
  map.argument = cast<BlockArgument>(loop.weight.getView()).getArgNumber();
  map.elementType = weights.getElementType();
  map.dims = {kAtomColumns, kGroupRows, atoms, llvm::divideCeil(weights.getShape()[0], kGroupRows)};
  map.strides = {kAtomColumns * 2, kAtomBytes, atoms * kAtomBytes};
  map.box = {kAtomColumns, kGroupRows, 1, static_cast<uint32_t>(tileColumns / kGroupRows)};
  map.l2Promotion = 256;
  lowered.tensorMaps.push_back(map);
}

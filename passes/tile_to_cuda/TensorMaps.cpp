//===- TensorMaps.cpp - what TMA reads into rings --------------------------===//
//
// One map for each shape of box that the program's fetches bring: weights as they are
// packed, rows under the 128-byte swizzle, and rows of a paged cache.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kGroupRows, tile::kSlabBytes;

/// The map of codes that are packed in units, or of scales beside them, as elements of 16 bits.
static FailureOr<cuda::TensorMapAttr> mapOfBlocks(tile::FetchOp fetch, bool areCodes) {
  MLIRContext *context = fetch.getContext();
  auto view = cast<tile::ViewType>(fetch.getView().getType());
  auto tile = cast<RankedTensorType>(fetch.getRing().getType().getTiles()[fetch.getTile()]);
  int64_t columns = areCodes ? tile::kUnitColumns : 1, bits = view.getElementType().getIntOrFloatBitWidth();
  if (tile.getDimSize(0) % tile::kUnitRows != 0 || tile.getDimSize(1) % columns != 0)
    return fetch.emitError("brings ") << tile.dropEncoding() << "; expected units of " << tile::kUnitRows << " x "
                                      << columns;
  int64_t ofRow = (areCodes ? columns : tile::kUnitRows) * bits / 16, rows = areCodes ? tile::kUnitRows : 1;
  int64_t units = llvm::divideCeil(view.getShape()[1], columns), bytes = ofRow * rows * 2;
  int64_t groups = llvm::divideCeil(view.getShape()[0], tile::kUnitRows);
  return cuda::TensorMapAttr::get(
      context, cast<BlockArgument>(fetch.getView()).getArgNumber(), BFloat16Type::get(context),
      {ofRow, rows, units, groups}, /*capacity=*/std::nullopt, /*strides=*/{ofRow * 2, bytes, units * bytes},
      /*box=*/{ofRow, rows, tile.getDimSize(1) / columns, tile.getDimSize(0) / tile::kUnitRows}, /*swizzle=*/0,
      /*l2Promotion=*/256);
}

/// The map of rows of a cache, in boxes of a run of rows x a slab.
static FailureOr<cuda::TensorMapAttr> tensorMapOfRows(Operation *fetch, Value source, int64_t run) {
  auto view = cast<tile::ViewType>(source.getType());
  Type element = view.getElementType();
  int64_t bytes = view.getShape()[1] * bytesOf(element);
  bool areCodes = isa<Float8E4M3FNType>(element);
  if ((!areCodes && element.getIntOrFloatBitWidth() != 16) || bytes % 16 != 0)
    return fetch->emitError("reads rows of ")
           << view << "; TMA takes elements of 16 bits or f8E4M3FN and rows of a multiple of 16 bytes";
  // Codes are copied in pairs.
  if (areCodes)
    element = BFloat16Type::get(fetch->getContext());
  // How many rows a cache has is known when the engine is loaded; page numbers are the host's.
  return cuda::TensorMapAttr::get(fetch->getContext(), cast<BlockArgument>(source).getArgNumber(), element,
                                  {bytes / 2, std::numeric_limits<int32_t>::max()},
                                  /*capacity=*/std::nullopt, /*strides=*/{bytes}, /*box=*/{kAtomColumns, run},
                                  /*swizzle=*/tile::kSlabBytes, /*l2Promotion=*/256);
}

/// The map of the memory that `fetch` reads, in boxes of its tile: weights as they are packed, whose atoms are swizzled
/// already, and rows under the 128-byte swizzle.
static FailureOr<cuda::TensorMapAttr> tensorMapOf(tile::FetchOp fetch) {
  MLIRContext *context = fetch.getContext();
  auto view = cast<tile::ViewType>(fetch.getView().getType());
  auto tile = cast<RankedTensorType>(fetch.getRing().getType().getTiles()[fetch.getTile()]);
  unsigned argument = cast<BlockArgument>(fetch.getView()).getArgNumber();
  int64_t columns = view.getShape()[1], tileRows = tile.getDimSize(0), tileColumns = tile.getDimSize(1);
  if (view.getProvenance() == tile::Provenance::Kv)
    return tensorMapOfRows(fetch, fetch.getView(), tileRows);
  int64_t bytes = bytesOf(view.getElementType()), ofSlab = kSlabBytes / bytes;
  StringAttr packing = packingOf(fetch->getParentOfType<tile::ProgramOp>(), fetch.getView());
  bool areRows = !packing || packing.getValue() == tile::kCodeRowsPacking;
  if (!areRows && packing.getValue() != tile::kAtomPacking)
    return mapOfBlocks(fetch, packing.getValue() == tile::kCodesPacking);
  int64_t most = areRows ? 4 * ofSlab : ofSlab;
  bool areScales = areRows && view.getElementType().isF32() && tileColumns * bytes == 16;
  if (!areScales && (bytes > 2 || tileColumns % ofSlab != 0 || tileColumns > most))
    return fetch.emitError("brings ") << tile.dropEncoding() << "; expected rows of " << kSlabBytes
                                      << " bytes of elements of 16 or 8 bits, or 16 bytes of f32";
  if (!areRows) {
    int64_t atoms = llvm::divideCeil(columns, kAtomColumns), groups = llvm::divideCeil(view.getShape()[0], kGroupRows);
    return cuda::TensorMapAttr::get(context, argument, view.getElementType(), {kAtomColumns, kGroupRows, atoms, groups},
                                    /*capacity=*/std::nullopt,
                                    /*strides=*/{kAtomColumns * 2, kAtomBytes, atoms * kAtomBytes},
                                    /*box=*/{kAtomColumns, kGroupRows, 1, tileRows / kGroupRows}, /*swizzle=*/0,
                                    /*l2Promotion=*/256);
  }
  if (view.getProvenance() == tile::Provenance::Weight && bytes == 2)
    return fetch.emitError("reads weights that are not packed; expected ")
           << tile::kPackingAttr << " = \"" << tile::kAtomPacking << "\"";
  if (columns * bytes % 16 != 0)
    return fetch.emitError("reads rows of ") << columns << " columns; TMA takes rows of a multiple of 16 bytes";
  bool isDynamic = ShapedType::isDynamic(view.getShape()[0]);
  if (isDynamic && !view.getExtent())
    return fetch.emitError("reads rows of ") << view << ", whose number is unknown; expected a size of the step";
  // The entry point's maximum of a size multiplies a dimension of 1.
  std::optional<uint32_t> capacity;
  if (isDynamic)
    capacity = static_cast<uint32_t>(*view.getExtent());
  // Two codes, and half a scale, are an element of 16 bits.
  Type element = bytes == 2 ? view.getElementType() : BFloat16Type::get(context);
  int64_t boxBytes = areScales ? tileColumns * bytes : kSlabBytes;
  return cuda::TensorMapAttr::get(context, argument, element, {columns * bytes / 2, isDynamic ? 1 : view.getShape()[0]},
                                  capacity,
                                  /*strides=*/{columns * bytes}, /*box=*/{boxBytes / 2, tileRows},
                                  /*swizzle=*/areScales ? 0 : kSlabBytes, /*l2Promotion=*/256);
}

LogicalResult inlay::collectTensorMaps(tile::ProgramOp program, FetchMaps &maps) {
  WalkResult walk = program.walk([&](Operation *fetch) {
    FailureOr<cuda::TensorMapAttr> map = failure();
    auto rectangle = dyn_cast<tile::FetchOp>(fetch);
    if (rectangle && holdsWeights(rectangle.getRing().getDefiningOp<tile::RingOp>()))
      return WalkResult::advance(); // bulk copies
    if (rectangle)
      map = tensorMapOf(rectangle);
    else if (auto rows = dyn_cast<tile::FetchRowsOp>(fetch); rows && !widens(rows))
      map = tensorMapOfRows(rows, rows.getView(), rows.getRun());
    else
      return WalkResult::advance();
    if (failed(map))
      return WalkResult::interrupt();
    auto known = llvm::find(maps.maps, *map);
    maps.numbers[fetch] = known - maps.maps.begin();
    if (known == maps.maps.end())
      maps.maps.push_back(*map);
    return WalkResult::advance();
  });
  return failure(walk.wasInterrupted());
}

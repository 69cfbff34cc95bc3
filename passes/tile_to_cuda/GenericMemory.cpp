//===- GenericMemory.cpp - tiles from and to memory -----------------------===//
//
// Addresses and bounds of a tile's elements, as wide accesses as they allow, and the
// copies that bring right sides of products to shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/SharedLayouts.h"

using namespace mlir;
using namespace inlay;

bool GenericLowering::isPacked(Value view) {
  auto packing = program.getArgAttrOfType<StringAttr>(cast<BlockArgument>(view).getArgNumber(), tile::kPackingAttr);
  return packing && packing.getValue() == tile::kAtomPacking;
}

/// The element's offset from the view's start (i64), and whether it is there.
std::pair<Value, Value> GenericLowering::place(Operation *access, Value view, ValueRange offsets, Value indices,
                                               const Layout &layout, ArrayRef<int64_t> shape, Value reg) {
  auto type = cast<tile::ViewType>(view.getType());
  int rank = type.getRank(), missing = rank - static_cast<int>(shape.size());
  Value inside = insideTile(layout, shape, reg);
  SmallVector<Value> at(rank);
  for (int dim = 0; dim < rank; ++dim) {
    Value offset = dim < static_cast<int>(offsets.size()) && offsets[dim] ? scalar(offsets[dim]) : Value();
    if (indices && dim == 0) {
      Value chosen = element(indices, rank == 2 ? keptRegister(layout, 1, reg) : reg);
      at[0] = arith::IndexCastOp::create(b, loc, b.getIndexType(), chosen);
      inside = both(inside, arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, at[0], index(0)));
    } else {
      at[dim] = add(offset, dim < missing ? index(0) : coordinate(layout, dim - missing, reg));
    }
    int64_t size = type.getShape()[dim], tileSize = dim < missing ? 1 : shape[dim - missing];
    if (ShapedType::isDynamic(size)) {
      if (type.getExtent())
        inside = both(inside, less(at[dim], cuda::SizeOp::create(b, loc, b.getIndexType(),
                                                                 static_cast<int64_t>(*type.getExtent()))));
      continue;
    }
    // A tile that divides the view and starts at its multiples never crosses the end by a part; it may lie past it.
    bool isWhole = !(indices && dim == 0) && (!offset || matchPattern(offset, m_Zero())) && tileSize <= size;
    if (!isWhole)
      inside = both(inside, less(at[dim], index(size)));
  }
  auto wide = [&](Value x) { return Value(arith::IndexCastOp::create(b, loc, b.getI64Type(), x)); };
  if (isPacked(view)) {
    // [row / 8][column / 64] atoms, each of which is swizzled.
    using enum LayoutDim;
    static const Layout placeInAtom = swizzledRows(/*rowBits=*/3, /*columnBits=*/6, /*chunkBits=*/3).inverse();
    int64_t atoms = llvm::divideCeil(type.getShape()[1], tile::kAtomColumns);
    auto shr = [&](Value x, int64_t n) { return Value(arith::ShRSIOp::create(b, loc, x, index(n))); };
    Value atom = add(mul(wide(shr(at[0], 3)), atoms), wide(shr(at[1], 6)));
    SmallVector<int64_t> ofRow = placeInAtom.components(Dim0, Offset), ofColumn = placeInAtom.components(Dim1, Offset);
    Value within = joined(image(at[0], ofRow), bitsOf(ofRow), image(at[1], ofColumn), bitsOf(ofColumn));
    return {add(mul(atom, tile::kGroupRows * tile::kAtomColumns), wide(within)), inside};
  }
  Value offset = wide(at[0]);
  for (int dim = 1; dim < rank; ++dim)
    offset = add(mul(offset, type.getShape()[dim]), wide(at[dim]));
  return {offset, inside};
}

/// Loads a tile from memory into registers.
Value GenericLowering::loadArray(Operation *op) {
  Access access = accessOf(op);
  Layout layout = registerLayout(op->getResult(0));
  RankedTensorType type = tileType(op->getResult(0));
  bool isIndexed1d = access.indices && type.getRank() == 1;
  int64_t width = isIndexed1d ? 1 : vectorWidth(access.view, access.offsets.back(), layout, type.getShape());
  if (access.indices)
    prepare(access.indices);
  Value array = local(layout.size(LayoutDim::Register), type.getElementType(), "loaded");
  Value pointer = scalar(access.view);
  unrolled(llvm::divideCeil(liveRegisters(layout, type.getShape()), width), [&](Value i) {
    Value reg = mul(i, width);
    auto [offset, inside] = place(op, access.view, access.offsets, access.indices, layout, type.getShape(), reg);
    std::string vector = "<" + std::to_string(width) + ">";
    if (threads.group == ThreadGroup::Warp && inside)
      // Without branches, so that many loads in a row are under way together.
      call("load_vector_or_zero" + vector, "tile.h", {address(array, reg), pointer, offset, inside});
    else
      call("load_vector" + vector, "tile.h",
           {address(array, reg), pointerAt(pointer, offset), inside ? inside : always()});
  });
  return array;
}

LogicalResult GenericLowering::storeTile(Operation *op, Value value, Value view, ValueRange offsets, Value indices) {
  RankedTensorType type = tileType(value);
  Layout layout = registerLayout(value);
  if (isPulled(value))
    arrayOf(value);
  int64_t width = indices && type.getRank() == 1 ? 1 : vectorWidth(view, offsets.back(), layout, type.getShape());
  if (indices)
    prepare(indices);
  Value array = materialize(value, "stored");
  Value pointer = scalar(view);
  Value holder = onlyOneHolder(layout);
  if (cast<tile::ViewType>(view.getType()).getProvenance() == tile::Provenance::State)
    barrier(); // elements that several threads hold have been read by all of them
  unrolled(layout.size(LayoutDim::Register) / width, [&](Value i) {
    Value reg = mul(i, width);
    auto [offset, inside] = place(op, view, offsets, indices, layout, type.getShape(), reg);
    Value at = pointerAt(pointer, offset);
    Value present = both(holder, inside);
    call("store_vector<" + std::to_string(width) + ">", "tile.h",
         {at, address(array, reg), present ? present : always()});
  });
  return success();
}

/// Issues the copies of a staged load.
SharedTile GenericLowering::stage(Operation *op, tile::SharedAttr layoutThere) {
  Access access = accessOf(op);
  RankedTensorType type = tileType(op->getResult(0));
  Layout layout = copyLayout(type, log2Ceil(threads.warps)); // what is past the tile is zero
  int64_t pitch = layoutThere.getPitch();
  Value tile = shared("rhs", layoutThere.elements(layout.extent(LayoutDim::Dim0)) * 2, 128, type.getElementType());
  if (access.indices)
    prepare(access.indices);
  barrier(); // the products before have read what lay here
  Value pointer = scalar(access.view);
  unrolled(layout.size(LayoutDim::Register) / 8, [&](Value i) {
    Value reg = mul(i, 8);
    auto [offset, inside] = place(op, access.view, access.offsets, access.indices, layout, type.getShape(), reg);
    Value from = pointerAt(pointer, offset);
    Value to = pointerAt(tile, add(mul(coordinate(layout, 0, reg), pitch), coordinate(layout, 1, reg)));
    call("cp_async_16", "cp_async.h", {to, from, inside ? inside : always()});
  });
  call("cp_async_commit", "cp_async.h", {});
  groups.push_back(op->getBlock());
  return {tile, pitch, groups.size() - 1};
}

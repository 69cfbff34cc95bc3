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

/// The element's offset in a matrix of blocks of 2^rowBits x 2^columnBits elements that lie so, for a row and a column.
Value TileValues::placeInBlocks(Value row, Value column, int64_t columns, const Layout &inBlock) {
  using enum LayoutDim;
  int rowBits = inBlock.outBits(Dim0), columnBits = inBlock.outBits(Dim1);
  auto wide = [&](Value x) { return Value(arith::IndexCastOp::create(b, loc, b.getI64Type(), x)); };
  auto shr = [&](Value x, int64_t n) { return Value(arith::ShRSIOp::create(b, loc, x, index(n))); };
  Value block = add(mul(wide(shr(row, rowBits)), llvm::divideCeil(columns, int64_t(1) << columnBits)),
                    wide(shr(column, columnBits)));
  Layout place = inBlock.inverse();
  SmallVector<int64_t> ofRow = place.components(Dim0, Offset), ofColumn = place.components(Dim1, Offset);
  Value within = joined(image(row, ofRow), bitsOf(ofRow), image(column, ofColumn), bitsOf(ofColumn));
  return add(mul(block, inBlock.size(Offset)), wide(within));
}

/// The element's offset from the view's start (i64), and whether it is there.
std::pair<Value, Value> TileValues::place(Operation *access, Value view, ValueRange offsets, Value indices,
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
  if (std::optional<Layout> blocks = packedBlocks(program, view)) {
    Value offset = placeInBlocks(at[0], at[1], type.getShape()[1], *blocks);
    // Two codes of 4 bits are a byte.
    if (type.getElementType().isInteger(4))
      offset = arith::ShRSIOp::create(b, loc, offset, arith::ConstantIntOp::create(b, loc, 1, 64));
    return {offset, inside};
  }
  Value offset = wide(at[0]);
  for (int dim = 1; dim < rank; ++dim)
    offset = add(mul(offset, type.getShape()[dim]), wide(at[dim]));
  return {offset, inside};
}

/// Loads a tile from memory into registers.
Value TileValues::loadArray(Operation *op) {
  Access access = accessOf(op);
  Layout layout = registerLayout(op->getResult(0));
  RankedTensorType type = tileType(op->getResult(0));
  bool isIndexed1d = access.indices && type.getRank() == 1;
  int64_t width = isIndexed1d ? 1 : vectorWidth(access.view, access.offsets.back(), layout, type.getShape());
  if (access.indices)
    prepare(access.indices);
  int64_t inElement = 1;
  Type element = type.getElementType();
  if (element.isInteger(4)) { // two in a byte
    element = b.getI8Type();
    inElement = 2;
  }
  width /= inElement;
  Value array = local(layout.size(LayoutDim::Register) / inElement, element, "loaded");
  Value pointer = scalar(access.view);
  auto pointerType = cast<cuda::PtrType>(pointer.getType());
  std::string load = isEarly && pointerType.getSpace() == cuda::Space::Global ? "load_vector_l2_only" : "load_vector";
  unrolled(llvm::divideCeil(liveRegisters(layout, type.getShape()), inElement * width), [&](Value i) {
    Value first = mul(i, width * inElement), reg = mul(i, width);
    auto [offset, inside] = place(op, access.view, access.offsets, access.indices, layout, type.getShape(), first);
    std::string vector = "<" + std::to_string(width) + ">";
    if (threads.group == ThreadGroup::Warp && inside)
      // Without branches, so that many loads in a row are under way together.
      call("load_vector_or_zero" + vector, "tile.h", {address(array, reg), pointer, offset, inside});
    else
      call(load + vector, "tile.h", {address(array, reg), pointerAt(pointer, offset), inside ? inside : always()});
  });
  return array;
}

LogicalResult TileValues::storeTile(Operation *op, Value value, Value view, ValueRange offsets, Value indices,
                                    Value pushes) {
  RankedTensorType type = tileType(value);
  Layout layout = registerLayout(value);
  if (isPulled(value))
    arrayOf(value);
  int64_t width = indices && type.getRank() == 1 ? 1 : vectorWidth(view, offsets.back(), layout, type.getShape());
  constexpr int64_t wordBytes = 4;
  if (int64_t bytes = width * bytesOf(type.getElementType()); pushes && bytes % wordBytes != 0)
    return op->emitOpError() << "pushes pieces of " << bytes << " bytes, expected whole words of " << wordBytes;
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
    Value present = both(both(holder, inside), mayStore);
    std::string vector = "<" + std::to_string(width) + ">";
    call("store_vector" + vector, "tile.h", {at, address(array, reg), present ? present : always()});
    if (pushes)
      call("push_elements" + vector, "peers.h", {pushes, address(array, reg), offset, present ? present : always()});
  });
  return success();
}

/// Threads of all blocks divide what is brought. Weights may be read before earlier launches have ended.
void GenericLowering::prefetch(tile::PrefetchOp op) {
  tile::ViewType view = op.getWeights().getType();
  auto bytesOfColumns = [](int64_t columns) { return columns / tile::kAtomColumns * tile::kAtomBytes; };
  int64_t k = llvm::alignTo(view.getShape()[1], tile::kAtomColumns);
  call("prefetch_parts", "prefetch.h",
       {scalar(op.getWeights()), index(llvm::divideCeil(view.getShape()[0], tile::kGroupRows)),
        index(bytesOfColumns(k)), index(bytesOfColumns(op.getShare())), index(bytesOfColumns(op.getColumns()))});
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

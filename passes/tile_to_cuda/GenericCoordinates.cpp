//===- GenericCoordinates.cpp - what a thread owns of a tile --------------===//
//
// A tile's layout says which bits of register, lane and warp make a coordinate; here
// that becomes arithmetic, as little of it as possible: what constants give is folded,
// what the thread alone decides is computed once.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// Scalars and loops
//===----------------------------------------------------------------------===//

Value TileValues::add(Value x, Value y) {
  if (!x || matchPattern(x, m_Zero()))
    return y;
  if (!y || matchPattern(y, m_Zero()))
    return x;
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left && right && x.getType().isIndex())
    return index(*left + *right);
  return arith::AddIOp::create(b, loc, x, y);
}

Value TileValues::mul(Value x, int64_t factor) {
  if (factor == 1)
    return x;
  if (std::optional<int64_t> known = getConstantIntValue(x); known && x.getType().isIndex())
    return index(*known * factor);
  Value constant = x.getType().isIndex() ? index(factor) : Value(arith::ConstantIntOp::create(b, loc, factor, 64));
  return arith::MulIOp::create(b, loc, x, constant);
}

/// A loop over `count` registers; the register's number is a constant where there is one only.
void TileValues::unrolled(int64_t count, function_ref<void(Value)> body) {
  if (count == 1)
    return body(index(0));
  auto loop = scf::ForOp::create(b, loc, index(0), index(count), index(1));
  loop->setAttr(cuda::kUnrollAttr, b.getUnitAttr());
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

Value TileValues::local(int64_t count, Type element, StringRef name) {
  Location named = NameLoc::get(b.getStringAttr(name), loc);
  return cuda::LocalOp::create(b, named, cuda::LocalType::get(b.getContext(), {count}, element), Value());
}

Value TileValues::address(Value array, Value i) {
  Type element = cast<cuda::LocalType>(array.getType()).getElementType();
  return cuda::AddressOp::create(b, loc, cuda::PtrType::get(b.getContext(), element, cuda::Space::Local), array,
                                 ValueRange{i});
}

Value TileValues::call(StringRef callee, StringRef header, ValueRange operands, Type result) {
  auto op = cuda::CallOp::create(b, loc, result ? TypeRange{result} : TypeRange{}, callee, header, operands, isEarly);
  return result ? op.getResult() : Value();
}

Value TileValues::shared(StringRef name, int64_t bytes, int64_t alignment, Type element,
                         std::optional<int64_t> overlay) {
  auto type = cuda::PtrType::get(b.getContext(), element, cuda::Space::Shared);
  return cuda::SharedBufferOp::create(b, NameLoc::get(b.getStringAttr(name), loc), type, bytes, alignment,
                                      overlay ? b.getI64IntegerAttr(*overlay) : IntegerAttr());
}

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

int64_t inlay::bitsOf(ArrayRef<int64_t> components) {
  int64_t bits = 0;
  for (int64_t component : components)
    bits |= component;
  return bits;
}

/// Whether `value` * `factor`, with any bits of `bits` set in the value, is the XOR of its shifts by the bits of the
/// factor: no two of these have a bit in common.
static bool isXorProduct(int64_t bits, int64_t factor) {
  int64_t taken = 0;
  for (int64_t rest = factor; rest != 0; rest &= rest - 1) {
    int64_t shifted = bits * (rest & -rest);
    if (taken & shifted)
      return false;
    taken |= shifted;
  }
  return true;
}

/// x ^ y, as a sum where they have no bit in common: x has only bits of `inX`, y only bits of `inY`.
Value TileValues::joined(Value x, int64_t inX, Value y, int64_t inY) {
  return x && y && (inX & inY) ? Value(arith::XOrIOp::create(b, loc, x, y)) : add(x, y);
}

/// The XOR of the components of the bits of `source` that are set; null where all are 0. Bits that stay neighbours move
/// together, and parts that have no bit in common are added.
Value TileValues::image(Value source, ArrayRef<int64_t> components) {
  Value sum;
  int64_t inSum = 0; // bits that may be set there
  for (size_t i = 0; i < components.size();) {
    size_t end = i + 1;
    while (end < components.size() && components[end] == 2 * components[end - 1] &&
           isXorProduct((int64_t(2) << (end - i)) - 1, components[i]))
      ++end;
    if (components[i] != 0) {
      int64_t run = (int64_t(1) << (end - i)) - 1;
      Value part = source;
      if (i > 0)
        part = arith::ShRSIOp::create(b, loc, part, index(static_cast<int64_t>(i)));
      part = mul(arith::AndIOp::create(b, loc, part, index(run)), components[i]);
      sum = joined(sum, inSum, part, run * components[i]);
      inSum |= run * components[i];
    }
    i = end;
  }
  return sum;
}

/// The part of a coordinate that the thread alone decides, computed once, at the start of the kernel or of its
/// epilogue.
Value TileValues::threadCoordinate(const Layout &layout, int dim) {
  using enum LayoutDim;
  Layout key = layout.restricted({Lane, Warp, Block});
  for (auto &[known, value] : coordinates)
    if (known.first == key && known.second == dim)
      return value;
  OpBuilder::InsertionGuard guard(b);
  if (laneRead)
    b.setInsertionPointAfter(laneRead);
  else
    b.setInsertionPoint(entryEnd);
  SmallVector<int64_t> lanes = layout.components(Lane, tile::dimension(dim));
  SmallVector<int64_t> warps = layout.components(Warp, tile::dimension(dim));
  Value value = joined(image(lane, lanes), bitsOf(lanes), image(warp, warps), bitsOf(warps));
  if (SmallVector<int64_t> blocks = layout.components(Block, tile::dimension(dim)); bitsOf(blocks) != 0)
    value = joined(value, bitsOf(lanes) | bitsOf(warps), image(clusterRank(), blocks), bitsOf(blocks));
  coordinates.push_back({{key, dim}, value});
  return value;
}

Value TileValues::coordinate(const Layout &layout, int dim, Value reg) {
  Value sum = threadCoordinate(layout, dim);
  SmallVector<int64_t> registers = layout.components(LayoutDim::Register, tile::dimension(dim));
  int64_t ofThread = 0;
  for (LayoutDim in : {LayoutDim::Lane, LayoutDim::Warp, LayoutDim::Block})
    ofThread |= bitsOf(layout.components(in, tile::dimension(dim)));
  if (!matchPattern(reg, m_Zero()))
    sum = joined(sum, ofThread, image(reg, registers), bitsOf(registers));
  return sum ? sum : index(0);
}

/// The register of layout.slice(axis) that `reg` of `layout` is reduced into, or comes from.
Value TileValues::keptRegister(const Layout &layout, int axis, Value reg) {
  if (matchPattern(reg, m_Zero()))
    return reg;
  SmallVector<int64_t> bits(layout.bits(LayoutDim::Register));
  for (auto [to, from] : llvm::enumerate(layout.keptRegisterBits(axis)))
    bits[from] = int64_t(1) << to;
  Value result = image(reg, bits);
  return result ? result : index(0);
}

/// Whether the element is one of the tile; null where the layout is no larger than the tile.
Value TileValues::insideTile(const Layout &layout, ArrayRef<int64_t> shape, Value reg) {
  Value inside;
  for (auto [dim, size] : llvm::enumerate(shape))
    if (layout.extent(tile::dimension(dim)) > size)
      inside = both(inside, less(coordinate(layout, dim, reg), index(size)));
  return inside;
}

/// Whether this thread is the first of those that hold the same elements; null where each element has one holder.
Value TileValues::onlyOneHolder(const Layout &layout) {
  auto firstOf = [&](Value source, LayoutDim in) -> Value {
    int64_t mask = layout.freeBits(in);
    if (!mask)
      return {};
    Value masked = arith::AndIOp::create(b, loc, source, index(mask));
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, masked, index(0));
  };
  Value isFirst = both(firstOf(lane, LayoutDim::Lane), firstOf(warp, LayoutDim::Warp));
  return layout.freeBits(LayoutDim::Block) ? both(isFirst, firstOf(clusterRank(), LayoutDim::Block)) : isFirst;
}

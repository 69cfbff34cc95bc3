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

Value GenericLowering::add(Value x, Value y) {
  if (!x || matchPattern(x, m_Zero()))
    return y;
  if (!y || matchPattern(y, m_Zero()))
    return x;
  std::optional<int64_t> left = getConstantIntValue(x), right = getConstantIntValue(y);
  if (left && right && x.getType().isIndex())
    return index(*left + *right);
  return arith::AddIOp::create(b, loc, x, y);
}

Value GenericLowering::mul(Value x, int64_t factor) {
  if (factor == 1)
    return x;
  if (std::optional<int64_t> known = getConstantIntValue(x); known && x.getType().isIndex())
    return index(*known * factor);
  Value constant = x.getType().isIndex() ? index(factor) : Value(arith::ConstantIntOp::create(b, loc, factor, 64));
  return arith::MulIOp::create(b, loc, x, constant);
}

/// A loop over `count` registers; the register's number is a constant where there is one only.
void GenericLowering::unrolled(int64_t count, function_ref<void(Value)> body) {
  if (count == 1)
    return body(index(0));
  auto loop = scf::ForOp::create(b, loc, index(0), index(count), index(1));
  loop->setAttr(cuda::kUnrollAttr, b.getUnitAttr());
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

Value GenericLowering::local(int64_t count, Type element, StringRef name) {
  Location named = NameLoc::get(b.getStringAttr(name), loc);
  return cuda::LocalOp::create(b, named, cuda::LocalType::get(b.getContext(), {count}, element), Value());
}

Value GenericLowering::address(Value array, Value i) {
  Type element = cast<cuda::LocalType>(array.getType()).getElementType();
  return cuda::AddressOp::create(b, loc, cuda::PtrType::get(b.getContext(), element, cuda::Space::Local), array,
                                 ValueRange{i});
}

Value GenericLowering::call(StringRef callee, StringRef header, ValueRange operands, Type result) {
  auto op = cuda::CallOp::create(b, loc, result ? TypeRange{result} : TypeRange{}, callee, header, operands);
  return result ? op.getResult() : Value();
}

Value GenericLowering::shared(StringRef name, int64_t bytes, int64_t alignment, Type element,
                              std::optional<int64_t> overlay) {
  auto type = cuda::PtrType::get(b.getContext(), element, cuda::Space::Shared);
  return cuda::SharedBufferOp::create(b, NameLoc::get(b.getStringAttr(name), loc), type, bytes, alignment,
                                      overlay ? b.getI64IntegerAttr(*overlay) : IntegerAttr());
}

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

/// Moves bits of `source` to other places: pairs (from, to), ascending in `from`. Null where there are none.
Value GenericLowering::pickBits(Value source, ArrayRef<std::pair<int, int>> bits) {
  Value sum;
  for (size_t i = 0; i < bits.size();) {
    size_t end = i + 1;
    while (end < bits.size() && bits[end].first == bits[end - 1].first + 1 &&
           bits[end].second == bits[end - 1].second + 1)
      ++end;
    Value part = source;
    if (bits[i].first > 0)
      part = arith::ShRSIOp::create(b, loc, part, index(bits[i].first));
    part = arith::AndIOp::create(b, loc, part, index((int64_t(1) << (end - i)) - 1));
    sum = add(sum, mul(part, int64_t(1) << bits[i].second));
    i = end;
  }
  return sum;
}

SmallVector<std::pair<int, int>> inlay::bitsOf(ArrayRef<LayoutBit> bits, int dim) {
  SmallVector<std::pair<int, int>> result;
  for (auto [i, bit] : llvm::enumerate(bits))
    if (bit.dim == dim)
      result.push_back({static_cast<int>(i), bit.position});
  return result;
}

/// The part of a coordinate that the thread alone decides, computed once at the kernel's start.
Value GenericLowering::threadCoordinate(const Layout &layout, int dim) {
  Layout key = layout;
  key.registers.clear();
  for (auto &[known, value] : coordinates)
    if (known.first == key && known.second == dim)
      return value;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(entryEnd);
  Value value = add(pickBits(lane, bitsOf(layout.lanes, dim)), pickBits(warp, bitsOf(layout.warps, dim)));
  coordinates.push_back({{key, dim}, value});
  return value;
}

Value GenericLowering::coordinate(const Layout &layout, int dim, Value reg) {
  Value sum = threadCoordinate(layout, dim);
  if (!matchPattern(reg, m_Zero()))
    sum = add(sum, pickBits(reg, bitsOf(layout.registers, dim)));
  return sum ? sum : index(0);
}

/// The register of layout.slice(axis) that `reg` of `layout` is reduced into, or comes from.
Value GenericLowering::keptRegister(const Layout &layout, int axis, Value reg) {
  if (matchPattern(reg, m_Zero()))
    return reg;
  SmallVector<std::pair<int, int>> bits;
  for (auto [to, from] : llvm::enumerate(layout.keptRegisterBits(axis)))
    bits.push_back({static_cast<int>(from), static_cast<int>(to)});
  Value result = pickBits(reg, bits);
  return result ? result : index(0);
}

/// Whether the element is one of the tile; null where the layout is no larger than the tile.
Value GenericLowering::insideTile(const Layout &layout, ArrayRef<int64_t> shape, Value reg) {
  Value inside;
  for (auto [dim, size] : llvm::enumerate(shape))
    if (layout.extent(dim) > size)
      inside = both(inside, less(coordinate(layout, dim, reg), index(size)));
  return inside;
}

/// Whether this thread is the first of those that hold the same elements; null where each element has one holder.
Value GenericLowering::onlyOneHolder(const Layout &layout) {
  auto firstOf = [&](Value source, ArrayRef<LayoutBit> bits) -> Value {
    int64_t mask = 0;
    for (auto [i, bit] : llvm::enumerate(bits))
      if (bit.dim < 0)
        mask |= int64_t(1) << i;
    if (!mask)
      return {};
    Value masked = arith::AndIOp::create(b, loc, source, index(mask));
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, masked, index(0));
  };
  return both(firstOf(lane, layout.lanes), firstOf(warp, layout.warps));
}

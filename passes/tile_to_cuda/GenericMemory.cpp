//===- GenericMemory.cpp - tiles from and to memory -----------------------===//
//
// Addresses and bounds of a tile's elements, as wide accesses as they allow, and the
// copies that bring right sides of products to shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace inlay;

/// A number that divides a scalar of the program, as far as its computation shows.
int64_t GenericLowering::divisor(Value value) {
  constexpr int64_t unknown = 1, everything = int64_t(1) << 20;
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.isZero() ? everything : std::abs(constant.getSExtValue());
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
    if (!loop || argument != loop.getInductionVar())
      return unknown;
    return std::gcd(divisor(loop.getLowerBound()), divisor(loop.getStep()));
  }
  auto product = [&](int64_t x, int64_t y) { return std::min(everything, x * std::min<int64_t>(y, 1 << 20)); };
  return llvm::TypeSwitch<Operation *, int64_t>(value.getDefiningOp())
      .Case([&](arith::MulIOp op) { return product(divisor(op.getLhs()), divisor(op.getRhs())); })
      .Case<arith::AddIOp, arith::SubIOp, arith::MinSIOp, arith::MaxSIOp>(
          [&](auto op) { return std::gcd(divisor(op.getLhs()), divisor(op.getRhs())); })
      .Case([&](arith::SelectOp op) { return std::gcd(divisor(op.getTrueValue()), divisor(op.getFalseValue())); })
      .Case<arith::DivUIOp, arith::DivSIOp>([&](auto op) -> int64_t {
        APInt by;
        if (!matchPattern(op.getRhs(), m_ConstantInt(&by)) || by.getSExtValue() <= 0 ||
            divisor(op.getLhs()) % by.getSExtValue() != 0)
          return unknown;
        return divisor(op.getLhs()) / by.getSExtValue();
      })
      .Case<arith::RemUIOp, arith::RemSIOp>(
          [&](auto op) { return std::gcd(divisor(op.getLhs()), divisor(op.getRhs())); })
      .Case([&](arith::IndexCastOp op) { return divisor(op.getIn()); })
      .Default([&](Operation *) { return unknown; });
}

bool GenericLowering::isPacked(Value view) {
  auto packing = program.getArgAttrOfType<StringAttr>(cast<BlockArgument>(view).getArgNumber(), tile::kPackingAttr);
  return packing && packing.getValue() == tile::kAtomPacking;
}

/// Elements that one access may move: neighbours in the thread, all inside or all outside, and aligned.
int64_t GenericLowering::vectorWidth(Value view, Value lastOffset, const Layout &layout, int64_t tileColumns) {
  auto type = cast<tile::ViewType>(view.getType());
  int64_t last = type.getShape().back(), width = 16 / bytesOf(type.getElementType());
  auto shrink = [&](int64_t limit) { width = std::gcd(width, limit); };
  shrink(layout.contiguous(layout.registers.empty() ? 0 : layout.registers[0].dim));
  shrink(tileColumns);
  if (lastOffset)
    shrink(divisor(lastOffset));
  if (!ShapedType::isDynamic(last))
    shrink(last);
  else if (type.getRank() == 1)
    width = type.getExtent() ? 1 : width;
  return width;
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
      Layout rows = rank == 2 ? layout.slice(1) : layout;
      Value chosen = element(indices, rows, rank == 2 ? keptRegister(layout, 1, reg) : reg);
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
    // [row / 8][column / 64] atoms of 512 elements; the 8-element chunk c of row r lies at c ^ r.
    int64_t atoms = llvm::divideCeil(type.getShape()[1], 64);
    auto shr = [&](Value x, int64_t n) { return Value(arith::ShRSIOp::create(b, loc, x, index(n))); };
    auto mask = [&](Value x, int64_t m) { return Value(arith::AndIOp::create(b, loc, x, index(m))); };
    Value row = at[0], column = at[1], rowIn = mask(row, 7);
    Value atom = add(mul(wide(shr(row, 3)), atoms), wide(shr(column, 6)));
    Value chunk = arith::XOrIOp::create(b, loc, mask(shr(column, 3), 7), rowIn);
    Value within = add(add(mul(rowIn, 64), mul(chunk, 8)), mask(column, 7));
    return {add(mul(atom, 512), wide(within)), inside};
  }
  Value offset = wide(at[0]);
  for (int dim = 1; dim < rank; ++dim)
    offset = add(mul(offset, type.getShape()[dim]), wide(at[dim]));
  return {offset, inside};
}

namespace {
/// What loads and gathers have in common.
struct Access {
  Value view;
  SmallVector<Value> offsets; // null for the indexed dimension
  Value indices;
};
} // namespace

static Access accessOf(Operation *op) {
  if (auto load = dyn_cast<tile::LoadOp>(op))
    return {load.getView(), SmallVector<Value>(load.getOffsets()), {}};
  auto gather = cast<tile::GatherOp>(op);
  Access access{gather.getView(), {Value()}, gather.getIndices()};
  if (gather.getColumn())
    access.offsets.push_back(gather.getColumn());
  return access;
}

/// Loads a tile from memory into registers.
Value GenericLowering::loadArray(Operation *op, const Layout &layout) {
  Access access = accessOf(op);
  RankedTensorType type = tileType(op->getResult(0));
  bool isIndexed1d = access.indices && type.getRank() == 1;
  int lastDim = type.getRank() - 1;
  int64_t width = 1;
  if (!isIndexed1d && !layout.registers.empty() && layout.registers[0] == LayoutBit{lastDim, 0})
    width = vectorWidth(access.view, access.offsets.back(), layout, type.getShape().back());
  if (access.indices)
    prepare(access.indices, type.getRank() == 2 ? layout.slice(1) : layout);
  Value array = local(layout.registerCount(), type.getElementType(), "loaded");
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
  bool isComputed = layouts.isInline(value) || layouts.isPulled(value);
  Layout layout = isComputed ? layouts.blocked(type) : layouts.of(value);
  if (layouts.isPulled(value))
    arrayOf(value, layout);
  int lastDim = type.getRank() - 1;
  int64_t width = 1;
  if (!(indices && type.getRank() == 1) && !layout.registers.empty() && layout.registers[0] == LayoutBit{lastDim, 0})
    width = vectorWidth(view, offsets.back(), layout, type.getShape().back());
  if (indices)
    prepare(indices, type.getRank() == 2 ? layout.slice(1) : layout);
  Value array = materialize(value, layout, "stored");
  Value pointer = scalar(view);
  Value holder = onlyOneHolder(layout);
  if (cast<tile::ViewType>(view.getType()).getProvenance() == tile::Provenance::State)
    barrier(); // elements that several threads hold have been read by all of them
  unrolled(layout.registerCount() / width, [&](Value i) {
    Value reg = mul(i, width);
    auto [offset, inside] = place(op, view, offsets, indices, layout, type.getShape(), reg);
    Value at = pointerAt(pointer, offset);
    Value present = both(holder, inside);
    call("store_vector<" + std::to_string(width) + ">", "tile.h",
         {at, address(array, reg), present ? present : always()});
  });
  return success();
}

/// Whether a load goes straight to shared memory, as the right side of a product.
bool GenericLowering::isStaged(Operation *op) {
  if (!isa<tile::LoadOp, tile::GatherOp>(op) || !layouts.isPulled(op->getResult(0)) || op->use_empty())
    return false;
  RankedTensorType type = tileType(op->getResult(0));
  if (type.getRank() != 2 || type.getElementTypeBitWidth() != 16)
    return false;
  for (OpOperand &use : op->getUses()) {
    auto dot = dyn_cast<tile::DotOp>(use.getOwner());
    if (!dot || use.get() != dot.getRhs() || use.get() == dot.getLhs() || dot->getBlock() != op->getBlock())
      return false;
  }
  Access access = accessOf(op);
  return vectorWidth(access.view, access.offsets.back(), layouts.blocked(type), type.getDimSize(1)) == 8;
}

/// Issues the copies of a staged load.
SharedTile GenericLowering::stage(Operation *op) {
  Access access = accessOf(op);
  RankedTensorType type = tileType(op->getResult(0));
  // Products read whole tiles of 16 x 16 elements: the layout covers them, and what is past the tile is zero.
  SmallVector<int64_t> padded{std::max<int64_t>(16, type.getDimSize(0)), std::max<int64_t>(16, type.getDimSize(1))};
  Layout layout = Layout::blocked(padded, 8, layouts.warps());
  int64_t pitch = layout.extent(1) + 8; // 16 bytes more, so that ldmatrix's rows lie in different banks
  Value tile = shared("rhs", layout.extent(0) * pitch * 2, 128, type.getElementType());
  if (access.indices)
    prepare(access.indices, layout.slice(1));
  barrier(); // the products before have read what lay here
  Value pointer = scalar(access.view);
  unrolled(layout.registerCount() / 8, [&](Value i) {
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

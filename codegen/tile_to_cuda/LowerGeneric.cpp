//===- LowerGeneric.cpp - any tile program as one kernel -------------------===//
//
// Tiles become arrays of registers in the layouts of AssignLayouts.h; each op is
// an unrolled loop over a thread's registers. Where a use wants another layout
// than the tile is kept in, the tile goes through shared memory. The right sides
// of products lie in shared memory, brought there by cp.async where they come
// straight from memory; a load is issued as soon as its addresses are known.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cuda/AssignLayouts.h"
#include "codegen/tile_to_cuda/Families.h"
#include "codegen/tile_to_cuda/PlaceDependency.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <numeric>

using namespace mlir;
using namespace inlay;

namespace {
/// A tile in registers.
struct TileArray {
  Layout layout;
  Value array; // !cuda.local<RxT>
};

/// A tile in shared memory, rows of `pitch` elements.
struct SharedTile {
  Value pointer;
  int64_t pitch;
  size_t group; // of cp.async, counted over the kernel's text
};

class GenericLowering {
public:
  GenericLowering(tile::ProgramOp program, cuda::KernelOp kernel, LayoutAssignment &layouts)
      : program(program), kernel(kernel), layouts(layouts), b(kernel.getContext()), loc(kernel.getLoc()) {}
  LogicalResult run();
  int64_t conversions = 0;

private:
  // Scalars and loops.
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  Value add(Value x, Value y);
  Value mul(Value x, int64_t factor);
  Value both(Value x, Value y) { return x && y ? Value(arith::AndIOp::create(b, loc, x, y)) : (x ? x : y); }
  Value less(Value x, Value y) { return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, y); }
  Value always() { return arith::ConstantIntOp::create(b, loc, 1, 1); }
  Value special(cuda::Special which) { return cuda::SpecialOp::create(b, loc, b.getIndexType(), which); }
  void unrolled(int64_t count, function_ref<void(Value)> body);
  Value local(int64_t count, Type element, StringRef name);
  Value get(Value array, Value i) {
    return cuda::GetOp::create(b, loc, cast<cuda::LocalType>(array.getType()).getElementType(), array, ValueRange{i});
  }
  void set(Value value, Value array, Value i) { cuda::SetOp::create(b, loc, value, array, ValueRange{i}); }
  Value address(Value array, Value i);
  Value call(StringRef callee, StringRef header, ValueRange operands, Type result = {});
  Value shared(int64_t offset, Type element);
  Value pointerAt(Value base, Value i) { return cuda::OffsetOp::create(b, loc, base.getType(), base, i); }
  void barrier() { cuda::BarrierOp::create(b, loc, IntegerAttr(), IntegerAttr()); }
  Value scalar(Value value) { return scalars.lookup(value); }

  // Coordinates.
  Value pickBits(Value source, ArrayRef<std::pair<int, int>> bits);
  Value threadCoordinate(const Layout &layout, int dim);
  Value coordinate(const Layout &layout, int dim, Value reg);
  Value keptRegister(const Layout &layout, int axis, Value reg);
  Value insideTile(const Layout &layout, ArrayRef<int64_t> shape, Value reg);
  Value onlyOneHolder(const Layout &layout);

  // Values.
  void prepare(Value tile, const Layout &layout);
  Value element(Value tile, const Layout &layout, Value reg);
  Value arrayOf(Value tile, const Layout &layout);
  TileArray *find(Value tile, const Layout &layout, unsigned &scope);
  void define(Value tile, const Layout &layout, Value array);
  Value materialize(Value tile, const Layout &layout, StringRef name);
  Value convert(Value array, const Layout &from, const Layout &to, ArrayRef<int64_t> shape);
  std::optional<Value> permute(Value array, const Layout &from, const Layout &to);

  // Memory.
  int64_t divisor(Value value);
  bool isPacked(Value view);
  int64_t vectorWidth(Value view, Value lastOffset, const Layout &layout, int64_t tileColumns);
  std::pair<Value, Value> place(Operation *access, Value view, ValueRange offsets, Value indices, const Layout &layout,
                                ArrayRef<int64_t> shape, Value reg);
  Value loadArray(Operation *op, const Layout &layout);
  LogicalResult storeTile(Operation *op, Value value, Value view, ValueRange offsets, Value indices);
  bool isStaged(Operation *op);
  SharedTile stage(Operation *op);

  // Ops.
  LogicalResult lower(Operation *op);
  LogicalResult lowerBlock(Block &block);
  LogicalResult dot(tile::DotOp op);
  LogicalResult reduce(tile::ReduceOp op);
  LogicalResult argMax(tile::ArgMaxOp op);
  LogicalResult deinterleave(tile::DeinterleaveOp op);
  LogicalResult clusterReduce(tile::ClusterReduceOp op);
  LogicalResult transpose(tile::TransposeOp op);
  LogicalResult forOp(scf::ForOp op);
  LogicalResult ifOp(scf::IfOp op);
  Value combine(tile::Reduction kind, Value x, Value y);
  Value identity(tile::Reduction kind, Type type);
  void reduceOverThreads(const Layout &layout, int axis, ArrayRef<int64_t> shape, ArrayRef<Value> arrays,
                         function_ref<SmallVector<Value>(ValueRange, ValueRange)> combineValues);

  tile::ProgramOp program;
  cuda::KernelOp kernel;
  LayoutAssignment &layouts;
  OpBuilder b;
  Location loc;
  Value lane, warp;
  Operation *entryEnd = nullptr; // what is used everywhere is put before this
  DenseMap<Value, Value> scalars;
  /// The blocks being built, outermost first: what was computed in each, and the op of the block that holds the next.
  struct Scope {
    DenseMap<Value, SmallVector<TileArray>> tiles;
    Operation *inner = nullptr;
  };
  SmallVector<Scope> scopes;
  DenseMap<Value, unsigned> scopeOf; // where a tile was defined
  DenseMap<Value, SharedTile> staged;
  SmallVector<std::pair<std::pair<Layout, int>, Value>> coordinates;
  int64_t scratchBytes = 0; // one region that every exchange uses, between barriers
  int64_t ownBytes = 0;     // regions that are used by one op only, behind the scratch
  SmallVector<cuda::SharedOp> ownRegions;
  SmallVector<Block *> groups; // where each group of cp.async is committed
};
} // namespace

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

Value GenericLowering::shared(int64_t offset, Type element) {
  return cuda::SharedOp::create(b, loc, cuda::PtrType::get(b.getContext(), element, cuda::Space::Shared), offset);
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

static SmallVector<std::pair<int, int>> bitsOf(ArrayRef<LayoutBit> bits, int dim) {
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

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

static RankedTensorType tileType(Value value) { return cast<RankedTensorType>(value.getType()); }

TileArray *GenericLowering::find(Value tile, const Layout &layout, unsigned &scope) {
  for (scope = scopes.size(); scope-- > 0;) {
    auto it = scopes[scope].tiles.find(tile);
    if (it == scopes[scope].tiles.end())
      continue;
    for (TileArray &entry : it->second)
      if (entry.layout == layout)
        return &entry;
  }
  return nullptr;
}

void GenericLowering::define(Value tile, const Layout &layout, Value array) {
  scopes.back().tiles[tile].push_back({layout, array});
  scopeOf[tile] = scopes.size() - 1;
}

/// The registers of a tile in a layout; loaded or converted, in the scope that the tile belongs to, if need be.
Value GenericLowering::arrayOf(Value tile, const Layout &layout) {
  unsigned scope;
  if (TileArray *known = find(tile, layout, scope))
    return known->array;
  scope = scopeOf.lookup(tile);
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Scope> inner;
  if (scope + 1 < scopes.size()) {
    b.setInsertionPoint(scopes[scope].inner);
    inner.append(std::make_move_iterator(scopes.begin() + scope + 1), std::make_move_iterator(scopes.end()));
    scopes.truncate(scope + 1);
  }
  Value array;
  if (layouts.isPulled(tile)) {
    array = loadArray(tile.getDefiningOp(), layout);
  } else {
    const TileArray source = scopes[scope].tiles[tile].front();
    array = convert(source.array, source.layout, layout, tileType(tile).getShape());
  }
  scopes[scope].tiles[tile].push_back({layout, array});
  scopes.append(std::make_move_iterator(inner.begin()), std::make_move_iterator(inner.end()));
  return array;
}

/// Brings about all that `element` will read, outside of the loop that it is called in.
void GenericLowering::prepare(Value tile, const Layout &layout) {
  if (!layouts.isInline(tile)) {
    arrayOf(tile, layout);
    return;
  }
  Operation *op = tile.getDefiningOp();
  if (auto broadcast = dyn_cast<tile::BroadcastOp>(op))
    return prepare(broadcast.getValue(), layout.slice(broadcast.getAxis()));
  if (isElementwise(op))
    for (Value operand : op->getOperands())
      if (isa<RankedTensorType>(operand.getType()))
        prepare(operand, layout);
}

/// The element that register `reg` holds of a tile in `layout`.
Value GenericLowering::element(Value tile, const Layout &layout, Value reg) {
  if (!layouts.isInline(tile))
    return get(arrayOf(tile, layout), reg);
  Operation *op = tile.getDefiningOp();
  Type type = tileType(tile).getElementType();
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::ConstantOp constant) -> Value {
        auto elements = cast<DenseElementsAttr>(constant.getValue());
        return arith::ConstantOp::create(b, loc, elements.getSplatValue<TypedAttr>());
      })
      .Case([&](tensor::SplatOp splat) { return scalar(splat.getInput()); })
      .Case([&](tile::IotaOp iota) -> Value {
        return arith::IndexCastOp::create(b, loc, type, coordinate(layout, iota.getAxis(), reg));
      })
      .Case([&](tile::BroadcastOp broadcast) {
        return element(broadcast.getValue(), layout.slice(broadcast.getAxis()),
                       keptRegister(layout, broadcast.getAxis(), reg));
      })
      .Default([&](Operation *other) -> Value {
        SmallVector<Value> operands;
        for (Value operand : other->getOperands())
          operands.push_back(isa<RankedTensorType>(operand.getType()) ? element(operand, layout, reg)
                                                                      : scalar(operand));
        OperationState state(loc, other->getName(), operands, {type}, other->getAttrs());
        return b.create(state)->getResult(0);
      });
}

/// Computes a tile into registers of its own.
Value GenericLowering::materialize(Value tile, const Layout &layout, StringRef name) {
  if (!layouts.isInline(tile))
    return arrayOf(tile, layout);
  prepare(tile, layout);
  Value array = local(layout.registerCount(), tileType(tile).getElementType(), name);
  unrolled(layout.registerCount(), [&](Value reg) { set(element(tile, layout, reg), array, reg); });
  return array;
}

/// The same registers under other numbers, where no element has to leave its thread.
std::optional<Value> GenericLowering::permute(Value array, const Layout &from, const Layout &to) {
  if (from.lanes != to.lanes || from.warps != to.warps || from.registers.size() != to.registers.size())
    return std::nullopt;
  SmallVector<std::pair<int, int>> bits;
  for (auto [i, bit] : llvm::enumerate(to.registers)) {
    auto it = llvm::find(from.registers, bit);
    if (it == from.registers.end())
      return std::nullopt;
    bits.push_back({static_cast<int>(i), static_cast<int>(it - from.registers.begin())});
  }
  Value result = local(to.registerCount(), cast<cuda::LocalType>(array.getType()).getElementType(), "permuted");
  unrolled(to.registerCount(), [&](Value reg) {
    Value source = matchPattern(reg, m_Zero()) ? reg : pickBits(reg, bits);
    set(get(array, source ? source : reg), result, reg);
  });
  return result;
}

static int64_t bytesOf(Type type) { return std::max(1u, type.getIntOrFloatBitWidth() / 8); }

/// A tile in another layout: through the scratch memory.
Value GenericLowering::convert(Value array, const Layout &from, const Layout &to, ArrayRef<int64_t> shape) {
  if (std::optional<Value> permuted = permute(array, from, to))
    return *permuted;
  ++conversions;
  Type type = cast<cuda::LocalType>(array.getType()).getElementType();
  int rank = shape.size();
  int64_t pitch = rank == 2 ? std::max(from.extent(1), to.extent(1)) + 16 / bytesOf(type) : 0;
  int64_t rows = std::max(from.extent(0), to.extent(0));
  scratchBytes = std::max(scratchBytes, (rank == 2 ? rows * pitch : rows) * bytesOf(type));
  auto at = [&](const Layout &layout, Value reg) {
    Value row = coordinate(layout, 0, reg);
    return rank == 2 ? add(mul(row, pitch), coordinate(layout, 1, reg)) : row;
  };
  Value result = local(to.registerCount(), type, "converted");
  barrier();
  Value tile = shared(0, type);
  unrolled(from.registerCount(),
           [&](Value reg) { cuda::StoreOp::create(b, loc, get(array, reg), tile, at(from, reg)); });
  barrier();
  unrolled(to.registerCount(),
           [&](Value reg) { set(cuda::LoadOp::create(b, loc, type, tile, at(to, reg)), result, reg); });
  return result;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

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
  auto packing = program.getArgAttrOfType<StringAttr>(cast<BlockArgument>(view).getArgNumber(), "tile.packing");
  return packing && packing.getValue() == "atom_8x64";
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
  unrolled(layout.registerCount() / width, [&](Value i) {
    Value reg = mul(i, width);
    auto [offset, inside] = place(op, access.view, access.offsets, access.indices, layout, type.getShape(), reg);
    Value at = pointerAt(pointer, offset);
    call("load_vector<" + std::to_string(width) + ">", "tile.h", {address(array, reg), at, inside ? inside : always()});
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
  Value tile = shared(ownBytes, type.getElementType());
  ownRegions.push_back(tile.getDefiningOp<cuda::SharedOp>());
  ownBytes += llvm::alignTo(layout.extent(0) * pitch * 2, 128);
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

//===----------------------------------------------------------------------===//
// Products and reductions
//===----------------------------------------------------------------------===//

LogicalResult GenericLowering::dot(tile::DotOp op) {
  RankedTensorType lhsType = tileType(op.getLhs()), rhsType = tileType(op.getRhs()), type = tileType(op.getResult());
  Type element = lhsType.getElementType();
  if (element.isF32())
    return op.emitOpError() << "of f32 operands has no CUDA lowering; compile with --dtype bfloat16 or float16";
  std::string name = element.isBF16() ? "bfloat16" : "float16";
  Layout accumulator = layouts.accumulator(type), lhs = layouts.lhs(lhsType);
  int64_t inner = lhsType.getDimSize(1);

  // What comes from memory or other layouts is asked for before anything is waited for.
  prepare(op.getLhs(), lhs);
  prepare(op.getAccumulator(), accumulator);

  // The right side, in shared memory.
  auto known = staged.find(op.getRhs());
  SharedTile rhs;
  if (known != staged.end()) {
    rhs = known->second;
    // Groups of other blocks may or may not have been committed since, so they do not count.
    auto later = ArrayRef(groups).drop_front(rhs.group + 1);
    call("cp_async_wait<" + std::to_string(llvm::count(later, op->getBlock())) + ">", "cp_async.h", {});
    barrier();
  } else {
    SmallVector<int64_t> padded{std::max<int64_t>(16, rhsType.getDimSize(0)),
                                std::max<int64_t>(16, rhsType.getDimSize(1))};
    bool isComputed = layouts.isInline(op.getRhs()) || layouts.isPulled(op.getRhs());
    Layout layout = isComputed ? layouts.blocked(rhsType) : layouts.of(op.getRhs());
    Layout whole = Layout::blocked(padded, 8, layouts.warps());
    int64_t pitch = std::max(whole.extent(1), layout.extent(1)) + 8, rows = std::max(whole.extent(0), layout.extent(0));
    Value array = materialize(op.getRhs(), layout, "rhs");
    Value tile = shared(ownBytes, element);
    ownRegions.push_back(tile.getDefiningOp<cuda::SharedOp>());
    ownBytes += llvm::alignTo(rows * pitch * 2, 128);
    rhs = {tile, pitch, 0};
    barrier();
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
    auto at = [&](const Layout &any, Value reg) {
      return add(mul(coordinate(any, 0, reg), pitch), coordinate(any, 1, reg));
    };
    if (padded[0] > rhsType.getDimSize(0) || padded[1] > rhsType.getDimSize(1) ||
        !llvm::isPowerOf2_64(rhsType.getDimSize(0)) || !llvm::isPowerOf2_64(rhsType.getDimSize(1))) {
      unrolled(whole.registerCount(), [&](Value reg) { cuda::StoreOp::create(b, loc, zero, tile, at(whole, reg)); });
      barrier();
    }
    unrolled(layout.registerCount(), [&](Value reg) {
      Value value = get(array, reg);
      if (Value inside = insideTile(layout, rhsType.getShape(), reg))
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      cuda::StoreOp::create(b, loc, value, tile, at(layout, reg));
    });
    barrier();
  }

  // The left side, as packed pairs.
  Value a = local(lhs.registerCount() / 2, b.getI32Type(), "a");
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
  unrolled(lhs.registerCount() / 2, [&](Value i) {
    Value low = mul(i, 2), high = add(low, index(1));
    auto read = [&](Value reg) {
      Value value = this->element(op.getLhs(), lhs, reg);
      if (lhs.extent(1) > inner) {
        Value inside = less(coordinate(lhs, 1, reg), index(inner));
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      }
      return value;
    };
    Value first = read(low);
    set(call("pack_bits", "base.h", {first, read(high)}, b.getI32Type()), a, i);
  });

  // The accumulator is a new value, so that the old one stays what it is.
  Value acc = local(accumulator.registerCount(), b.getF32Type(), "acc");
  unrolled(accumulator.registerCount(),
           [&](Value reg) { set(this->element(op.getAccumulator(), accumulator, reg), acc, reg); });

  // Registers of the accumulator: 4 of one 16 x 8 tile, then its tiles along the columns, then along the rows.
  int64_t columnTiles = 1, rowTiles = 1;
  for (LayoutBit bit : ArrayRef(accumulator.registers).drop_front(2))
    (bit.dim == 1 ? columnTiles : rowTiles) *= 2;
  int64_t steps = lhs.registerCount() / 8 / rowTiles;
  int64_t together = std::min<int64_t>(2, columnTiles);
  SmallVector<std::pair<int, int>> warpBits = bitsOf(accumulator.warps, 1);
  Value warpColumn = pickBits(warp, warpBits);
  Value lane8 = arith::AndIOp::create(b, loc, lane, index(7));
  auto laneBit = [&](int bit) { return pickBits(lane, {{bit, 3}}); }; // 8 where the bit is set
  // The lane's row and column in the 16 x 16 elements of two column tiles and one step.
  Value laneColumn = op.getTransposeRhs() ? add(lane8, laneBit(4)) : laneBit(4);
  Value laneInner = op.getTransposeRhs() ? laneBit(3) : add(lane8, laneBit(3));
  if (together == 1)
    laneColumn = op.getTransposeRhs() ? lane8 : Value();
  std::string load =
      std::string(together == 2 ? "ldmatrix_x4" : "ldmatrix_x2") + (op.getTransposeRhs() ? "" : "_trans");
  Value laneStart = op.getTransposeRhs() ? add(mul(add(warpColumn, laneColumn), rhs.pitch), laneInner)
                                         : add(mul(laneInner, rhs.pitch), add(warpColumn, laneColumn));
  Value base = pointerAt(rhs.pointer, laneStart);
  int64_t perStep = op.getTransposeRhs() ? 16 : 16 * rhs.pitch;
  int64_t perColumns = (op.getTransposeRhs() ? rhs.pitch : 1) * 8 * together;
  unrolled(steps, [&](Value step) {
    unrolled(columnTiles / together, [&](Value columns) {
      Value fragment = local(2 * together, b.getI32Type(), "b");
      Value at = pointerAt(base, add(mul(step, perStep), mul(columns, perColumns)));
      call(load, "mma.h", {address(fragment, index(0)), at});
      unrolled(rowTiles, [&](Value row) {
        for (int64_t half = 0; half < together; ++half) {
          Value c = mul(add(add(mul(row, columnTiles), mul(columns, together)), index(half)), 4);
          Value left = mul(add(mul(row, steps), step), 4);
          call("mma_m16n8k16<" + name + ">", "mma.h",
               {address(acc, c), address(a, left), address(fragment, index(2 * half))});
        }
      });
    });
  });
  define(op.getResult(), accumulator, acc);
  return success();
}

Value GenericLowering::combine(tile::Reduction kind, Value x, Value y) {
  bool isFloat = isa<FloatType>(x.getType());
  switch (kind) {
  case tile::Reduction::Add:
    return isFloat ? Value(arith::AddFOp::create(b, loc, x, y)) : Value(arith::AddIOp::create(b, loc, x, y));
  case tile::Reduction::Max:
    return isFloat ? Value(arith::MaximumFOp::create(b, loc, x, y)) : Value(arith::MaxSIOp::create(b, loc, x, y));
  case tile::Reduction::Min:
    return isFloat ? Value(arith::MinimumFOp::create(b, loc, x, y)) : Value(arith::MinSIOp::create(b, loc, x, y));
  }
  llvm_unreachable("all reductions are handled");
}

Value GenericLowering::identity(tile::Reduction kind, Type type) {
  TypedAttr attr;
  if (auto floats = dyn_cast<FloatType>(type)) {
    APFloat value = kind == tile::Reduction::Add
                        ? APFloat::getZero(floats.getFloatSemantics())
                        : APFloat::getInf(floats.getFloatSemantics(), kind == tile::Reduction::Max);
    attr = FloatAttr::get(type, value);
  } else {
    unsigned bits = type.getIntOrFloatBitWidth();
    APInt value = kind == tile::Reduction::Add   ? APInt::getZero(bits)
                  : kind == tile::Reduction::Max ? APInt::getSignedMinValue(bits)
                                                 : APInt::getSignedMaxValue(bits);
    attr = IntegerAttr::get(type, value);
  }
  return arith::ConstantOp::create(b, loc, attr);
}

/// Combines, in `arrays` of layout.slice(axis), what lanes and warps hold of the axis; all of them get the result.
void GenericLowering::reduceOverThreads(const Layout &layout, int axis, ArrayRef<int64_t> shape, ArrayRef<Value> arrays,
                                        function_ref<SmallVector<Value>(ValueRange, ValueRange)> combineValues) {
  Layout kept = layout.slice(axis);
  auto elementType = [](Value array) { return cast<cuda::LocalType>(array.getType()).getElementType(); };
  auto combineInto = [&](Value reg, ValueRange others) {
    SmallVector<Value> mine;
    for (Value array : arrays)
      mine.push_back(get(array, reg));
    for (auto [value, array] : llvm::zip_equal(combineValues(mine, others), arrays))
      set(value, array, reg);
  };
  for (auto [i, bit] : llvm::enumerate(layout.lanes)) {
    if (bit.dim != axis)
      continue;
    int64_t distance = int64_t(1) << i;
    unrolled(kept.registerCount(), [&](Value reg) {
      SmallVector<Value> others;
      for (Value array : arrays)
        others.push_back(call("shuffle_xor", "warp.h",
                              {get(array, reg), arith::ConstantIntOp::create(b, loc, distance, 32)},
                              elementType(array)));
      combineInto(reg, others);
    });
  }
  SmallVector<std::pair<int, int>> partBits;
  for (auto [i, bit] : llvm::enumerate(layout.warps))
    if (bit.dim == axis)
      partBits.push_back({static_cast<int>(i), static_cast<int>(partBits.size())});
  if (partBits.empty())
    return;
  // Warps: each writes its part, then every thread combines the parts in the same order.
  int64_t parts = int64_t(1) << partBits.size(), elements = 1;
  for (int dim = 0; dim + 1 < static_cast<int>(shape.size()); ++dim)
    elements *= kept.extent(dim);
  scratchBytes = std::max<int64_t>(scratchBytes, parts * elements * 4 * arrays.size());
  auto at = [&](Value reg) {
    Value sum;
    for (int dim = 0; dim + 1 < static_cast<int>(shape.size()); ++dim)
      sum = add(sum ? mul(sum, kept.extent(dim)) : Value(), coordinate(kept, dim, reg));
    return sum ? sum : index(0);
  };
  barrier();
  SmallVector<Value> regions;
  for (auto [i, array] : llvm::enumerate(arrays))
    regions.push_back(shared(static_cast<int64_t>(i) * parts * elements * 4, elementType(array)));
  Value part = pickBits(warp, partBits);
  unrolled(kept.registerCount(), [&](Value reg) {
    for (auto [array, region] : llvm::zip_equal(arrays, regions))
      cuda::StoreOp::create(b, loc, get(array, reg), region, add(mul(part, elements), at(reg)));
  });
  barrier();
  unrolled(kept.registerCount(), [&](Value reg) {
    SmallVector<Value> sum;
    for (int64_t p = 0; p < parts; ++p) {
      SmallVector<Value> next;
      for (auto [array, region] : llvm::zip_equal(arrays, regions))
        next.push_back(cuda::LoadOp::create(b, loc, elementType(array), region, add(index(p * elements), at(reg))));
      sum = p == 0 ? next : combineValues(sum, next);
    }
    for (auto [value, array] : llvm::zip_equal(sum, arrays))
      set(value, array, reg);
  });
}

LogicalResult GenericLowering::reduce(tile::ReduceOp op) {
  RankedTensorType type = tileType(op.getValue());
  if (type.getElementTypeBitWidth() != 32)
    return op.emitOpError() << "of " << type.getElementType() << " has no CUDA lowering; widen to 32 bits first";
  bool isComputed = layouts.isInline(op.getValue()) || layouts.isPulled(op.getValue());
  Layout layout = isComputed ? layouts.blocked(type) : layouts.of(op.getValue());
  int axis = op.getAxis();
  Layout kept = layout.slice(axis);
  prepare(op.getValue(), layout);
  Value result = local(kept.registerCount(), type.getElementType(), stringifyReduction(op.getKind()));
  Value start = identity(op.getKind(), type.getElementType());
  unrolled(kept.registerCount(), [&](Value reg) { set(start, result, reg); });
  unrolled(layout.registerCount(), [&](Value reg) {
    Value value = element(op.getValue(), layout, reg);
    if (layout.extent(axis) > type.getDimSize(axis))
      value = arith::SelectOp::create(b, loc, less(coordinate(layout, axis, reg), index(type.getDimSize(axis))), value,
                                      start);
    Value to = keptRegister(layout, axis, reg);
    set(combine(op.getKind(), get(result, to), value), result, to);
  });
  reduceOverThreads(layout, axis, type.getShape(), {result},
                    [&](ValueRange x, ValueRange y) { return SmallVector<Value>{combine(op.getKind(), x[0], y[0])}; });
  define(op.getResult(), kept, result);
  return success();
}

LogicalResult GenericLowering::argMax(tile::ArgMaxOp op) {
  RankedTensorType type = tileType(op.getValue());
  if (!type.getElementType().isF32())
    return op.emitOpError() << "of " << type.getElementType() << " has no CUDA lowering; widen to f32 first";
  bool isComputed = layouts.isInline(op.getValue()) || layouts.isPulled(op.getValue());
  Layout layout = isComputed ? layouts.blocked(type) : layouts.of(op.getValue());
  Layout kept = layout.slice(1);
  prepare(op.getValue(), layout);
  Type i32 = b.getI32Type();
  Value top = local(kept.registerCount(), type.getElementType(), "top");
  Value where = local(kept.registerCount(), i32, "where");
  Value lowest = identity(tile::Reduction::Max, type.getElementType());
  Value last = identity(tile::Reduction::Min, i32);
  unrolled(kept.registerCount(), [&](Value reg) {
    set(lowest, top, reg);
    set(last, where, reg);
  });
  // The larger, and of equals the one with the smaller index.
  auto better = [&](ValueRange x, ValueRange y) {
    Value larger = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, y[0], x[0]);
    Value equal = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, y[0], x[0]);
    Value earlier = less(y[1], x[1]);
    Value takes = arith::OrIOp::create(b, loc, larger, arith::AndIOp::create(b, loc, equal, earlier));
    return SmallVector<Value>{arith::SelectOp::create(b, loc, takes, y[0], x[0]),
                              arith::SelectOp::create(b, loc, takes, y[1], x[1])};
  };
  unrolled(layout.registerCount(), [&](Value reg) {
    Value value = element(op.getValue(), layout, reg);
    if (layout.extent(1) > type.getDimSize(1))
      value =
          arith::SelectOp::create(b, loc, less(coordinate(layout, 1, reg), index(type.getDimSize(1))), value, lowest);
    Value column = arith::IndexCastOp::create(b, loc, i32, coordinate(layout, 1, reg));
    Value to = keptRegister(layout, 1, reg);
    SmallVector<Value> chosen = better({get(top, to), get(where, to)}, {value, column});
    set(chosen[0], top, to);
    set(chosen[1], where, to);
  });
  reduceOverThreads(layout, 1, type.getShape(), {top, where}, better);
  define(op.getMaximum(), kept, top);
  define(op.getIndex(), kept, where);
  return success();
}

LogicalResult GenericLowering::deinterleave(tile::DeinterleaveOp op) {
  Layout out = layouts.of(op.getEven()), in = out;
  for (auto *bits : {&in.registers, &in.lanes, &in.warps})
    for (LayoutBit &bit : *bits)
      bit.position += bit.dim == 1;
  in.registers.insert(in.registers.begin(), LayoutBit{1, 0});
  prepare(op.getValue(), in);
  SmallVector<Value> arrays;
  for (int64_t half = 0; half < 2; ++half) {
    Value array = local(out.registerCount(), tileType(op.getEven()).getElementType(), half ? "odd" : "even");
    unrolled(out.registerCount(),
             [&](Value reg) { set(element(op.getValue(), in, add(mul(reg, 2), index(half))), array, reg); });
    arrays.push_back(array);
  }
  define(op.getEven(), out, arrays[0]);
  define(op.getOdd(), out, arrays[1]);
  return success();
}

LogicalResult GenericLowering::transpose(tile::TransposeOp op) {
  Layout out = layouts.of(op.getResult()), in = out;
  for (auto *bits : {&in.registers, &in.lanes, &in.warps})
    for (LayoutBit &bit : *bits)
      bit.dim = bit.dim < 0 ? bit.dim : 1 - bit.dim;
  define(op.getResult(), out, materialize(op.getValue(), in, "transposed"));
  return success();
}

/// Each block shows its tile to the others of the cluster, and reads theirs in the order of the ranks.
LogicalResult GenericLowering::clusterReduce(tile::ClusterReduceOp op) {
  RankedTensorType type = tileType(op.getValue());
  if (type.getElementTypeBitWidth() != 32)
    return op.emitOpError() << "of " << type.getElementType() << " has no CUDA lowering; widen to 32 bits first";
  Layout layout = layouts.of(op.getResult());
  Value mine = materialize(op.getValue(), layout, "mine");
  int64_t columns = type.getRank() == 2 ? layout.extent(1) : 1;
  Value region = shared(ownBytes, type.getElementType());
  ownRegions.push_back(region.getDefiningOp<cuda::SharedOp>());
  ownBytes += llvm::alignTo(layout.extent(0) * columns * 4, 128);
  auto at = [&](Value reg) {
    Value row = coordinate(layout, 0, reg);
    return type.getRank() == 2 ? add(mul(row, columns), coordinate(layout, 1, reg)) : row;
  };
  Value result = local(layout.registerCount(), type.getElementType(), stringifyReduction(op.getKind()));
  unrolled(layout.registerCount(), [&](Value reg) { cuda::StoreOp::create(b, loc, get(mine, reg), region, at(reg)); });
  call("cluster_barrier", "warp.h", {});
  int64_t blocks = kernel.getCluster();
  unrolled(layout.registerCount(), [&](Value reg) {
    Value address = pointerAt(region, at(reg)), sum;
    for (int64_t rank = 0; rank < blocks; ++rank) {
      Value next = call("load_of_block", "warp.h", {address, arith::ConstantIntOp::create(b, loc, rank, 32)},
                        type.getElementType());
      sum = rank == 0 ? next : combine(op.getKind(), sum, next);
    }
    set(sum, result, reg);
  });
  call("cluster_barrier", "warp.h", {}); // no block writes here again, or ends, before all have read
  define(op.getResult(), layout, result);
  return success();
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

LogicalResult GenericLowering::forOp(scf::ForOp op) {
  // Scalars are carried by the loop, tiles by arrays that live around it.
  SmallVector<Value> init, arrays;
  SmallVector<Layout> carried;
  for (auto [value, argument] : llvm::zip_equal(op.getInitArgs(), op.getRegionIterArgs())) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type) {
      init.push_back(scalar(value));
      continue;
    }
    Layout layout = layouts.of(argument);
    prepare(value, layout);
    Value array = local(layout.registerCount(), type.getElementType(), "carried");
    unrolled(layout.registerCount(), [&](Value reg) { set(element(value, layout, reg), array, reg); });
    arrays.push_back(array);
    carried.push_back(layout);
  }
  auto loop =
      scf::ForOp::create(b, loc, scalar(op.getLowerBound()), scalar(op.getUpperBound()), scalar(op.getStep()), init);
  if (!init.empty() && loop.getBody()->mightHaveTerminator())
    loop.getBody()->getTerminator()->erase();
  scalars[op.getInductionVar()] = loop.getInductionVar();
  scopes.back().inner = loop;
  scopes.emplace_back();
  unsigned nextScalar = 0, nextArray = 0;
  for (BlockArgument argument : op.getRegionIterArgs()) {
    if (!isa<RankedTensorType>(argument.getType())) {
      scalars[argument] = loop.getRegionIterArg(nextScalar++);
    } else {
      define(argument, carried[nextArray], arrays[nextArray]);
      ++nextArray;
    }
  }
  {
    OpBuilder::InsertionGuard guard(b);
    if (init.empty())
      b.setInsertionPoint(loop.getBody()->getTerminator());
    else
      b.setInsertionPointToEnd(loop.getBody());
    if (failed(lowerBlock(*op.getBody())))
      return failure();
    SmallVector<Value> yields, next;
    unsigned i = 0;
    for (Value value : op.getBody()->getTerminator()->getOperands()) {
      if (!isa<RankedTensorType>(value.getType())) {
        yields.push_back(scalar(value));
        continue;
      }
      // An array that another one is assigned from must not have changed before: such values are copied first.
      const Layout &layout = carried[i++];
      prepare(value, layout);
      Value array = layouts.isInline(value) ? Value() : arrayOf(value, layout);
      if (!array || (llvm::is_contained(arrays, array) && array != arrays[i - 1])) {
        array = local(layout.registerCount(), tileType(value).getElementType(), "next");
        unrolled(layout.registerCount(), [&](Value reg) { set(element(value, layout, reg), array, reg); });
      }
      next.push_back(array);
    }
    for (auto [from, to, layout] : llvm::zip_equal(next, arrays, carried))
      if (from != to)
        unrolled(layout.registerCount(), [&](Value reg) { set(get(from, reg), to, reg); });
    if (!init.empty())
      scf::YieldOp::create(b, loc, yields);
  }
  scopes.pop_back();
  nextScalar = nextArray = 0;
  for (OpResult result : op.getResults()) {
    if (!isa<RankedTensorType>(result.getType())) {
      scalars[result] = loop.getResult(nextScalar++);
    } else {
      // The loop's array becomes the result; the layouts are equal by construction.
      define(result, carried[nextArray], arrays[nextArray]);
      ++nextArray;
    }
  }
  return success();
}

LogicalResult GenericLowering::ifOp(scf::IfOp op) {
  SmallVector<Value> arrays;
  SmallVector<Layout> carried;
  SmallVector<Type> scalarTypes;
  for (OpResult result : op.getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type) {
      scalarTypes.push_back(result.getType());
      continue;
    }
    carried.push_back(layouts.of(result));
    arrays.push_back(local(carried.back().registerCount(), type.getElementType(), "chosen"));
  }
  bool hasElse = !op.getElseRegion().empty();
  auto branch = scf::IfOp::create(b, loc, scalarTypes, scalar(op.getCondition()), hasElse);
  scopes.back().inner = branch;
  auto lowerRegion = [&](Region &from, Block *to) -> LogicalResult {
    OpBuilder::InsertionGuard guard(b);
    if (to->mightHaveTerminator() && !to->empty() && to->back().hasTrait<OpTrait::IsTerminator>())
      to->back().erase();
    b.setInsertionPointToEnd(to);
    scopes.emplace_back();
    if (failed(lowerBlock(from.front())))
      return failure();
    SmallVector<Value> yields;
    unsigned i = 0;
    for (Value value : from.front().getTerminator()->getOperands()) {
      if (!isa<RankedTensorType>(value.getType())) {
        yields.push_back(scalar(value));
        continue;
      }
      prepare(value, carried[i]);
      unrolled(carried[i].registerCount(), [&](Value reg) { set(element(value, carried[i], reg), arrays[i], reg); });
      ++i;
    }
    scf::YieldOp::create(b, loc, yields);
    scopes.pop_back();
    return success();
  };
  if (failed(lowerRegion(op.getThenRegion(), branch.thenBlock())) ||
      (hasElse && failed(lowerRegion(op.getElseRegion(), branch.elseBlock()))))
    return failure();
  unsigned nextScalar = 0, nextArray = 0;
  for (OpResult result : op.getResults()) {
    if (!isa<RankedTensorType>(result.getType())) {
      scalars[result] = branch.getResult(nextScalar++);
    } else {
      define(result, carried[nextArray], arrays[nextArray]);
      ++nextArray;
    }
  }
  return success();
}

LogicalResult GenericLowering::lower(Operation *op) {
  loc = op->getLoc();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](tile::ProgramIdOp id) {
        Value block = special(static_cast<cuda::Special>(static_cast<int>(cuda::Special::BlockX) + id.getDimension()));
        if (id.getDimension() == 0 && kernel.getCluster() > 1)
          block = arith::DivSIOp::create(b, loc, block, index(kernel.getCluster()));
        scalars[id] = block;
        return success();
      })
      .Case([&](tile::ExtentOp extent) {
        scalars[extent] = cuda::SizeOp::create(b, loc, b.getIndexType(), static_cast<int64_t>(extent.getWhich()));
        return success();
      })
      .Case([&](tile::ClusterRankOp rank) {
        scalars[rank] = kernel.getCluster() > 1 ? special(cuda::Special::ClusterRank) : index(0);
        return success();
      })
      .Case([&](tile::ReadOp read) {
        auto type = cast<tile::ViewType>(read.getView().getType());
        Value offset;
        for (auto [dim, at] : llvm::enumerate(read.getOffsets())) {
          Value wide = arith::IndexCastOp::create(b, loc, b.getI64Type(), scalar(at));
          offset = dim == 0 ? wide : add(mul(offset, type.getShape()[dim]), wide);
        }
        scalars[read] = cuda::LoadOp::create(b, loc, type.getElementType(), scalar(read.getView()), offset);
        return success();
      })
      .Case<tile::LoadOp, tile::GatherOp>([&](auto load) {
        Value result = load.getResult();
        if (isStaged(load))
          staged[result] = stage(load);
        else if (layouts.isPulled(result))
          scopeOf[result] = scopes.size() - 1;
        else
          define(result, layouts.of(result), loadArray(load, layouts.of(result)));
        return success();
      })
      .Case([&](tile::StoreOp store) {
        return storeTile(store, store.getValue(), store.getView(), store.getOffsets(), {});
      })
      .Case([&](tile::ScatterOp scatter) {
        SmallVector<Value> offsets{Value()};
        if (scatter.getColumn())
          offsets.push_back(scatter.getColumn());
        return storeTile(scatter, scatter.getValue(), scatter.getView(), offsets, scatter.getIndices());
      })
      .Case([&](tile::DotOp product) { return dot(product); })
      .Case([&](tile::ReduceOp reduction) { return reduce(reduction); })
      .Case([&](tile::ArgMaxOp reduction) { return argMax(reduction); })
      .Case([&](tile::DeinterleaveOp split) { return deinterleave(split); })
      .Case([&](tile::TransposeOp turn) { return transpose(turn); })
      .Case([&](tile::ClusterReduceOp reduction) { return clusterReduce(reduction); })
      .Case([&](scf::ForOp loop) { return forOp(loop); })
      .Case([&](scf::IfOp branch) { return ifOp(branch); })
      .Case<scf::YieldOp, tile::ReturnOp>([](Operation *) { return success(); })
      .Case([&](tensor::ExtractOp extract) -> LogicalResult {
        RankedTensorType type = tileType(extract.getTensor());
        if (type.getNumElements() != 1)
          return extract.emitOpError() << "of a tile with more than one element has no CUDA lowering";
        Layout layout = layouts.blocked(type);
        prepare(extract.getTensor(), layout);
        scalars[extract] = element(extract.getTensor(), layout, index(0));
        return success();
      })
      .Default([&](Operation *other) -> LogicalResult {
        if (other->getNumResults() == 1 && layouts.isInline(other->getResult(0))) {
          if (auto constant = dyn_cast<arith::ConstantOp>(other);
              constant && !cast<DenseElementsAttr>(constant.getValue()).isSplat())
            return constant.emitOpError() << "of different elements has no CUDA lowering";
          return success();
        }
        if (isElementwise(other)) {
          Value result = other->getResult(0);
          Layout layout = layouts.of(result);
          for (Value operand : other->getOperands())
            if (isa<RankedTensorType>(operand.getType()))
              prepare(operand, layout);
          Value array =
              local(layout.registerCount(), tileType(result).getElementType(), other->getName().stripDialect());
          unrolled(layout.registerCount(), [&](Value reg) {
            SmallVector<Value> operands;
            for (Value operand : other->getOperands())
              operands.push_back(isa<RankedTensorType>(operand.getType()) ? element(operand, layout, reg)
                                                                          : scalar(operand));
            OperationState state(loc, other->getName(), operands, {tileType(result).getElementType()},
                                 other->getAttrs());
            set(b.create(state)->getResult(0), array, reg);
          });
          define(result, layout, array);
          return success();
        }
        bool isScalarOp = other->getNumRegions() == 0 &&
                          llvm::none_of(other->getOperandTypes(), [](Type type) { return isa<TensorType>(type); }) &&
                          llvm::none_of(other->getResultTypes(), [](Type type) { return isa<TensorType>(type); });
        if (!isScalarOp || !isa<arith::ArithDialect, math::MathDialect>(other->getDialect()))
          return other->emitOpError() << "has no CUDA lowering";
        IRMapping mapping;
        for (Value operand : other->getOperands())
          mapping.map(operand, scalar(operand));
        Operation *clone = b.clone(*other, mapping);
        for (auto [from, to] : llvm::zip_equal(other->getResults(), clone->getResults()))
          scalars[from] = to;
        return success();
      });
}

LogicalResult GenericLowering::lowerBlock(Block &block) {
  for (Operation &op : block)
    if (failed(lower(&op)))
      return failure();
  return success();
}

LogicalResult GenericLowering::run() {
  Block &body = kernel.getBody().front();
  b.setInsertionPoint(body.getTerminator());
  for (auto [from, to] : llvm::zip(program.getBody().getArguments(), body.getArguments()))
    scalars[from] = to;
  cuda::LaunchDependentsOp::create(b, loc);
  lane = cuda::SpecialOp::create(b, NameLoc::get(b.getStringAttr("lane"), loc), b.getIndexType(), cuda::Special::Lane);
  warp = cuda::SpecialOp::create(b, NameLoc::get(b.getStringAttr("warp"), loc), b.getIndexType(), cuda::Special::Warp);
  auto marker = cuda::CommentOp::create(b, loc, program.getSymName());
  entryEnd = marker;
  scopes.emplace_back();
  if (failed(lowerBlock(program.getBody().front())))
    return failure();
  // Shared memory: the scratch first, then the regions of their own.
  int64_t scratch = llvm::alignTo(scratchBytes, 128);
  for (cuda::SharedOp region : ownRegions)
    region.setOffset(region.getOffset() + scratch);
  kernel.setSharedBytes(scratch + ownBytes);
  if (kernel.getSharedBytes() > cuda::kMaxSharedBytes)
    return program.emitError() << "needs " << kernel.getSharedBytes() << " bytes of shared memory, a block has "
                               << cuda::kMaxSharedBytes << "; use smaller tiles";
  return success();
}

//===----------------------------------------------------------------------===//
// The family
//===----------------------------------------------------------------------===//

/// Moves loads of memory that the program does not write up to where their operands are known, so that copies to
/// shared memory are under way while other work is done.
static void hoistLoads(tile::ProgramOp program) {
  SmallVector<Operation *> loads;
  program.walk([&](Operation *op) {
    if (isa<tile::LoadOp, tile::GatherOp>(op))
      loads.push_back(op);
  });
  // Last to first, so that loads that wait for the same operand keep their order.
  for (Operation *load : llvm::reverse(loads)) {
    bool isWritten = llvm::any_of(load->getOperand(0).getUsers(),
                                  [](Operation *user) { return isa<tile::StoreOp, tile::ScatterOp>(user); });
    if (isWritten)
      continue;
    Operation *last = nullptr;
    for (Value operand : load->getOperands())
      if (Operation *def = operand.getDefiningOp(); def && def->getBlock() == load->getBlock())
        if (!last || last->isBeforeInBlock(def))
          last = def;
    if (last)
      load->moveAfter(last);
  }
}

LogicalResult inlay::lowerGeneric(tile::ProgramOp program, OpBuilder &builder, const CudaOptions &options,
                                  LoweredKernel &result) {
  if (failed(gridOf(program, result.grid)))
    return failure();
  OwningOpRef<tile::ProgramOp> copy = program.clone();
  hoistLoads(*copy);
  LayoutAssignment layouts(*copy);
  result.kernel = createKernel(program, builder, layouts.threads());
  GenericLowering lowering(*copy, result.kernel, layouts);
  if (failed(lowering.run()))
    return failure();
  if (lowering.conversions > 0)
    program.emitRemark() << lowering.conversions << " layout conversions through shared memory";
  placeDependency(result.kernel);
  if (auto blocks = program->getAttrOfType<IntegerAttr>("min_blocks"))
    result.kernel.setMinBlocks(blocks.getInt());
  result.dependentLaunch = true;
  return success();
}

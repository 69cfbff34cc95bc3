//===- GenericValues.cpp - tiles in registers -----------------------------===//
//
// A tile is kept in one layout and made in others where a use wants them: computed again,
// loaded again, renumbered within the thread, or sent through shared memory.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

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
  if (auto slice = tile.getDefiningOp<tensor::ExtractSliceOp>(); slice && layouts.isPulled(tile)) {
    array = loadSlice(slice, layout);
  } else if (tile.getDefiningOp<tile::WarpReduceOp>()) {
    array = loadReduced(tile, layout);
  } else if (layouts.isPulled(tile)) {
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

/// A tile in another layout: through shared memory.
Value GenericLowering::convert(Value array, const Layout &from, const Layout &to, ArrayRef<int64_t> shape) {
  if (std::optional<Value> permuted = permute(array, from, to))
    return *permuted;
  ++conversions;
  Type type = cast<cuda::LocalType>(array.getType()).getElementType();
  int rank = shape.size();
  int64_t pitch = rank == 2 ? std::max(from.extent(1), to.extent(1)) + 16 / bytesOf(type) : 0;
  int64_t rows = std::max(from.extent(0), to.extent(0));
  auto at = [&](const Layout &layout, Value reg) {
    Value row = coordinate(layout, 0, reg);
    return rank == 2 ? add(mul(row, pitch), coordinate(layout, 1, reg)) : row;
  };
  Value result = local(to.registerCount(), type, "converted");
  barrier();
  // Each warp has memory of its own where they do not meet.
  int64_t elements = llvm::alignTo(rank == 2 ? rows * pitch : rows, 16);
  bool isOfWarp = threads.group == ThreadGroup::Warp;
  int64_t copies = isOfWarp ? static_cast<int64_t>(kernel.getThreads()) / 32 : 1;
  Value tile = shared("exchange", copies * elements * bytesOf(type), 16, type, exchanges++);
  if (isOfWarp)
    tile = pointerAt(tile, mul(warp, elements));
  unrolled(from.registerCount(),
           [&](Value reg) { cuda::StoreOp::create(b, loc, get(array, reg), tile, at(from, reg)); });
  barrier();
  unrolled(to.registerCount(),
           [&](Value reg) { set(cuda::LoadOp::create(b, loc, type, tile, at(to, reg)), result, reg); });
  return result;
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

//===- GenericValues.cpp - tiles in registers -----------------------------===//
//
// What a tile's layout costs: values that are computed or loaded where they are used, and
// conversions, which give registers other numbers or send elements through shared memory.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

/// The registers of a tile that are known already; null where there are none.
Value GenericLowering::find(Value tile) const {
  for (const Scope &scope : llvm::reverse(scopes))
    if (Value array = scope.tiles.lookup(tile))
      return array;
  return {};
}

void GenericLowering::define(Value tile, Value array) {
  scopes.back().tiles[tile] = array;
  scopeOf[tile] = scopes.size() - 1;
}

/// The registers of a tile; loaded or converted, in the scope that the tile belongs to, if need be.
Value GenericLowering::arrayOf(Value tile) {
  if (Value known = find(tile))
    return known;
  unsigned scope = scopeOf.lookup(tile);
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Scope> inner;
  if (scope + 1 < scopes.size()) {
    b.setInsertionPoint(scopes[scope].inner);
    inner.append(std::make_move_iterator(scopes.begin() + scope + 1), std::make_move_iterator(scopes.end()));
    scopes.truncate(scope + 1);
  }
  Value array = llvm::TypeSwitch<Operation *, Value>(tile.getDefiningOp())
                    .Case([&](tensor::ExtractSliceOp slice) { return loadSlice(slice); })
                    .Case([&](tile::ConvertLayoutOp conversion) {
                      return kept.contains(conversion.getValue())
                                 ? loadReduced(conversion.getValue(), registerLayout(conversion))
                                 : convert(conversion);
                    })
                    .Default([&](Operation *load) { return loadArray(load); });
  scopes[scope].tiles[tile] = array;
  scopes.append(std::make_move_iterator(inner.begin()), std::make_move_iterator(inner.end()));
  return array;
}

/// Brings about all that `element` will read, outside of the loop that it is called in.
void GenericLowering::prepare(Value tile) {
  if (!computed.contains(tile)) {
    arrayOf(tile);
    return;
  }
  for (Value operand : tile.getDefiningOp()->getOperands())
    if (isa<RankedTensorType>(operand.getType()))
      prepare(operand);
}

/// The element that register `reg` holds of a tile.
Value GenericLowering::element(Value tile, Value reg) {
  if (!computed.contains(tile))
    return get(arrayOf(tile), reg);
  Operation *op = tile.getDefiningOp();
  Type type = tileType(tile).getElementType();
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](arith::ConstantOp constant) -> Value {
        auto elements = cast<DenseElementsAttr>(constant.getValue());
        return arith::ConstantOp::create(b, loc, elements.getSplatValue<TypedAttr>());
      })
      .Case([&](tensor::SplatOp splat) { return scalar(splat.getInput()); })
      .Case([&](tile::IotaOp iota) -> Value {
        return arith::IndexCastOp::create(b, loc, type, coordinate(registerLayout(tile), iota.getAxis(), reg));
      })
      .Case([&](tile::BroadcastOp broadcast) {
        return element(broadcast.getValue(), keptRegister(registerLayout(tile), broadcast.getAxis(), reg));
      })
      .Default([&](Operation *other) -> Value {
        SmallVector<Value> operands;
        for (Value operand : other->getOperands())
          operands.push_back(isa<RankedTensorType>(operand.getType()) ? element(operand, reg) : scalar(operand));
        return applyTo(other, operands, type);
      });
}

/// What an elementwise op makes of single elements.
Value GenericLowering::applyTo(Operation *op, ValueRange operands, Type type) {
  if (isa<math::Exp2Op>(op) && type.isF32())
    return call("exp2_approximate", "base.h", operands, type);
  OperationState state(loc, op->getName(), operands, {type}, op->getAttrs());
  return b.create(state)->getResult(0);
}

/// Computes the elements of an elementwise op. Neighbours that become 16 or 8 bits wide do so in one instruction.
void GenericLowering::computeElements(Operation *op, Value array) {
  RankedTensorType type = tileType(op->getResult(0));
  auto operandsAt = [&](Value reg) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(isa<RankedTensorType>(operand.getType()) ? element(operand, reg) : scalar(operand));
    return operands;
  };
  int64_t count = liveRegisters(registerLayout(op->getResult(0)), type.getShape());
  Type element = type.getElementType();
  if (isa<arith::TruncFOp>(op) && element.getIntOrFloatBitWidth() == 16 && count % 2 == 0 &&
      tileType(op->getOperand(0)).getElementType().isF32()) {
    std::string name = element.isBF16() ? "bfloat16>" : "float16>";
    unrolled(count / 2, [&](Value i) {
      Value low = mul(i, 2), high = add(low, index(1));
      Value first = operandsAt(low)[0];
      Value pair = call("pack<" + name, "base.h", {first, operandsAt(high)[0]}, b.getI32Type());
      set(call("low_half<" + name, "base.h", {pair}, element), array, low);
      set(call("high_half<" + name, "base.h", {pair}, element), array, high);
    });
    return;
  }
  if (isa<arith::TruncFOp>(op) && isa<Float8E4M3FNType>(element) && count % 2 == 0 &&
      tileType(op->getOperand(0)).getElementType().isF32()) {
    unrolled(count / 2, [&](Value i) {
      Value low = mul(i, 2), first = operandsAt(low)[0];
      call("to_e4m3x2", "base.h", {address(array, low), first, operandsAt(add(low, index(1)))[0]});
    });
    return;
  }
  unrolled(count, [&](Value reg) { set(applyTo(op, operandsAt(reg), element), array, reg); });
}

/// Computes a tile into registers of its own.
Value GenericLowering::materialize(Value tile, StringRef name) {
  if (!computed.contains(tile))
    return arrayOf(tile);
  prepare(tile);
  int64_t registers = registerLayout(tile).size(LayoutDim::Register);
  Value array = local(registers, tileType(tile).getElementType(), name);
  unrolled(registers, [&](Value reg) { set(element(tile, reg), array, reg); });
  return array;
}

/// A tile in another layout: the same registers under other numbers, where no element has to leave its thread;
/// otherwise through shared memory.
/// Each lane gives its neighbour the half of its registers, by `bit` of their number, that the neighbour takes.
/// Registers are exchanged in pairs of 16 bits.
Value GenericLowering::exchangeNeighbours(Value array, int bit) {
  auto type = cast<cuda::LocalType>(array.getType());
  int64_t registers = type.getShape()[0], half = int64_t(1) << bit;
  Value result = local(registers, type.getElementType(), "exchanged");
  KernelBuilder k(loc, b);
  Value isOdd = k.name("is_odd", k.equal(k.rem(lane, 2), 1));
  std::string name = type.getElementType().isBF16() ? "<bfloat16>" : "<float16>";
  for (int64_t low = 0; low < registers; low += 2) {
    if (low & half)
      continue;
    auto pairAt = [&](int64_t reg) {
      return k.call(k.getI32Type(), "pack_bits", "base.h",
                    {k.get(array, k.index(reg)), k.get(array, k.index(reg + 1))});
    };
    auto setPair = [&](int64_t reg, Value pair) {
      k.set(k.call(type.getElementType(), "low_half" + name, "base.h", pair), result, k.index(reg));
      k.set(k.call(type.getElementType(), "high_half" + name, "base.h", pair), result, k.index(reg + 1));
    };
    Value own = pairAt(low), other = pairAt(low + half);
    Value given = k.select(isOdd, own, other);
    Value taken = k.call(k.getI32Type(), "shuffle_xor", "warp.h", {given, k.i32(1)});
    setPair(low, k.select(isOdd, taken, own));
    setPair(low + half, k.select(isOdd, other, taken));
  }
  return result;
}

Value GenericLowering::convert(tile::ConvertLayoutOp op) {
  using enum LayoutDim;
  Layout from = registerLayout(op.getValue()), to = registerLayout(op.getResult());
  Value array = arrayOf(op.getValue());
  Type type = tileType(op.getResult()).getElementType();
  int64_t registers = to.size(Register);
  if (std::optional<Layout> numbers = tile::renumbered(from, to)) {
    Value result = local(registers, type, "permuted");
    unrolled(registers, [&](Value reg) {
      Value source = matchPattern(reg, m_Zero()) ? reg : image(reg, numbers->components(Register, Register));
      set(get(array, source ? source : reg), result, reg);
    });
    return result;
  }
  if (type.getIntOrFloatBitWidth() == 16 && isMatrixTransposed(from, to))
    return transposeMatrices(array, type);
  if (std::optional<int> bit = exchangedRegisterBit(from, to);
      bit.value_or(0) > 0 && type.getIntOrFloatBitWidth() == 16)
    return exchangeNeighbours(array, *bit);
  int rank = tileType(op.getResult()).getRank();
  int64_t pitch = rank == 2 ? std::max(from.extent(Dim1), to.extent(Dim1)) + 16 / bytesOf(type) : 0;
  int64_t rows = std::max(from.extent(Dim0), to.extent(Dim0));
  auto at = [&](const Layout &layout, Value reg) {
    Value row = coordinate(layout, 0, reg);
    return rank == 2 ? add(mul(row, pitch), coordinate(layout, 1, reg)) : row;
  };
  Value result = local(registers, type, "converted");
  barrier();
  // Each warp has memory of its own where they do not meet.
  int64_t elements = rank == 2 ? rows * pitch : rows, copies = 1;
  bool isOfWarp = threads.group == ThreadGroup::Warp;
  if (isOfWarp) {
    elements = llvm::alignTo(elements, 16);
    copies = static_cast<int64_t>(kernel.getThreads()) / 32;
  }
  Value tile = shared("exchange", copies * elements * bytesOf(type), 16, type, exchanges++);
  if (isOfWarp)
    tile = pointerAt(tile, mul(warp, elements));
  unrolled(from.size(Register),
           [&](Value reg) { cuda::StoreOp::create(b, loc, get(array, reg), tile, at(from, reg)); });
  barrier();
  unrolled(registers, [&](Value reg) { set(cuda::LoadOp::create(b, loc, type, tile, at(to, reg)), result, reg); });
  return result;
}

LogicalResult GenericLowering::deinterleave(tile::DeinterleaveOp op) {
  prepare(op.getValue());
  int64_t registers = registerLayout(op.getEven()).size(LayoutDim::Register);
  SmallVector<Value> arrays;
  for (int64_t half = 0; half < 2; ++half) {
    Value array = local(registers, tileType(op.getEven()).getElementType(), half ? "odd" : "even");
    unrolled(registers, [&](Value reg) { set(element(op.getValue(), add(mul(reg, 2), index(half))), array, reg); });
    arrays.push_back(array);
  }
  define(op.getEven(), arrays[0]);
  define(op.getOdd(), arrays[1]);
  return success();
}

LogicalResult GenericLowering::transpose(tile::TransposeOp op) {
  if (auto slot = ringTiles.find(op.getValue()); slot != ringTiles.end()) {
    auto place = slot->second;
    ringTiles[op.getResult()] = place;
    return success();
  }
  define(op.getResult(), materialize(op.getValue(), "transposed"));
  return success();
}

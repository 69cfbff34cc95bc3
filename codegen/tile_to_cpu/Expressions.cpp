//===- Expressions.cpp - the elements of tiles -----------------------------===//

#include "codegen/tile_to_cpu/Materialization.h"
#include "codegen/tile_to_cpu/ProgramLowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::cpu;

Shape cpu::shapeOf(Value tile) {
  auto type = cast<RankedTensorType>(tile.getType());
  return {type.getRank() == 2 ? type.getDimSize(0) : 1, type.getRank() == 0 ? 1 : type.getShape().back()};
}

Type cpu::elementOf(Value tile) { return cast<RankedTensorType>(tile.getType()).getElementType(); }

static bool hasRows(Value tile) { return cast<RankedTensorType>(tile.getType()).getRank() == 2; }

/// Ops are made in order and in structured regions: what is in a region around this one is before it.
bool ProgramLowering::isVisible(Value value) {
  return value.getParentRegion()->isAncestor(getInsertionBlock()->getParent());
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

Value ProgramLowering::extent(tile::Extent which) {
  Value &known = extents[which];
  if (known)
    return known;
  InsertionGuard guard(*this);
  setInsertionPointToStart(&function.getBody().front());
  Value pointer = address(function.getArgument(1), index(static_cast<int64_t>(which)), getI32Type());
  return known = toIndex(LLVM::LoadOp::create(*this, loc, getI32Type(), pointer));
}

Value ProgramLowering::sizeOf(Value view, int64_t dimension) {
  auto type = cast<tile::ViewType>(view.getType());
  if (int64_t size = type.getShape()[dimension]; !ShapedType::isDynamic(size))
    return index(size);
  return type.getExtent() ? extent(*type.getExtent()) : Value();
}

Value ProgramLowering::isInside(Value position, Value size) {
  auto vector = dyn_cast<VectorType>(position.getType());
  if (!size)
    return compare(arith::CmpIPredicate::sge, position, constant(position.getType(), 0));
  if (vector && size.getType().isIndex())
    size = splat(arith::IndexCastOp::create(*this, loc, vector.getElementType(), size), vector.getNumElements());
  return compare(arith::CmpIPredicate::ult, position, size);
}

Row ProgramLowering::rectangleRow(Value tile, Value view, ValueRange offsets, Value row) {
  auto type = cast<tile::ViewType>(view.getType());
  int64_t last = type.getRank() - 1, columns = shapeOf(tile).columns;
  Value inside, linear = index(0);
  for (int64_t d = 0; d < last; ++d) {
    Value position = scalars.lookup(offsets[d]), size = sizeOf(view, d);
    if (d == last - 1 && row)
      position = add(position, row);
    if (size)
      inside = both(inside, isInside(position, size));
    linear = add(d == 0 ? linear : mul(linear, size), position);
  }
  Value column = scalars.lookup(offsets[last]), size = sizeOf(view, last);
  if (last > 0)
    linear = mul(linear, size);
  Row result{address(scalars.lookup(view), add(linear, column), type.getElementType()), {}};
  APInt start;
  bool fits = matchPattern(column, m_ConstantInt(&start)) && !ShapedType::isDynamic(type.getShape()[last]) &&
              start.getSExtValue() + columns <= type.getShape()[last];
  if (size && !fits)
    result.limit = sub(size, column);
  if (inside)
    result.limit = createOrFold<arith::SelectOp>(loc, inside, result.limit ? result.limit : index(columns), index(0));
  return result;
}

Row ProgramLowering::indexedRow(Value tile, Value view, Value indices, Value column, Value row) {
  auto type = cast<tile::ViewType>(view.getType());
  Value position = toIndex(evaluateScalar(indices, {}, row));
  Value inside = isInside(position, sizeOf(view, 0));
  column = column ? scalars.lookup(column) : index(0);
  int64_t width = type.getShape()[1];
  Value offset = add(mul(position, index(width)), column);
  Value limit = createOrFold<arith::SelectOp>(loc, inside, sub(index(width), column), index(0));
  return {address(scalars.lookup(view), offset, type.getElementType()), limit};
}

Row ProgramLowering::rowOf(Operation *access, Value row) {
  auto known = rows.find({access, row});
  if (known != rows.end() && isVisible(known->second.pointer))
    return known->second;
  Row result =
      TypeSwitch<Operation *, Row>(access)
          .Case<tile::LoadOp>([&](auto op) { return rectangleRow(op.getResult(), op.getView(), op.getOffsets(), row); })
          .Case<tile::StoreOp>([&](auto op) { return rectangleRow(op.getValue(), op.getView(), op.getOffsets(), row); })
          .Case<tile::GatherOp>(
              [&](auto op) { return indexedRow(op.getResult(), op.getView(), op.getIndices(), op.getColumn(), row); })
          .Case<tile::ScatterOp>(
              [&](auto op) { return indexedRow(op.getValue(), op.getView(), op.getIndices(), op.getColumn(), row); });
  rows[{access, row}] = result;
  return result;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

void ProgramLowering::prepareRow(Value tile, Value row) {
  Operation *op = tile.getDefiningOp();
  if (!row || memories.contains(tile) || !op)
    return;
  if (auto broadcast = dyn_cast<tile::BroadcastOp>(op)) {
    if (broadcast.getAxis() == 1)
      evaluate(broadcast.getValue(), {{}, row, 1});
  } else if (isa<tile::LoadOp, tile::GatherOp>(op)) {
    rowOf(op, row);
  } else {
    for (Value operand : op->getOperands())
      if (isa<RankedTensorType>(operand.getType()))
        prepareRow(operand, row);
  }
}

Value ProgramLowering::evaluateScalar(Value tile, Value row, Value column) {
  return first(evaluate(tile, {hasRows(tile) ? row : Value(), column, 1}));
}

Value ProgramLowering::evaluate(Value tile, Position at) {
  std::tuple key{tile, at.row, at.column, at.width};
  auto known = evaluated.find(key);
  if (known != evaluated.end() && isVisible(known->second))
    return known->second;
  auto inMemory = memories.find(tile);
  Value result = inMemory != memories.end() ? load(row(inMemory->second, at.row), at.column, at.width, elementOf(tile))
                                            : evaluateExpression(cast<OpResult>(tile), at);
  evaluated[key] = result;
  return result;
}

Value ProgramLowering::twice(Value column) {
  Value &known = doubled[column];
  if (!known || !isVisible(known))
    known = mul(column, index(2));
  return known;
}

Value ProgramLowering::evaluateExpression(OpResult tile, Position at) {
  return TypeSwitch<Operation *, Value>(tile.getOwner())
      .Case<arith::ConstantOp>([&](auto op) { return evaluateConstant(op, at); })
      .Case<tensor::SplatOp>([&](auto op) { return splat(scalars.lookup(op.getInput()), at.width); })
      .Case<tile::IotaOp>([&](auto op) -> Value {
        bool isRow = hasRows(tile) && op.getAxis() == 0;
        Value start = arith::IndexCastOp::create(*this, loc, getI32Type(), isRow ? at.row : at.column);
        Value starts = splat(start, at.width);
        return isRow ? starts : add(starts, laneNumbers(at.width));
      })
      .Case<tile::BroadcastOp>([&](auto op) {
        if (op.getAxis() == 0)
          return evaluate(op.getValue(), {{}, at.column, at.width});
        return splat(first(evaluate(op.getValue(), {{}, at.row, 1})), at.width);
      })
      .Case<tile::DeinterleaveOp>([&](auto op) {
        Value both = evaluate(op.getValue(), {at.row, twice(at.column), 2 * at.width});
        return everySecond(both, {}, tile.getResultNumber());
      })
      .Case<tile::LoadOp>([&](auto op) { return load(rowOf(op, at.row), at.column, at.width, elementOf(tile)); })
      .Case<tile::GatherOp>([&](auto op) {
        if (!hasRows(tile))
          return evaluateElementGather(op, at);
        return load(rowOf(op, at.row), at.column, at.width, elementOf(tile));
      })
      .Case<tile::DequantizeOp>([&](auto op) { return evaluateDequantize(op, at); })
      .Default([&](Operation *op) { return evaluateElementwise(op, at); });
}

Value ProgramLowering::evaluateConstant(arith::ConstantOp op, Position at) {
  auto value = cast<SplatElementsAttr>(op.getValue());
  auto type = VectorType::get(at.width, value.getElementType());
  return arith::ConstantOp::create(*this, loc, DenseElementsAttr::get(type, value.getSplatValue<Attribute>()));
}

Value ProgramLowering::evaluateElementwise(Operation *op, Position at) {
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(isa<RankedTensorType>(operand.getType()) ? evaluate(operand, at) : scalars.lookup(operand));
  Type element = elementOf(op->getResult(0));
  auto type = VectorType::get(at.width, element);
  auto asBytes = VectorType::get(at.width, getI8Type());
  if (isa<arith::ExtFOp>(op) && isa<Float8E4M3FNType>(elementOf(op->getOperand(0))))
    return decodeE4M3(arith::BitcastOp::create(*this, loc, asBytes, operands[0]), element);
  if (isa<arith::TruncFOp>(op) && isa<Float8E4M3FNType>(element))
    return arith::BitcastOp::create(*this, loc, type, encodeE4M3(toF32(operands[0])));
  OperationState state(loc, op->getName(), operands, type, op->getAttrs());
  return create(state)->getResult(0);
}

Value ProgramLowering::evaluateElementGather(tile::GatherOp op, Position at) {
  Value indices = evaluate(op.getIndices(), {{}, at.column, at.width});
  Value inside = isInside(indices, sizeOf(op.getView(), 0));
  return gather(scalars.lookup(op.getView()), indices, inside, elementOf(op.getResult()));
}

/// Conversions and products keep zeros. (Zero times an infinite weight would not be one, but rows past the end are for
/// nobody.)
Value ProgramLowering::liveRows(Value tile) {
  Operation *op = tile.getDefiningOp();
  if (!op || !hasRows(tile))
    return {};
  if (isa<arith::ExtFOp, arith::TruncFOp>(op))
    return liveRows(op->getOperand(0));
  if (auto product = dyn_cast<arith::MulFOp>(op)) {
    Value live = liveRows(product.getLhs());
    return live ? live : liveRows(product.getRhs());
  }
  auto load = dyn_cast<tile::LoadOp>(op);
  auto view = load ? cast<tile::ViewType>(load.getView().getType()) : tile::ViewType();
  if (!view || view.getRank() != 2 || !ShapedType::isDynamic(view.getShape()[0]) || !view.getExtent())
    return {};
  Value left = sub(extent(*view.getExtent()), scalars.lookup(load.getOffsets()[0]));
  Value atMost = arith::MinSIOp::create(*this, loc, left, index(shapeOf(tile).rows));
  return arith::MaxSIOp::create(*this, loc, atMost, index(0));
}

//===----------------------------------------------------------------------===//
// Tiles in memory
//===----------------------------------------------------------------------===//

Memory ProgramLowering::scratch(int64_t rows, int64_t columns, Type element) {
  InsertionGuard guard(*this);
  setInsertionPointToStart(&function.getBody().front());
  int64_t bytes = element.isIndex() ? 8 : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  Type array = LLVM::LLVMArrayType::get(getI8Type(), rows * columns * bytes);
  Value one = LLVM::ConstantOp::create(*this, loc, getI64Type(), getI64IntegerAttr(1));
  Value pointer =
      LLVM::AllocaOp::create(*this, loc, LLVM::LLVMPointerType::get(getContext()), array, one, /*alignment=*/64);
  return {pointer, index(columns), element};
}

Memory ProgramLowering::scratchFor(Value tile) {
  return scratch(shapeOf(tile).rows, shapeOf(tile).columns, elementOf(tile));
}

Memory ProgramLowering::partOf(const Memory &whole, Value row, Value column) {
  return {address(this->row(whole, row).pointer, column, whole.element), whole.stride, whole.element};
}

void ProgramLowering::fillRow(const Memory &memory, Value tile, Value i) {
  Value source = hasRows(tile) ? i : Value();
  prepareRow(tile, source);
  Row target = row(memory, source);
  forBlocks(shapeOf(tile).columns, kLanes, [&](Value column, int64_t width) {
    Value vector = evaluate(tile, {source, column, width});
    store(memory.element.isF32() && isa<FloatType>(elementOf(tile)) ? toF32(vector) : vector, target, column);
  });
}

void ProgramLowering::fill(const Memory &memory, Value tile) {
  forEach(shapeOf(tile).rows, 1, [&](Value i) { fillRow(memory, tile, i); });
}

Memory ProgramLowering::materialize(Value tile) {
  auto known = memories.find(tile);
  if (known != memories.end())
    return known->second;
  Memory memory = scratchFor(tile);
  fill(memory, tile);
  memories[tile] = memory;
  return memory;
}

//===- VectorBuilder.cpp - loops, addresses and vectors --------------------===//

#include "codegen/tile_to_cpu/VectorBuilder.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace inlay::cpu;

static int64_t lanesOf(Value vector) { return cast<VectorType>(vector.getType()).getNumElements(); }

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value VectorBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(*this, loc, value); }

Value VectorBuilder::add(Value a, Value b) { return createOrFold<arith::AddIOp>(loc, a, b); }

Value VectorBuilder::sub(Value a, Value b) { return createOrFold<arith::SubIOp>(loc, a, b); }

Value VectorBuilder::mul(Value a, Value b) { return createOrFold<arith::MulIOp>(loc, a, b); }

Value VectorBuilder::compare(arith::CmpIPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpIOp>(loc, predicate, a, b);
}

Value VectorBuilder::both(Value a, Value b) {
  if (!a || !b)
    return a ? a : b;
  return createOrFold<arith::AndIOp>(loc, a, b);
}

Value VectorBuilder::toIndex(Value integer) {
  return integer.getType().isIndex() ? integer : createOrFold<arith::IndexCastOp>(loc, getIndexType(), integer);
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void VectorBuilder::forEach(int64_t count, int64_t step, function_ref<void(Value)> body) {
  if (count == step)
    return body(index(0));
  if (count > 0)
    carry(count, step, {}, [&](Value i, ValueRange) {
      body(i);
      return SmallVector<Value>();
    });
}

void VectorBuilder::forRange(Value start, Value end, function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(*this, loc, start, end, index(1));
  InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void VectorBuilder::forBlocks(int64_t count, int64_t most, function_ref<void(Value, int64_t)> body) {
  int64_t size = std::min<int64_t>(most, llvm::bit_floor(static_cast<uint64_t>(count)));
  int64_t done = count / size * size;
  forEach(done, size, [&](Value start) { body(start, size); });
  for (; done < count; done += size) {
    size = llvm::bit_floor(static_cast<uint64_t>(count - done));
    body(index(done), size);
  }
}

SmallVector<Value> VectorBuilder::carry(int64_t count, int64_t step, ValueRange inits,
                                        function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(*this, loc, index(0), index(count), index(step), inits);
  InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  SmallVector<Value> yielded = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!inits.empty())
    scf::YieldOp::create(*this, loc, yielded);
  return SmallVector<Value>(loop.getResults());
}

void VectorBuilder::ifElse(Value condition, function_ref<void()> thenBody, function_ref<void()> elseBody) {
  if (!condition)
    return thenBody();
  auto branch = scf::IfOp::create(*this, loc, condition, /*withElseRegion=*/static_cast<bool>(elseBody));
  InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  thenBody();
  if (elseBody) {
    setInsertionPointToStart(branch.elseBlock());
    elseBody();
  }
}

SmallVector<Value> VectorBuilder::choose(Value condition, TypeRange types, function_ref<SmallVector<Value>()> thenBody,
                                         function_ref<SmallVector<Value>()> elseBody) {
  if (!condition)
    return thenBody();
  auto branch = scf::IfOp::create(*this, loc, types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
  InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(*this, loc, thenBody());
  setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(*this, loc, elseBody());
  return SmallVector<Value>(branch.getResults());
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// LLVM calls a library for moves of 16-bit floats where the CPU has no arithmetic on them, so they move as integers.
Type VectorBuilder::storage(Type element) {
  if (element.isBF16() || element.isF16())
    return getI16Type();
  if (element.isInteger(1) || (isa<FloatType>(element) && element.getIntOrFloatBitWidth() == 8))
    return getI8Type();
  return element.isIndex() ? getI64Type() : element;
}

unsigned VectorBuilder::alignment(Type element) { return storage(element).getIntOrFloatBitWidth() / 8; }

Value VectorBuilder::fromStorage(Value vector, Type element) {
  auto type = VectorType::get(lanesOf(vector), element);
  if (element.isIndex())
    return arith::IndexCastOp::create(*this, loc, type, vector);
  if (isa<FloatType>(element) && vector.getType() != type)
    return arith::BitcastOp::create(*this, loc, type, vector);
  return vector.getType() == type ? vector : arith::TruncIOp::create(*this, loc, type, vector);
}

Value VectorBuilder::toStorage(Value vector) {
  Type element = cast<VectorType>(vector.getType()).getElementType();
  auto type = VectorType::get(lanesOf(vector), storage(element));
  if (element.isIndex())
    return arith::IndexCastOp::create(*this, loc, type, vector);
  if (isa<FloatType>(element) && vector.getType() != type)
    return arith::BitcastOp::create(*this, loc, type, vector);
  return vector.getType() == type ? vector : arith::ExtUIOp::create(*this, loc, type, vector);
}

Value VectorBuilder::address(Value pointer, Value offset, Type element) {
  Value wide = createOrFold<arith::IndexCastOp>(loc, getI64Type(), offset);
  return LLVM::GEPOp::create(*this, loc, pointer.getType(), storage(element), pointer, ArrayRef<LLVM::GEPArg>{wide});
}

Row VectorBuilder::row(const Memory &memory, Value index) {
  if (!index)
    return {memory.pointer, {}};
  return {address(memory.pointer, mul(index, memory.stride), memory.element), {}};
}

Value VectorBuilder::load(Row row, Value column, int64_t width, Type element) {
  auto stored = VectorType::get(width, storage(element));
  Value pointer = address(row.pointer, column, element);
  auto whole = [&]() -> SmallVector<Value> {
    return {LLVM::LoadOp::create(*this, loc, stored, pointer, alignment(element))};
  };
  auto part = [&]() -> SmallVector<Value> {
    if (width == 1)
      return {constant(stored, 0)};
    Value mask = laneMask(sub(row.limit, column), width);
    return {LLVM::MaskedLoadOp::create(*this, loc, stored, pointer, mask, constant(stored, 0),
                                       getI32IntegerAttr(alignment(element)))};
  };
  Value inside;
  if (row.limit)
    inside = compare(arith::CmpIPredicate::sle, add(column, index(width)), row.limit);
  return fromStorage(choose(inside, stored, whole, part).front(), element);
}

void VectorBuilder::store(Value vector, Row row, Value column) {
  Type element = cast<VectorType>(vector.getType()).getElementType();
  int64_t width = lanesOf(vector);
  vector = toStorage(vector);
  Value pointer = address(row.pointer, column, element);
  Value inside;
  if (row.limit)
    inside = compare(arith::CmpIPredicate::sle, add(column, index(width)), row.limit);
  ifElse(
      inside, [&] { LLVM::StoreOp::create(*this, loc, vector, pointer, alignment(element)); },
      [&] {
        Value mask = laneMask(sub(row.limit, column), width);
        LLVM::MaskedStoreOp::create(*this, loc, vector, pointer, mask, alignment(element));
      });
}

Value VectorBuilder::addresses(Value pointer, Value indices, Type element) {
  int64_t width = lanesOf(indices);
  Value wide = arith::ExtSIOp::create(*this, loc, VectorType::get(width, getI64Type()), indices);
  return LLVM::GEPOp::create(*this, loc, VectorType::get(width, pointer.getType()), storage(element), pointer,
                             ArrayRef<LLVM::GEPArg>{wide});
}

Value VectorBuilder::gather(Value pointer, Value indices, Value mask, Type element) {
  auto stored = VectorType::get(lanesOf(indices), storage(element));
  Value loaded = LLVM::masked_gather::create(*this, loc, stored, addresses(pointer, indices, element), mask,
                                             ValueRange{constant(stored, 0)}, alignment(element));
  return fromStorage(loaded, element);
}

void VectorBuilder::scatter(Value vector, Value pointer, Value indices, Value mask) {
  Type element = cast<VectorType>(vector.getType()).getElementType();
  LLVM::masked_scatter::create(*this, loc, toStorage(vector), addresses(pointer, indices, element), mask,
                               alignment(element));
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

Value VectorBuilder::constant(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr = isa<FloatType>(element) ? TypedAttr(getFloatAttr(element, value))
                                           : TypedAttr(getIntegerAttr(element, static_cast<int64_t>(value)));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(*this, loc, attr);
}

Value VectorBuilder::splat(Value scalar, int64_t width) {
  return vector::BroadcastOp::create(*this, loc, VectorType::get(width, scalar.getType()), scalar);
}

Value VectorBuilder::first(Value vector) { return vector::ExtractOp::create(*this, loc, vector, 0); }

Value VectorBuilder::laneNumbers(int64_t width) {
  auto numbers = llvm::to_vector(llvm::seq<int32_t>(0, width));
  return arith::ConstantOp::create(
      *this, loc, DenseElementsAttr::get(VectorType::get(width, getI32Type()), ArrayRef<int32_t>(numbers)));
}

/// Lane l is l < count.
Value VectorBuilder::laneMask(Value count, int64_t width) {
  Value count32 = arith::IndexCastOp::create(*this, loc, getI32Type(), count);
  return compare(arith::CmpIPredicate::slt, laneNumbers(width), splat(count32, width));
}

Value VectorBuilder::everySecond(Value a, Value b, int64_t start) {
  int64_t lanes = lanesOf(a) * (b ? 2 : 1);
  SmallVector<int64_t> picked;
  for (int64_t lane = start; lane < lanes; lane += 2)
    picked.push_back(lane);
  return vector::ShuffleOp::create(*this, loc, a, b ? b : a, picked);
}

Value VectorBuilder::combineLanes(Value vector, Combine combine) {
  while (lanesOf(vector) > 1)
    vector = combine(everySecond(vector, {}, 0), everySecond(vector, {}, 1));
  return vector;
}

Value VectorBuilder::sumLanes(SmallVector<Value> vectors) {
  int64_t count = vectors.size();
  auto addHalves = [&](Value a, Value b) -> Value {
    return arith::AddFOp::create(*this, loc, everySecond(a, b, 0), everySecond(a, b, 1));
  };
  for (; vectors.size() > 1; vectors.truncate(vectors.size() / 2))
    for (size_t i = 0; i < vectors.size() / 2; ++i)
      vectors[i] = addHalves(vectors[2 * i], vectors[2 * i + 1]);
  while (lanesOf(vectors[0]) > count)
    vectors[0] = addHalves(vectors[0], {});
  return vectors[0];
}

Value VectorBuilder::toF32(Value vector) {
  if (getElementTypeOrSelf(vector.getType()).isF32())
    return vector;
  return arith::ExtFOp::create(*this, loc, VectorType::get(lanesOf(vector), getF32Type()), vector);
}

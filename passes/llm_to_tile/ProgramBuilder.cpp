//===- ProgramBuilder.cpp - writes one tile program ------------------------===//

#include "passes/llm_to_tile/ProgramBuilder.h"

#include "passes/tile/LinearSchedule.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::tile;

/// The largest divisor of `value` that is at most `limit`.
static int64_t largestDivisor(int64_t value, int64_t limit) {
  for (int64_t d = std::min(value, limit); d > 1; --d)
    if (value % d == 0)
      return d;
  return 1;
}

LinearTile inlay::chooseLinearTile(const StepShape &step, StringRef family, int64_t n, int64_t k, int64_t columnUnit) {
  if (step.isCpu()) {
    // Rows past the step's end cost as much as real ones, so a step of few rows has a tile of few. Measured on AVX-512
    // with 16 columns a block: one row streams weights at 16 to 19 GB/s a core with steps of 1024 along K, 11 with
    // 256. The step is the same for all tiles, since the order of a sum depends on it.
    int64_t m = step.maxTokens >= 16 ? 16 : llvm::PowerOf2Ceil(step.maxTokens);
    int64_t columns = columnUnit ? largestDivisor(columnUnit, 16) : 16;
    return {m, columns, std::min<int64_t>(1024, llvm::alignTo(k, 16))};
  }
  if (family == "generic") {
    // Whole fragments of rows, and as many columns as give each of four warps 8.
    int64_t m = step.maxTokens <= 16 ? 16 : step.maxTokens <= 32 ? 32 : 64, columns = m == 16 ? 32 : 64;
    return {m, columnUnit ? largestDivisor(columnUnit & -columnUnit, columns) : columns, 64};
  }
  if (family == "matvec")
    return {step.maxTokens == 1 ? 1 : step.maxTokens <= 8 ? 8 : 16, 16, 64};
  // The kernel computes whole tiles of the program, so their columns are a power of two.
  int64_t columns = columnUnit ? largestDivisor(columnUnit & -columnUnit, 128) : 128;
  if (family == "swap_ab")
    return {swapAbTileRows(std::min<int64_t>(step.maxTokens, kSwapAbRows)), columns, 64};
  return {128, columns, 64};
}

LogicalResult inlay::setFamily(llm::GroupOp group, const StepShape &step, ProgramOp program) {
  MLIRContext *context = group.getContext();
  if (step.isCpu())
    return success();
  if (group.getFamily() == llm::kCublasLt) {
    program.setScheduleAttr(CublasLtAttr::get(context));
    return success();
  }
  if (group.getFamily() == "generic") {
    program.setScheduleAttr(GenericAttr::get(context, /*cluster=*/1, /*slots=*/1, /*query_rows=*/0, /*tile_rows=*/0,
                                             /*tile_keys=*/0));
    return success();
  }
  std::optional<Family> family = symbolizeFamily(group.getFamily());
  if (!family)
    return group.emitError() << "has the family '" << group.getFamily()
                             << "', which no linear layer has; expected matvec, swap_ab, gemm, generic or "
                             << llm::kCublasLt;
  program.setScheduleAttr(FamilyAttr::get(context, *family));
  return success();
}

ProgramBuilder::ProgramBuilder(Location loc, const StepShape &step, SymbolTable &symbols)
    : ImplicitLocOpBuilder(loc, loc.getContext()), step(step), symbols(symbols) {
  OperationState state(loc, ProgramOp::getOperationName());
  state.addAttribute(SymbolTable::getSymbolAttrName(), getStringAttr("program"));
  state.addAttribute("function_type", TypeAttr::get(getFunctionType({}, {})));
  state.addAttribute("grid", AffineMapAttr::get(AffineMap::get(getContext())));
  state.addRegion();
  program = cast<ProgramOp>(Operation::create(state));
  setInsertionPointToStart(&program.getBody().emplaceBlock());
}

ProgramBuilder::~ProgramBuilder() {
  if (!finished)
    program->erase();
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value ProgramBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(*this, value); }
Value ProgramBuilder::i32(int32_t value) { return arith::ConstantIntOp::create(*this, value, 32); }
Value ProgramBuilder::toI32(Value value) { return arith::IndexCastOp::create(*this, getI32Type(), value); }
Value ProgramBuilder::toIndex(Value value) { return arith::IndexCastOp::create(*this, getIndexType(), value); }

Value ProgramBuilder::full(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr;
  if (isa<FloatType>(element))
    attr = getFloatAttr(element, value);
  else if (element.isInteger(1))
    attr = getBoolAttr(value != 0);
  else
    attr = getIntegerAttr(element, static_cast<int64_t>(value));
  if (auto shaped = dyn_cast<RankedTensorType>(type))
    attr = DenseElementsAttr::get(shaped, ArrayRef<Attribute>(attr));
  return arith::ConstantOp::create(*this, attr);
}

Value ProgramBuilder::splat(Value scalar, ArrayRef<int64_t> shape) {
  return tensor::SplatOp::create(*this, scalar, tileType(shape, scalar.getType()));
}

static bool isFloat(Value value) { return isa<FloatType>(getElementTypeOrSelf(value.getType())); }

/// The floating-point or integer form of an operation, by the operands' type.
template <typename FloatOp, typename IntOp> static Value binary(ProgramBuilder &b, Value lhs, Value rhs) {
  if (isFloat(lhs))
    return FloatOp::create(b, lhs, rhs);
  return IntOp::create(b, lhs, rhs);
}

Value ProgramBuilder::add(Value x, Value y) { return binary<arith::AddFOp, arith::AddIOp>(*this, x, y); }
Value ProgramBuilder::sub(Value x, Value y) { return binary<arith::SubFOp, arith::SubIOp>(*this, x, y); }
Value ProgramBuilder::mul(Value x, Value y) { return binary<arith::MulFOp, arith::MulIOp>(*this, x, y); }
Value ProgramBuilder::div(Value x, Value y) {
  // Numbers of a row or column that are divided by the same one: a division for each row, and products.
  if (auto divisors = y.getDefiningOp<tile::BroadcastOp>(); divisors && isa<FloatType>(getElementTypeOrSelf(y))) {
    Value inverse = arith::DivFOp::create(*this, like(divisors.getValue(), 1.0), divisors.getValue());
    Value factors = tile::BroadcastOp::create(*this, y.getType(), inverse, divisors.getAxis());
    if (divisors->use_empty())
      divisors->erase();
    return mul(x, factors);
  }
  return binary<arith::DivFOp, arith::DivSIOp>(*this, x, y);
}
Value ProgramBuilder::rem(Value x, Value y) { return binary<arith::RemFOp, arith::RemSIOp>(*this, x, y); }
Value ProgramBuilder::maximum(Value x, Value y) { return binary<arith::MaximumFOp, arith::MaxSIOp>(*this, x, y); }
Value ProgramBuilder::minimum(Value x, Value y) { return binary<arith::MinimumFOp, arith::MinSIOp>(*this, x, y); }

Value ProgramBuilder::less(Value x, Value y) {
  if (isFloat(x))
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, x, y);
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, x, y);
}

Value ProgramBuilder::logicalNot(Value x) { return arith::XOrIOp::create(*this, x, full(x.getType(), 1)); }

Value ProgramBuilder::logicalAnd(Value x, Value y) { return arith::AndIOp::create(*this, x, y); }
Value ProgramBuilder::select(Value c, Value x, Value y) { return arith::SelectOp::create(*this, c, x, y); }

/// `type` with another element type.
static Type withElement(Type type, Type element) {
  if (auto shaped = dyn_cast<RankedTensorType>(type))
    return shaped.clone(element);
  return element;
}

Value ProgramBuilder::toF32(Value value) { return toType(value, getF32Type()); }

Value ProgramBuilder::toType(Value value, Type elementType) {
  Type from = getElementTypeOrSelf(value.getType());
  if (from == elementType)
    return value;
  Type type = withElement(value.getType(), elementType);
  if (isa<IntegerType>(from))
    return arith::SIToFPOp::create(*this, type, value);
  if (from.getIntOrFloatBitWidth() < elementType.getIntOrFloatBitWidth())
    return arith::ExtFOp::create(*this, type, value);
  return arith::TruncFOp::create(*this, type, value);
}

Value ProgramBuilder::toStored(Value value, Type elementType, Value scale) {
  auto codes = dyn_cast<FloatType>(elementType);
  if (!codes || codes.getWidth() > 8)
    return toType(value, elementType);
  if (scale) {
    Value inverse = arith::DivFOp::create(*this, full(getF32Type(), 1.0), scale);
    value = mul(value, splat(inverse, cast<RankedTensorType>(value.getType()).getShape()));
  }
  // The conversion makes NaN of what is larger than the largest code.
  double largest = llvm::APFloat::getLargest(codes.getFloatSemantics()).convertToDouble();
  return toType(minimum(maximum(value, like(value, -largest)), like(value, largest)), elementType);
}

Value ProgramBuilder::reduce(Reduction kind, Value value, int64_t axis) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + axis);
  return ReduceOp::create(*this, type.clone(shape), kind, value, axis);
}

Value ProgramBuilder::broadcast(Value vector, int64_t axis, int64_t size) {
  auto type = cast<RankedTensorType>(vector.getType());
  int64_t length = type.getDimSize(0);
  SmallVector<int64_t> shape = axis == 0 ? SmallVector<int64_t>{size, length} : SmallVector<int64_t>{length, size};
  return BroadcastOp::create(*this, type.clone(shape), vector, axis);
}

Value ProgramBuilder::iota(int64_t size) { return IotaOp::create(*this, tileType({size}, getI32Type()), 0); }

Value ProgramBuilder::load(Value view, ValueRange offsets, ArrayRef<int64_t> shape) {
  return LoadOp::create(*this, tileType(shape, cast<ViewType>(view.getType()).getElementType()), view, offsets);
}

Value ProgramBuilder::gather(Value view, Value indices, Value column, int64_t columns) {
  SmallVector<int64_t> shape{cast<RankedTensorType>(indices.getType()).getDimSize(0)};
  if (column)
    shape.push_back(columns);
  return GatherOp::create(*this, tileType(shape, cast<ViewType>(view.getType()).getElementType()), view, indices,
                          column);
}

void ProgramBuilder::store(Value value, Value view, ValueRange offsets, ExchangeAttr through) {
  StoreOp::create(*this, value, view, offsets, through);
}

void ProgramBuilder::scatter(Value value, Value view, Value indices, Value column) {
  ScatterOp::create(*this, value, view, indices, column);
}

SmallVector<Value> ProgramBuilder::loop(Value from, Value to, int64_t stepSize, ValueRange init,
                                        function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(*this, from, to, index(stepSize), init);
  InsertionGuard guard(*this);
  if (init.empty())
    setInsertionPoint(op.getBody()->getTerminator());
  else
    setInsertionPointToStart(op.getBody());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  if (!init.empty())
    scf::YieldOp::create(*this, next);
  return SmallVector<Value>(op.getResults());
}

void ProgramBuilder::ifThen(Value condition, function_ref<void()> body, function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(*this, condition, static_cast<bool>(otherwise));
  InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
  if (otherwise) {
    setInsertionPointToStart(op.elseBlock());
    otherwise();
  }
}

AffineExpr ProgramBuilder::count(MLIRContext *context, Extent extent, int64_t divisor, int64_t multiplier) {
  AffineExpr symbol = mlir::getAffineSymbolExpr(static_cast<unsigned>(extent), context);
  return symbol.ceilDiv(divisor) * multiplier;
}

ProgramOp ProgramBuilder::finish(ArrayRef<AffineExpr> grid, ArrayRef<NamedAttribute> attributes) {
  ReturnOp::create(*this);
  program.setGridAttr(
      AffineMapAttr::get(AffineMap::get(0, getMaxEnumValForExtent() + 1, SmallVector<AffineExpr>(grid), getContext())));
  program.setFunctionType(getFunctionType(program.getBody().getArgumentTypes(), {}));
  if (llvm::any_of(argumentAttributes, [](Attribute a) { return !cast<DictionaryAttr>(a).empty(); }))
    program.setArgAttrsAttr(getArrayAttr(argumentAttributes));
  for (NamedAttribute attribute : attributes)
    program->setAttr(attribute.getName(), attribute.getValue());
  finished = true;
  return program;
}

/// Elements of a metadata array of the step's rows, from row `first` on.
static Value loadOfRows(ProgramBuilder &b, StringRef array, Value first, int64_t rows) {
  // Loads past the end give 0, which is a position that exists.
  Value loaded = b.load(b.metadata(array, b.getI32Type(), Extent::Tokens), ValueRange{first}, {rows});
  Value row = b.add(b.iota(rows), b.splat(b.toI32(first), {rows}));
  Value tokens = b.toI32(ExtentOp::create(b, b.getIndexType(), Extent::Tokens));
  return b.select(b.less(row, b.splat(tokens, {rows})), loaded, b.full(loaded.getType(), -1));
}

Value inlay::rowPositions(ProgramBuilder &b, Value first, int64_t rows) {
  return loadOfRows(b, "Positions", first, rows);
}

Value inlay::rowsOfTable(ProgramBuilder &b, llm::RopeTableOp table, Value positions, Value first, int64_t rows) {
  return table.hasTwoParts() ? loadOfRows(b, "RopeRows", first, rows) : positions;
}

Value inlay::cacheRows(ProgramBuilder &b, Value positions, Value sequences, Value kvHead, int64_t kvHeads) {
  const StepShape &step = b.getStep();
  Type type = positions.getType();
  ArrayRef<int64_t> shape = cast<RankedTensorType>(type).getShape();
  Value pageSize = b.full(type, step.pageSize);
  Value entry = b.add(b.mul(sequences, b.full(type, step.pagesPerSequence())), b.div(positions, pageSize));
  Value isReal = b.lessEqual(b.full(type, 0), positions);
  Value none = b.full(type, -1);
  Value page = b.gather(b.pageTable(), b.select(isReal, entry, none));
  // Of a freed page, whose entry is -1, all rows are negative: reading them gives zeros.
  Value head = b.add(b.mul(page, b.full(type, kvHeads)), b.splat(kvHead, shape));
  Value row = b.add(b.mul(head, pageSize), b.rem(positions, pageSize));
  return b.select(isReal, row, none);
}

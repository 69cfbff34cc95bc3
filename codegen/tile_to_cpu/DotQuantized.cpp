//===- DotQuantized.cpp - matrix products with quantized weights -----------===//
//
// Codes become f32 in registers, between the load of their bytes and the multiply-add. No conversion is needed: a field
// of a word, put into the fraction of the float 2^23, makes 2^23 + code * 2^shift. Subtracting 2^23 + zero * 2^shift
// leaves (code - zero) * 2^shift exactly. The factor 2^shift is taken from the other operand, whose f32 copy is
//
//   copy[unit * U + field * 16 + lane] = lhs[unit * U + lane * fields + field] * 2^-shift(field)
//
// where a unit of U columns is a vector of 16 words, and `fields` the codes of a word. e4m3 has its sign and the bits
// below at the places that they have in f32, whose exponent is larger by 120: a multiplication by 2^120 is left.
//
// Scales multiply the sums of a unit, which are the lanes' sums of whole groups.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/ProgramLowering.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace inlay;
using namespace inlay::cpu;

/// 2^23, as f32 and as its bits.
static constexpr double kFraction = 8388608;
static constexpr int32_t kFractionBits = 0x4B000000;
/// The factor 2^120 of e4m3 is 2^60 of the other operand and 2^60 of the scale, neither of which overflows below 2^67.
/// Subnormal codes are subnormal floats until then; multiply-adds take them as they are.
static constexpr double kF8HalfFactor = 1152921504606846976; // 2^60

UnpackedWeight::UnpackedWeight(tile::DequantizeOp op)
    : codes(op.getCodes()), group(op.getGroup()), zeroPoint(op.getZeroPoint()),
      fields(codes == tile::Codes::U4 ? 8 : 4), unit(kLanes * fields) {}

/// The field's first bit in the words, or in the words shifted right by 20 bits (4-bit codes) or 16 (others) if it is
/// one of the later fields.
int64_t UnpackedWeight::shiftOf(int64_t field) const {
  if (codes == tile::Codes::F8E4M3)
    return 0;
  return fields == 8 ? field % 5 * 4 : field % 2 * 8;
}

/// What the field of the other operand is multiplied by.
double UnpackedWeight::factorOf(int64_t field) const {
  return codes == tile::Codes::F8E4M3 ? kF8HalfFactor : std::ldexp(1.0, static_cast<int>(-shiftOf(field)));
}

static tile::LoadOp weightLoad(Value tile) {
  auto load = tile ? tile.getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  bool isWeight = load && cast<tile::ViewType>(load.getView().getType()).getProvenance() == tile::Provenance::Weight;
  return isWeight ? load : tile::LoadOp();
}

std::optional<UnpackedWeight> ProgramLowering::unpackedWeight(tile::DotOp op) {
  auto dequantize = op.getRhs().getDefiningOp<tile::DequantizeOp>();
  if (!op.getTransposeRhs() || !dequantize || memories.contains(op.getRhs()) ||
      dequantize.getCodes() == tile::Codes::Nf4 || !dequantize.getScales())
    return std::nullopt;
  UnpackedWeight weight(dequantize);
  weight.bytes = weightLoad(dequantize.getBytes());
  if (weight.bytes)
    weight.rowBytes = cast<tile::ViewType>(weight.bytes.getView().getType()).getShape().back();
  weight.scales = weightLoad(dequantize.getScales());
  weight.zeros = weightLoad(dequantize.getZeros());
  bool inMemory = memories.contains(dequantize.getBytes()) || memories.contains(dequantize.getScales());
  if (!weight.bytes || !weight.scales || inMemory || (dequantize.getZeros() && !weight.zeros))
    return std::nullopt;
  if (dequantize.getCodes() == tile::Codes::F8E4M3 && (weight.zeros || dequantize.getZeroPoint() != 0))
    return std::nullopt;
  // A lane's fields are of one group, and a unit has whole groups or is in one.
  int64_t group = dequantize.getGroup();
  weight.isOneGroup = shapeOf(dequantize.getScales()).columns == 1;
  bool fits = weight.isOneGroup || group % weight.unit == 0 || (weight.unit % group == 0 && group % weight.fields == 0);
  if (!fits || shapeOf(op.getLhs()).columns % kLanes != 0)
    return std::nullopt;
  return weight;
}

/// vectors[l * n + f] of their elements becomes element l of result f, for n vectors, a power of two.
static SmallVector<Value> deinterleave(SmallVector<Value> vectors,
                                       llvm::function_ref<Value(Value, Value, int64_t)> pick) {
  if (vectors.size() == 1)
    return vectors;
  SmallVector<Value> parts[2], result;
  for (int64_t start : {0, 1}) {
    SmallVector<Value> half;
    for (size_t i = 0; i < vectors.size(); i += 2)
      half.push_back(pick(vectors[i], vectors[i + 1], start));
    parts[start] = deinterleave(half, pick);
  }
  for (size_t i = 0; i < parts[0].size(); ++i) {
    result.push_back(parts[0][i]);
    result.push_back(parts[1][i]);
  }
  return result;
}

Memory ProgramLowering::orderedByFields(Value tile, const UnpackedWeight &weight) {
  Shape shape = shapeOf(tile);
  int64_t units = llvm::divideCeil(shape.columns, weight.unit);
  Memory memory = scratch(shape.rows, units * weight.unit, getF32Type());
  auto f32 = VectorType::get(kLanes, getF32Type());
  auto unitOf = [&](Value i, Value first, int64_t columns) {
    SmallVector<Value> vectors;
    for (int64_t at = 0; at < weight.unit; at += kLanes)
      vectors.push_back(at < columns ? toF32(evaluate(tile, {i, add(first, index(at)), kLanes})) : constant(f32, 0));
    vectors = deinterleave(vectors, [&](Value a, Value b, int64_t start) { return everySecond(a, b, start); });
    for (auto [field, vector] : llvm::enumerate(vectors)) {
      double factor = weight.factorOf(static_cast<int64_t>(field));
      Value scaled =
          factor == 1 ? vector : arith::MulFOp::create(*this, loc, vector, constant(f32, factor)).getResult();
      store(scaled, row(memory, i), add(first, index(static_cast<int64_t>(field) * kLanes)));
    }
  };
  auto fillOne = [&](Value i) {
    prepareRow(tile, i);
    int64_t whole = shape.columns / weight.unit * weight.unit;
    forEach(whole, weight.unit, [&](Value first) { unitOf(i, first, weight.unit); });
    if (whole < shape.columns)
      unitOf(i, index(whole), shape.columns - whole);
  };
  if (Value live = shape.rows > 1 ? liveRows(tile) : Value()) {
    // Blocks of rows reach a few rows further, which only have to be numbers.
    forRange(index(0), arith::MinSIOp::create(*this, loc, add(live, index(kMaxDotRows)), index(shape.rows)), fillOne);
  } else {
    forEach(shape.rows, 1, fillOne);
  }
  return memory;
}

/// The numbers of a unit's codes, a vector for each field, times 1 / factorOf(field). `zero` has the zero points of the
/// lanes; null: all are that of the op.
SmallVector<Value> ProgramLowering::unpackFields(const UnpackedWeight &weight, Value words, Value zero) {
  auto i32 = VectorType::get(kLanes, getI32Type()), f32 = VectorType::get(kLanes, getF32Type());
  auto constantOf = [&](int64_t bits) {
    return arith::ConstantOp::create(
        *this, loc, DenseElementsAttr::get(i32, getI32IntegerAttr(static_cast<int32_t>(static_cast<uint32_t>(bits)))));
  };
  SmallVector<Value> result;
  if (weight.codes == tile::Codes::F8E4M3) {
    for (int64_t field = 0; field < weight.fields; ++field) {
      Value top = words;
      if (int64_t shift = 24 - 8 * field)
        top = arith::ShLIOp::create(*this, loc, words, constantOf(shift));
      Value bits = arith::AndIOp::create(*this, loc, arith::ShRSIOp::create(*this, loc, top, constantOf(4)),
                                         constantOf(0x87f00000));
      result.push_back(arith::BitcastOp::create(*this, loc, f32, bits));
    }
    return result;
  }
  // A signed code plus 128 is an unsigned one.
  double added = 0;
  if (weight.codes == tile::Codes::I8) {
    words = arith::XOrIOp::create(*this, loc, words, constantOf(0x80808080));
    added = 128;
  }
  int64_t low = weight.fields == 8 ? 5 : 2, mask = weight.fields == 8 ? 15 : 255;
  Value high = arith::ShRUIOp::create(*this, loc, words, constantOf(weight.fields == 8 ? 20 : 16));
  if (zero && added != 0)
    zero = arith::AddFOp::create(*this, loc, zero, constant(f32, added));
  for (int64_t field = 0; field < weight.fields; ++field) {
    int64_t shift = weight.shiftOf(field);
    double factor = std::ldexp(1.0, static_cast<int>(shift));
    Value bits = arith::AndIOp::create(*this, loc, field < low ? words : high, constantOf(mask << shift));
    Value number =
        arith::BitcastOp::create(*this, loc, f32, arith::OrIOp::create(*this, loc, bits, constantOf(kFractionBits)));
    Value origin;
    if (zero)
      origin = LLVM::FMulAddOp::create(*this, loc, zero, constant(f32, factor), constant(f32, kFraction));
    else
      origin = constant(f32, kFraction + (added + static_cast<double>(weight.zeroPoint)) * factor);
    result.push_back(arith::SubFOp::create(*this, loc, number, origin));
  }
  return result;
}

/// Scales or zero points of the lanes of the unit from column `first` on. `isLast`: groups may lie past the last
/// column.
Value ProgramLowering::ofUnit(const UnpackedWeight &weight, tile::LoadOp groups, Value rowIndex, Value first,
                              bool isLast) {
  Row row = rowOf(groups, rowIndex);
  if (!isLast)
    row.limit = {};
  int64_t group = weight.group, columns = shapeOf(groups.getResult()).columns;
  auto at = [&](Value group, int64_t count) { return load(row, group, count, getF32Type()); };
  if (weight.isOneGroup)
    return splat(VectorBuilder::first(at(index(0), 1)), kLanes);
  Value number = createOrFold<arith::DivUIOp>(loc, first, index(group));
  if (group % weight.unit == 0)
    return splat(VectorBuilder::first(at(number, 1)), kLanes);
  // The tile may have fewer groups than the last unit.
  int64_t count = weight.unit / group;
  if (isLast)
    row.limit = row.limit ? arith::MinSIOp::create(*this, loc, row.limit, index(columns)).getResult() : index(columns);
  SmallVector<int64_t> lanes;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    lanes.push_back(lane * weight.fields / group);
  Value loaded = at(number, count);
  return vector::ShuffleOp::create(*this, loc, loaded, loaded, lanes);
}

void ProgramLowering::blockOfFields(tile::DotOp op, const UnpackedWeight &weight, const Memory &lhs,
                                    const Memory &result, Value m0, int64_t rowCount, Value n0, int64_t columnCount) {
  auto f32 = VectorType::get(kLanes, getF32Type());
  const bool isF8 = weight.codes == tile::Codes::F8E4M3;
  int64_t bytesOfUnit = kLanes * 4, columns = shapeOf(op.getLhs()).columns;
  int64_t codesOfByte = weight.unit / bytesOfUnit;
  int64_t ahead = columnCount * weight.rowBytes;
  SmallVector<Row> left, right;
  SmallVector<Value> numbers, constantZeros;
  for (int64_t i = 0; i < rowCount; ++i)
    left.push_back(row(lhs, add(m0, index(i))));
  for (int64_t j = 0; j < columnCount; ++j) {
    numbers.push_back(add(n0, index(j)));
    right.push_back(rowOf(weight.bytes, numbers.back()));
    constantZeros.push_back(weight.zeros && weight.isOneGroup ? ofUnit(weight, weight.zeros, numbers[j], index(0), true)
                                                              : Value());
  }
  auto scaleOf = [&](int64_t j, Value first, bool isLast) -> Value {
    Value scale = ofUnit(weight, weight.scales, numbers[j], first, isLast);
    return isF8 ? arith::MulFOp::create(*this, loc, scale, constant(f32, kF8HalfFactor)).getResult() : scale;
  };
  auto step = [&](Value first, ValueRange carried, bool isLast) {
    SmallVector<Value> next;
    Value firstByte = createOrFold<arith::DivUIOp>(loc, first, index(codesOfByte));
    for (int64_t j = 0; j < columnCount; ++j) {
      Row bytes = right[j];
      if (!isLast) {
        bytes.limit = {};
        // A block reads few bytes of each row, so caches do not foresee the next one, whose rows follow in memory.
        LLVM::Prefetch::create(*this, loc, address(bytes.pointer, add(firstByte, index(ahead)), getI8Type()),
                               /*rw=*/0, /*hint=*/2, /*cache=*/1);
      } else {
        Value end = index(columns / codesOfByte);
        bytes.limit = bytes.limit ? arith::MinSIOp::create(*this, loc, bytes.limit, end).getResult() : end;
      }
      Value words = vector::BitCastOp::create(*this, loc, VectorType::get(kLanes, getI32Type()),
                                              load(bytes, firstByte, bytesOfUnit, getI8Type()));
      Value zero = constantZeros[j];
      if (weight.zeros && !weight.isOneGroup)
        zero = ofUnit(weight, weight.zeros, numbers[j], first, isLast);
      SmallVector<Value> fields = unpackFields(weight, words, zero);
      Value scale = weight.isOneGroup ? Value() : scaleOf(j, first, isLast);
      for (int64_t i = 0; i < rowCount; ++i) {
        Value before = carried[j * rowCount + i], sum = weight.isOneGroup ? before : constant(f32, 0);
        for (auto [field, number] : llvm::enumerate(fields)) {
          Value x = load(left[i], add(first, index(static_cast<int64_t>(field) * kLanes)), kLanes, lhs.element);
          sum = LLVM::FMulAddOp::create(*this, loc, x, number, sum);
        }
        next.push_back(weight.isOneGroup ? sum : LLVM::FMulAddOp::create(*this, loc, sum, scale, before).getResult());
      }
    }
    return next;
  };
  // Whole units of the columns that the weight has, then what is left.
  Value end = index(columns);
  if (Value limit = right.front().limit)
    end = arith::MinSIOp::create(*this, loc, end, mul(limit, index(codesOfByte)));
  Value wholeEnd = mul(createOrFold<arith::DivUIOp>(loc, end, index(weight.unit)), index(weight.unit));
  SmallVector<Value> sums(rowCount * columnCount, constant(f32, 0));
  auto loop = scf::ForOp::create(*this, loc, index(0), wholeEnd, index(weight.unit), sums);
  {
    InsertionGuard guard(*this);
    setInsertionPointToStart(loop.getBody());
    scf::YieldOp::create(*this, loc, step(loop.getInductionVar(), loop.getRegionIterArgs(), false));
  }
  sums.assign(loop.result_begin(), loop.result_end());
  if (right.front().limit || columns % weight.unit != 0)
    sums = choose(
        compare(arith::CmpIPredicate::slt, wholeEnd, end), ValueRange(sums).getTypes(),
        [&] { return step(wholeEnd, sums, true); }, [&] { return sums; });
  if (weight.isOneGroup)
    for (int64_t j = 0; j < columnCount; ++j) {
      Value scale = scaleOf(j, index(0), true);
      for (int64_t i = 0; i < rowCount; ++i)
        sums[j * rowCount + i] = arith::MulFOp::create(*this, loc, sums[j * rowCount + i], scale);
    }
  for (int64_t i = 0; i < rowCount; ++i) {
    SmallVector<Value> ofRow;
    for (int64_t j = 0; j < columnCount; ++j)
      ofRow.push_back(sums[j * rowCount + i]);
    storeSum(op, result, sumLanes(ofRow), add(m0, index(i)), n0);
  }
}

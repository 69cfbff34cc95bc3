//===- Dequantize.cpp - codes of quantized weights to f32 ------------------===//
//
// Codes stay bytes in memory. A vector of them becomes f32 where a tile is computed,
// which for a weight is once for each tile that a dot reads.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/ProgramLowering.h"
#include "formats/quantization/nf4.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::cpu;

Value ProgramLowering::evaluateHalfBytes(Value bytes, Position at) {
  auto type = VectorType::get(at.width, getI32Type());
  Value byte = createOrFold<arith::DivUIOp>(loc, at.column, index(2));
  if (at.width == 1) {
    Value whole = arith::ExtUIOp::create(*this, loc, type, evaluate(bytes, {at.row, byte, 1}));
    Value odd =
        arith::IndexCastOp::create(*this, loc, getI32Type(), arith::RemUIOp::create(*this, loc, at.column, index(2)));
    Value shift = mul(splat(odd, 1), constant(type, 4));
    Value low = arith::ShRUIOp::create(*this, loc, whole, shift);
    return arith::AndIOp::create(*this, loc, low, constant(type, 15));
  }
  Value loaded = evaluate(bytes, {at.row, byte, at.width / 2});
  SmallVector<int64_t> twice;
  SmallVector<int32_t> shifts;
  for (int64_t lane = 0; lane < at.width; ++lane) {
    twice.push_back(lane / 2);
    shifts.push_back(static_cast<int32_t>(lane % 2 * 4));
  }
  Value whole = arith::ExtUIOp::create(*this, loc, type, vector::ShuffleOp::create(*this, loc, loaded, loaded, twice));
  Value shift = arith::ConstantOp::create(*this, loc, DenseElementsAttr::get(type, ArrayRef<int32_t>(shifts)));
  return arith::AndIOp::create(*this, loc, arith::ShRUIOp::create(*this, loc, whole, shift), constant(type, 15));
}

Value ProgramLowering::lookUpNf4(Value codes) {
  if (!nf4) {
    Memory table = scratch(1, kNf4.size(), getF32Type());
    nf4 = table.pointer;
    InsertionGuard guard(*this);
    setInsertionPointAfterValue(nf4);
    auto type = VectorType::get(kNf4.size(), getF32Type());
    store(
        arith::ConstantOp::create(*this, loc, DenseElementsAttr::get(type, ArrayRef<float>(kNf4.data(), kNf4.size()))),
        {nf4, {}}, index(0));
  }
  auto mask = VectorType::get(cast<VectorType>(codes.getType()).getNumElements(), getI1Type());
  return gather(nf4, codes, constant(mask, 1), getF32Type());
}

Value ProgramLowering::evaluateCodes(tile::DequantizeOp op, Position at) {
  auto f32 = VectorType::get(at.width, getF32Type()), i32 = VectorType::get(at.width, getI32Type());
  auto toFloat = [&](Value integers) -> Value { return arith::SIToFPOp::create(*this, loc, f32, integers); };
  switch (op.getCodes()) {
  case tile::Codes::U4:
    return toFloat(evaluateHalfBytes(op.getBytes(), at));
  case tile::Codes::Nf4:
    return lookUpNf4(evaluateHalfBytes(op.getBytes(), at));
  case tile::Codes::U8:
    return toFloat(arith::ExtUIOp::create(*this, loc, i32, evaluate(op.getBytes(), at)));
  case tile::Codes::I8:
    return toFloat(arith::ExtSIOp::create(*this, loc, i32, evaluate(op.getBytes(), at)));
  case tile::Codes::F8E4M3:
    break;
  }
  // Sign, exponent and fraction at the places that they have in f16, whose exponent is larger by 8: times 2^8.
  auto i16 = VectorType::get(at.width, getI16Type()), f16 = VectorType::get(at.width, getF16Type());
  Value bits = arith::ExtSIOp::create(*this, loc, i16, evaluate(op.getBytes(), at));
  Value sign = arith::AndIOp::create(*this, loc, bits, constant(i16, -32768));
  Value rest =
      arith::ShLIOp::create(*this, loc, arith::AndIOp::create(*this, loc, bits, constant(i16, 0x7f)), constant(i16, 7));
  Value half = arith::BitcastOp::create(*this, loc, f16, arith::OrIOp::create(*this, loc, sign, rest));
  return arith::MulFOp::create(*this, loc, toF32(half), constant(f32, 256));
}

Value ProgramLowering::evaluateDequantize(tile::DequantizeOp op, Position at) {
  auto type = VectorType::get(at.width, getF32Type());
  int64_t group = op.getGroup();
  Value groupOf = createOrFold<arith::DivUIOp>(loc, at.column, index(group));
  // Vectors are aligned to their width, so that one lies in one group unless groups are narrower.
  auto ofGroup = [&](Value tile) {
    if (group % at.width == 0 || shapeOf(tile).columns == 1)
      return splat(evaluateScalar(tile, at.row, groupOf), at.width);
    Value lanes = constant(type, 0);
    for (int64_t lane = 0; lane < at.width; ++lane) {
      Value column = createOrFold<arith::DivUIOp>(loc, add(at.column, index(lane)), index(group));
      lanes = vector::InsertOp::create(*this, loc, evaluateScalar(tile, at.row, column), lanes, lane);
    }
    return lanes;
  };
  Value number = evaluateCodes(op, at);
  if (op.getZeros())
    number = arith::SubFOp::create(*this, loc, number, ofGroup(op.getZeros()));
  else if (op.getZeroPoint() != 0)
    number = arith::SubFOp::create(*this, loc, number, constant(type, static_cast<double>(op.getZeroPoint())));
  return op.getScales() ? arith::MulFOp::create(*this, loc, number, ofGroup(op.getScales())).getResult() : number;
}

//===- SmallFloats.cpp - floats of 8 bits ----------------------------------===//
//
// LLVM has no such type, so codes are bytes and are made of, and into, the bits of f32.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/VectorBuilder.h"

#include <cmath>

using namespace mlir;
using namespace inlay::cpu;

/// Bits of the fraction that f32 has more than e4m3, and what its exponent has added more.
static constexpr int64_t kFraction = 20, kBias = 127 - 7;
/// Codes of 448, the largest number, and of NaN.
static constexpr double kLargest = 0x7e, kNan = 0x7f;

Value VectorBuilder::decodeE4M3(Value codes, Type element) {
  int64_t lanes = cast<VectorType>(codes.getType()).getNumElements();
  auto i16 = VectorType::get(lanes, getI16Type()), f16 = VectorType::get(lanes, getF16Type());
  auto i32 = VectorType::get(lanes, getI32Type()), f32 = VectorType::get(lanes, getF32Type());
  // Sign, exponent and fraction at the places that they have in f16, whose exponent is larger by 8: times 2^8. By f32
  // it would take longer where codes are subnormal: CPUs multiply such floats slowly, but convert such halves fast.
  Value bits = arith::ExtSIOp::create(*this, loc, i16, codes);
  Value sign = arith::AndIOp::create(*this, loc, bits, constant(i16, -32768));
  Value size = arith::AndIOp::create(*this, loc, bits, constant(i16, kNan));
  Value shifted = arith::ShLIOp::create(*this, loc, size, constant(i16, 7));
  Value half = arith::BitcastOp::create(*this, loc, f16, Value(arith::OrIOp::create(*this, loc, sign, shifted)));
  Value number = arith::MulFOp::create(*this, loc, toF32(half), constant(f32, 256));
  Value isNan = compare(arith::CmpIPredicate::eq, size, constant(i16, kNan));
  number = arith::SelectOp::create(*this, loc, isNan, constant(f32, NAN), number);
  if (element.isF32())
    return number;
  auto type = VectorType::get(lanes, element);
  if (!element.isBF16())
    return arith::TruncFOp::create(*this, loc, type, number);
  // What bf16 leaves out of f32 is 0.
  Value wide = arith::BitcastOp::create(*this, loc, i32, number);
  Value upper = arith::ShRUIOp::create(*this, loc, wide, constant(i32, 16));
  return arith::BitcastOp::create(*this, loc, type, Value(arith::TruncIOp::create(*this, loc, i16, upper)));
}

Value VectorBuilder::encodeE4M3(Value numbers) {
  int64_t lanes = cast<VectorType>(numbers.getType()).getNumElements();
  auto i32 = VectorType::get(lanes, getI32Type()), f32 = VectorType::get(lanes, getF32Type());
  auto bitsOf = [&](Value x) -> Value { return arith::BitcastOp::create(*this, loc, i32, x); };
  auto shifted = [&](Value x, int64_t count) -> Value {
    return arith::ShRUIOp::create(*this, loc, x, constant(i32, static_cast<double>(count)));
  };
  Value bits = bitsOf(numbers), size = arith::AndIOp::create(*this, loc, bits, constant(i32, 0x7fffffff));
  // Adding half of the last bit that stays, less one where that bit is 0, rounds to the nearest and ties to even.
  Value last = arith::AndIOp::create(*this, loc, shifted(size, kFraction), constant(i32, 1));
  Value half = add(last, constant(i32, (1 << (kFraction - 1)) - 1));
  Value normal = sub(shifted(add(size, half), kFraction), constant(i32, kBias << 3));
  normal = arith::MinSIOp::create(*this, loc, normal, constant(i32, kLargest));
  Value isNan = compare(arith::CmpIPredicate::sgt, size, bitsOf(constant(f32, INFINITY)));
  normal = arith::SelectOp::create(*this, loc, isNan, constant(i32, kNan), normal);
  // Below 2^-6 codes count units of 2^-9, the last bit of a float of this size.
  Value unit = constant(f32, 16384);
  Value absolute = arith::BitcastOp::create(*this, loc, f32, size);
  Value subnormal = sub(bitsOf(arith::AddFOp::create(*this, loc, absolute, unit)), bitsOf(unit));
  Value isSmall = compare(arith::CmpIPredicate::slt, size, bitsOf(constant(f32, std::ldexp(1.0, -6))));
  Value code = arith::SelectOp::create(*this, loc, isSmall, subnormal, normal);
  Value sign = arith::AndIOp::create(*this, loc, shifted(bits, 24), constant(i32, 0x80));
  code = arith::OrIOp::create(*this, loc, code, sign);
  return arith::TruncIOp::create(*this, loc, VectorType::get(lanes, getI8Type()), code);
}

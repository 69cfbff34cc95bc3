//===- ExpandFloat8.cpp - conversions of f8E4M3FN on vectors ---------------===//
//
// e4m3 has a sign, 4 bits of exponent with a bias of 7 and 3 bits of fraction; all ones
// are NaN, and there is no infinity. The largest number is 448, the smallest 2^-9.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/Passes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace inlay;

namespace {
/// Integer arithmetic on f32 and f8 or vectors of them, which have the shape of `like`.
struct BitBuilder : ImplicitLocOpBuilder {
  BitBuilder(Location loc, OpBuilder &builder, Type like) : ImplicitLocOpBuilder(loc, builder), like(like) {}

  Type of(Type element) { return isa<VectorType>(like) ? Type(cast<VectorType>(like).clone(element)) : element; }
  Value number(Type element, int64_t value) {
    TypedAttr attr = isa<FloatType>(element) ? TypedAttr(getFloatAttr(element, static_cast<double>(value)))
                                             : TypedAttr(getIntegerAttr(element, value));
    if (auto vector = dyn_cast<VectorType>(of(element)))
      attr = DenseElementsAttr::get(vector, Attribute(attr));
    return create<arith::ConstantOp>(attr);
  }
  Value bits(Value x, Type element) { return create<arith::BitcastOp>(of(element), x); }

  Type like;
};
} // namespace

static bool isFloat8(Value value) { return isa<Float8E4M3FNType>(getElementTypeOrSelf(value.getType())); }

/// Exponent and fraction at the places that they have in f16, whose bias is larger by 8: times 2^8.
static LogicalResult expandFrom(arith::ExtFOp op, PatternRewriter &rewriter) {
  if (!isFloat8(op.getIn()) || !getElementTypeOrSelf(op.getType()).isF32())
    return failure();
  BitBuilder b(op.getLoc(), rewriter, op.getType());
  Type i8 = b.getI8Type(), i16 = b.getI16Type(), f32 = b.getF32Type();
  Value code = b.create<arith::ExtSIOp>(b.of(i16), b.bits(op.getIn(), i8));
  Value magnitude = b.create<arith::AndIOp>(code, b.number(i16, 0x7f));
  Value sign = b.create<arith::AndIOp>(code, b.number(i16, -32768));
  Value half = b.create<arith::OrIOp>(sign, b.create<arith::ShLIOp>(magnitude, b.number(i16, 7)));
  Value number =
      b.create<arith::MulFOp>(b.create<arith::ExtFOp>(b.of(f32), b.bits(half, b.getF16Type())), b.number(f32, 256));
  Value isNan = b.create<arith::CmpIOp>(arith::CmpIPredicate::eq, magnitude, b.number(i16, 0x7f));
  Value nan = b.bits(b.number(b.getI32Type(), 0x7fc00000), f32);
  rewriter.replaceOpWithNewOp<arith::SelectOp>(op, isNan, nan, number);
  return success();
}

/// Rounds to nearest, ties to even; what is larger than 448 becomes that.
static LogicalResult expandTo(arith::TruncFOp op, PatternRewriter &rewriter) {
  if (!isFloat8(op.getOut()) || !getElementTypeOrSelf(op.getIn().getType()).isF32())
    return failure();
  BitBuilder b(op.getLoc(), rewriter, op.getType());
  Type i32 = b.getI32Type(), f32 = b.getF32Type();
  auto integer = [&](int64_t value) { return b.number(i32, value); };
  auto shift = [&](Value x, int64_t by) { return b.create<arith::ShRUIOp>(x, integer(by)); };
  auto both = [&](Value x, Value y) { return b.create<arith::AndIOp>(x, y); };
  constexpr int64_t dropped = 20, biases = (127 - 7) << 3; // bits of the fraction, and the difference of the exponents
  constexpr int64_t leastNormal = (127 - 6) << 23, infinity = 255 << 23, largest = 0x7e, nan = 0x7f;
  Value whole = b.bits(op.getIn(), i32), magnitude = both(whole, integer(0x7fffffff));
  Value odd = both(shift(magnitude, dropped), integer(1));
  Value rounded = b.create<arith::AddIOp>(b.create<arith::AddIOp>(magnitude, integer((1 << (dropped - 1)) - 1)), odd);
  Value normal = b.create<arith::SubIOp>(shift(rounded, dropped), integer(biases));
  // The fraction of a float from 2^14 on counts 2^-9, which is what the code of a small number does.
  constexpr int64_t unit = 1 << 14, unitBits = (127 + 14) << 23;
  Value small = b.create<arith::SubIOp>(
      b.bits(b.create<arith::AddFOp>(b.bits(magnitude, f32), b.number(f32, unit)), i32), integer(unitBits));
  auto choose = [&](arith::CmpIPredicate predicate, int64_t bound, Value x, Value y) -> Value {
    return b.create<arith::SelectOp>(b.create<arith::CmpIOp>(predicate, magnitude, integer(bound)), x, y);
  };
  Value code = choose(arith::CmpIPredicate::slt, leastNormal, small, normal);
  code = b.create<arith::MinSIOp>(code, integer(largest));
  code = choose(arith::CmpIPredicate::sgt, infinity, integer(nan), code);
  code = b.create<arith::OrIOp>(code, both(shift(whole, 24), integer(0x80)));
  Value byte = b.create<arith::TruncIOp>(b.of(b.getI8Type()), code);
  rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, op.getType(), byte);
  return success();
}

void inlay::populateExpandFloat8Patterns(RewritePatternSet &patterns) {
  patterns.add(expandFrom, /*benefit=*/2);
  patterns.add(expandTo, /*benefit=*/2);
}

//===- ExpandMath.cpp - functions of math on vectors -----------------------===//
//
// exp(x) = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2) / 2; e^r by a polynomial
// of degree 7 (coefficients 1/k!: the error is under 2^-26), 2^n in the exponent's
// bits. The rest are MLIR's own polynomials.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace inlay;

namespace inlay {
#define GEN_PASS_DEF_EXPANDCPUMATHPASS
#include "codegen/tile_to_cpu/Passes.h.inc"
} // namespace inlay

namespace {
/// Arithmetic on f32 or vectors of it.
struct FloatBuilder : ImplicitLocOpBuilder {
  FloatBuilder(Location loc, OpBuilder &builder, Type type) : ImplicitLocOpBuilder(loc, builder), type(type) {}

  Value number(double value) { return scalarOrSplat(type, getF32FloatAttr(value)); }
  Type integers() { return isa<VectorType>(type) ? Type(cast<VectorType>(type).clone(getI32Type())) : getI32Type(); }
  Value integer(int32_t value) { return scalarOrSplat(integers(), getI32IntegerAttr(value)); }
  Value multiplyAdd(Value a, Value b, Value c) { return create<LLVM::FMulAddOp>(a, b, c); }

  /// 2^n e^r for integral n, |r| <= ln(2) / 2; 0 and infinity out of the exponent's range.
  Value scaledExp(Value n, Value r) {
    static constexpr double kCoefficients[] = {1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
    Value sum = number(kCoefficients[0]);
    for (double coefficient : ArrayRef(kCoefficients).drop_front())
      sum = multiplyAdd(sum, r, number(coefficient));
    // In two factors, since 2^128 is none of f32 while 2^128 e^r may be.
    Value whole = create<arith::FPToSIOp>(integers(), n);
    Value half = create<arith::ShRSIOp>(whole, integer(1));
    return create<arith::MulFOp>(create<arith::MulFOp>(sum, power(half)), power(create<arith::SubIOp>(whole, half)));
  }

private:
  Value power(Value exponent) {
    Value bits = create<arith::ShLIOp>(create<arith::AddIOp>(exponent, integer(127)), integer(23));
    return create<arith::BitcastOp>(type, bits);
  }
  Value scalarOrSplat(Type type, TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(type))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return create<arith::ConstantOp>(value);
  }

  Type type;
};
} // namespace

static bool isF32(Value value) { return getElementTypeOrSelf(value.getType()).isF32(); }

/// Smallest and largest results that differ from 0 and infinity: 2^-126 and 2^128.
static constexpr double kMinExponent = -126, kMaxExponent = 128;

static Value clamp(FloatBuilder &b, Value x, double low, double high) {
  return b.create<arith::MinimumFOp>(b.create<arith::MaximumFOp>(x, b.number(low)), b.number(high));
}

static Value flush(FloatBuilder &b, Value x, double low, Value result) {
  Value isTiny = b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, b.number(low));
  return b.create<arith::SelectOp>(isTiny, b.number(0), result);
}

static LogicalResult expandExp2(math::Exp2Op op, PatternRewriter &rewriter) {
  if (!isF32(op.getOperand()))
    return failure();
  FloatBuilder b(op.getLoc(), rewriter, op.getType());
  Value x = clamp(b, op.getOperand(), kMinExponent - 1, kMaxExponent);
  Value n = b.create<math::RoundEvenOp>(x);
  Value r = b.create<arith::MulFOp>(b.create<arith::SubFOp>(x, n), b.number(M_LN2));
  rewriter.replaceOp(op, flush(b, x, kMinExponent, b.scaledExp(n, r)));
  return success();
}

static LogicalResult expandExp(math::ExpOp op, PatternRewriter &rewriter) {
  if (!isF32(op.getOperand()))
    return failure();
  // ln 2 in two parts, the first short enough for n times it to be exact (Cody and Waite).
  static constexpr double kHigh = 0.693359375, kLow = M_LN2 - kHigh;
  FloatBuilder b(op.getLoc(), rewriter, op.getType());
  double low = kMinExponent * M_LN2;
  Value x = clamp(b, op.getOperand(), low - 1, (kMaxExponent + 1) * M_LN2);
  Value n = b.create<math::RoundEvenOp>(b.create<arith::MulFOp>(x, b.number(M_LOG2E)));
  Value r = b.multiplyAdd(n, b.number(-kLow), b.multiplyAdd(n, b.number(-kHigh), x));
  rewriter.replaceOp(op, flush(b, x, low, b.scaledExp(n, r)));
  return success();
}

static LogicalResult expandRsqrt(math::RsqrtOp op, PatternRewriter &rewriter) {
  if (!isF32(op.getOperand()))
    return failure();
  FloatBuilder b(op.getLoc(), rewriter, op.getType());
  rewriter.replaceOpWithNewOp<arith::DivFOp>(op, b.number(1), b.create<math::SqrtOp>(op.getOperand()));
  return success();
}

/// One instruction where the CPU has it, otherwise two; math.fma would be a call.
static LogicalResult expandFma(math::FmaOp op, PatternRewriter &rewriter) {
  rewriter.replaceOpWithNewOp<LLVM::FMulAddOp>(op, op.getA(), op.getB(), op.getC());
  return success();
}

namespace {
struct ExpandCpuMath : inlay::impl::ExpandCpuMathPassBase<ExpandCpuMath> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add(expandExp, /*benefit=*/2);
    patterns.add(expandExp2, /*benefit=*/2);
    patterns.add(expandRsqrt, /*benefit=*/2);
    patterns.add(expandFma);
    populateExpandFloat8Patterns(patterns);
    populateMathPolynomialApproximationPatterns(patterns);
    arith::populateExpandBFloat16Patterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

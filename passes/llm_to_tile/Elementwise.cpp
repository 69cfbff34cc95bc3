//===- Elementwise.cpp - arithmetic of the llm dialect on tiles ------------===//

#include "passes/llm_to_tile/Elementwise.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

static Value activate(ProgramBuilder &b, Activation kind, Value x) {
  switch (kind) {
  case Activation::Silu: {
    Value e = math::ExpOp::create(b, arith::NegFOp::create(b, x));
    return b.div(x, b.add(e, b.like(e, 1.0)));
  }
  case Activation::GeluTanh: {
    // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), Hendrycks and Gimpel, 2016.
    Value cube = b.mul(b.mul(x, x), x);
    Value inner = b.mul(b.add(x, b.mul(cube, b.like(x, 0.044715))), b.like(x, 0.7978845608028654));
    return b.mul(b.mul(x, b.like(x, 0.5)), b.add(math::TanhOp::create(b, inner), b.like(x, 1.0)));
  }
  case Activation::Gelu: {
    Value erf = math::ErfOp::create(b, b.mul(x, b.like(x, 0.7071067811865476)));
    return b.mul(b.mul(x, b.like(x, 0.5)), b.add(erf, b.like(x, 1.0)));
  }
  case Activation::Relu:
    return b.maximum(x, b.like(x, 0.0));
  case Activation::Relu2: {
    Value positive = b.maximum(x, b.like(x, 0.0));
    return b.mul(positive, positive);
  }
  }
  llvm_unreachable("every activation is a case");
}

FailureOr<Value> inlay::emitElementwise(Operation *op, ValueRange operands, ProgramBuilder &b) {
  Value x = operands.front();
  return llvm::TypeSwitch<Operation *, FailureOr<Value>>(op)
      .Case([&](ActivationOp activation) { return activate(b, activation.getKind(), x); })
      .Case([&](AddOp) { return b.add(x, operands[1]); })
      .Case([&](GatedActivationOp gated) { return b.mul(activate(b, gated.getKind(), x), operands[1]); })
      .Case([&](ScaleOp scale) { return b.mul(x, b.like(x, scale.getFactor().convertToDouble())); })
      .Case([&](SoftcapOp softcap) {
        double cap = softcap.getCap().convertToDouble();
        return b.mul(math::TanhOp::create(b, b.mul(x, b.like(x, 1 / cap))), b.like(x, cap));
      })
      .Default([](Operation *other) -> FailureOr<Value> {
        return other->emitError() << "is no elementwise op that this compiler knows";
      });
}

Value inlay::emitInverseRms(Value sumOfSquares, int64_t size, const APFloat &eps, ProgramBuilder &b) {
  Value mean = b.mul(sumOfSquares, b.like(sumOfSquares, 1.0 / static_cast<double>(size)));
  return math::RsqrtOp::create(b, b.add(mean, b.like(mean, eps.convertToDouble())));
}

Value inlay::emitInverseNorm(NormInterface norm, Value sumOfSquares, ProgramBuilder &b) {
  return emitInverseRms(sumOfSquares, norm.getSize(), norm.getEps(), b);
}

Value inlay::loadVector(FlatSymbolRefAttr vector, Value at, int64_t columns, ProgramBuilder &b) {
  return vector ? b.toF32(b.load(b.weightVector(vector), ValueRange{at}, {columns})) : Value();
}

/// `columns` elements of `weight` from `at` on plus `offset`; null without a weight.
static Value loadScale(FlatSymbolRefAttr weight, const APFloat &offset, Value at, int64_t columns, ProgramBuilder &b) {
  Value scale = loadVector(weight, at, columns, b);
  return offset.isZero() ? scale : b.add(scale, b.like(scale, offset.convertToDouble()));
}

Value inlay::scaleColumns(Value x, FlatSymbolRefAttr weight, const APFloat &offset, Value at, ProgramBuilder &b) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(x.getType()).getShape();
  return b.mul(x, b.broadcast(loadScale(weight, offset, at, shape[1], b), 0, shape[0]));
}

Value inlay::loadNormWeight(NormInterface norm, Value at, int64_t columns, ProgramBuilder &b) {
  return loadScale(norm.getWeightAttr(), norm.getWeightOffset(), at, columns, b);
}

Value inlay::loadNormBias(NormInterface norm, Value at, int64_t columns, ProgramBuilder &b) {
  return loadVector(norm.getBiasAttr(), at, columns, b);
}

//===- CodesToTile.cpp - products of rows of codes -------------------------===//
//
// Rows that llm.quantize made and codes of weights of the same kind reach the product as
// they are. What they are multiplied by comes after the sum over k.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/CodesToTile.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;

/// The op in another group that made the codes of `linear`; null where there is none.
static QuantizeOp quantizerOf(LinearOp linear) {
  auto result = dyn_cast<OpResult>(linear.getInput());
  auto group = result ? dyn_cast<GroupOp>(result.getOwner()) : GroupOp();
  if (!group)
    return {};
  return group.getBody().front().getTerminator()->getOperand(result.getResultNumber()).getDefiningOp<QuantizeOp>();
}

LogicalResult inlay::checkCodeProduct(LinearOp linear, WeightOp weight) {
  if (weight.getQuantizedAttr().getGroup() < weight.getTensorType().getDimSize(1) ||
      cast<RankedTensorType>(linear.getScales().getType()).getDimSize(1) != 1)
    return linear.emitError() << "multiplies codes whose scales are for groups of columns; expected one for each row";
  if (QuantizeOp quantize = quantizerOf(linear); quantize && quantize.getPacking() != weight.getPacking())
    return linear.emitError() << "multiplies codes in the order " << stringifyPacking(quantize.getPacking())
                              << " by weights in the order " << stringifyPacking(weight.getPacking());
  return success();
}

Value inlay::emitCodeProduct(LinearOp linear, Value row, Value col, LinearTile shape, int64_t k, ProgramBuilder &b) {
  auto weightOp = cast<WeightOp>(b.getSymbols().lookup(linear.getWeight()));
  Value input = b.activationCodes(linear.getInput(), Provenance::Activation, weightOp.getPacking());
  Value weight = b.weightCodes(linear.getWeightAttr());
  bool isInteger = cast<tile::ViewType>(weight.getType()).getElementType().isInteger();
  auto sumType = b.tileType({shape.m, shape.n}, isInteger ? Type(b.getI32Type()) : b.getF32Type());
  Value zero = b.full(sumType, 0);
  Value sum = b.loop(b.index(0), b.index(k), shape.k, zero, [&](Value at, ValueRange carried) {
    Value x = b.load(input, ValueRange{row, at}, {shape.m, shape.k});
    Value w = b.load(weight, ValueRange{col, at}, {shape.n, shape.k});
    if (isInteger)
      return SmallVector<Value>{tile::DotOp::create(b, x, w, carried[0], /*transpose_rhs=*/true)};
    // Tensor cores keep about 14 bits of sums of f8E4M3FN, so that each step is summed apart.
    Value part = tile::DotOp::create(b, x, w, b.full(sumType, 0), /*transpose_rhs=*/true);
    return SmallVector<Value>{b.add(carried[0], part)};
  })[0];
  sum = b.toF32(sum);
  Value ofRows = b.load(b.activationVector(linear.getScales(), Provenance::Activation), ValueRange{row}, {shape.m});
  Value ofColumns = b.load(b.weightVector(weightOp.getQuantizedAttr().getScales()), ValueRange{col}, {shape.n});
  return b.mul(b.mul(sum, b.broadcast(ofColumns, 0, shape.m)), b.broadcast(ofRows, 1, shape.n));
}

//===- NormPrologue.cpp - a norm of rows in front of a product -------------===//

#include "passes/llm_to_tile/NormPrologue.h"

using namespace mlir;
using namespace inlay;
using tile::Reduction;

void NormPrologue::declareViews() {
  if (!norm)
    return;
  for (FlatSymbolRefAttr vector : {norm.getWeightAttr(), norm.getBiasAttr()})
    if (vector)
      b.weightVector(vector);
}

/// `tile`, columns of rows from `at` on, with 0 past the end of a row: others that share its memory may lie there.
Value NormPrologue::insideRow(Value tile, Value at) {
  int64_t columns = cast<RankedTensorType>(tile.getType()).getDimSize(1);
  if (k % columns == 0)
    return tile;
  Value inside = b.less(b.add(b.iota(columns), b.splat(b.toI32(at), {columns})),
                        b.full(b.tileType({columns}, b.getI32Type()), static_cast<double>(k)));
  return b.select(b.broadcast(inside, 0, shape.m), tile, b.like(tile, 0.0));
}

Value NormPrologue::center(Value x, Value means) {
  return b.sub(x, b.broadcast(means, 1, cast<RankedTensorType>(x.getType()).getDimSize(1)));
}

/// One loop sums what is left of each row, and its squares, without a value near the mean: the mean of the row's first
/// c columns. The variance is mean(d^2) - mean(d)^2 with d = x - near. By Cauchy and Schwarz (near - mean)^2 is at most
/// k/c times the variance for any row, so the difference cancels no more than that.
void NormPrologue::emitStatistics(LoadRows loadRows) {
  constexpr int64_t nearColumns = 64;
  if (!norm || !norm.subtractsMean())
    return;
  auto scaled = [&](Value sum, int64_t count) { return b.mul(sum, b.like(sum, 1.0 / static_cast<double>(count))); };
  Value first = b.index(0);
  Value near = b.reduce(Reduction::Add, insideRow(b.toF32(loadRows(first, nearColumns)), first), 1);
  near = scaled(near, std::min(k, nearColumns));

  Value zero = b.full(b.tileType({shape.m}, b.getF32Type()), 0.0);
  SmallVector<Value> sums = b.loop(first, b.index(k), shape.k, {zero, zero}, [&](Value at, ValueRange carried) {
    Value left = insideRow(center(b.toF32(loadRows(at, shape.k)), near), at);
    return SmallVector<Value>{b.add(carried[0], b.reduce(Reduction::Add, left, 1)),
                              b.add(carried[1], b.reduce(Reduction::Add, b.mul(left, left), 1))};
  });
  Value meanLeft = scaled(sums[0], k);
  mean = b.add(near, meanLeft);
  // Of equal elements, rounding may leave less than 0.
  Value squares = b.maximum(b.sub(sums[1], b.mul(sums[0], meanLeft)), zero);
  inverse = emitInverseNorm(norm, squares, b);
}

Value NormPrologue::addSquares(Value sum, Value x) {
  Value wide = b.toF32(x);
  return b.add(sum, b.reduce(Reduction::Add, b.mul(wide, wide), 1));
}

Value NormPrologue::apply(Value x, Value at) {
  if (!norm)
    return x;
  if (norm.subtractsMean())
    x = b.mul(center(b.toF32(x), mean), b.broadcast(inverse, 1, shape.k));
  if (Value weight = loadNormWeight(norm, at, shape.k, b))
    x = b.mul(b.toF32(x), b.broadcast(weight, 0, shape.m));
  if (Value bias = loadNormBias(norm, at, shape.k, b))
    x = b.add(b.toF32(x), b.broadcast(bias, 0, shape.m));
  return x;
}

Value NormPrologue::finish(Value product, Value squares) {
  if (!sumsSquares())
    return product;
  return b.mul(product, b.broadcast(emitInverseNorm(norm, squares, b), 1, shape.n));
}

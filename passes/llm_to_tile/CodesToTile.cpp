//===- CodesToTile.cpp - products of rows of codes -------------------------===//
//
// Rows that llm.quantize made and codes of weights of the same kind reach the product as
// they are. Scales of rows multiply the sum over k, those of groups of columns the sum of
// each step of 128, before it is added to the others.
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

int64_t inlay::groupOfRows(LinearOp linear) {
  auto columns = [](Value rows) { return cast<RankedTensorType>(rows.getType()).getDimSize(1); };
  return columns(linear.getInput()) / columns(linear.getScales());
}

LogicalResult inlay::checkCodeProduct(LinearOp linear, WeightOp weight) {
  int64_t k = weight.getTensorType().getDimSize(1);
  for (int64_t group : {weight.getQuantizedAttr().getGroup(), groupOfRows(linear)})
    if (group < k && (group % tile::kUnitColumns != 0 || weight.getQuantizedAttr().getCodes() != Codes::F8E4M3 ||
                      weight.getPacking() != Packing::Codes16x128))
      return linear.emitError() << "multiplies codes whose scales are for groups of " << group
                                << " columns; expected one for each row, or multiples of " << tile::kUnitColumns
                                << " columns of f8e4m3 that are packed as " << stringifyPacking(Packing::Codes16x128);
  if (groupOfRows(linear) < k && weight.getQuantizedAttr().getGroup() == k)
    return linear.emitError() << "multiplies codes whose scales are for groups of " << groupOfRows(linear)
                              << " columns by a weight with one for each row; expected groups in both";
  if (QuantizeOp quantize = quantizerOf(linear); quantize && quantize.getPacking() != weight.getPacking())
    return linear.emitError() << "multiplies codes in the order " << stringifyPacking(quantize.getPacking())
                              << " by weights in the order " << stringifyPacking(weight.getPacking());
  return success();
}

/// The scales of one group of columns, for `rows` rows from `row` on, in the step along K at `at`.
static Value scalesOfStep(Value view, Value row, Value at, int64_t group, int64_t rows, ProgramBuilder &b) {
  Value number = arith::DivUIOp::create(b, at, b.index(group));
  return b.reduce(tile::Reduction::Add, b.load(view, ValueRange{row, number}, {rows, 1}), 1);
}

Value inlay::emitCodeProduct(LinearOp linear, Value row, Value col, LinearTile shape, int64_t k, ProgramBuilder &b) {
  auto weightOp = cast<WeightOp>(b.getSymbols().lookup(linear.getWeight()));
  Value input = b.activationCodes(linear.getInput(), Provenance::Activation, weightOp.getPacking());
  Value weight = b.weightCodes(linear.getWeightAttr());
  bool isInteger = cast<tile::ViewType>(weight.getType()).getElementType().isInteger();
  FlatSymbolRefAttr weightScales = weightOp.getQuantizedAttr().getScales();
  int64_t rowGroup = groupOfRows(linear), columnGroup = weightOp.getQuantizedAttr().getGroup();
  Value ofColumnGroups = columnGroup < k ? b.weight(weightScales) : Value();
  Value ofRowGroups = rowGroup < k ? b.activation(linear.getScales(), Provenance::Activation) : Value();
  auto sumType = b.tileType({shape.m, shape.n}, isInteger ? Type(b.getI32Type()) : b.getF32Type());
  Value zero = b.full(sumType, 0);
  Value sum = b.loop(b.index(0), b.index(k), shape.k, zero, [&](Value at, ValueRange carried) {
    Value x = b.load(input, ValueRange{row, at}, {shape.m, shape.k});
    Value w = b.load(weight, ValueRange{col, at}, {shape.n, shape.k});
    if (isInteger)
      return SmallVector<Value>{tile::DotOp::create(b, x, w, carried[0], /*transpose_rhs=*/true)};
    // Tensor cores keep about 14 bits of sums of f8E4M3FN, so that each step is summed apart.
    Value part = tile::DotOp::create(b, x, w, b.full(sumType, 0), /*transpose_rhs=*/true);
    Value factor;
    if (ofColumnGroups)
      factor = b.broadcast(scalesOfStep(ofColumnGroups, col, at, columnGroup, shape.n, b), 0, shape.m);
    if (ofRowGroups)
      factor = b.mul(factor, b.broadcast(scalesOfStep(ofRowGroups, row, at, rowGroup, shape.m, b), 1, shape.n));
    if (factor)
      part = b.mul(part, factor);
    return SmallVector<Value>{b.add(carried[0], part)};
  })[0];
  sum = b.toF32(sum);
  Value ofRows, ofColumns;
  if (!ofRowGroups)
    ofRows = b.load(b.activationVector(linear.getScales(), Provenance::Activation), ValueRange{row}, {shape.m});
  if (!ofColumnGroups)
    ofColumns = b.load(b.weightVector(weightScales), ValueRange{col}, {shape.n});
  if (ofColumns)
    sum = b.mul(sum, b.broadcast(ofColumns, 0, shape.m));
  return ofRows ? b.mul(sum, b.broadcast(ofRows, 1, shape.n)) : sum;
}

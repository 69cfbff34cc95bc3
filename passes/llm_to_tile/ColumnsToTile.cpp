//===- ColumnsToTile.cpp - columns in another order ------------------------===//
//
// A block writes one row: the elements that the order names, one run of columns after
// the other.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;

/// Columns that a block writes at a time.
static constexpr int64_t mostColumns = 1024;

LogicalResult inlay::convertGatherColumns(GroupOp group, GatherColumnsOp op, ProgramBuilder &b,
                                          tile::ProgramOp &result) {
  Placement from = Placement::of(op.getInput()), to = Placement::of(group.getResult(0));
  int64_t columns = cast<RankedTensorType>(op.getInput().getType()).getDimSize(1);
  int64_t rows = from.logitRows ? b.getStep().maxSequences : b.getStep().maxTokens;
  if (rows * from.rowColumns > std::numeric_limits<int32_t>::max())
    return op.emitError() << "gathers columns of " << rows << " rows of " << from.rowColumns
                          << " elements, which 32 bits cannot number; lower --max-num-batched-tokens";
  if (to.column != 0 || to.rowColumns != columns)
    return op.emitError() << "writes rows of " << to.rowColumns << " columns; expected its own " << columns;
  int64_t step = std::min<int64_t>(mostColumns, llvm::PowerOf2Ceil(columns));
  Value input = b.activationElements(op.getInput(), Provenance::Activation);
  Value order = b.weightVector(op.getOrderAttr());
  Value output = b.activation(group.getResult(0), Provenance::Output);
  Value row = tile::ProgramIdOp::create(b, b.getIndexType(), 0);
  Value first =
      b.toI32(arith::AddIOp::create(b, arith::MulIOp::create(b, row, b.index(from.rowColumns)), b.index(from.column)));
  b.loop(b.index(0), b.index(columns), step, {}, [&](Value at, ValueRange) {
    Value column = b.load(order, ValueRange{at}, {step});
    // An order that was filled with noise to measure kernels must not lead out of the row.
    Value isInside = b.logicalAnd(b.lessEqual(b.like(column, 0), column), b.less(column, b.like(column, columns)));
    Value place = b.select(isInside, b.add(column, b.splat(first, {step})), b.like(column, -1));
    b.store(b.broadcast(b.gather(input, place), 0, 1), output, {row, at});
    return SmallVector<Value>();
  });
  result = b.finish(
      {ProgramBuilder::count(b.getContext(), from.logitRows ? tile::Extent::LogitRows : tile::Extent::Tokens)});
  return success();
}

//===- RanksToTile.cpp - groups of steps that several ranks run ------------===//
//
// A collective is a program of one op. A GPU target compiles a kernel for it, the cpu
// target leaves it to the runtime. The squares of a part of a row are summed by one block.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/ProgramBuilder.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;

/// Columns that a block holds at a time.
static constexpr int64_t mostColumns = 1024;

/// Checks that `value` lies in rows of its own, which is what ranks exchange.
static LogicalResult requireOwnRows(Operation *op, Value value) {
  Placement place = Placement::of(value);
  int64_t columns = cast<RankedTensorType>(value.getType()).getDimSize(1);
  if (place.column == 0 && place.rowColumns == columns)
    return success();
  return op->emitError() << "combines columns " << place.column << " to " << place.column + columns << " of rows of "
                         << place.rowColumns << "; ranks exchange whole rows";
}

LogicalResult inlay::convertCollective(GroupOp group, CollectiveInterface op, ProgramBuilder &b,
                                       tile::ProgramOp &result) {
  if (failed(requireOwnRows(op, op.getInput())) || failed(requireOwnRows(op, group.getResult(0))))
    return failure();
  tile::CollectiveKind kind = llvm::TypeSwitch<Operation *, tile::CollectiveKind>(op)
                                  .Case([](AllReduceOp) { return tile::CollectiveKind::AllReduce; })
                                  .Case([](AllGatherOp) { return tile::CollectiveKind::AllGather; });
  Value input = b.activation(op.getInput(), Provenance::Activation);
  Value output = b.activation(group.getResult(0), Provenance::Output);
  const StepShape &step = b.getStep();
  tile::ExchangeAttr exchange;
  if (!step.isCpu()) {
    int64_t rows = Placement::of(op.getInput()).logitRows ? step.maxSequences : step.maxTokens;
    exchange = tile::ExchangeAttr::getChecked([&] { return op->emitError(); }, b.getContext(), getRanks(op), rows);
    if (!exchange)
      return failure();
  }
  auto collective = tile::CollectiveOp::create(b, kind, input, output, exchange);
  int64_t blocks = exchange ? collective.getBlocks(tile::targetOf(group)) : 1;
  result = b.finish({getAffineConstantExpr(blocks, b.getContext())});
  return success();
}

LogicalResult inlay::convertSumOfSquares(GroupOp group, SumOfSquaresOp op, ProgramBuilder &b, tile::ProgramOp &result) {
  Placement place = Placement::of(op.getInput());
  int64_t parts = cast<RankedTensorType>(op.getResult().getType()).getDimSize(1);
  int64_t columns = cast<RankedTensorType>(op.getInput().getType()).getDimSize(1) / parts; // of a part
  int64_t step = std::min<int64_t>(mostColumns, llvm::PowerOf2Ceil(columns));
  Value input = b.activation(op.getInput(), Provenance::Activation);
  Value output = b.activation(group.getResult(0), Provenance::Output);
  Value row = tile::ProgramIdOp::create(b, b.getIndexType(), 0), part = b.index(0), first;
  if (parts > 1) {
    part = tile::ProgramIdOp::create(b, b.getIndexType(), 1);
    first = arith::MulIOp::create(b, part, b.index(columns));
  }
  Value zero = b.full(b.tileType({1}, b.getF32Type()), 0.0);
  Value sum = b.loop(b.index(0), b.index(columns), step, zero, [&](Value at, ValueRange carried) {
    Value column = place.column ? Value(arith::AddIOp::create(b, at, b.index(place.column))) : at;
    if (first)
      column = arith::AddIOp::create(b, first, column);
    Value x = b.toF32(b.load(input, ValueRange{row, column}, {1, step}));
    // Past the end of a row that others share lie other values.
    Value inside =
        b.less(b.add(b.iota(step), b.splat(b.toI32(at), {step})), b.full(b.tileType({step}, b.getI32Type()), columns));
    x = b.select(b.broadcast(inside, 0, 1), x, b.like(x, 0.0));
    return SmallVector<Value>{b.add(carried[0], b.reduce(tile::Reduction::Add, b.mul(x, x), 1))};
  })[0];
  b.store(b.broadcast(sum, 1, 1), output, {row, part});
  SmallVector<AffineExpr> grid{
      ProgramBuilder::count(b.getContext(), place.logitRows ? tile::Extent::LogitRows : tile::Extent::Tokens)};
  if (parts > 1)
    grid.push_back(getAffineConstantExpr(parts, b.getContext()));
  result = b.finish(grid);
  return success();
}

//===- RanksToTile.cpp - groups of steps that several ranks run ------------===//
//
// A collective is a program of one op. A GPU target compiles a kernel for it, the cpu
// target leaves it to the runtime. With other ops in its group, a sum over ranks is a tile
// that they change; with a norm and what quantizes its result, it is a row (RowsToTile.cpp).
// The squares of a part of a row are summed by one block.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/Epilogue.h"
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

/// The most rows of a step that ranks exchange.
static int64_t rowsOf(CollectiveInterface op, ProgramBuilder &b) {
  const StepShape &step = b.getStep();
  return Placement::of(op.getInput()).logitRows ? step.maxSequences : step.maxTokens;
}

tile::ExchangeAttr inlay::exchangeOf(CollectiveInterface op, ProgramBuilder &b) {
  return tile::ExchangeAttr::getChecked([&] { return op->emitError(); }, b.getContext(), getRanks(op), rowsOf(op, b));
}

static tile::CollectiveKind kindOf(CollectiveInterface op) {
  return llvm::TypeSwitch<Operation *, tile::CollectiveKind>(op)
      .Case([](AllReduceOp) { return tile::CollectiveKind::AllReduce; })
      .Case([](AllGatherOp) { return tile::CollectiveKind::AllGather; });
}

/// Words of 16 bytes of the largest buffer that a collective of the function fills.
static int64_t mostWords(func::FuncOp function, ProgramBuilder &b) {
  int64_t most = 0;
  function.walk([&](CollectiveInterface op) {
    auto type = cast<RankedTensorType>(op.getInput().getType());
    int64_t rowBytes = type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
    most = std::max(most,
                    tile::exchangeBytes(tile::targetOf(function), kindOf(op), getRanks(op), rowsOf(op, b), rowBytes));
  });
  return most / tile::kExchangeWordBytes;
}

/// Rows and columns of a block's tile of a sum over ranks. Each thread has 16 bytes of 16 bits: few threads, so that a
/// step of one row is divided among several multiprocessors, or a part of the norm of several rows.
static std::pair<int64_t, int64_t> chooseSumTile(GroupOp group, int64_t columns, int64_t maxRows) {
  constexpr int64_t fewElements = 1024, mostRows = 16;
  int64_t rows = std::min<int64_t>(mostRows, llvm::PowerOf2Ceil(maxRows));
  if (auto all = group.getBody().front().getOps<SumOfSquaresOp>(); !all.empty()) {
    int64_t part = normPartOf(*all.begin());
    return {std::min(rows, fewElements / part), part};
  }
  return {rows, std::min<int64_t>(llvm::PowerOf2Ceil(columns), std::max(kNormPart, fewElements / rows))};
}

/// A sum over ranks, and the ops that follow it.
static LogicalResult convertSum(GroupOp group, AllReduceOp op, ProgramBuilder &b, tile::ProgramOp &result) {
  tile::ExchangeAttr exchange = exchangeOf(op, b);
  if (!exchange)
    return failure();
  auto type = cast<RankedTensorType>(op.getResult().getType());
  auto [rows, columns] = chooseSumTile(group, type.getDimSize(1), exchange.getRows());
  Value input = b.activation(op.getInput(), Provenance::Activation);
  Value column = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 0), b.index(columns));
  Value row = arith::MulIOp::create(b, tile::ProgramIdOp::create(b, b.getIndexType(), 1), b.index(rows));
  // What is added is loaded before the ranks wait for each other.
  EpilogueTiles tiles;
  for (Operation &other : group.getBody().front().without_terminator())
    for (Value operand : other.getOperands())
      if (&other != op && isa<RankedTensorType>(operand.getType()) && operand.getParentBlock() != op->getBlock())
        tiles[operand] = {loadResidual(operand, row, column, {rows, columns}, b), column};
  auto sum = tile::ReceiveSumOp::create(b, b.tileType({rows, columns}, type.getElementType()), input,
                                        ValueRange{row, column}, exchange, op.getPushed(), op.getEarly());
  tiles[op.getResult()] = {b.toF32(sum), column};
  if (failed(emitEpilogueOps(group, op, tiles, row, b)))
    return failure();
  tile::Extent extent = Placement::of(op.getInput()).logitRows ? tile::Extent::LogitRows : tile::Extent::Tokens;
  result = b.finish({getAffineConstantExpr(llvm::divideCeil(type.getDimSize(1), columns), b.getContext()),
                     ProgramBuilder::count(b.getContext(), extent, rows)});
  return success();
}

LogicalResult inlay::convertCollective(GroupOp group, CollectiveInterface op, ProgramBuilder &b,
                                       tile::ProgramOp &result) {
  if (auto sum = dyn_cast<AllReduceOp>(*op); sum && !llvm::hasNItems(group.getBody().front().without_terminator(), 1)) {
    if (b.getStep().isCpu())
      return group.emitError() << "has ops that follow a sum over ranks, which runs alone on the target cpu; run "
                               << "llm-form-groups with the same target";
    if (failed(requireOwnRows(op, op.getInput())))
      return failure();
    // A block has whole rows where a norm takes them.
    bool hasNorm = llvm::any_of(group.getBody().front(), llvm::IsaPred<NormInterface>);
    return hasNorm ? convertRows(group, b, result) : convertSum(group, sum, b, result);
  }
  if (failed(requireOwnRows(op, op.getInput())) || failed(requireOwnRows(op, group.getResult(0))))
    return failure();
  Value input = b.activation(op.getInput(), Provenance::Activation);
  Value output = b.activation(group.getResult(0), Provenance::Output);
  tile::ExchangeAttr exchange;
  if (!b.getStep().isCpu()) {
    exchange = exchangeOf(op, b);
    if (!exchange)
      return failure();
  }
  auto collective = tile::CollectiveOp::create(b, kindOf(op), input, output, exchange);
  int64_t blocks = 1;
  if (exchange) {
    // A kernel restores the buffer of the round before it. With the blocks for a word of each sequence, that of a sum
    // of 2,048 rows of 4,096 columns took 38 ms. (Kernels of a sum and what follows it have blocks for their rows: the
    // first one after a step that ends with a large round takes longer.)
    constexpr int64_t restoredWords = 16; // by a thread
    tile::TargetAttr target = tile::targetOf(group);
    int64_t words = mostWords(group->getParentOfType<func::FuncOp>(), b);
    int64_t restoring = llvm::divideCeil(words, restoredWords * collective.getThreads(target));
    blocks = std::max(collective.getBlocks(target), std::min(restoring, target.getMultiprocessors()));
  }
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

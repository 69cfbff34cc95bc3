//===- SumPrologue.cpp - a sum over ranks in front of a product -------------===//

#include "passes/llm_to_tile/SumPrologue.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;
using tile::Provenance;

std::optional<SumPrologue> SumPrologue::find(GroupOp group, Operation *op) {
  auto add = dyn_cast<AddOp>(op);
  if (!add)
    return std::nullopt;
  for (auto [left, right] : {std::pair(add.getLhs(), add.getRhs()), {add.getRhs(), add.getLhs()}}) {
    auto sum = left.getDefiningOp<AllReduceOp>();
    if (!sum || !sum.getPushed() || sum->getParentOp() != group || right.getParentBlock() == add->getBlock())
      continue;
    SumPrologue found;
    found.sum = sum;
    found.residual = right;
    auto yielded = group.getBody().front().getTerminator()->getOperands();
    if (auto it = llvm::find(yielded, add.getResult()); it != yielded.end())
      found.newRows = group->getResult(std::distance(yielded.begin(), it));
    return found;
  }
  return std::nullopt;
}

LogicalResult SumPrologue::check(ProgramBuilder &b) {
  if (sum.getEarly())
    return sum.emitError(
        "is early in front of a product, whose warps wait for earlier launches; expected a sum without "
        "early (llm-push-sums)");
  Placement place = Placement::of(input());
  int64_t columns = cast<RankedTensorType>(input().getType()).getDimSize(1);
  if (place.column != 0 || place.rowColumns != columns)
    return sum.emitError() << "is of columns " << place.column << " to " << place.column + columns << " of rows of "
                           << place.rowColumns << "; ranks exchange whole rows";
  exchange = exchangeOf(sum, b);
  return success(exchange != nullptr);
}

void SumPrologue::declareViews(ProgramBuilder &b) { b.activation(input(), Provenance::Activation); }

/// The column of `rows` in the memory where they lie.
static Value columnOf(Value rows, Value at, ProgramBuilder &b) {
  int64_t first = Placement::of(rows).column;
  return first ? Value(arith::AddIOp::create(b, at, b.index(first))) : at;
}

Value SumPrologue::load(Value row, Value at, ArrayRef<int64_t> shape, ProgramBuilder &b) {
  Type element = cast<RankedTensorType>(input().getType()).getElementType();
  Value received =
      tile::ReceiveSumOp::create(b, b.tileType(shape, element), b.activation(input(), Provenance::Activation),
                                 ValueRange{row, at}, exchange, /*pushed=*/true, /*early=*/false);
  Value old = b.load(b.activation(residual, Provenance::Activation), {row, columnOf(residual, at, b)}, shape);
  Value rows = b.toType(b.add(b.toF32(received), b.toF32(old)), element);
  if (newRows)
    b.store(rows, b.activation(newRows, Provenance::Output), {row, columnOf(newRows, at, b)});
  return rows;
}

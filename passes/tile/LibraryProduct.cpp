//===- LibraryProduct.cpp - programs that a library computes ---------------===//

#include "passes/tile/LibraryProduct.h"

#include "passes/tile/MainLoop.h"

using namespace mlir;
using namespace inlay;

bool inlay::isLibraryProduct(tile::ProgramOp program) {
  return isa_and_nonnull<tile::CublasLtAttr>(program.getScheduleAttr());
}

bool inlay::isCompiled(tile::ProgramOp program) {
  tile::CollectiveOp collective = tile::CollectiveOp::of(program);
  return !isLibraryProduct(program) && (!collective || collective.getExchange());
}

/// The value that was converted from one float type to another, if it was.
static Value beforeConversion(Value value) {
  Operation *op = value.getDefiningOp();
  return isa_and_nonnull<arith::TruncFOp, arith::ExtFOp>(op) ? op->getOperand(0) : value;
}

/// A view whose rows are those of the step, from `column` on.
static LibraryOperand operandOf(TypedValue<tile::ViewType> view, int64_t column) {
  return {cast<BlockArgument>(view).getArgNumber(), column, view.getType().getShape()[1],
          view.getType().getElementType()};
}

/// The tile at [row, col + constant] of rows of the step that `op` loads or stores.
template <typename Access>
static FailureOr<LibraryOperand> accessOf(Access op, Value row, Value column, tile::Extent rows) {
  OperandRange offsets = op.getOffsets();
  auto type = op.getView().getType();
  std::optional<int64_t> first =
      offsets.size() == 2 && offsets[0] == row ? offsetFrom(offsets[1], column) : std::nullopt;
  if (!first || !type.getExtent() || *type.getExtent() != rows)
    return op.emitError("is no tile of the step's rows at the product's columns, which is all that a library takes");
  return operandOf(op.getView(), *first);
}

FailureOr<LibraryProduct> inlay::findLibraryProduct(tile::ProgramOp program) {
  FailureOr<MainLoop> loop = findMainLoop(program);
  if (failed(loop))
    return failure();
  auto rows = dyn_cast<tile::LoadOp>(loop->rows);
  std::optional<tile::Extent> extent = rows ? rows.getView().getType().getExtent() : std::nullopt;
  if (!loop->isPlain() || !extent)
    return loop->rows->emitError("stages rows that are not in memory as the product reads them, which a library needs");
  LibraryProduct result;
  result.rows = *extent;
  result.k = loop->k;
  result.columns = loop->weight.getView().getType().getShape()[0];
  result.input = operandOf(rows.getView(), loop->columnOffset);
  result.weight = operandOf(loop->weight.getView(), 0);

  auto stores = llvm::to_vector(program.getOps<tile::StoreOp>());
  if (stores.size() != 1)
    return program.emitError() << "stores " << stores.size() << " times; a library writes one result";
  Value row = rows.getOffsets()[0], column = loop->weight.getOffsets()[0];
  FailureOr<LibraryOperand> output = accessOf(stores.front(), row, column, *extent);
  if (failed(output))
    return failure();
  result.output = *output;
  Value stored = beforeConversion(stores.front().getValue());
  if (stored == loop->product)
    return result;
  // The product plus a residual.
  auto add = stored.getDefiningOp<arith::AddFOp>();
  auto residual = add ? beforeConversion(add.getRhs()).getDefiningOp<tile::LoadOp>() : tile::LoadOp();
  if (!residual || add.getLhs() != loop->product)
    return stores.front().emitError(
        "stores neither the product nor its sum with a residual, which is all that a library "
        "writes");
  FailureOr<LibraryOperand> added = accessOf(residual, row, column, *extent);
  if (failed(added))
    return failure();
  result.residual = *added;
  return result;
}

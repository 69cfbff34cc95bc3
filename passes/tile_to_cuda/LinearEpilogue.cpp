//===- LinearEpilogue.cpp - what follows a linear layer's product ----------===//

#include "passes/tile_to_cuda/LinearEpilogue.h"

using namespace mlir;
using namespace inlay;

void LinearEpilogue::read(Value row, Value column, Value even, Value odd, Value isOwned) {
  auto source = [this, row, column, even, odd](Value value, Position position) -> Value {
    if (auto id = value.getDefiningOp<tile::ProgramIdOp>())
      return id.getDimension() == 0 ? b.div(column, loop.columns) : b.div(row, loop.tokens);
    if (value != loop.product)
      return {};
    return position == Position::Odd ? odd : even;
  };
  auto elements = std::make_unique<Elements>(b, loop.columns, b.name("row_in_tile", b.rem(row, loop.tokens)),
                                             b.name("pair", b.div(b.rem(column, loop.columns), 2)), views, source);
  if (!pairs.empty() && pairs.back().row == row)
    elements->shareRow(*pairs.back().elements);
  hasFailed |= failed(elements->prefetch(program.getBody().front(), loop.loop));
  int64_t columns = loop.weight.getView().getType().getShape()[0];
  if (columns % tileColumns != 0)
    isOwned = b.both(isOwned, b.less(column, columns));
  pairs.push_back({std::move(elements), row, isOwned});
}

LogicalResult LinearEpilogue::write() {
  for (const Pair &pair : pairs)
    b.ifThen(pair.isOwned, [&] {
      if (!hasFailed)
        hasFailed = failed(pair.elements->emit(program.getBody().front(), loop.loop));
    });
  pairs.clear();
  return failure(hasFailed);
}

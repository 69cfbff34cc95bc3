//===- SumFusion.cpp - what follows a sum over ranks in its kernel -----------===//

#include "passes/llm/SumFusion.h"

#include "dialects/tile/Tile.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

std::string inlay::llm::sumRefusal(AllReduceOp sum, int64_t maxRows) {
  auto type = cast<RankedTensorType>(sum.getResult().getType());
  int64_t rowBytes = type.getDimSize(1) * type.getElementTypeBitWidth() / 8, ranks = getRanks(sum);
  if (rowBytes % tile::kExchangeWordBytes != 0)
    return ("its rows of " + Twine(rowBytes) + " bytes are no multiple of " + Twine(tile::kExchangeWordBytes)).str();
  int64_t most = tile::oneShotRows(tile::targetOf(sum), ranks, rowBytes);
  if (maxRows > most)
    return ("steps of more than " + Twine(most) + " rows are summed in two hops").str();
  return "";
}

bool inlay::llm::isOfTiles(Operation *op) {
  if (auto squares = dyn_cast<SumOfSquaresOp>(op)) {
    auto columns = [](Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); };
    return columns(squares.getInput()) == columns(squares.getResult()) * kNormPart;
  }
  return op->hasTrait<OpTrait::Elementwise>();
}

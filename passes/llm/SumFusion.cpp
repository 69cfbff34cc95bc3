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

std::optional<NormedSum> inlay::llm::normedSumOf(NormInterface norm) {
  auto add = norm.getInput().getDefiningOp<AddOp>();
  if (!add)
    return std::nullopt;
  for (Value operand : add->getOperands())
    if (auto sum = operand.getDefiningOp<AllReduceOp>(); sum && sum->hasOneUse())
      return NormedSum{sum, add};
  return std::nullopt;
}

std::string inlay::llm::prologueRefusal(NormedSum rows, NormInterface norm, LinearOp product, int64_t maxRows) {
  if (std::string reason = sumRefusal(rows.sum, maxRows); !reason.empty())
    return reason;
  int64_t most = tile::targetOf(product).costs().getPrologueSumRows();
  if (maxRows > most)
    return ("steps of more than " + Twine(most) + " rows are summed by a kernel of their own").str();
  if (norm.subtractsMean())
    return "its norm subtracts the mean, which takes the rows twice";
  // The rows of all ranks and the residual instead of the row.
  auto type = cast<RankedTensorType>(rows.sum.getType());
  int64_t bytes = getRanks(rows.sum) * type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
  tile::TargetAttr target = tile::targetOf(product);
  if (int64_t time = getReadTime(product, bytes, target); time > target.costs().getSumKernel())
    return ("its blocks would read " + Twine(bytes) + " bytes more each, which takes " + Twine(time) +
            " ns, a kernel of the sum " + Twine(target.costs().getSumKernel()))
        .str();
  // What reads the sum waits for the whole kernel of the product.
  for (Operation *user : rows.add->getUsers())
    if (user->isBeforeInBlock(product) && user != norm.getOperation())
      return ("'" + getCheckpointName(user) + "' reads it before the product").str();
  return "";
}

std::string inlay::llm::pushRefusal(AllReduceOp sum, const OpSet &producer) {
  if (!isa<LinearOp>(producer.front()))
    return "no kernel of a linear layer pushes its rows";
  auto isReadElsewhere = [&](Operation *op) {
    return llvm::any_of(op->getUsers(), [&](Operation *user) { return user != sum && !producer.contains(user); });
  };
  if (!sum.getInput().hasOneUse() || llvm::any_of(producer, isReadElsewhere))
    return "the kernel of its rows has other results";
  if (llvm::any_of(producer, llvm::IsaPred<CollectiveInterface>))
    return "the kernel of its rows receives others";
  for (Operation *op = producer.front(); op != sum; op = op->getNextNode())
    if (isa<CollectiveInterface>(op))
      return "the ranks exchange other rows before it";
  return "";
}

std::string inlay::llm::normRefusal(NormInterface norm, const OpSet &sum) {
  int64_t columns = cast<RankedTensorType>(norm.getInput().getType()).getDimSize(1);
  if (llvm::any_of(sum, llvm::IsaPred<SumOfSquaresOp>))
    return "the blocks of its kernel have parts of rows, whose squares another norm takes";
  if (!norm->hasOneUse() || !isa<QuantizeOp>(*norm->user_begin()))
    return "other ops than one that quantizes its result read it";
  if (columns > kHeldColumns)
    return ("a block holds rows of up to " + Twine(kHeldColumns) + " columns, found " + Twine(columns)).str();
  return "";
}

bool inlay::llm::isOfTiles(Operation *op) {
  if (auto squares = dyn_cast<SumOfSquaresOp>(op))
    return normPartOf(squares) == kNormPart || normPartOf(squares) == kNormPartOfSum;
  return op->hasTrait<OpTrait::Elementwise>();
}

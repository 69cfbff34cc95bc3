//===- SplitNorms.cpp - norms as parts of the products around them ----------===//

#include "passes/llm/SplitNorms.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

/// The product, or its sum over ranks, whose kernel adds its result to what `norm` takes, if products alone take the
/// norm's; otherwise null.
static Operation *findSource(RmsNormOp norm, llvm::function_ref<bool(LinearOp)> takesParts,
                             llvm::function_ref<bool(AllReduceOp)> makesParts) {
  auto type = cast<RankedTensorType>(norm.getInput().getType());
  auto add = norm.getInput().getDefiningOp<AddOp>();
  if (!add || norm.getGroup() || type.getDimSize(1) % kNormPart != 0 || norm->use_empty())
    return nullptr;
  bool areProducts = llvm::all_of(norm->getUsers(), [&](Operation *user) {
    auto linear = dyn_cast<LinearOp>(user);
    return linear && !linear.getSquares() && takesParts(linear);
  });
  if (!areProducts)
    return nullptr;
  for (Value operand : add->getOperands()) {
    auto linear = operand.getDefiningOp<LinearOp>();
    auto sum = operand.getDefiningOp<AllReduceOp>();
    if (operand.hasOneUse() &&
        ((linear && linear.getNumResults() == 1 && takesParts(linear)) || (sum && makesParts(sum))))
      return operand.getDefiningOp();
  }
  return nullptr;
}

static void split(RmsNormOp norm, bool isOfSum) {
  OpBuilder builder(norm);
  Value input = norm.getInput();
  auto type = cast<RankedTensorType>(input.getType());
  StringRef name = getCheckpointName(norm);
  auto at = [&](const Twine &what) { return NameLoc::get(builder.getStringAttr(name + what)); };
  Value scaled = input;
  if (FlatSymbolRefAttr weight = norm.getWeightAttr())
    scaled = ScaleColumnsOp::create(builder, at(".scale"), type, input, weight, norm.getWeightOffsetAttr());
  int64_t columns = type.getDimSize(1);
  int64_t part = isOfSum && columns % kNormPartOfSum == 0 ? kNormPartOfSum : kNormPart;
  auto ofParts = RankedTensorType::get({ShapedType::kDynamic, columns / part}, builder.getF32Type());
  Value squares = SumOfSquaresOp::create(builder, at(".squares"), ofParts, input);
  for (Operation *user : llvm::make_early_inc_range(norm->getUsers())) {
    auto linear = cast<LinearOp>(user);
    linear.getInputMutable().assign(scaled);
    linear.getSquaresMutable().assign(squares);
    linear.setEpsAttr(norm.getEpsAttr());
  }
  norm.emitRemark() << "split: the kernel of its input scales columns and sums squares, those that take it multiply "
                    << "their sums by 1/rms";
  norm.erase();
}

void inlay::llm::splitNorms(func::FuncOp function, llvm::function_ref<bool(LinearOp)> takesParts,
                            llvm::function_ref<bool(AllReduceOp)> makesParts) {
  for (auto norm : llvm::make_early_inc_range(function.getOps<RmsNormOp>()))
    if (Operation *source = findSource(norm, takesParts, makesParts))
      split(norm, isa<AllReduceOp>(source));
}

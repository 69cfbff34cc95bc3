//===- OverlapCollectives.cpp - sums over ranks beside products ------------===//
//
// Marks the groups that run once for each half of the rows of a large step: sums over ranks, and the groups before and
// after them that compute each row from the same row of other values. The runtime runs a sum of one half beside the
// other groups of the other half.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/Halves.h"
#include "passes/llm/Passes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_OVERLAPCOLLECTIVESPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

/// Rows of the tile of a product, which the first half ends with where it has so many.
static constexpr int64_t tileRows = 128;

/// Whether `group` computes rows for which logits are wanted: it gathers them, or reads those that another one has
/// gathered.
static bool hasLogitRows(GroupOp group, const DenseSet<Operation *> &withLogitRows) {
  bool found = !group.getBody().front().getOps<GatherRowsOp>().empty();
  group.walk([&](Operation *op) {
    for (Value operand : op->getOperands())
      found |= withLogitRows.contains(operand.getDefiningOp());
  });
  return found;
}

/// How `group`, which has a row for each token, may run in halves. If it cannot, `reason` says why.
static Halves halvesOf(GroupOp group, std::string &reason) {
  Block &body = group.getBody().front();
  for (Operation &op : body)
    if (isa<PagedAttentionOp, AllGatherOp>(op)) {
      reason = isa<AllGatherOp>(op) ? "it gathers columns" : "its rows read the keys of all rows";
      return Halves::Whole;
    }
  auto sums = body.getOps<AllReduceOp>();
  if (sums.empty())
    return Halves::Main;
  auto type = cast<RankedTensorType>((*sums.begin()).getType());
  int64_t rowBytes = type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
  if (!llvm::hasSingleElement(body.without_terminator()))
    reason = "other ops follow it in its kernel";
  else if (rowBytes < tile::kExchangeWordBytes)
    reason = ("its rows have " + Twine(rowBytes) + " bytes").str();
  return reason.empty() ? Halves::Side : Halves::Whole;
}

namespace {

struct OverlapCollectivesPass : inlay::impl::OverlapCollectivesPassBase<OverlapCollectivesPass> {
  using OverlapCollectivesPassBase::OverlapCollectivesPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (leastRows < leastMultiple * 2) {
      function.emitError() << "runs steps of " << leastRows.getValue() << " rows in halves, expected at least "
                           << leastMultiple * 2;
      return signalPassFailure();
    }
    DenseSet<Operation *> withLogitRows;
    SmallVector<std::pair<GroupOp, Halves>> run; // groups that may run in halves, one after the other
    bool isSplit = false;
    for (GroupOp group : function.getOps<GroupOp>()) {
      std::string reason;
      Halves halves = Halves::Whole;
      if (hasLogitRows(group, withLogitRows)) {
        withLogitRows.insert(group);
        reason = "its rows are those whose logits are wanted";
      } else {
        halves = halvesOf(group, reason);
      }
      if (!reason.empty() && !group.getBody().front().getOps<AllReduceOp>().empty())
        group.emitRemark() << "is summed for all rows at once: " << reason;
      if (halves != Halves::Whole) {
        run.emplace_back(group, halves);
        continue;
      }
      isSplit |= split(run);
      run.clear();
    }
    isSplit |= split(run);
    Builder builder(&getContext());
    int64_t multiple = std::min<int64_t>(tileRows, llvm::bit_floor<uint64_t>(leastRows / 2));
    if (isSplit)
      function->setAttr(HalvesOfSteps::attributeName, HalvesOfSteps{leastRows, multiple}.toAttribute(builder));
  }

private:
  static constexpr int64_t leastMultiple = 16; // kLeastHalfMultiple of the runtime

  /// Marks the groups of `run` if there is a sum among them. Returns whether there is.
  bool split(ArrayRef<std::pair<GroupOp, Halves>> run) {
    if (llvm::none_of(run, [](auto &one) { return one.second == Halves::Side; }))
      return false;
    for (auto [group, halves] : run) {
      setHalves(group, halves);
      InFlightDiagnostic remark = group.emitRemark();
      remark << "runs in two halves of the rows in steps of at least " << leastRows.getValue();
      if (halves == Halves::Side)
        remark << ", beside the kernels of the other half";
    }
    return true;
  }
};

} // namespace

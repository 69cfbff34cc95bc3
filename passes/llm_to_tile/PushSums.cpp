//===- PushSums.cpp - sums over ranks that linear layers push --------------===//
//
// The kernel of a sum begins a round of the exchange, and a launch that pushes its rows takes the number of the round
// from the table of its rank (codegen/device/peers.h). So no other exchange may stand between the two. A kernel that
// only sums is early: it reads its other operands while that launch runs, so no other launch may stand between them.
//
//===----------------------------------------------------------------------===//

#include "passes/llm_to_tile/Passes.h"
#include "passes/llm_to_tile/Placement.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_PUSHSUMSPASS
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

namespace {
struct PushSumsPass : inlay::impl::PushSumsPassBase<PushSumsPass> {
  void runOnOperation() override;
};
} // namespace

template <typename Op> static Op firstOf(GroupOp group) {
  auto ops = group.getBody().front().getOps<Op>();
  return ops.empty() ? Op() : *ops.begin();
}

/// Whether `group` or a group between it and `last` exchanges rows with other ranks.
static bool exchangesBefore(GroupOp group, GroupOp last) {
  for (Operation *op = group; op != last; op = op->getNextNode())
    if (auto other = dyn_cast<GroupOp>(op); other && firstOf<CollectiveInterface>(other))
      return true;
  return false;
}

/// Whether `group` is the next one behind `producer`.
static bool follows(GroupOp group, GroupOp producer) {
  for (Operation *op = producer->getNextNode(); op != group; op = op->getNextNode())
    if (isa<GroupOp>(op))
      return false;
  return true;
}

/// Whether the kernel of `group` receives a sum while the launch that pushes its rows runs. Warps that multiply wait
/// for earlier launches first, since they read this rank's rows.
static bool receivesEarly(GroupOp group) { return !firstOf<LinearOp>(group); }

/// Why the kernel that computes the rows of `sum`, which is in `group`, does not push them; empty if it does.
static std::string pushRefusal(AllReduceOp sum, GroupOp group) {
  Value rows = sum.getInput();
  auto producer = rows.getDefiningOp<GroupOp>();
  LinearOp linear = producer ? firstOf<LinearOp>(producer) : LinearOp();
  if (!linear)
    return "no linear layer computes its rows";
  if (linear.getLibrary())
    return ("the library " + *linear.getLibrary() + " computes its rows").str();
  if (producer.getNumResults() != 1 || !rows.hasOneUse())
    return "its rows are read elsewhere too";
  if (Placement place = Placement::of(rows); place.column != 0 || place.rowColumns != sum.getType().getDimSize(1))
    return "its rows lie beside others";
  if (exchangesBefore(producer, group))
    return "the ranks exchange other rows before it";
  if (receivesEarly(group) && !follows(group, producer))
    return "another kernel runs between that of its rows and its own";
  return "";
}

void PushSumsPass::runOnOperation() {
  for (auto group : getOperation().getOps<GroupOp>()) {
    auto sum = firstOf<AllReduceOp>(group);
    // A sum alone exchanges words of any rows.
    if (!sum || llvm::hasSingleElement(group.getBody().front().without_terminator()))
      continue;
    std::string reason = pushRefusal(sum, group);
    if (!reason.empty() && firstOf<LinearOp>(group)) {
      group.emitError()
          << "sums rows in front of a product, whose kernel only receives them, but no kernel pushes them: " << reason
          << "; run llm-form-groups without sum-prologues";
      return signalPassFailure();
    }
    sum.setPushed(reason.empty());
    sum.setEarly(reason.empty() && receivesEarly(group));
    InFlightDiagnostic remark = group.emitRemark();
    if (reason.empty())
      remark << "receives rows that " << sum.getInput().getDefiningOp<GroupOp>().getName() << " pushes";
    else
      remark << "pushes its rows itself: " << reason;
  }
}

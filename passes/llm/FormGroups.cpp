//===- FormGroups.cpp - decides which ops become one kernel ----------------===//

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "passes/llm/FusionCost.h"
#include "passes/llm/OutlineGroup.h"
#include "passes/llm/Passes.h"
#include "passes/llm/ProductFamilies.h"
#include "passes/llm/SplitNorms.h"
#include "passes/llm/SumFusion.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_FORMGROUPSPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

namespace {

/// Forms the groups of one step.
class GroupFormer {
public:
  GroupFormer(func::FuncOp function, const FormGroupsPassOptions &options)
      : function(function), isGpu(options.target != "cpu"), maxRows(options.maxRows),
        separateNorms(options.separateNorms || options.separateAll), sumPrologues(options.sumPrologues),
        sumsInHalves(options.sumsInHalves), separateAll(options.separateAll),
        families(tile::targetOf(function), isGpu, maxRows, separateNorms) {}

  /// Fails after an error if what was formed cannot be ordered.
  LogicalResult run() {
    Block &body = function.getBody().front();
    if (isGpu && !separateNorms && families.splitsNorms())
      splitNorms(
          function, [&](LinearOp linear) { return families.takesPartsOfNorms(linear); },
          [&](AllReduceOp sum) { return whySumIsApart(sum).empty(); });
    for (Operation &op : body.without_terminator())
      if (auto fusion = dyn_cast<FusionInterface>(op); fusion && fusion.isAnchor())
        growAround(&op);
    if (!separateAll)
      for (auto append : body.getOps<KvAppendOp>())
        if (!groupOf.count(append))
          growAppend(append);
    for (Operation &op : body.without_terminator())
      if (!groupOf.count(&op))
        growRows(&op);
    for (std::unique_ptr<Group> &group : groups)
      outlineGroup(*group, maxRows);
    if (!sortTopologically(&body))
      return function.emitError() << "has groups that wait for each other; this is a mistake of llm-form-groups";
    return success();
  }

private:
  func::FuncOp function;
  bool isGpu;
  int64_t maxRows;
  bool separateNorms, sumPrologues, sumsInHalves, separateAll;
  ProductFamilies families;
  std::vector<std::unique_ptr<Group>> groups;
  DenseMap<Operation *, Group *> groupOf;

  Group &newGroup(Operation *op, StringRef family) {
    groups.push_back(std::make_unique<Group>(Group{getCheckpointName(op).str(), family.str(), {}, 0}));
    take(*groups.back(), op);
    return *groups.back();
  }

  void take(Group &group, Operation *op) {
    group.savedBytes += getSavedBytes(op, group.ops);
    group.ops.insert(op);
    groupOf[op] = &group;
  }

  /// Takes in `op`, which joins as `role`, and says so.
  void join(Group &group, Operation *op, StringRef role) {
    op->emitRemark() << "fused into " << group.name << " as " << role << ": saves " << getSavedBytes(op, group.ops)
                     << " bytes a row";
    take(group, op);
  }

  /// True if `op` reads what `group` computes.
  static bool reads(Operation *op, const Group &group) {
    return llvm::any_of(op->getOperands(), [&](Value v) { return group.ops.contains(v.getDefiningOp()); });
  }

  /// True if all that read `op`'s results are in `group`.
  bool isReadOnlyBy(Operation *op, Group &group) {
    return llvm::all_of(op->getUsers(), [&](Operation *user) { return group.ops.contains(user); });
  }

  void growAround(Operation *anchor) {
    Group &group = newGroup(anchor, families.familyOf(anchor));
    if (separateAll)
      return;
    growPrologue(anchor, group);
    growEpilogue(anchor, group);
  }

  void growPrologue(Operation *anchor, Group &group) {
    Operation *reader = anchor;
    while (Operation *op = reader->getOperand(0).getDefiningOp()) {
      auto fusion = dyn_cast<FusionInterface>(op);
      if (!fusion || groupOf.count(op) || !fusion.canBePrologueOf(anchor))
        return growSumPrologue(reader, anchor, group);
      if (std::string reason = prologueRefusal(fusion, reader, anchor, group); !reason.empty()) {
        op->emitRemark() << "not fused into " << group.name << ": " << reason;
        return;
      }
      join(group, op, "prologue");
      reader = op;
    }
  }

  /// The sum over ranks in front of the norm `op`, the first one of the prologue, and its residual. Other ranks push
  /// what the kernel receives, so that no block waits for another one.
  void growSumPrologue(Operation *op, Operation *anchor, Group &group) {
    auto norm = dyn_cast<NormInterface>(op);
    auto linear = dyn_cast<LinearOp>(anchor);
    std::optional<NormedSum> rows = norm && linear ? normedSumOf(norm) : std::nullopt;
    if (!rows || !isGpu || groupOf.count(rows->add) || groupOf.count(rows->sum))
      return;
    std::string reason = sumsInHalves ? inHalvesReason
                         : group.family != "matvec"
                             ? "the family " + group.family + " stages no rows before its product"
                             : llm::prologueRefusal(*rows, norm, linear, maxRows);
    if (reason.empty()) {
      Operation *producer = rows->sum.getInput().getDefiningOp();
      Group *pushing = producer ? groupOf.lookup(producer) : nullptr;
      reason = pushing && pushing->family != kCublasLt ? pushRefusal(rows->sum, pushing->ops)
                                                       : "no kernel of a linear layer pushes its rows";
    }
    constexpr int64_t vectors = 2; // the residual and the norm's weight
    if (reason.empty() && !fitsRegisters(linear, vectors, tile::targetOf(linear)))
      reason = "a thread has no registers for its part of the row and the residual";
    if (reason.empty() && !sumPrologues)
      reason = "a kernel of its own receives it; the option sum-prologues joins them";
    if (!reason.empty()) {
      rows->sum.emitRemark() << "not fused into " << group.name << ": " << reason;
      return;
    }
    join(group, rows->add, "prologue");
    join(group, rows->sum, "prologue");
  }

  std::string prologueRefusal(FusionInterface op, Operation *reader, Operation *anchor, Group &group) {
    if (separateNorms)
      return "the option separate-norms keeps it apart";
    if (!isReadOnlyBy(op, group))
      return "its result is read elsewhere too";
    if (group.family == kCublasLt)
      return "the library reads rows as they are in memory";
    if (isGpu && (group.family == "gemm" || group.family == "swap_ab"))
      return "TMA stages the activations of the family " + group.family + ", and cannot change them";
    if (isa<NormInterface>(*op) && reader != anchor)
      return "'" + getCheckpointName(reader).str() + "' takes its result before the product";
    auto linear = dyn_cast<LinearOp>(anchor);
    if (group.family == "matvec" && linear && !fitsRegisters(linear, op.getStagedVectors(), tile::targetOf(linear)))
      return "a thread has no registers for its part of its weight beside the row of '" + linear.getWeight().str() +
             "'";
    return "";
  }

  void growEpilogue(Operation *anchor, Group &group) {
    // Users in order, as long as one joins.
    for (Operation *op = anchor->getNextNode(); op && !op->hasTrait<OpTrait::IsTerminator>(); op = op->getNextNode()) {
      auto fusion = dyn_cast<FusionInterface>(op);
      if (!reads(op, group) || groupOf.count(op) || !fusion || waitsForOthers(op, anchor, group.ops))
        continue;
      if (!fusion.canBeEpilogueOf(anchor)) {
        if (!fusion.isAnchor())
          op->emitRemark() << "not fused into " << group.name << ": its result needs "
                           << (isa<CollectiveInterface>(op) ? "those of other ranks" : "more than one tile of it");
        continue;
      }
      if (std::string reason = epilogueRefusal(op, group); !reason.empty()) {
        op->emitRemark() << "not fused into " << group.name << ": " << reason;
        continue;
      }
      join(group, op, "epilogue");
    }
  }

  /// True if `op` reads what is computed after `first` and not by `own`: it belongs to a later group. What a group
  /// computes counts as computed by its first op, since a group waits for nothing that comes after that.
  bool waitsForOthers(Operation *op, Operation *first, const OpSet &own) {
    return llvm::any_of(op->getOperands(), [&](Value operand) {
      Operation *producer = operand.getDefiningOp();
      if (!producer || own.contains(producer))
        return false;
      Group *group = groupOf.lookup(producer);
      return first->isBeforeInBlock(group ? group->ops.front() : producer);
    });
  }

  std::string epilogueRefusal(Operation *op, Group &group) {
    if (group.family == kCublasLt && (!isa<AddOp>(op) || group.ops.size() > 1))
      return "the library adds one residual to its product, and nothing else";
    for (Value operand : op->getOperands()) {
      Operation *producer = operand.getDefiningOp();
      if (!isa<RankedTensorType>(operand.getType()) || !producer || group.ops.contains(producer))
        continue;
      // A value from elsewhere can be added to the product; anything else would have to be computed first.
      if (!isa<AddOp>(op))
        return "it also reads '" + getCheckpointName(producer).str() + "'";
    }
    return "";
  }

  /// The norms and rotations of heads that lead to `value` and to nothing else.
  void collectHeads(Value value, OpSet &ops) {
    while (Operation *op = value.getDefiningOp()) {
      auto norm = dyn_cast<NormInterface>(op);
      bool isOfHeads = isa<RopeOp>(op) || (norm && norm.getGroup());
      if (!isOfHeads || !op->hasOneUse() || groupOf.count(op))
        return;
      ops.insert(op);
      value = op->getOperand(0);
    }
  }

  /// The append of one layer with the norms and rotations of its heads, those of the queries too.
  void growAppend(KvAppendOp append) {
    OpSet ops;
    ops.insert(append);
    collectHeads(append.getKey(), ops);
    collectHeads(append.getValue(), ops);
    for (Operation *user : append->getUsers())
      if (auto attention = dyn_cast<PagedAttentionOp>(user); attention && attention.getLayer() == append.getLayer())
        collectHeads(attention.getQuery(), ops);
    SmallVector<Operation *> ordered(ops.begin(), ops.end());
    llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    Group &group = newGroup(ordered.front(), "rows");
    for (Operation *op : ArrayRef(ordered).drop_front())
      take(group, op);
    group.name = StringRef(group.name).rsplit('.').first.str() + ".append";
  }

  /// An op on single rows, and those that follow it: elementwise ops, at most one norm of the whole row, and what
  /// quantizes the row.
  void growRows(Operation *op) {
    Group &group = newGroup(op, isa<SampleOp, SampleCandidateOp>(op) ? "sample"
                                : isa<CollectiveInterface>(op)       ? "collective"
                                                                     : "rows");
    auto norm = dyn_cast<NormInterface>(op);
    bool isRowWise = isa<GatherRowsOp>(op) || isLookup(op) || isElementwise(op) || (norm && !norm.getGroup());
    if (auto gather = dyn_cast<GatherColumnsOp>(op))
      gather.emitRemark() << "is a kernel of its own: '" << gather.getOrder()
                          << "' has the order in which the checkpoint sorted columns before it quantized them";
    if (auto sum = dyn_cast<AllReduceOp>(op); sum && isGpu && !separateAll)
      growSum(sum, group);
    if (separateAll || !isRowWise)
      return;
    for (Operation *next = op->getNextNode(); next; next = next->getNextNode())
      if (!groupOf.count(next) && followsInRow(next, op, group))
        for (Operation *joined : withLookups(next))
          take(group, joined);
  }

  static constexpr const char *inHalvesReason = "the option sums-in-halves keeps it apart";

  /// Why ops that follow `sum` do not join its kernel; empty if they do.
  std::string whySumIsApart(AllReduceOp sum) {
    return sumsInHalves ? std::string(inHalvesReason) : sumRefusal(sum, maxRows);
  }

  /// What changes tiles of a sum over ranks, in the kernel that sums them.
  void growSum(AllReduceOp sum, Group &group) {
    std::string reason = whySumIsApart(sum);
    for (Operation *op = sum->getNextNode(); op; op = op->getNextNode()) {
      if (!reads(op, group) || groupOf.count(op) || !isOfTiles(op) || waitsForOthers(op, sum, group.ops))
        continue;
      if (reason.empty())
        join(group, op, "epilogue");
      else
        op->emitRemark() << "not fused into " << group.name << ": " << reason;
    }
    if (reason.empty())
      growQuantizedNorm(sum, group);
  }

  /// The norm of the rows that the kernel of `sum` completes, and what quantizes them.
  void growQuantizedNorm(AllReduceOp sum, Group &group) {
    for (Operation *op = sum->getNextNode(); op; op = op->getNextNode()) {
      auto norm = dyn_cast<NormInterface>(op);
      if (!norm || norm.getGroup() || !reads(op, group) || groupOf.count(op))
        continue;
      if (std::string reason =
              separateNorms ? "the option separate-norms keeps it apart" : normRefusal(norm, group.ops);
          !reason.empty()) {
        op->emitRemark() << "not fused into " << group.name << ": " << reason;
        continue;
      }
      Operation *quantize = *norm->user_begin();
      join(group, norm, "epilogue");
      join(group, quantize, "epilogue");
      return;
    }
  }

  static bool isLookup(Operation *op) { return isa<EmbeddingOp, PositionEmbeddingOp>(op); }
  static bool isElementwise(Operation *op) { return op->hasTrait<OpTrait::Elementwise>(); }

  /// `op` and the lookups that nothing else reads.
  SmallVector<Operation *> withLookups(Operation *op) {
    SmallVector<Operation *> ops;
    for (Value operand : op->getOperands())
      if (Operation *producer = operand.getDefiningOp();
          producer && isLookup(producer) && !groupOf.count(producer) && producer->hasOneUse())
        ops.push_back(producer);
    ops.push_back(op);
    return ops;
  }

  /// True if `op` can join the row-wise `group` that began with `first`.
  bool followsInRow(Operation *op, Operation *first, Group &group) {
    if (!reads(op, group))
      return false;
    if (auto quantize = dyn_cast<QuantizeOp>(op))
      return llvm::none_of(group.ops, llvm::IsaPred<QuantizeOp>);
    if (auto norm = dyn_cast<NormInterface>(op))
      return !norm.getGroup() && norm.getInput().hasOneUse() && llvm::none_of(group.ops, llvm::IsaPred<NormInterface>);
    if (!isElementwise(op))
      return false;
    OpSet own = group.ops;
    own.insert_range(withLookups(op));
    return !waitsForOthers(op, first, own);
  }
};

struct FormGroupsPass : inlay::impl::FormGroupsPassBase<FormGroupsPass> {
  using FormGroupsPassBase::FormGroupsPassBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(
              GroupFormer(function, {target, maxRows, separateNorms, sumPrologues, sumsInHalves, separateAll}).run()))
        return signalPassFailure();
  }
};

} // namespace

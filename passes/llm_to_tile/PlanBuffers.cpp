//===- PlanBuffers.cpp - places what groups write in one workspace ---------===//
//
// Linear scan over the groups of a step in order: a buffer lives from the group
// that writes it to the last one that reads it. Free ranges are reused first
// fit, which for a chain of layers is as good as optimal. Where groups run in
// two halves of the rows, a buffer lives until the second half has been read.
//
//===----------------------------------------------------------------------===//

#include "dialects/llm/Halves.h"
#include "dialects/llm/Stages.h"
#include "passes/llm_to_tile/Passes.h"
#include "passes/llm_to_tile/Placement.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_PLANBUFFERSPASS
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

/// Bytes of one row of `type`.
static int64_t rowBytes(RankedTensorType type) {
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  return columns * type.getElementTypeBitWidth() / 8;
}

/// Columns of a row of the buffer of `result`, which lies in it alone. TMA takes rows of a multiple of 16 bytes, which
/// scales of groups of columns need not be.
static int64_t bufferColumns(OpResult result) {
  auto type = cast<RankedTensorType>(result.getType());
  int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 1;
  Operation *yield = cast<GroupOp>(result.getOwner()).getBody().front().getTerminator();
  auto quantize = yield->getOperand(result.getResultNumber()).getDefiningOp<QuantizeOp>();
  constexpr int64_t unit = 16 / sizeof(float);
  bool areOfGroups = quantize && columns > 1 && type.getElementType().isF32();
  return areOfGroups ? llvm::alignTo(columns, unit) : columns;
}

namespace {

/// Tells which values have one row for each logits row. Remembers, since a residual chain asks for each value twice.
class RowKinds {
public:
  bool hasLogitRows(Value value) {
    if (auto group = value.getDefiningOp<GroupOp>())
      value = group.getBody().front().getTerminator()->getOperand(cast<OpResult>(value).getResultNumber());
    if (auto it = known.find(value); it != known.end())
      return it->second;
    Operation *op = value.getDefiningOp();
    bool result =
        op && !isa<EmbeddingOp>(op) && (isa<GatherRowsOp>(op) || llvm::any_of(op->getOperands(), [&](Value operand) {
                                          return isa<RankedTensorType>(operand.getType()) && hasLogitRows(operand);
                                        }));
    return known[value] = result;
  }

private:
  DenseMap<Value, bool> known;
};

} // namespace

/// The position of the last group (or the return) that reads `value`.
static unsigned lastUse(Value value, const DenseMap<Operation *, unsigned> &order) {
  unsigned last = 0;
  for (Operation *user : value.getUsers()) {
    while (user && !order.count(user))
      user = user->getParentOp();
    if (user)
      last = std::max(last, order.lookup(user));
  }
  return last;
}

/// For each op of the block by its position: the last group that may begin before the op has ended. In steps of two
/// halves, groups that stand one after the other and are "main" run for the first half and then for the second one. So
/// do the "side" groups after them, which run beside "main" groups. What is whole runs after all before it.
static SmallVector<unsigned> lastBeside(Block &body) {
  SmallVector<Halves> halves;
  for (Operation &op : body)
    halves.push_back(getHalves(&op));
  auto skip = [&](unsigned from, Halves which) {
    while (from < halves.size() && halves[from] == which)
      ++from;
    return from;
  };
  SmallVector<unsigned> last;
  for (unsigned i = 0; i < halves.size(); ++i) {
    unsigned end = i + 1;
    if (halves[i] == Halves::Main)
      end = skip(skip(i, Halves::Main), Halves::Side);
    else if (halves[i] == Halves::Side)
      end = skip(skip(i, Halves::Side), Halves::Main);
    last.push_back(end - 1);
  }
  return last;
}

/// The value from outside that result `index` of `group` adds its product to, if it is read for the last time there.
static Value overwrittenResidual(GroupOp group, unsigned index, const DenseMap<Operation *, unsigned> &order) {
  auto add = group.getBody().front().getTerminator()->getOperand(index).getDefiningOp<AddOp>();
  if (!add)
    return {};
  // All blocks read the rows in front of a product.
  auto products = group.getBody().front().getOps<LinearOp>();
  if (!products.empty() && add->isBeforeInBlock(*products.begin()))
    return {};
  for (Value operand : add->getOperands()) {
    auto producer = operand.getDefiningOp<GroupOp>();
    if (!producer || producer == group || lastUse(operand, order) != order.lookup(group))
      continue;
    // Other blocks may read what this one writes if the group also reads it otherwise.
    bool isOnlyAdded =
        llvm::count_if(operand.getUsers(), [&](Operation *user) { return user->getParentOp() == group; }) == 1;
    Placement place = Placement::of(operand);
    bool isWholeBuffer = place.kind == Placement::Kind::Workspace &&
                         place.rowColumns == cast<RankedTensorType>(operand.getType()).getDimSize(1);
    if (isOnlyAdded && isWholeBuffer)
      return operand;
  }
  return {};
}

namespace {

/// A workspace with first-fit reuse.
class Workspace {
public:
  explicit Workspace(int64_t alignment) : alignment(alignment) {}

  int64_t allocate(int64_t bytes, unsigned lastUse) {
    bytes = llvm::alignTo(bytes, alignment);
    int64_t offset = 0;
    llvm::sort(live, [](const Range &a, const Range &b) { return a.offset < b.offset; });
    for (const Range &range : live) {
      if (offset + bytes <= range.offset)
        break;
      offset = std::max(offset, range.offset + range.bytes);
    }
    live.push_back({offset, bytes, lastUse});
    peak = std::max(peak, offset + bytes);
    return offset;
  }

  /// Lets the buffer at `offset` live until `lastUse`.
  void extend(int64_t offset, unsigned lastUse) {
    for (Range &range : live)
      if (range.offset == offset)
        range.lastUse = std::max(range.lastUse, lastUse);
  }

  /// Frees what is not read by group `position` or later.
  void retire(unsigned position) {
    llvm::erase_if(live, [&](const Range &range) { return range.lastUse < position; });
  }

  int64_t getPeak() const { return peak; }

private:
  struct Range {
    int64_t offset, bytes;
    unsigned lastUse;
  };
  SmallVector<Range> live;
  int64_t alignment, peak = 0;
};

struct PlanBuffersPass : inlay::impl::PlanBuffersPassBase<PlanBuffersPass> {
  using PlanBuffersPassBase::PlanBuffersPassBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    FailureOr<EntryShape> entry = EntryShape::of(function);
    if (failed(entry))
      return signalPassFailure();
    DenseMap<Operation *, unsigned> order;
    for (auto [i, op] : llvm::enumerate(function.getBody().front()))
      order[&op] = i;
    SmallVector<unsigned> beside = lastBeside(function.getBody().front());
    // The last group that may begin before all of `value` has been written and read.
    auto liveUntil = [&](Value value) {
      Operation *producer = value.getDefiningOp();
      return beside[std::max(lastUse(value, order), producer ? order.lookup(producer) : 0)];
    };
    Workspace workspace(alignment);
    RowKinds kinds;
    Builder builder(&getContext());
    Operation *terminator = function.getBody().front().getTerminator();
    // Rows that a stage receives are there before its first group.
    for (BlockArgument argument : function.getArguments())
      if (auto type = dyn_cast<RankedTensorType>(argument.getType()); type && type.getRank() == 2) {
        int64_t offset = workspace.allocate(entry->maxTokens * rowBytes(type), liveUntil(argument));
        function.setArgAttr(argument.getArgNumber(), Placement::argumentName,
                            Placement::workspace(builder, offset, type.getDimSize(1), 0, /*logitRows=*/false));
      }
    // All stages but the last one return rows that they send, and no logits.
    auto stages = static_cast<int64_t>(getStageLayers(function->getParentOfType<ModuleOp>()).size());
    bool makesLogits = terminator->getNumOperands() >= 2 && getStage(function) + 1 >= stages;
    for (GroupOp group : function.getOps<GroupOp>()) {
      workspace.retire(order.lookup(group));
      SmallVector<Attribute> places(group.getNumResults(), builder.getDictionaryAttr({}));
      for (unsigned i = 0; i < group.getNumResults(); ++i) {
        Value result = group.getResult(i);
        auto type = dyn_cast<RankedTensorType>(result.getType());
        if (!type || !cast<DictionaryAttr>(places[i]).empty())
          continue;
        if (makesLogits && result == terminator->getOperand(0)) {
          places[i] = Placement::logits(builder);
          continue;
        }
        // Tokens of whole logits, and of the parts that ranks have: a step makes one of them.
        if (makesLogits && type.getRank() == 1 && llvm::is_contained(terminator->getOperands(), result)) {
          places[i] = Placement::tokens(builder);
          continue;
        }
        if (Value residual = overwrittenResidual(group, i, order)) {
          places[i] = Placement::attributeOf(residual);
          workspace.extend(Placement::of(residual).offset, liveUntil(result));
          continue;
        }
        int64_t rows = kinds.hasLogitRows(result) ? entry->maxSequences : entry->maxTokens;
        // Results of one linear that are all written stand side by side in shared rows.
        SmallVector<unsigned> siblings = siblingResults(group, i);
        int64_t columns = 0;
        unsigned last = 0;
        for (unsigned sibling : siblings) {
          columns += cast<RankedTensorType>(group.getResult(sibling).getType()).getDimSize(1);
          last = std::max(last, liveUntil(group.getResult(sibling)));
        }
        if (siblings.empty()) {
          siblings.push_back(i);
          columns = bufferColumns(group->getResult(i));
          last = liveUntil(result);
        }
        int64_t bytes = rows * columns * type.getElementTypeBitWidth() / 8;
        int64_t offset = workspace.allocate(bytes, last);
        int64_t column = 0;
        for (unsigned sibling : siblings) {
          places[sibling] = Placement::workspace(builder, offset, columns, column, kinds.hasLogitRows(result));
          column +=
              rowBytes(cast<RankedTensorType>(group.getResult(sibling).getType())) * 8 / type.getElementTypeBitWidth();
        }
      }
      group->setAttr(Placement::attributeName, builder.getArrayAttr(places));
    }
    function->setAttr("llm.workspace_bytes", builder.getI64IntegerAttr(workspace.getPeak()));
  }

  /// The results of `group` that are the results of one linear in order, when result `index` is its first.
  static SmallVector<unsigned> siblingResults(GroupOp group, unsigned index) {
    Operation *yield = group.getBody().front().getTerminator();
    auto linear = yield->getOperand(index).getDefiningOp<LinearOp>();
    SmallVector<unsigned> siblings;
    if (!linear || linear.getNumResults() == 1)
      return siblings;
    for (Value output : linear.getOutputs()) {
      auto it = llvm::find(yield->getOperands(), output);
      if (it == yield->getOperands().end())
        return {};
      siblings.push_back(it.getIndex());
    }
    return siblings;
  }
};

} // namespace

//===- StageCuts.cpp - where a model is cut into stages --------------------===//

#include "passes/llm/StageCuts.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

#include <limits>

using namespace mlir;
using namespace inlay::llm;

/// Bytes of a row of `value`.
static int64_t rowBytes(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
}

/// The layer whose keys and values `op` writes or reads.
static std::optional<int64_t> cacheLayer(Operation &op) {
  if (auto append = dyn_cast<KvAppendOp>(op))
    return static_cast<int64_t>(append.getLayer());
  if (auto attention = dyn_cast<PagedAttentionOp>(op))
    return static_cast<int64_t>(attention.getLayer());
  return std::nullopt;
}

namespace {

/// The ops of a function by their positions.
class OpList {
public:
  explicit OpList(Block &body) {
    for (Operation &op : body) {
      position[&op] = static_cast<int64_t>(ops.size());
      ops.push_back(&op);
    }
    findLiveBytes(body);
  }

  /// For each place where the list can be cut, the position of the first op after it.
  SmallVector<int64_t> findCuts() const {
    // The first and last op on the cache of each layer, in the order of the first ones.
    llvm::MapVector<int64_t, std::pair<int64_t, int64_t>> layers;
    for (auto [at, op] : llvm::enumerate(ops))
      if (std::optional<int64_t> layer = cacheLayer(*op)) {
        auto place = static_cast<int64_t>(at);
        layers.try_emplace(*layer, place, place).first->second.second = place;
      }
    SmallVector<int64_t> cuts;
    int64_t end = -1;
    for (auto [layer, range] : layers) {
      if (end >= 0 && range.first > end)
        cuts.push_back(cheapest(end + 1, range.first));
      end = std::max(end, range.second);
    }
    return cuts;
  }

  ArrayRef<Operation *> get(int64_t begin, int64_t end) const {
    return ArrayRef(ops).slice(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  /// Without the terminator.
  int64_t size() const { return static_cast<int64_t>(ops.size()) - 1; }

private:
  SmallVector<Operation *> ops;
  DenseMap<Operation *, int64_t> position;
  SmallVector<int64_t> liveBytes; // of a row, that ops from this position on read of what is computed before

  void findLiveBytes(Block &body) {
    liveBytes.assign(ops.size() + 1, 0);
    auto add = [&](Value value, int64_t from) {
      if (!isRowsValue(value))
        return;
      int64_t last = from - 1;
      for (Operation *user : value.getUsers())
        last = std::max(last, position.lookup(user));
      for (int64_t at = from; at <= last; ++at)
        liveBytes[static_cast<size_t>(at)] += rowBytes(value);
    };
    for (Value argument : body.getArguments())
      add(argument, 0);
    for (auto [at, op] : llvm::enumerate(ops))
      for (Value result : op->getResults())
        add(result, static_cast<int64_t>(at) + 1);
  }

  /// The last of the positions from `begin` to `end` where the fewest bytes are needed later.
  int64_t cheapest(int64_t begin, int64_t end) const {
    int64_t best = begin;
    for (int64_t at = begin; at <= end; ++at)
      if (liveBytes[static_cast<size_t>(at)] <= liveBytes[static_cast<size_t>(best)])
        best = at;
    return best;
  }
};

using WeightSet = llvm::SetVector<Operation *>;

} // namespace

/// Adds the weights that `op` names, and those that they name.
static void addWeights(Operation *op, const SymbolTable &symbols, WeightSet &weights) {
  for (NamedAttribute attribute : op->getAttrs())
    attribute.getValue().walk([&](FlatSymbolRefAttr name) {
      auto weight = symbols.lookup<WeightOp>(name.getValue());
      if (weight && weights.insert(weight))
        addWeights(weight, symbols, weights);
    });
}

static StageOps describe(ArrayRef<Operation *> ops, const SymbolTable &symbols) {
  StageOps stage;
  stage.ops.assign(ops.begin(), ops.end());
  WeightSet weights;
  for (Operation *op : ops) {
    stage.layers += isa<PagedAttentionOp>(op);
    addWeights(op, symbols, weights);
  }
  for (Operation *weight : weights) {
    RankedTensorType type = cast<WeightOp>(weight).getTensorType();
    stage.bytes += type.getNumElements() * type.getElementTypeBitWidth() / 8;
  }
  return stage;
}

/// Where each of `stages` runs of parts ends, so that the largest sum of a run is as small as possible.
static SmallVector<size_t> balance(ArrayRef<int64_t> bytes, size_t stages) {
  size_t parts = bytes.size();
  // largest[n][i]: of the first i parts in n runs; first[n][i]: where the last of these runs begins.
  std::vector<std::vector<int64_t>> largest(stages + 1,
                                            std::vector<int64_t>(parts + 1, std::numeric_limits<int64_t>::max()));
  std::vector<std::vector<size_t>> first(stages + 1, std::vector<size_t>(parts + 1));
  largest[0][0] = 0;
  for (size_t n = 1; n <= stages; ++n)
    for (size_t end = n; end <= parts; ++end) {
      int64_t sum = 0;
      for (size_t begin = end; begin-- > n - 1;) {
        sum += bytes[begin];
        int64_t most = std::max(largest[n - 1][begin], sum);
        if (most < largest[n][end]) {
          largest[n][end] = most;
          first[n][end] = begin;
        }
      }
    }
  SmallVector<size_t> ends(stages);
  for (size_t n = stages, end = parts; n > 0; end = first[n][end], --n)
    ends[n - 1] = end;
  return ends;
}

FailureOr<SmallVector<StageOps>> inlay::llm::chooseStages(func::FuncOp function, int64_t stages) {
  OpList list(function.getBody().front());
  SmallVector<int64_t> cuts = list.findCuts();
  SymbolTable symbols(function->getParentOfType<ModuleOp>());
  if (stages > static_cast<int64_t>(cuts.size()) + 1) {
    int64_t layers = describe(list.get(0, list.size()), symbols).layers;
    InFlightDiagnostic error = function.emitError() << "has " << layers << " layers";
    if (layers != static_cast<int64_t>(cuts.size()) + 1)
      error << ", some of which read the keys and values of others,";
    return error << " and cannot be cut into " << stages << " stages; expected a pipeline parallel size of at most "
                 << cuts.size() + 1;
  }
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(list.size());
  SmallVector<int64_t> bytes;
  for (size_t i = 0; i + 1 < cuts.size(); ++i)
    bytes.push_back(describe(list.get(cuts[i], cuts[i + 1]), symbols).bytes);
  SmallVector<StageOps> result;
  size_t begin = 0;
  for (size_t end : balance(bytes, static_cast<size_t>(stages))) {
    result.push_back(describe(list.get(cuts[begin], cuts[end]), symbols));
    begin = end;
  }
  return result;
}

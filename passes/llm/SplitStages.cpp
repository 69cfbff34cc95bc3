//===- SplitStages.cpp - a function for each stage of a pipeline -----------===//

#include "dialects/llm/Stages.h"
#include "passes/llm/Passes.h"
#include "passes/llm/StageCuts.h"

#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_SPLITSTAGESPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

namespace {

/// Gives each stage weights of its own.
class StageWeights {
public:
  explicit StageWeights(ModuleOp module) : symbols(module) {}

  /// Lets `op`, which belongs to `stage`, name the weights of that stage.
  void replaceIn(Operation *op, int64_t stage) {
    AttrTypeReplacer replacer;
    replacer.addReplacement([&](FlatSymbolRefAttr name) { return FlatSymbolRefAttr::get(weightOf(name, stage)); });
    replacer.replaceElementsIn(op);
  }

private:
  SymbolTable symbols;
  DenseMap<Operation *, int64_t> stageOf; // of weights: the first one that reads it
  DenseMap<std::pair<StringAttr, int64_t>, StringAttr> copies;

  /// The name of weight `name` in `stage`: the weight itself, or a copy of what another stage has.
  StringAttr weightOf(FlatSymbolRefAttr name, int64_t stage) {
    Operation *weight = symbols.lookup(name.getAttr());
    if (!isa_and_nonnull<WeightOp, RopeTableOp>(weight))
      return name.getAttr();
    auto [it, isNew] = stageOf.try_emplace(weight, stage);
    if (isNew)
      replaceIn(weight, stage);
    else if (it->second != stage)
      return copyOf(weight, stage);
    return name.getAttr();
  }

  StringAttr copyOf(Operation *weight, int64_t stage) {
    StringAttr name = SymbolTable::getSymbolName(weight);
    if (StringAttr known = copies.lookup({name, stage}))
      return known;
    Operation *copy = weight->clone();
    SymbolTable::setSymbolName(copy, (name.getValue() + ".stage" + Twine(stage)).str());
    StringAttr result = symbols.insert(copy, std::next(Block::iterator(weight)));
    copies[{name, stage}] = result;
    stageOf[copy] = stage;
    replaceIn(copy, stage);
    return result;
  }
};

/// Makes the functions of the stages of one function.
class Splitter {
public:
  Splitter(func::FuncOp function, StageWeights &weights) : function(function), weights(weights), builder(function) {}

  LogicalResult run(ArrayRef<StageOps> stages) {
    for (auto [i, stage] : llvm::enumerate(stages))
      for (Operation *op : stage.ops)
        stageOf[op] = static_cast<int64_t>(i);
    stageOf[function.getBody().front().getTerminator()] = static_cast<int64_t>(stages.size()) - 1;
    for (auto [i, stage] : llvm::enumerate(stages))
      if (failed(makeStage(stage, static_cast<int64_t>(i), i + 1 == stages.size())))
        return failure();
    function.erase();
    return success();
  }

private:
  func::FuncOp function;
  StageWeights &weights;
  OpBuilder builder;
  DenseMap<Operation *, int64_t> stageOf;

  /// The stage that makes `value`; -1 of a parameter.
  int64_t definedIn(Value value) {
    Operation *op = value.getDefiningOp();
    return op ? stageOf.lookup(op) : -1;
  }

  bool isReadFrom(Value value, int64_t stage) {
    return llvm::any_of(value.getUsers(), [&](Operation *user) { return stageOf.lookup(user) >= stage; });
  }
  bool isReadIn(Value value, int64_t stage) {
    return llvm::any_of(value.getUsers(), [&](Operation *user) { return stageOf.lookup(user) == stage; });
  }

  /// The values that are made before `stage` and read in it or later, in their order. Parameters that are no rows are
  /// not among them, since all stages have them.
  SmallVector<Value> liveBefore(int64_t stage) {
    SmallVector<Value> live;
    auto add = [&](Value value) {
      if (definedIn(value) < stage && isReadFrom(value, stage))
        live.push_back(value);
    };
    for (Value argument : function.getArguments())
      if (isRowsValue(argument) && stage > 0)
        add(argument);
    for (Operation &op : function.getBody().front().without_terminator())
      for (Value result : op.getResults())
        add(result);
    return live;
  }

  static bool isCache(Value value) { return isa<KvCacheType>(value.getType()); }

  LogicalResult makeStage(const StageOps &stage, int64_t index, bool isLast) {
    SmallVector<Value> received = liveBefore(index), sent;
    if (!isLast)
      sent = liveBefore(index + 1);
    for (ArrayRef<Value> values : {ArrayRef(received), ArrayRef(sent)})
      for (Value value : values)
        if (!isRowsValue(value) && !isCache(value))
          return value.getDefiningOp()->emitError()
                 << "makes " << value.getType() << " for the next stage; stages exchange rows of the step";
    bool usesCache = llvm::any_of(received, isCache);
    SmallVector<Value> parameters;
    for (Value argument : function.getArguments())
      if (index == 0 ? isRowsValue(argument) || isReadIn(argument, index)
                     : !isRowsValue(argument) && (isReadIn(argument, index) || (isCache(argument) && usesCache)))
        parameters.push_back(argument);
    Value cache;
    for (Value parameter : parameters)
      if (isCache(parameter))
        cache = parameter;
    llvm::erase_if(received, isCache);
    llvm::append_range(parameters, received);

    auto made =
        func::FuncOp::create(builder, function.getLoc(), (function.getSymName() + ".stage" + Twine(index)).str(),
                             builder.getFunctionType(ValueRange(parameters).getTypes(), {}));
    made->setAttr(kStageAttr, builder.getI64IntegerAttr(index));
    OpBuilder body = OpBuilder::atBlockEnd(made.addEntryBlock());
    IRMapping mapping;
    mapping.map(parameters, made.getArguments());
    // A stage has a cache of its own layers alone, which begins as its parameter.
    for (Value value : liveBefore(index))
      if (isCache(value))
        mapping.map(value, mapping.lookup(cache));
    for (Operation *op : stage.ops)
      weights.replaceIn(body.clone(*op, mapping), index);
    SmallVector<Value> results;
    if (isLast) {
      for (Value result : function.getBody().front().getTerminator()->getOperands())
        results.push_back(mapping.lookup(result));
    } else {
      for (bool areCaches : {false, true}) // caches last
        for (Value value : sent)
          if (isCache(value) == areCaches)
            results.push_back(mapping.lookup(value));
    }
    func::ReturnOp::create(body, function.getLoc(), results);
    made.setFunctionType(builder.getFunctionType(made.getArgumentTypes(), ValueRange(results).getTypes()));
    return success();
  }
};

struct SplitStagesPass : inlay::impl::SplitStagesPassBase<SplitStagesPass> {
  using SplitStagesPassBase::SplitStagesPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (module->hasAttr(kStageLayersAttr) || module->hasAttr(kRanksAttr)) {
      module.emitError() << "is divided among stages or ranks already; run llm-split-stages once, before llm-shard";
      return signalPassFailure();
    }
    if (pipelineParallelSize < 1) {
      module.emitError() << "has the pipeline-parallel-size " << pipelineParallelSize << ", expected at least 1";
      return signalPassFailure();
    }
    if (pipelineParallelSize == 1)
      return;
    StageWeights weights(module);
    SmallVector<int64_t> layers;
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      FailureOr<SmallVector<StageOps>> stages = chooseStages(function, pipelineParallelSize);
      if (failed(stages))
        return signalPassFailure();
      layers.clear();
      for (auto [i, stage] : llvm::enumerate(*stages)) {
        layers.push_back(stage.layers);
        function.emitRemark() << "stage " << i << ": " << stage.layers << " layers, " << stage.bytes
                              << " bytes of weights";
      }
      if (failed(Splitter(function, weights).run(*stages)))
        return signalPassFailure();
    }
    module->setAttr(kStageLayersAttr, DenseI64ArrayAttr::get(&getContext(), layers));
  }
};

} // namespace

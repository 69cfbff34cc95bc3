//===- ConvertLlmToTile.cpp - each group a program, each step its launches -===//

#include "dialects/llm/Halves.h"
#include "dialects/llm/RowScales.h"
#include "dialects/llm/Stages.h"
#include "dialects/tile/UniquePrograms.h"
#include "passes/llm_to_tile/ProgramBuilder.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_CONVERTLLMTOTILEPASS
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

/// Writes the program of `group`, by what the group is built around.
static LogicalResult convertGroup(GroupOp group, ProgramBuilder &b, tile::ProgramOp &result) {
  for (Operation &op : group.getBody().front()) {
    if (auto linear = dyn_cast<LinearOp>(op))
      return convertLinear(group, linear, b, result);
    if (auto attention = dyn_cast<PagedAttentionOp>(op))
      return convertAttention(group, attention, b, result);
    if (auto sample = dyn_cast<SampleOp>(op))
      return convertSample(group, sample, b, result);
    if (auto candidate = dyn_cast<SampleCandidateOp>(op))
      return convertSampleCandidate(group, candidate, b, result);
    if (auto merge = dyn_cast<SampleMergeOp>(op))
      return convertSampleMerge(group, merge, b, result);
    // In front of a product, a sum over ranks is a part of its prologue.
    if (auto collective = dyn_cast<CollectiveInterface>(op);
        collective && group.getBody().front().getOps<LinearOp>().empty())
      return convertCollective(group, collective, b, result);
    if (auto gather = dyn_cast<GatherColumnsOp>(op))
      return convertGatherColumns(group, gather, b, result);
    if (auto squares = dyn_cast<SumOfSquaresOp>(op))
      return convertSumOfSquares(group, squares, b, result);
  }
  // Without an anchor: heads, or rows.
  bool hasHeads = llvm::any_of(group.getBody().front(), [](Operation &op) {
    auto norm = dyn_cast<NormInterface>(op);
    return isa<RopeOp, KvAppendOp>(op) || (norm && norm.getGroup());
  });
  return hasHeads ? convertHeads(group, b, result) : convertRows(group, b, result);
}

/// When `group` runs. What makes tokens from the candidates of all ranks replaces what gathers and samples logits.
static tile::Section sectionOf(GroupOp group) {
  Operation *first = &group.getBody().front().front();
  if (isa<SampleOp>(first))
    return tile::Section::Sampling;
  if (isa<SampleCandidateOp, SampleMergeOp>(first))
    return tile::Section::PartSampling;
  if (!isa<AllGatherOp>(first))
    return tile::Section::Model;
  if (Placement::of(group.getResult(0)).kind == Placement::Kind::Logits)
    return tile::Section::Gather;
  bool isOfCandidates =
      llvm::any_of(group.getResult(0).getUsers(), [](Operation *user) { return isa<SampleMergeOp>(user); });
  return isOfCandidates ? tile::Section::PartSampling : tile::Section::Model;
}

/// The name of a group's program: the last part of the group's name, as an identifier.
static std::string programName(StringRef groupName, StringRef entry) {
  std::string name = (entry + "_" + groupName.rsplit('.').second).str();
  if (!groupName.contains('.'))
    name = (entry + "_" + groupName).str();
  for (char &c : name)
    if (!llvm::isAlnum(c))
      c = '_';
  return name;
}

/// "model.layers.3.mlp: rms_norm, linear, gated_activation": the model's ops behind a launch.
static std::string describe(GroupOp group) {
  std::string text = group.getName().str() + ":";
  for (Operation &op : group.getBody().front().without_terminator())
    text += (" " + op.getName().stripDialect()).str();
  return text;
}

/// What the launch of `group` with these arguments writes of an llm.quantize that finds scales; null if it has none.
static DictionaryAttr rowScalesOf(GroupOp group, ArrayAttr arguments, Builder &builder) {
  Operation *yield = group.getBody().front().getTerminator();
  for (OpResult result : group->getResults()) {
    Value yielded = yield->getOperand(result.getResultNumber());
    auto quantize = yielded.getDefiningOp<QuantizeOp>();
    if (!quantize || quantize.getScale() || yielded != quantize.getScales())
      continue;
    const auto *found = llvm::find_if(arguments, [&](Attribute argument) {
      auto memory = cast<tile::MemoryAttr>(argument);
      return memory.getKind() == tile::MemoryKind::Workspace && memory.getNumber() == Placement::of(result).offset;
    });
    assert(found != arguments.end() && "a result lies behind no argument");
    RowScales scales{found - arguments.begin(), {}};
    for (Operation *user : result.getUsers())
      if (auto linear = dyn_cast<LinearOp>(user))
        scales.weights.push_back(linear.getWeight().str());
    return scales.toAttribute(builder);
  }
  return {};
}

namespace {

struct ConvertLlmToTilePass : inlay::impl::ConvertLlmToTilePassBase<ConvertLlmToTilePass> {
  using ConvertLlmToTilePassBase::ConvertLlmToTilePassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto config = module->getAttrOfType<DictionaryAttr>("llm.model");
    auto maxModelLen = config ? config.getAs<IntegerAttr>("max_model_len") : IntegerAttr();
    if (!maxModelLen) {
      module.emitError("has no 'max_model_len' in its attribute 'llm.model'");
      return signalPassFailure();
    }
    step.target = target;
    step.pageSize = pageSize;
    step.maxModelLen = maxModelLen.getInt();
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
      if (failed(convertStep(function)))
        return signalPassFailure();
  }

private:
  StepShape step;
  tile::UniquePrograms programs;

  LogicalResult convertStep(func::FuncOp function) {
    ModuleOp module = getOperation();
    FailureOr<EntryShape> shape = EntryShape::of(function);
    if (failed(shape))
      return failure();
    step.decode = shape->kind == "decode";
    step.maxTokens = shape->maxTokens;
    step.maxSequences = shape->maxSequences;
    std::string entry = function.getSymName().str();
    SymbolTable symbols(module);
    OpBuilder builder(function);
    int64_t share = 1;
    function.walk([&](PagedAttentionOp op) { share = std::max<int64_t>(share, op.getHeads() / op.getKvHeads()); });
    constexpr int64_t matrixRows = 16; // of attention, rows x heads of a group: they fill the vectors of a cpu
    step.queryTileRows = step.decode ? 1 : std::max<int64_t>(1, matrixRows / share);
    auto bytes = function->getAttrOfType<IntegerAttr>("llm.workspace_bytes");
    if (!bytes)
      return function.emitError("has no buffers; run llm-plan-buffers first");
    builder.setInsertionPointToEnd(module.getBody());
    symbols.remove(function);
    auto kind = step.decode ? tile::EntryKind::Decode : tile::EntryKind::Mixed;
    auto list = tile::EntryOp::create(builder, function.getLoc(), entry, kind, step.maxTokens, step.maxSequences,
                                      step.queryTileRows, bytes.getInt());
    if (failed(addTransfers(function, list)))
      return failure();
    if (auto halves = function->getAttr(HalvesOfSteps::attributeName))
      list->setAttr(HalvesOfSteps::attributeName, halves);
    builder.setInsertionPointToStart(&list.getBody().emplaceBlock());
    Value logits;
    for (GroupOp group : function.getOps<GroupOp>()) {
      tile::Section section = sectionOf(group);
      if (section == tile::Section::Sampling) {
        // What changes logits before a token is taken from them.
        auto sample = *group.getBody().front().getOps<SampleOp>().begin();
        logits = sample.getLogits();
        ProgramBuilder b(group.getLoc(), step, symbols);
        tile::ProgramOp program = buildPenalties(logits, b);
        launch(builder, symbols, program, entry + "_penalties", b.getLaunchArguments(), tile::Section::Penalties,
               "repetition, presence and frequency penalties");
      }
      ProgramBuilder b(group.getLoc(), step, symbols);
      tile::ProgramOp program;
      if (failed(convertGroup(group, b, program)))
        return failure();
      tile::LaunchOp op = launch(builder, symbols, program, programName(group.getName(), entry), b.getLaunchArguments(),
                                 section, describe(group));
      setHalves(op, getHalves(group));
      if (DictionaryAttr scales = rowScalesOf(group, op.getArguments(), builder))
        op->setAttr(kRowScalesAttr, scales);
    }
    for (Operation &op : function.getBody().front().without_terminator())
      if (!isa<GroupOp>(op))
        return op.emitError() << "is in no group; run llm-form-groups first";
    function.erase();
    symbols.insert(list);
    return success();
  }

  /// Says in `list` which stage of a pipeline `function` is, and which rows it receives and sends.
  static LogicalResult addTransfers(func::FuncOp function, tile::EntryOp list) {
    auto stage = function->getAttr(kStageAttr);
    if (!stage)
      return success();
    list->setAttr(kStageAttr, stage);
    Builder builder(function.getContext());
    auto add = [&](StringRef name, ValueRange values) {
      SmallVector<Attribute> transfers;
      for (Value value : values) {
        auto type = dyn_cast<RankedTensorType>(value.getType());
        if (!type || type.getRank() != 2)
          continue;
        Placement place = Placement::of(value);
        if (place.kind == Placement::Kind::Logits)
          continue;
        if (place.logitRows || place.rowColumns != type.getDimSize(1))
          return failure();
        int64_t rowBytes = type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
        transfers.push_back(Transfer{place.offset, rowBytes}.toAttribute(builder));
      }
      if (!transfers.empty())
        list->setAttr(name, builder.getArrayAttr(transfers));
      return success();
    };
    if (failed(add(kReceivesAttr, function.getArguments())) ||
        failed(add(kSendsAttr, function.getBody().front().getTerminator()->getOperands())))
      return function.emitError("is a stage that sends rows which lie beside others, or rows of logits; expected whole "
                                "rows of the step");
    return success();
  }

  /// Adds a launch of `program`, or of the program with the same text that is already there.
  tile::LaunchOp launch(OpBuilder &builder, SymbolTable &symbols, tile::ProgramOp program, std::string name,
                        ArrayAttr arguments, tile::Section section, std::string origin) {
    Location loc = program.getLoc();
    program->setAttr(tile::kOriginAttr, builder.getStringAttr(origin));
    StringAttr symbol = programs.insert(program, name, symbols);
    return tile::LaunchOp::create(builder, loc, section, symbol, arguments, origin);
  }
};

} // namespace

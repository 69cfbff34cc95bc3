//===- CompileModel.cpp - compiles a model directory into a bundle ---------===//

#include "compiler/pipelines/CompileModel.h"

#include "codegen/emit/CompileKernels.h"
#include "compiler/pipelines/CacheGroups.h"
#include "compiler/pipelines/Calibration.h"
#include "compiler/pipelines/CheckpointOptions.h"
#include "compiler/pipelines/Diagnostics.h"
#include "compiler/pipelines/Lowering.h"
#include "compiler/pipelines/Manifest.h"
#include "compiler/pipelines/PlanBuilder.h"
#include "compiler/pipelines/QuantizationEval.h"
#include "compiler/pipelines/QuantizationReport.h"
#include "compiler/pipelines/Registration.h"
#include "compiler/pipelines/RequestOptions.h"
#include "compiler/pipelines/TargetKernels.h"
#include "compiler/pipelines/Tuning.h"
#include "dialects/llm/Stages.h"
#include "fmt/format.h"
#include "formats/tokenizer/chat_template_files.h"
#include "frontends/hf/Checkpoint.h"
#include "frontends/hf/import/Import.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "passes/llm/Passes.h"
#include "passes/tile_to_cuda/Pipelines.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/step_sizes.h"
#include "runtime/bundle/writer.h"
#include "runtime/support/files.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

#include <chrono>
#include <filesystem>
#include <map>

using namespace mlir;
using namespace inlay;
namespace fs = std::filesystem;

/// Files of the checkpoint that are copied into the bundle for tokenization and sampling defaults, in addition to the
/// files with chat templates.
static constexpr const char *textFiles[] = {"config.json",           "generation_config.json",  "tokenizer.json",
                                            "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The element type of most bytes of a checkpoint, as MLIR spells it. Empty if recipes do not support that type.
std::string mostBytesOf(const SafetensorsIndex &weights) {
  std::map<std::string, uint64_t> bytes;
  for (const auto &[name, tensor] : weights.tensors)
    bytes[tensor.dtype] += tensor.bytes;
  auto most = std::max_element(bytes.begin(), bytes.end(), [](auto &a, auto &b) { return a.second < b.second; });
  if (most == bytes.end())
    return "";
  return llvm::StringSwitch<std::string>(most->first)
      .Case("F32", "f32")
      .Case("BF16", "bf16")
      .Case("F16", "f16")
      .Default("");
}

/// The state of one call of compileModel.
class Compilation {
public:
  Compilation(const CompileRequest &request, std::string &out)
      : request(request), out(out), diagnostics(context), without(ablationOf(request)) {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  absl::Status run() {
    absl::Status status = compile();
    if (request.explain)
      out += diagnostics.explain();
    return status;
  }

  /// The launches of the last target that find scales of rows.
  std::vector<ScaledLaunch> takeScaledLaunches() { return std::move(scaledLaunches); }

private:
  const CompileRequest &request;
  std::string &out;
  MLIRContext context;
  Diagnostics diagnostics;
  BundleContents bundle;
  StepLimits limits;
  Ablation without;
  std::vector<ScaledLaunch> scaledLaunches;
  std::string sourceType; // element type of linked weights: f32, bf16 or f16; empty in other modes

  void progress(const std::string &line) {
    if (request.progress)
      request.progress(line);
  }

  absl::Status compile() {
    auto begin = Clock::now();
    if (absl::Status status = checkRanks(request); !status.ok())
      return status;
    hf::CheckpointOptions options = checkpointOptionsOf(request);
    hf::Problems problems;
    std::optional<hf::Checkpoint> checkpoint = hf::OpenCheckpoint(request.modelDirectory, options, problems);
    if (!checkpoint)
      return firstProblem(problems.ToStatus());
    for (const hf::Problem &problem : problems.items())
      progress("warning: " + problem.ToString());
    if (!checkpoint->text.has_tokenizer)
      progress("no tokenizer.json: the bundle takes token ids only");
    const hf::ModelConfig &config = checkpoint->config;
    if (request.weights == WeightsMode::Link)
      sourceType = mostBytesOf(checkpoint->weights);
    absl::StatusOr<StepLimits> allowed = stepLimitsOf(request, config);
    if (!allowed.ok())
      return allowed.status();
    limits = *allowed;
    if (absl::Status status = checkSums(request, limits); !status.ok())
      return status;
    OwningOpRef<ModuleOp> model = hf::importHuggingFace(context, config);
    progress(fmt::format("imported {} in {:.1f} s; --max-model-len {} --max-num-seqs {} --max-num-batched-tokens {}",
                         request.modelDirectory, secondsSince(begin), limits.maxModelLen, limits.maxNumSeqs,
                         limits.maxNumBatchedTokens));
    if (failed(shard(*model)))
      return diagnostics.failure("dividing the model among ranks");
    if (request.emit == EmitStage::Llm) {
      llvm::raw_string_ostream stream(out);
      model->print(stream);
      return absl::OkStatus();
    }

    FailureOr<std::vector<CacheGroup>> groups = chooseCacheGroups(*model, limits);
    if (failed(groups))
      return diagnostics.failure("dividing the layers into cache groups");
    flatbuffers::FlatBufferBuilder fb;
    std::vector<flatbuffers::Offset<plan::Target>> targets;
    llvm::json::Object kernels;
    for (const std::string &target : request.targets) {
      if (request.tune && target != "cpu")
        if (absl::Status status = tune(*model, target, *groups, config); !status.ok())
          return status;
      std::vector<EntryPoint> entries = chooseEntryPoints(target, limits);
      absl::StatusOr<CompiledTarget> compiled = compileTarget(*model, target, entries);
      if (!compiled.ok())
        return compiled.status();
      if (request.emit != EmitStage::Bundle)
        continue;
      FailureOr<flatbuffers::Offset<plan::Target>> built =
          buildTarget(fb, *compiled->tiles, target, entries, *groups, compiled->kernels, compiled->cpuFeatures);
      if (failed(built))
        return diagnostics.failure("building the plan");
      scaledLaunches = findScaledLaunches(*compiled->tiles);
      targets.push_back(*built);
      kernels[target] = std::move(compiled->manifestKernels);
    }
    if (request.emit != EmitStage::Bundle)
      return absl::OkStatus();
    auto groupTables = buildCacheGroups(fb, *model, *groups, limits);
    if (failed(groupTables))
      return diagnostics.failure("building the plan");
    plan::FinishPlanBuffer(fb, buildPlan(fb, *model, config, *groupTables, targets));
    bundle.plan.assign(reinterpret_cast<const char *>(fb.GetBufferPointer()), fb.GetSize());
    return write(*checkpoint, std::move(kernels), begin);
  }

  /// Makes `model` the programs of all stages, each that of several ranks.
  LogicalResult shard(ModuleOp model) {
    PassManager passes(&context);
    SplitStagesPassOptions split;
    split.pipelineParallelSize = request.parallel.pipeline;
    passes.addPass(createSplitStagesPass(split));
    ShardPassOptions options;
    options.tensorParallelSize = request.parallel.tensor;
    passes.addPass(createShardPass(options));
    return passes.run(model);
  }

  /// The plan of all targets.
  flatbuffers::Offset<plan::Plan> buildPlan(flatbuffers::FlatBufferBuilder &fb, ModuleOp module,
                                            const hf::ModelConfig &config,
                                            const std::vector<flatbuffers::Offset<plan::CacheGroup>> &groups,
                                            const std::vector<flatbuffers::Offset<plan::Target>> &targets) const {
    ArrayRef<int64_t> stages = llm::getStageLayers(module);
    std::vector<uint32_t> stageLayers(stages.begin(), stages.end());
    auto model = plan::CreateModelDirect(fb, config.vocab_size, config.layers.size(), &groups, limits.maxModelLen,
                                         limits.maxNumSeqs, limits.maxNumBatchedTokens, config.short_rope_len,
                                         stageLayers.empty() ? nullptr : &stageLayers);
    std::vector<flatbuffers::Offset<flatbuffers::String>> sizes;
    for (const char *name : kStepSizeNames)
      sizes.push_back(fb.CreateString(name));
    return plan::CreatePlanDirect(fb, kBundleFormatVersion, &sizes, static_cast<uint32_t>(request.parallel.getRanks()),
                                  model, &targets);
  }

  absl::Status write(const hf::Checkpoint &checkpoint, llvm::json::Object kernels, Clock::time_point begin) {
    llvm::json::Object manifest{{"model", describeModel(checkpoint.config, limits)},
                                {"sampling", describeSampling(checkpoint.generation)},
                                {"kernels", std::move(kernels)},
                                {"driver_minimum", "580"}};
    if (!request.without.empty())
      manifest["without"] = llvm::json::Array(request.without);
    bundle.manifest_extra = llvm::formatv("{0}", llvm::json::Value(std::move(manifest))).str();
    std::vector<std::string> names(std::begin(textFiles), std::end(textFiles));
    for (std::string &name : tokenizer::ListChatTemplateFiles(request.modelDirectory))
      names.push_back(std::move(name));
    for (const std::string &name : names) {
      std::string path = request.modelDirectory + "/" + name;
      if (!fs::exists(path))
        continue;
      absl::StatusOr<std::string> text = ReadFile(path);
      if (!text.ok())
        return text.status();
      bundle.files.emplace_back("tokenizer/" + name, *std::move(text));
    }
    bundle.weights_mode = request.weights == WeightsMode::Pack   ? "pack"
                          : request.weights == WeightsMode::Link ? "link"
                                                                 : "dummy";
    bundle.checkpoint = request.modelDirectory;
    if (request.dryRun) {
      progress(fmt::format("dry run: {} files not written, {:.1f} s", bundle.files.size() + 2, secondsSince(begin)));
      return absl::OkStatus();
    }
    QuantizationReport report(checkpoint.config);
    if (request.progress)
      bundle.on_quantized = [&](const QuantizedTensor &tensor) { progress(report.add(tensor)); };
    if (absl::Status status = WriteBundle(bundle, request.output, request.overwrite); !status.ok())
      return status;
    if (std::string summary = report.summary(); !summary.empty())
      progress(summary);
    progress(fmt::format("wrote {} in {:.1f} s", request.output, secondsSince(begin)));
    return absl::OkStatus();
  }

  /// Lowers `model` for a target and compiles its programs, as far as --emit asks.
  absl::StatusOr<CompiledTarget> compileTarget(ModuleOp model, const std::string &target,
                                               ArrayRef<EntryPoint> entries) {
    if (target != "cpu" && target != "sm_90a")
      return absl::InvalidArgumentError(fmt::format("--target is '{}', expected cpu or sm_90a", target));
    auto begin = Clock::now();
    // The cpu multiplies floats all the same, so that it quantizes activations only if asked.
    bool quantizesActivations = target != "cpu" || request.activations == "dynamic";
    FailureOr<OwningOpRef<ModuleOp>> tiles =
        lowerToTile(model, target, limits, entries, sourceType, without, request.tuning, request.library,
                    quantizesActivations, request.sums);
    if (failed(tiles))
      return diagnostics.failure("lowering to tile programs");
    auto programs = llvm::to_vector((*tiles)->getOps<tile::ProgramOp>());
    size_t ofLibraries = llvm::count_if(programs, isLibraryProduct);
    progress(fmt::format("{}: {} kernels to compile{}, lowered in {:.1f} s", target,
                         llvm::count_if(programs, isCompiled),
                         ofLibraries ? fmt::format(", {} left to cublaslt", ofLibraries) : "", secondsSince(begin)));
    if (request.emit == EmitStage::Scheduled && target != "cpu") {
      PassManager schedule(&context);
      addSchedulePasses(schedule);
      if (failed(schedule.run(**tiles)))
        return diagnostics.failure("scheduling");
    }
    if (request.emit == EmitStage::Tile || (request.emit == EmitStage::Scheduled && target != "cpu")) {
      llvm::raw_string_ostream stream(out);
      (*tiles)->print(stream);
      return CompiledTarget{std::move(*tiles)};
    }
    begin = Clock::now();
    absl::StatusOr<CompiledTarget> result = compileKernels(std::move(*tiles), target, request, diagnostics);
    if (!result.ok())
      return result;
    out += result->text;
    llvm::move(result->files, std::back_inserter(bundle.files));
    progress(fmt::format("{}: kernels compiled in {:.1f} s", target, secondsSince(begin)));
    return result;
  }

  /// Measures schedules for --tune, into the tuning file that compileTarget reads then.
  absl::Status tune(ModuleOp model, const std::string &target, ArrayRef<CacheGroup> groups,
                    const hf::ModelConfig &config) {
    TuneOptions options = *request.tune;
    options.target = target;
    options.file = request.tuning;
    options.progress = request.progress;
    ScheduleTuner tuner(options);
    if (absl::Status status = tuner.open(); !status.ok())
      return status;
    // The remarks of this lowering are not those of what is compiled then.
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &diagnostic) {
      return success(diagnostic.getSeverity() == DiagnosticSeverity::Remark);
    });
    std::vector<EntryPoint> entries = chooseEntryPoints(target, limits);
    // A kernel that receives rows of other ranks cannot be measured alone. Its product has the schedule of rows in
    // memory.
    FailureOr<OwningOpRef<ModuleOp>> tiles =
        lowerToTile(model, target, limits, entries, /*sourceType=*/"", without, request.tuning, request.library,
                    /*quantizesActivations=*/true);
    CudaOptions cuda;
    cuda.arch = target;
    cuda.nvrtcPath = request.nvrtc;
    if (failed(tiles) || failed(tuner.prepare(**tiles, entries, cuda)))
      return diagnostics.failure("preparing the schedules to measure");
    if (tuner.isDone())
      return absl::OkStatus();
    const TuningModule &tuning = tuner.alternatives();
    flatbuffers::FlatBufferBuilder fb;
    auto groupTables = buildCacheGroups(fb, model, groups, limits);
    auto built = buildTarget(fb, *tuning.module, target, tuning.entries, groups, tuning.facts, /*cpuFeatures=*/{});
    if (failed(groupTables) || failed(built))
      return diagnostics.failure("building the plan to measure");
    plan::FinishPlanBuffer(fb, buildPlan(fb, model, config, *groupTables, {*built}));
    absl::Status status = tuner.measure({reinterpret_cast<const char *>(fb.GetBufferPointer()), fb.GetSize()});
    if (request.explain)
      out += tuner.explain();
    return status;
  }
};

} // namespace

absl::Status inlay::compileForCalibration(const CompileRequest &request, std::vector<ScaledLaunch> &launches) {
  std::string ignored;
  Compilation compilation(request, ignored);
  absl::Status status = compilation.run();
  launches = compilation.takeScaledLaunches();
  return status;
}

absl::Status inlay::compileModel(const CompileRequest &request, std::string &out) {
  if (!request.output.empty() && fs::exists(request.output) && !request.overwrite &&
      request.emit == EmitStage::Bundle && !request.dryRun)
    return absl::AlreadyExistsError(
        fmt::format("{}: exists; choose another output or add --overwrite", request.output));
  absl::StatusOr<std::string> text = readEvaluationText(request), calibration = readCalibrationText(request);
  for (const absl::StatusOr<std::string> *read : {&text, &calibration})
    if (!read->ok())
      return read->status();
  CompileRequest calibrated = request;
  if (!calibration->empty()) {
    absl::StatusOr<std::map<std::string, float>> scales = calibrate(request, *calibration, out);
    if (!scales.ok())
      return scales.status();
    calibrated.inputScales = *std::move(scales);
    calibrated.calibration.clear();
  }
  if (absl::Status status = Compilation(calibrated, out).run(); !status.ok() || text->empty())
    return status;
  return evaluateQuantization(calibrated, *text, out);
}

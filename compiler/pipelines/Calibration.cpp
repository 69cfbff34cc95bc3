//===- Calibration.cpp - static scales of activations from a text ----------===//

#include "compiler/pipelines/Calibration.h"

#include "compiler/pipelines/GreedyToken.h"
#include "dialects/tile/Tile.h"
#include "fmt/format.h"
#include "runtime/api/engine_internal.h"
#include "runtime/device/cpu_device.h"
#include "runtime/support/files.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

using namespace inlay;
namespace fs = std::filesystem;

/// Tokens of a prompt at most, which is one step.
static constexpr size_t maxChunk = 512;
/// The largest number of e4m3.
static constexpr float largestCode = 448;

std::vector<ScaledLaunch> inlay::findScaledLaunches(mlir::ModuleOp tiles) {
  std::vector<ScaledLaunch> found;
  for (auto entry : tiles.getOps<tile::EntryOp>()) {
    if (entry.getKind() != tile::EntryKind::Mixed)
      continue;
    uint32_t index = 0;
    for (auto launch : entry.getBody().getOps<tile::LaunchOp>()) {
      if (launch.getSection() != tile::Section::Model)
        continue;
      if (std::optional<llm::RowScales> scales = llm::RowScales::of(launch))
        found.push_back({index, *std::move(scales)});
      ++index;
    }
  }
  return found;
}

namespace {

/// The largest scale that a row had in each of some launches.
struct LargestScales {
  std::vector<ScaledLaunch> launches;
  std::vector<float> values; // of each launch; not a number if one of its scales is not
  int64_t rows = 0;          // that the first launch had
};

/// The cpu, with a look at the scales after each launch that finds some.
class CalibrationDevice : public CpuDevice {
public:
  explicit CalibrationDevice(LargestScales &largest) : CpuDevice(/*threads=*/0), largest(largest) {}

  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override {
    for (const plan::Entry *entry : *target.entries())
      if (entry->kind() == plan::EntryKind_Mixed)
        for (auto [i, launch] : llvm::enumerate(largest.launches))
          numbers[entry->launches()->Get(launch.index)] = i;
    return CpuDevice::LoadKernels(bundle, target);
  }

  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override {
    std::vector<Part> parts;
    for (size_t first = 0, i = 0; i < launches.size(); ++i) {
      auto found = numbers.find(launches[i].launch);
      bool isScaled = found != numbers.end();
      if (!isScaled && i + 1 < launches.size())
        continue;
      absl::StatusOr<LaunchList> list = CpuDevice::Prepare(launches.subspan(first, i + 1 - first));
      if (!list.ok())
        return list.status();
      Part part{*list};
      if (isScaled) {
        part.number = found->second;
        part.scales = static_cast<const float *>(
            launches[i].arguments[static_cast<size_t>(largest.launches[part.number].scales.argument)]);
      }
      parts.push_back(part);
      first = i + 1;
    }
    lists.push_back(std::move(parts));
    return static_cast<LaunchList>(lists.size() - 1);
  }

  absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) override {
    for (const Part &part : lists[static_cast<size_t>(list)]) {
      if (absl::Status status = CpuDevice::Run(part.list, sizes, reuse); !status.ok())
        return status;
      if (!part.scales)
        continue;
      float &most = largest.values[part.number];
      for (int32_t row = 0; row < sizes[plan::Extent_Tokens]; ++row)
        if (!std::isnan(most) && !(part.scales[row] <= most)) // also if it is not a number, which is kept
          most = part.scales[row];
      if (part.number == 0)
        largest.rows += sizes[plan::Extent_Tokens];
    }
    return absl::OkStatus();
  }

private:
  /// Launches of a list up to one that finds scales, or to the end.
  struct Part {
    LaunchList list;
    size_t number = 0;
    const float *scales = nullptr; // of each row; null: the last launch finds none
  };

  LargestScales &largest;
  std::map<const plan::Launch *, size_t> numbers;
  std::vector<std::vector<Part>> lists;
};

/// A directory that is removed at the end.
struct TemporaryDirectory {
  std::string path = (fs::temp_directory_path() / "inlay-calibration-XXXXXX").string();
  bool exists = mkdtemp(path.data()) != nullptr;

  TemporaryDirectory() = default;
  TemporaryDirectory(const TemporaryDirectory &) = delete;
  TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (exists)
      fs::remove_all(path, ignored);
  }
};

} // namespace

static absl::Status calibrationError(const CompileRequest &request, std::string_view problem, std::string_view fix) {
  return absl::InvalidArgumentError(fmt::format("--calibration-file {}: {}; {}", request.calibration, problem, fix));
}

/// Runs a prompt of each run of at most `most` tokens; none has one token alone, which would be a decode step.
static absl::Status runChunks(Engine &engine, const std::vector<int32_t> &ids, size_t most) {
  size_t chunks = (ids.size() + most - 1) / most;
  for (size_t i = 0; i < chunks; ++i) {
    size_t first = ids.size() * i / chunks, end = ids.size() * (i + 1) / chunks;
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle =
        engine.Submit(greedyToken(std::span(ids).subspan(first, end - first)));
    if (!handle.ok())
      return handle.status();
    while ((*handle)->Next())
      ;
    if (!(*handle)->status().ok())
      return (*handle)->status();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> inlay::readCalibrationText(const CompileRequest &request) {
  if (request.calibration.empty())
    return "";
  auto error = [&](std::string_view problem, std::string_view fix) { return calibrationError(request, problem, fix); };
  if (request.quantization != "fp8")
    return error(fmt::format("--quantization is {}, expected fp8",
                             request.quantization.empty() ? "missing" : request.quantization),
                 "static scales are for activations of fp8 weights: add --quantization fp8");
  if (request.activations != "auto")
    return error(fmt::format("--activation-quantization is {}, which uses no static scales", request.activations),
                 "drop one of the options");
  if (request.weights == WeightsMode::Dummy)
    return error("dummy weights say nothing about text", "compile a checkpoint");
  std::error_code ignored;
  if (!fs::exists(request.modelDirectory + "/tokenizer.json", ignored))
    return error(fmt::format("{} has no tokenizer.json", request.modelDirectory), "add the tokenizer of the model");
  absl::StatusOr<std::string> text = ReadFile(request.calibration);
  if (!text.ok())
    return absl::Status(text.status().code(),
                        fmt::format("--calibration-file {}", std::string(text.status().message())));
  if (text->empty())
    return error("is empty", "give a file with text");
  return text;
}

absl::StatusOr<std::map<std::string, float>> inlay::calibrate(const CompileRequest &request, const std::string &text,
                                                              std::string &out) {
  if (request.progress && llvm::all_of(request.targets, [](const std::string &target) { return target == "cpu"; }))
    request.progress(
        "warning: --calibration-file: the target cpu multiplies floats; static scales are for GPU targets");
  TemporaryDirectory directory;
  if (!directory.exists)
    return absl::InternalError(fmt::format("{}: cannot be created; check TMPDIR", directory.path));
  CompileRequest dynamic = request;
  dynamic.output = directory.path + "/dynamic";
  dynamic.targets = {"cpu"};
  dynamic.cpu.clear();
  dynamic.activations = "dynamic";
  dynamic.weights = WeightsMode::Link; // quantizing them again takes no space
  dynamic.emit = EmitStage::Bundle;
  dynamic.parallel = {};
  dynamic.maxNumSeqs = 1;
  dynamic.maxNumBatchedTokens = maxChunk;
  dynamic.dryRun = dynamic.explain = dynamic.saveIr = false;
  dynamic.tune.reset();
  // Each matrix has a product of its own then, and so the name that it has in the checkpoint.
  dynamic.without = {"fusion"};
  dynamic.progress = nullptr;
  LargestScales largest;
  if (absl::Status status = compileForCalibration(dynamic, largest.launches); !status.ok())
    return status;
  if (largest.launches.empty())
    return calibrationError(request, "no matrix is multiplied by codes", "drop the option");
  EngineOptions options;
  options.target = "cpu";
  options.enable_prefix_caching = false;
  absl::StatusOr<std::unique_ptr<Engine>> engine = LoadEngine(
      dynamic.output, options, [&](std::unique_ptr<Device>) { return std::make_unique<CalibrationDevice>(largest); },
      /*checks_invariants=*/false);
  if (!engine.ok())
    return engine.status();
  absl::StatusOr<std::vector<int32_t>> ids = (*engine)->Tokenize(text, /*add_special_tokens=*/true);
  if (!ids.ok())
    return ids.status();
  if (ids->size() < 2)
    return calibrationError(request, fmt::format("has {} tokens, expected at least 2", ids->size()),
                            "give a longer text");
  // One token is generated.
  size_t most = std::min(maxChunk, static_cast<size_t>((*engine)->Stats().max_model_len) - 1);
  if (most < 3)
    return calibrationError(request, fmt::format("--max-model-len is {}, expected at least 4", most + 1), "raise it");
  if (request.progress)
    request.progress(fmt::format("calibrating activations on {} tokens of {}", ids->size(), request.calibration));
  largest.values.assign(largest.launches.size(), 0);
  largest.rows = 0;
  if (absl::Status status = runChunks(**engine, *ids, most); !status.ok())
    return absl::Status(status.code(),
                        fmt::format("--calibration-file {}: {}", request.calibration, std::string(status.message())));
  if (largest.rows != static_cast<int64_t>(ids->size()))
    return absl::InternalError(
        fmt::format("--calibration-file {}: activations of {} tokens were quantized, expected {}", request.calibration,
                    largest.rows, ids->size()));
  std::map<std::string, float> scales;
  for (const auto &[launch, value] : llvm::zip_equal(largest.launches, largest.values))
    for (const std::string &weight : launch.scales.weights) {
      if (!std::isfinite(value))
        return calibrationError(request,
                                fmt::format("what '{}' is multiplied by has values that are not finite", weight),
                                "use another --dtype, or check the checkpoint");
      scales[weight] = value;
      if (request.explain)
        out += fmt::format("calibration: '{}' is multiplied by magnitudes of at most {:.4g}: the scale is {:.4g}\n",
                           weight, value * largestCode, value);
    }
  auto [least, greatest] = std::minmax_element(largest.values.begin(), largest.values.end());
  if (request.progress)
    request.progress(fmt::format("calibrated {} inputs of {} matrices on {} tokens: scales of {:.3g} to {:.3g}",
                                 largest.values.size(), scales.size(), ids->size(), *least, *greatest));
  return scales;
}

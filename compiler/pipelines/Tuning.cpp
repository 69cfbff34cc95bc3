//===- Tuning.cpp - measures the schedules of a model's kernels ------------===//

#include "compiler/pipelines/Tuning.h"

#include "fmt/chrono.h"
#include "fmt/format.h"
#include "passes/tile/ScheduleTuning.h"
#include "runtime/bundle/writer.h"
#include "runtime/support/version.h"
#include "llvm/ADT/ScopeExit.h"

#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <unistd.h>

using namespace mlir;
using namespace inlay;
namespace fs = std::filesystem;

/// The name of the chip of a device that is called "NVIDIA H200 (sm_90a)".
static std::string chipOf(const Device &device) {
  std::string name = device.Name();
  return name.substr(0, name.rfind(" ("));
}

static std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr))); }

absl::Status ScheduleTuner::open() {
  absl::StatusOr<std::unique_ptr<Device>> opened =
      options.openDevice ? options.openDevice() : OpenDevice(options.target, /*threads=*/0);
  if (!opened.ok())
    return absl::Status(opened.status().code(),
                        fmt::format("--tune measures kernels on a GPU for {}, but it cannot be used: {}",
                                    options.target, std::string(opened.status().message())));
  device = *std::move(opened);
  bool exists = fs::exists(options.file);
  std::string chip = chipOf(*device);
  absl::StatusOr<TuningFile> read = exists ? TuningFile::read(options.file) : TuningFile::builtin();
  if (!read.ok())
    return read.status();
  bool fits = read->chip == chip && read->target == options.target;
  if (exists && !fits)
    return absl::FailedPreconditionError(
        fmt::format("{}: was measured on '{}' for {}, but this machine measures on '{}' for {}; name another file with "
                    "--tuning-file",
                    options.file, read->chip, read->target, chip, options.target));
  if (fits)
    file = *std::move(read);
  file.path = options.file;
  file.target = options.target;
  file.chip = chip;
  return file.write(); // says now, and not after minutes, that it cannot be written
}

LogicalResult ScheduleTuner::prepare(ModuleOp tiles, ArrayRef<EntryPoint> entries, const CudaOptions &cuda) {
  auto isOfThisRevision = [](const auto &entries, const auto &key) {
    auto found = entries.find(key);
    return found != entries.end() && found->second.compiler == Revision();
  };
  TuningSearch search{options.candidates, options.timer.context, [&](const TunedKey &key) {
                        if (const auto *attention = std::get_if<AttentionKey>(&key))
                          return isOfThisRevision(file.attention, *attention);
                        return isOfThisRevision(file.entries, std::get<TuningKey>(key));
                      }};
  FailureOr<TuningModule> found = findTunedPrograms(tiles, entries, search);
  if (failed(found))
    return failure();
  tuning = std::move(*found);
  size_t alternatives = 0, legal = 0;
  for (const TunedProgram &program : tuning.programs) {
    alternatives += program.alternatives.size();
    legal += program.legal;
  }
  progress(fmt::format("tune: {} programs, {} of {} legal schedules to measure on {}{}", tuning.programs.size(),
                       alternatives, legal, file.chip,
                       tuning.known ? fmt::format("; {} programs are in {} already", tuning.known, file.path) : ""));
  if (tuning.programs.empty())
    return success();
  auto begin = std::chrono::steady_clock::now();
  auto done = [&](size_t count) {
    if (count % 100 == 0)
      progress(fmt::format("tune: {} of {} kernels compiled", count, alternatives));
    return !options.stop || !options.stop();
  };
  if (failed(compileAlternatives(tuning, tiles, cuda, done)))
    return failure();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  progress(fmt::format("tune: {} kernels compiled in {:.1f} s, {} refused{}", tuning.facts.size(), seconds,
                       alternatives - tuning.facts.size(), describeRefusals()));
  return success();
}

/// "spills N bytes at N registers a thread of N": an error without the kernel's name, its numbers and its advice, so
/// that alike ones can be counted.
static std::string kindOf(const std::string &refusal) {
  std::string line = refusal.substr(0, refusal.find_first_of(";\n")), kind;
  size_t description = line.find(") ");
  for (char c : description == std::string::npos ? line : line.substr(description + 2))
    if (c < '0' || c > '9')
      kind += c;
    else if (kind.empty() || kind.back() != 'N')
      kind += 'N';
  return kind;
}

/// "; 12: spills ...; 3: ..." of the alternatives that have no kernel.
std::string ScheduleTuner::describeRefusals() const {
  std::map<std::string, size_t> counts;
  for (const TunedProgram &program : tuning.programs)
    for (const TunedSchedule &one : program.alternatives)
      if (!one.refusal.empty())
        ++counts[kindOf(one.refusal)];
  std::string text;
  for (const auto &[kind, count] : counts)
    text += fmt::format("; {}: {}", count, kind);
  return text;
}

absl::Status ScheduleTuner::measure(std::string plan) {
  BundleContents contents;
  contents.plan = std::move(plan);
  contents.weights_mode = "dummy";
  contents.manifest_extra = "{}";
  for (const CudaAlternative &one : tuning.kernels)
    if (one.refusal.empty()) {
      cuda::KernelOp kernel = one.kernel.op;
      contents.files.emplace_back(fmt::format("kernels/{}/{}.cubin", options.target, kernel.getSymName().str()),
                                  one.kernel.cubin);
    }
  // The device loads kernels from a bundle.
  fs::path directory = fs::temp_directory_path() / fmt::format("inlay-tune-{}", getpid());
  llvm::scope_exit remove([&] {
    std::error_code ignored;
    fs::remove_all(directory, ignored);
  });
  if (absl::Status status = WriteBundle(contents, directory.string(), /*overwrite=*/true); !status.ok())
    return status;
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(directory.string());
  if (!bundle.ok())
    return bundle.status();
  return measureAll(**bundle);
}

/// The launch with whose results the others are compared: the incumbent's, or the first if it has no kernel. Launches
/// are those of the alternatives with kernels.
static size_t referenceOf(const TunedProgram &program) {
  if (!program.alternatives[program.incumbent].refusal.empty())
    return 0;
  return llvm::count_if(ArrayRef(program.alternatives).take_front(program.incumbent),
                        [](const TunedSchedule &one) { return one.refusal.empty(); });
}

/// The types of the activations behind the arguments of `tuned`'s kernels; of other arguments any.
static std::vector<plan::DataType> typesOf(const TunedProgram &tuned, ModuleOp module) {
  const TunedSchedule &one = *llvm::find_if(tuned.alternatives, [](auto &one) { return one.refusal.empty(); });
  auto program = module.lookupSymbol<tile::ProgramOp>(one.kernel);
  std::vector<plan::DataType> types;
  for (Type type : program.getArgumentTypes()) {
    Type element = cast<tile::ViewType>(type).getElementType();
    types.push_back(element.isBF16()                 ? plan::DataType_BF16
                    : element.isF16()                ? plan::DataType_F16
                    : isa<Float8E4M3FNType>(element) ? plan::DataType_F8E4M3
                    : element.isInteger(8)           ? plan::DataType_I8
                                                     : plan::DataType_F32);
  }
  return types;
}

absl::Status ScheduleTuner::measureAll(const Bundle &bundle) {
  const plan::Target &target = *bundle.target(options.target);
  tools::LaunchTimerOptions timing = options.timer;
  timing.stop = options.stop;
  absl::StatusOr<std::unique_ptr<tools::LaunchTimer>> timer = tools::LaunchTimer::Open(*device, bundle, target, timing);
  if (!timer.ok())
    return timer.status();
  for (const plan::Entry *entry : *target.entries()) {
    auto isOf = [&](const TunedProgram &one) { return one.entryName() == entry->name()->string_view(); };
    const TunedProgram &program = *llvm::find_if(tuning.programs, isOf);
    absl::StatusOr<std::vector<tools::LaunchTime>> times =
        (*timer)->Time(*entry, typesOf(program, *tuning.module), referenceOf(program));
    if (absl::IsCancelled(times.status()))
      return absl::CancelledError(fmt::format(
          "interrupted: {} of {} programs were measured{}", results.size(), target.entries()->size(),
          results.empty() ? "" : fmt::format(" and are in {}; the same command measures the rest", file.path)));
    if (!times.ok())
      return times.status();
    if (absl::Status status = keep(program, *times); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

/// "split 2, stages 7, ..."
static std::string describe(tile::Schedule schedule) {
  std::string text;
  for (const auto &[name, number] : configOf(schedule))
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, number);
  return text;
}

/// Whether `one` is faster than `other` by more than the measurement varies, and by what is worth another kernel.
static bool isFaster(const tools::LaunchTime &one, const tools::LaunchTime &other) {
  constexpr double worthwhile = 0.01;
  return other.microseconds - one.microseconds > std::max(worthwhile * other.microseconds, one.spread + other.spread);
}

absl::Status ScheduleTuner::keep(const TunedProgram &program, const std::vector<tools::LaunchTime> &times) {
  // Times are of the alternatives with kernels, in their order.
  TunedResult result;
  std::optional<size_t> best, incumbent;
  std::vector<const tools::LaunchTime *> timeOf(program.alternatives.size());
  for (size_t i = 0; i < program.alternatives.size(); ++i) {
    if (!program.alternatives[i].refusal.empty())
      continue;
    timeOf[i] = &times[result.measured++];
    if (timeOf[i]->differs) {
      progress(fmt::format("tune: warning: '{}' computes other results than the schedule in use and is left out: {}",
                           program.alternatives[i].kernel, describe(program.alternatives[i].rated.schedule)));
      continue;
    }
    if (!best || timeOf[i]->microseconds < timeOf[*best]->microseconds)
      best = i;
    if (i == program.incumbent)
      incumbent = i;
  }
  if (incumbent && !isFaster(*timeOf[*best], *timeOf[*incumbent]))
    best = incumbent;
  result.bestAlternative = *best;
  result.best = *timeOf[*best];
  result.incumbent = incumbent ? *timeOf[*incumbent] : tools::LaunchTime{};
  double microseconds = std::round(result.best.microseconds * 100) / 100;
  TuningEntry entry{configOf(program.alternatives[*best].rated.schedule), microseconds, std::string(Revision()),
                    today()};
  if (const auto *key = std::get_if<AttentionKey>(&program.key))
    file.attention[*key] = std::move(entry);
  else
    file.entries[std::get<TuningKey>(program.key)] = std::move(entry);
  results.emplace_back(&program, result);
  std::string before = !incumbent          ? ", its schedule before has no kernel"
                       : best == incumbent ? ", as before"
                                           : fmt::format(", before {:.1f}", result.incumbent.microseconds);
  progress(fmt::format("tune: {} of {}: {}: {:.1f} us{}", results.size(), tuning.entries.size(), toString(program.key),
                       result.best.microseconds, before));
  return file.write();
}

std::string ScheduleTuner::explain() const {
  std::string text = fmt::format("{:70} {:>9} {:>9} {:>9}  {}\n", "us of a launch", "predicted", "measured", "before",
                                 "schedule (measured of legal)");
  for (const auto &[program, result] : results) {
    const RatedSchedule &rated = program->alternatives[result.bestAlternative].rated;
    text += fmt::format("{:70} {:9.1f} {:9.2f} {:9.2f}  {} ({} of {})\n", toString(program->key),
                        static_cast<double>(rated.nanoseconds) / 1000, result.best.microseconds,
                        result.incumbent.microseconds, describe(rated.schedule), result.measured, program->legal);
  }
  if (std::string refusals = describeRefusals(); !refusals.empty())
    text += "candidates without a kernel" + refusals + "\n";
  return text;
}

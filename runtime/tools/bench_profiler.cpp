#include "runtime/tools/bench_profiler.h"

#include "fmt/format.h"
#include "runtime/bundle/halves.h"
#include "runtime/bundle/stages.h"
#include "runtime/device/read_bandwidth.h"
#include "runtime/tools/bench_profile.h"

#include <chrono>
#include <fstream>

namespace inlay::tools {
namespace {

// The launches of an entry point in the order in which a greedy step of so many tokens without penalties enqueues them.
// `uses_nccl`: collective operations are traced with names of NCCL.
std::vector<PlannedLaunch> PlannedLaunches(const plan::Target &target, const plan::Entry &entry, bool uses_nccl,
                                           int32_t tokens) {
  std::vector<PlannedLaunch> planned;
  auto add = [&](const plan::Launch &launch, double rows) {
    const plan::Kernel &kernel = *target.kernels()->Get(launch.kernel());
    planned.push_back(
        {kernel.name()->str(), launch.origin() ? launch.origin()->str() : std::string(),
         kernel.body_type() == plan::KernelBody_LibraryProduct || (uses_nccl && kernel.body_as_Collective()), rows});
  };
  std::vector<plan::Halves> halves;
  for (uint32_t i = 0; entry.launches() && i < entry.launches()->size(); ++i)
    halves.push_back(entry.launches()->Get(i)->halves());
  const HalvesOfSteps steps = HalvesOf(entry);
  const double first = steps.Has(tokens) ? static_cast<double>(steps.FirstRows(tokens)) / tokens : 1;
  const double rows_of[] = {1, first, 1 - first}; // by LaunchPart::Rows
  for (const LaunchPart &part : steps.Has(tokens) ? PartsInHalves(halves) : WholeParts(halves.size()))
    add(*entry.launches()->Get(static_cast<uint32_t>(part.launch)), rows_of[part.rows]);
  const bool has_parts = entry.part_sampling() && entry.part_sampling()->size() > 0;
  if (const auto *sampling = has_parts ? entry.part_sampling() : entry.sampling())
    for (const plan::Launch *launch : *sampling)
      add(*launch, 1);
  return planned;
}

absl::Status WriteFile(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file)
    return absl::InvalidArgumentError(fmt::format("--profile-trace: {} cannot be written; choose another path", path));
  return absl::OkStatus();
}

} // namespace

absl::StatusOr<Profiler> OpenProfiler(const BenchFlags &flags, const Bundle &bundle, EngineOptions &engine) {
  const uint32_t ranks = bundle.plan().ranks();
  if (absl::Status status = CheckProfiledRank(flags, ranks); !status.ok())
    return status;
  const DeviceRank rank{.index = flags.profile_rank, .count = ranks, .devices = engine.devices};
  std::vector<std::string> targets;
  if (!engine.target.empty())
    targets.push_back(engine.target);
  else
    for (const plan::Target *target : *bundle.plan().targets())
      targets.insert(target->name()->string_view() == "cpu" ? targets.end() : targets.begin(), target->name()->str());
  absl::Status first_error;
  for (const std::string &target : targets) {
    if (target == "cpu" && !engine.devices.empty() && !first_error.ok())
      break; // --device names no GPU that can run the bundle
    absl::StatusOr<double> read = MeasureReadBandwidth(target, engine.threads, rank);
    if (!read.ok()) {
      first_error.Update(read.status());
      continue;
    }
    engine.target = target;
    absl::StatusOr<std::unique_ptr<KernelTrace>> trace = KernelTrace::Open(target, flags.cupti);
    if (!trace.ok())
      return trace.status();
    return Profiler{*std::move(trace), *read};
  }
  return first_error;
}

absl::StatusOr<std::string> Profile(const BenchFlags &flags, const Bundle &bundle, const EngineStats &stats,
                                    Bench &bench, Profiler &profiler, const Test &test, double untraced_ms,
                                    nlohmann::ordered_json &report) {
  if (absl::Status status = profiler.trace->Start(); !status.ok())
    return status;
  // The first traced step includes a pause of about 2 ms. A prompt takes only one step, so run an extra one first.
  if (test.is_prompt)
    if (absl::StatusOr<Bench::Result> first = bench.Run(test); !first.ok())
      return first.status();
  // Nanoseconds by which the clock of the trace is ahead of the host's.
  auto nanoseconds = [](std::chrono::steady_clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  };
  int64_t ahead = static_cast<int64_t>(profiler.trace->Now()) - nanoseconds(std::chrono::steady_clock::now());
  absl::StatusOr<Bench::Result> run = bench.Run(test);
  absl::StatusOr<std::vector<KernelRecord>> records = profiler.trace->Stop();
  if (!run.ok())
    return run.status();
  if (!records.ok())
    return records.status();
  size_t all = records->size();
  auto begin = static_cast<uint64_t>(nanoseconds(run->begin) + ahead),
       end = static_cast<uint64_t>(nanoseconds(run->end) + ahead);
  std::erase_if(*records, [&](const KernelRecord &r) { return r.start_ns < begin || r.end_ns > end; });

  if (absl::StatusOr<std::vector<KernelRecord>> of_rank =
          RecordsOfRank(*std::move(records), flags.profile_rank, RanksHere(flags, stats), flags.engine.devices);
      of_rank.ok())
    records = std::move(of_rank);
  else
    return of_rank.status();

  StepShape shape;
  shape.tokens = test.is_prompt ? static_cast<double>(test.batch) * test.tokens : test.batch;
  shape.sequences = shape.logit_rows = test.batch;
  shape.context = run->mean_context;
  shape.is_prompt = test.is_prompt;
  const plan::Target &target = *bundle.target(stats.target);
  const uint32_t stage = flags.profile_rank / RanksOfStage(bundle.plan());
  std::vector<PlannedLaunch> planned;
  std::vector<StepRange> steps;
  std::vector<KernelRecord> named;
  for (const plan::Entry *entry : *target.entries()) {
    if (entry->stage() != stage)
      continue;
    std::vector<PlannedLaunch> candidate = PlannedLaunches(
        target, *entry, stats.distributed.find("NCCL") != std::string::npos, static_cast<int32_t>(shape.tokens));
    std::vector<KernelRecord> candidate_records = NameByPlan(*records, candidate);
    std::vector<StepRange> found = FindSteps(candidate_records, candidate);
    if (found.size() > steps.size()) {
      named = std::move(candidate_records);
      planned = std::move(candidate);
      steps = std::move(found);
    }
  }
  if (steps.empty())
    return absl::InternalError(fmt::format("{}: --profile traced {} kernels, {} of them during the measurement, but "
                                           "found no complete step of an entry point",
                                           test.name(), all, records->size()));
  nlohmann::json manifest = nlohmann::json::parse(bundle.manifest(), nullptr, /*allow_exceptions=*/false);
  StepProfile profile = Summarize(named, steps, planned, TrafficOf(manifest, stats.target), shape);
  report = ProfileJson(profile, profiler.read, untraced_ms);
  if (!flags.profile_trace.empty())
    if (absl::Status status =
            WriteFile(flags.profile_trace, ChromeTrace(named, steps, planned, stats.device).dump() + "\n");
        !status.ok())
      return status;
  return ProfileTable(profile, profiler.read, untraced_ms);
}

} // namespace inlay::tools

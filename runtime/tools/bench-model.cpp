// bench-model: measures tokens per second of a compiled model in the form of llama-bench. With --profile it also
// measures the time of each kernel.
#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/halves.h"
#include "runtime/bundle/stages.h"
#include "runtime/device/cuda_gpus.h"
#include "runtime/device/kernel_trace.h"
#include "runtime/device/read_bandwidth.h"
#include "runtime/support/version.h"
#include "runtime/tools/bench_profile.h"
#include "runtime/tools/bench_runs.h"
#include "runtime/tools/bench_serve.h"
#include "runtime/tools/launcher.h"
#include "runtime/tools/tool_support.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <tuple>

namespace inlay::tools {
namespace {

using nlohmann::ordered_json;

constexpr const char *kHelp = R"(Tests:
  ppP       B prompts of P random token ids. The time is from the submission of the first prompt to the first token of
            the last; tokens/s = B * P / time. Each prompt starts at position 0, so --n-depth has no effect.
  tgN @ dD  B sequences with D prompt tokens (at least one) each generate N tokens, greedily and ignoring the end of the
            sequence. The time is that of N steps of B tokens, measured from the first token of the last sequence;
            tokens/s = B * N / time. Prompts that finish earlier are made shorter, so that all sequences have depth D
            when the measurement starts. n_context in the JSON output is the mean context over all steps.
Each test runs once to warm up, then -r times. The table shows mean and standard deviation of tokens/s and the median
time of a step.

--profile runs each test once more and traces its kernels: on a GPU with CUPTI (part of the CUDA toolkit), on the cpu
with a clock around each launch. The time of a kernel starts when all earlier kernels have ended, or at its own start if
that is later, and ends at its own end. So the times of kernels and gaps add up to the time of the step. overlap is the
time that the kernel ran at the same time as earlier ones. MB is the data that the kernel must move (weights,
activations, keys and values, each once). % read is MB over time, in percent of a read-only stream, which is measured on
the same GPU before the first test. With several ranks, the kernels are those of rank 0 or of --profile-rank. On the
cpu, where ranks share the cores, the kernels of one rank take longer while another one runs.

Examples:
  bench-model llama.inlay                                  the tests pp512 and tg128
  bench-model llama.inlay -p 512,2048 -n 0                 prompts only
  bench-model llama.inlay -p 0 -n 128 -b 1,8 -d 0,4096     generation, batch by depth
  bench-model llama.inlay -r 10 --json > figures.json      every repetition
  bench-model llama.inlay -p 0 -n 32 -d 512 --profile --profile-trace step.json
                                                           kernels of a decode step, with a trace for Perfetto
  bench-model bandwidth                                    memory bandwidth of a read-only stream
  bench-model serve --help                                 load test of a server
  bench-model throughput --help                            load test of an engine in this process)";

struct Flags {
  std::string bundle;
  std::vector<int> prompt{512}, generate{128}, batch{1};
  std::vector<std::string> depth{"0"}; // "512", or "100:16384"
  int repetitions = 5;
  bool json = false, no_warmup = false;
  bool profile = false;
  uint32_t profile_rank = 0;
  std::string profile_trace, cupti;
  EngineOptions engine;
};

std::string BytesPerSecond(double value) {
  return value >= 1e12 ? fmt::format("{:.3f} TB/s", value / 1e12) : fmt::format("{:.1f} GB/s", value / 1e9);
}

struct Statistics {
  double mean = 0, deviation = 0;
};

Statistics Summarize(const std::vector<double> &values) {
  Statistics result;
  auto count = static_cast<double>(values.size());
  for (double value : values)
    result.mean += value / count;
  for (double value : values)
    result.deviation += (value - result.mean) * (value - result.mean);
  result.deviation = values.size() > 1 ? std::sqrt(result.deviation / (count - 1)) : 0;
  return result;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// "512" or "100:16384".
absl::StatusOr<std::pair<int, int>> ParseDepth(const std::string &text) {
  constexpr int kMost = 1 << 24;
  int from = 0, to = 0;
  const char *end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, from);
  bool is_range = error == std::errc() && rest != end && *rest == ':';
  if (is_range)
    std::tie(rest, error) = [&] {
      auto result = std::from_chars(rest + 1, end, to);
      return std::pair(result.ptr, result.ec);
    }();
  if (error != std::errc() || rest != end || from < 0 || from > kMost || (is_range && (to < from || to > kMost)))
    return absl::InvalidArgumentError(fmt::format(
        "--n-depth: found '{}'; expected a number of tokens (512) or a range from least to most (100:16384)", text));
  return std::pair(from, is_range ? to : from);
}

absl::StatusOr<std::vector<Test>> TestsOf(const Flags &flags) {
  std::vector<Test> tests;
  for (int batch : flags.batch) {
    for (int tokens : flags.prompt)
      if (tokens > 0)
        tests.push_back({/*is_prompt=*/true, tokens, batch});
    for (const std::string &text : flags.depth) {
      absl::StatusOr<std::pair<int, int>> depth = ParseDepth(text);
      if (!depth.ok())
        return depth.status();
      for (int tokens : flags.generate)
        if (tokens > 0)
          tests.push_back({/*is_prompt=*/false, tokens, batch, depth->first, depth->second});
    }
  }
  if (tests.empty())
    return absl::InvalidArgumentError("-p 0 and -n 0 select no test; give -p or -n a value above 0");
  return tests;
}

// "llama.inlay": the name of the bundle's directory.
std::string ModelName(const std::string &bundle) {
  std::filesystem::path path = std::filesystem::path(bundle).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// The kernel trace and read bandwidth for --profile. It is created before the engine.
struct Profiler {
  std::unique_ptr<KernelTrace> trace;
  double read = 0; // read bandwidth in bytes per second
};

// Creates the profiler of the rank that is profiled. Sets `engine.target` to the target that the engine would choose:
// the GPU's if this machine can run it, else cpu.
absl::StatusOr<Profiler> OpenProfiler(const Flags &flags, const Bundle &bundle, EngineOptions &engine) {
  const uint32_t ranks = bundle.plan().ranks();
  if (flags.profile_rank >= ranks)
    return absl::InvalidArgumentError(fmt::format("--profile-rank is {}, but {} has {} ranks; expected 0 to {}",
                                                  flags.profile_rank, flags.bundle, ranks, ranks - 1));
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

// The ranks that this process runs.
uint32_t RanksHere(const Flags &flags, const EngineStats &stats) {
  return flags.engine.process.ranks > 0 ? 1 : static_cast<uint32_t>(stats.ranks);
}

// Runs a test once more with the trace on. Fills `report` and returns the table.
absl::StatusOr<std::string> Profile(const Flags &flags, const Bundle &bundle, const EngineStats &stats, Bench &bench,
                                    Profiler &profiler, const Test &test, double untraced_ms, ordered_json &report) {
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

absl::Status CheckProfile(const Flags &flags, const std::vector<Test> &tests, const EngineStats &stats) {
  if (flags.profile_rank >= RanksHere(flags, stats))
    return absl::InvalidArgumentError(
        fmt::format("--profile-rank is {}, but the process of rank 0 traces its own kernels only; run all ranks in one "
                    "process, without mpirun",
                    flags.profile_rank));
  if (SharesGpus(flags.engine.devices))
    return absl::InvalidArgumentError(
        "--profile traces kernels by GPU, and --device names a GPU for several ranks; give "
        "each rank a GPU of its own");
  if (!flags.profile_trace.empty() && tests.size() != 1)
    return absl::InvalidArgumentError(fmt::format("--profile-trace needs exactly one test, and these options select "
                                                  "{}; give one of -p and -n, and one value each for -b and -d",
                                                  tests.size()));
  for (const Test &test : tests)
    if (test.is_prompt && int64_t{test.batch} * test.tokens > stats.max_num_batched_tokens)
      return absl::InvalidArgumentError(fmt::format("--profile of {} with -b {}: needs a prompt that fits in one step "
                                                    "of {} tokens (--max-num-batched-tokens); lower -p or -b",
                                                    test.name(), test.batch, stats.max_num_batched_tokens));
  return absl::OkStatus();
}

absl::Status Run(const Flags &flags, Interrupts &interrupts) {
  absl::StatusOr<std::vector<Test>> parsed = TestsOf(flags);
  if (!parsed.ok())
    return parsed.status();
  const std::vector<Test> &tests = *parsed;
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(flags.bundle, flags.engine.weights_source);
  if (!bundle.ok())
    return bundle.status();
  EngineOptions options = flags.engine;
  Profiler profiler;
  if (flags.profile) {
    absl::StatusOr<Profiler> opened = OpenProfiler(flags, **bundle, options);
    if (!opened.ok())
      return opened.status();
    profiler = *std::move(opened);
  }
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(flags.bundle, options);
  if (!engine.ok())
    return engine.status();
  EngineStats stats = (*engine)->Stats();
  Bench bench(**engine, (*bundle)->plan().model()->vocab_size());
  for (const Test &test : tests)
    if (absl::Status status = bench.Check(test); !status.ok())
      return status;
  if (flags.profile)
    if (absl::Status status = CheckProfile(flags, tests, stats); !status.ok())
      return status;
  nlohmann::json manifest = nlohmann::json::parse((*bundle)->manifest(), nullptr, /*allow_exceptions=*/false);
  ordered_json report = {{"version", Version()},
                         {"revision", Revision()},
                         {"compiler_version", manifest.value("compiler_version", nlohmann::json())},
                         {"bundle", flags.bundle},
                         {"model", manifest.value("model", nlohmann::json())},
                         {"target", stats.target},
                         {"device", stats.device},
                         {"ranks", stats.ranks},
                         {"distributed", stats.distributed},
                         {"enforce_eager", flags.engine.enforce_eager},
                         {"load_s", stats.load_seconds},
                         {"weights_s", stats.weights_seconds},
                         {"weights_mode", (*bundle)->weights_mode()},
                         {"weights_bytes", stats.weights_bytes},
                         {"kv_cache_bytes", stats.kv_cache_bytes},
                         {"kv_cache_tokens", stats.kv_cache_tokens},
                         {"rows", ordered_json::array()}};
  if (flags.profile) {
    report["read_bytes_per_s"] = profiler.read;
    report["profile_method"] = profiler.trace->Method();
    report["profile_rank"] = flags.profile_rank;
  }
  if (!flags.json) {
    fmt::print("{}; weights {}, loaded in {:.2f} s (weights {:.2f} s)\n", stats.device, HumanBytes(stats.weights_bytes),
               stats.load_seconds, stats.weights_seconds);
    if (stats.ranks > 1)
      fmt::print("{} ranks: {}\n", stats.ranks, stats.distributed);
    if (flags.profile)
      fmt::print("read bandwidth {}; kernels{} traced by {}\n", BytesPerSecond(profiler.read),
                 stats.ranks > 1 ? fmt::format(" of rank {}", flags.profile_rank) : "", profiler.trace->Method());
    fmt::print("\n");
    fmt::print("| {:<24} | {:<8} | {:>5} | {:>16} | {:>20} | {:>10} |\n", "model", "target", "batch", "test",
               "tokens/s", "ms/step");
    fmt::print("| {:-<24} | {:-<8} | {:->4}: | {:->15}: | {:->19}: | {:->9}: |\n", "", "", "", "", "", "");
  }
  for (const Test &test : tests) {
    std::vector<double> runs, speeds;
    double context = 0;
    for (int i = flags.no_warmup ? 0 : -1; i < flags.repetitions; ++i) {
      absl::StatusOr<Bench::Result> run = bench.Run(test);
      if (!run.ok())
        return run.status();
      if (i < 0)
        continue;
      runs.push_back(run->seconds());
      speeds.push_back(static_cast<double>(test.batch) * test.tokens / run->seconds());
      context += run->mean_context / flags.repetitions;
    }
    Statistics speed = Summarize(speeds);
    double step_ms = Median(runs) / test.steps() * 1e3;
    if (!flags.json) {
      fmt::print("| {:<24} | {:<8} | {:>5} | {:>16} | {:>20} | {:>10.4f} |\n", ModelName(flags.bundle), stats.target,
                 test.batch, test.name(), fmt::format("{:.2f} ± {:.2f}", speed.mean, speed.deviation), step_ms);
      std::fflush(stdout);
    }
    // The names are those of llama-bench's JSON.
    report["rows"].push_back({{"test", test.name()},
                              {"n_prompt", test.is_prompt ? test.tokens : 0},
                              {"n_gen", test.is_prompt ? 0 : test.tokens},
                              {"batch", test.batch},
                              {"n_depth", test.depth},
                              {"n_depth_to", test.depth_to},
                              {"n_context", context},
                              {"seconds", runs},
                              {"median_step_ms", step_ms},
                              {"avg_ts", speed.mean},
                              {"stddev_ts", speed.deviation}});
    if (flags.profile) {
      absl::StatusOr<std::string> table =
          Profile(flags, **bundle, stats, bench, profiler, test, step_ms, report["rows"].back()["profile"]);
      if (!table.ok())
        return table.status();
      if (!flags.json)
        fmt::print("\n{}\n", *table);
    }
  }
  if (flags.json)
    fmt::print("{}\n", Dump(report));
  return absl::OkStatus();
}

int Main(int argc, char **argv) {
  Flags flags;
  CLI::App app{
      "Measures prompt processing and generation speed of a compiled model. Subcommands: bandwidth, serve, throughput.",
      "bench-model"};
  app.footer(kHelp);
  app.add_option("bundle", flags.bundle, "Bundle directory written by compile-model")->required();
  auto list = [&](const char *name, std::vector<int> &values, const char *description, int least) {
    app.add_option(name, values, description)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(least, 1 << 24))
        ->capture_default_str();
  };
  list("-p,--n-prompt", flags.prompt, "Prompt lengths in tokens, for example 512,2048; 0 skips the prompt tests", 0);
  list("-n,--n-gen", flags.generate, "Numbers of tokens to generate, for example 32,128; 0 skips the generation tests",
       0);
  list("-b,--batch", flags.batch, "Batch sizes: sequences that run at the same time, for example 1,8,64", 1);
  app.add_option("-d,--n-depth", flags.depth,
                 "Context in tokens before generation, for example 0,4096; 100:16384 is a ragged batch whose contexts "
                 "are spread evenly over this range")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("-r,--repetitions", flags.repetitions, "Measured runs of each test")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_flag("--no-warmup", flags.no_warmup, "Skip the warm-up run");
  app.add_flag("--json", flags.json, "Print JSON, with every repetition, load times, device and versions");
  auto *profile = app.add_flag("--profile", flags.profile,
                               "Also print the time of each kernel of a step and the bytes it must move");
  app.add_option("--profile-trace", flags.profile_trace,
                 "Write the profiled steps to this file, for Perfetto or chrome://tracing")
      ->needs(profile);
  app.add_option("--profile-rank", flags.profile_rank, "Rank whose kernels are shown, of a bundle for several ranks")
      ->capture_default_str()
      ->needs(profile);
  app.add_option("--cupti", flags.cupti,
                 "Path of libcupti.so or its directory (default: CUDA_HOME, Python wheels, the system's library path)")
      ->needs(profile);
  AddEngineFlags(app, flags.engine);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  if (std::optional<int> code = RunOtherRank(app, flags.bundle, flags.engine))
    return *code;
  Interrupts interrupts;
  if (absl::Status status = Run(flags, interrupts); !status.ok())
    return Fail(app, status);
  return kDone;
}

// Implements `bench-model bandwidth`.
int BandwidthMain(int argc, char **argv) {
  std::string target = "auto";
  int threads = 0;
  bool json = false;
  CLI::App app{"Measures the read bandwidth of this machine's memory, which bounds the speed of decode steps.",
               "bench-model"};
  app.add_option("--target", target, "cpu, sm_90a, or auto (the GPU if there is one, else cpu)")->capture_default_str();
  app.add_option("--threads", threads, "Host threads (default 0: one per core)")->check(CLI::Range(0, 4096));
  app.add_flag("--json", json, "Print JSON, in bytes per second");
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  bool is_auto = target == "auto";
  if (is_auto)
    target = "sm_90a";
  absl::StatusOr<double> read = MeasureReadBandwidth(target, threads);
  // There is no driver or no GPU that can run sm_90a.
  if (is_auto && (absl::IsUnavailable(read.status()) || absl::IsFailedPrecondition(read.status()))) {
    target = "cpu";
    read = MeasureReadBandwidth(target, threads);
  }
  if (!read.ok())
    return Fail(app, read.status());
  if (json)
    fmt::print("{}\n", Dump({{"target", target}, {"read_bytes_per_s", *read}}));
  else
    fmt::print("{}: {}\n", target, BytesPerSecond(*read));
  return kDone;
}

} // namespace
} // namespace inlay::tools

int main(int argc, char **argv) {
  // A bundle whose name is that of a subcommand must be given with a path: ./bandwidth.
  std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "bandwidth")
    return inlay::tools::BandwidthMain(argc - 1, argv + 1);
  if (command == "serve")
    return inlay::tools::ServeBenchMain(argc - 1, argv + 1);
  if (command == "throughput")
    return inlay::tools::ThroughputMain(argc - 1, argv + 1);
  return inlay::tools::Main(argc, argv);
}

// bench-model: tokens a second of a compiled model, in rows as llama-bench prints them, and with --profile where the
// time of a step goes.
#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/device/kernel_trace.h"
#include "runtime/device/read_bandwidth.h"
#include "runtime/support/version.h"
#include "runtime/tools/bench_profile.h"
#include "runtime/tools/bench_runs.h"
#include "runtime/tools/bench_serve.h"
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

constexpr const char *kHelp = R"(What is measured:
  ppP      B prompts of P random ids, from the first one's submission to the last one's first token;
           tokens/s = B * P / time. Depth does not apply: each prompt starts at position 0.
  tgN @ dD B sequences of D random ids (at least one) are computed, then each generates, greedily and past the end of
           the sequence; the time is that of N steps of B tokens, from the last sequence's first token to N tokens later;
           tokens/s = B * N / time. Prompts that are ready earlier are shorter, so that all sequences have their depth
           when the time begins; n_context in the JSON is what they had over all steps, on average.
Each row is run once to warm up, then -r times; shown are mean and standard deviation, and the median time of a step.

With --profile each row is run once more and its kernels are traced: on a GPU by CUPTI (of the CUDA toolkit), on the cpu by
a clock around each launch. A kernel's time is counted from the end of all kernels before it, or its own start if that is
later, to its own end, so that kernels and gaps add up to the step; overlap is the time it ran beside those before it.
MB are the bytes that it must move (weights, activations, keys and values, each once), % read is their speed in percent
of a read-only stream measured before the first row.

Examples:
  bench-model llama.inlay                                  pp512 and tg128
  bench-model llama.inlay -p 512,2048 -n 0                 prompts alone
  bench-model llama.inlay -p 0 -n 128 -b 1,8 -d 0,4096     generation, batch by depth
  bench-model llama.inlay -r 10 --json > figures.json      every repetition
  bench-model llama.inlay -p 0 -n 32 -d 512 --profile --profile-trace step.json
                                                           kernels of a decode step, and a file for Perfetto
  bench-model bandwidth                                    bytes a second of a read-only stream
  bench-model serve --help; bench-model throughput --help  load on a server, or on an engine in this process)";

struct Flags {
  std::string bundle;
  std::vector<int> prompt{512}, generate{128}, batch{1};
  std::vector<std::string> depth{"0"}; // "512", or "100:16384"
  int repetitions = 5;
  bool json = false, no_warmup = false;
  bool profile = false;
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
        "--n-depth: expected tokens, as in 512, or the least and the most, as in 100:16384; found '{}'", text));
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
    return absl::InvalidArgumentError("-p 0 and -n 0 leave nothing to measure");
  return tests;
}

// "llama.inlay": the name of the bundle's directory.
std::string ModelName(const std::string &bundle) {
  std::filesystem::path path = std::filesystem::path(bundle).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// What --profile needs, made before the engine.
struct Profiler {
  std::unique_ptr<KernelTrace> trace;
  double read = 0; // bytes a second
};

// `engine.target` is what the engine would choose: a GPU's target if there is one that runs it.
absl::StatusOr<Profiler> OpenProfiler(const Flags &flags, const Bundle &bundle, EngineOptions &engine) {
  std::vector<std::string> targets;
  if (!engine.target.empty())
    targets.push_back(engine.target);
  else
    for (const plan::Target *target : *bundle.plan().targets())
      targets.insert(target->name()->string_view() == "cpu" ? targets.end() : targets.begin(), target->name()->str());
  absl::Status first_error;
  for (const std::string &target : targets) {
    absl::StatusOr<double> read = MeasureReadBandwidth(target, engine.threads);
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

// The launches of an entry point in the order in which a step without penalties runs them.
std::vector<PlannedLaunch> PlannedLaunches(const plan::Target &target, const plan::Entry &entry) {
  std::vector<PlannedLaunch> planned;
  for (const auto *part : {entry.launches(), entry.sampling()})
    if (part)
      for (const plan::Launch *launch : *part)
        planned.push_back({target.kernels()->Get(launch->kernel())->name()->str(),
                           launch->origin() ? launch->origin()->str() : std::string(),
                           target.kernels()->Get(launch->kernel())->library() != nullptr});
  return planned;
}

absl::Status WriteFile(const std::string &path, const std::string &text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file)
    return absl::InvalidArgumentError(fmt::format("{}: cannot be written; choose another --profile-trace", path));
  return absl::OkStatus();
}

// One more run of a test, its steps traced. What it found goes to `report`; the table is returned.
absl::StatusOr<std::string> Profile(const Flags &flags, const Bundle &bundle, const EngineStats &stats, Bench &bench,
                                    Profiler &profiler, const Test &test, double untraced_ms, ordered_json &report) {
  if (absl::Status status = profiler.trace->Start(); !status.ok())
    return status;
  // The first step that is traced stands still for some 2 ms, which is much of the one step that a prompt takes.
  if (test.is_prompt)
    if (absl::StatusOr<Bench::Result> first = bench.Run(test); !first.ok())
      return first.status();
  // What the clock of the trace is ahead of the host's.
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

  const plan::Target &target = *bundle.target(stats.target);
  std::vector<PlannedLaunch> planned;
  std::vector<StepRange> steps;
  std::vector<KernelRecord> named;
  for (const plan::Entry *entry : *target.entries()) {
    std::vector<PlannedLaunch> candidate = PlannedLaunches(target, *entry);
    std::vector<KernelRecord> candidate_records = NameByPlan(*records, candidate);
    std::vector<StepRange> found = FindSteps(candidate_records, candidate);
    if (found.size() > steps.size()) {
      named = std::move(candidate_records);
      planned = std::move(candidate);
      steps = std::move(found);
    }
  }
  if (steps.empty())
    return absl::InternalError(fmt::format("{}: of {} kernels traced, {} while it was measured, none made a whole step "
                                           "of an entry point of the bundle",
                                           test.name(), all, records->size()));
  StepShape shape;
  shape.tokens = test.is_prompt ? static_cast<double>(test.batch) * test.tokens : test.batch;
  shape.sequences = shape.logit_rows = test.batch;
  shape.context = run->mean_context;
  shape.is_prompt = test.is_prompt;
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
  if (!flags.profile_trace.empty() && tests.size() != 1)
    return absl::InvalidArgumentError(
        fmt::format("--profile-trace holds the steps of one row, these flags ask for {}; give one of -p and -n and one "
                    "value each of -b and -d",
                    tests.size()));
  for (const Test &test : tests)
    if (test.is_prompt && int64_t{test.batch} * test.tokens > stats.max_num_batched_tokens)
      return absl::InvalidArgumentError(fmt::format("--profile of {} with -b {}: takes several steps of at most {} "
                                                    "rows (--max-num-batched-tokens); lower -p or -b",
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
  }
  if (!flags.json) {
    fmt::print("{}; weights {}, loaded in {:.2f} s (weights {:.2f} s)\n", stats.device, HumanBytes(stats.weights_bytes),
               stats.load_seconds, stats.weights_seconds);
    if (flags.profile)
      fmt::print("reads {}; kernels traced by {}\n", BytesPerSecond(profiler.read), profiler.trace->Method());
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
    // Named as llama-bench's JSON names them.
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
      "Measures how fast a compiled model reads prompts and generates; bench-model bandwidth measures the memory.",
      "bench-model"};
  app.footer(kHelp);
  app.add_option("bundle", flags.bundle, "Bundle that compile-model wrote")->required();
  auto list = [&](const char *name, std::vector<int> &values, const char *description, int least) {
    app.add_option(name, values, description)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(CLI::Range(least, 1 << 24))
        ->capture_default_str();
  };
  list("-p,--n-prompt", flags.prompt, "Tokens of prompts; 0: none", 0);
  list("-n,--n-gen", flags.generate, "Tokens to generate; 0: none", 0);
  list("-b,--batch", flags.batch, "Sequences at once", 1);
  app.add_option("-d,--n-depth", flags.depth,
                 "Tokens of a sequence before it generates; 100:16384: of the first and the "
                 "last sequence of a batch, the others evenly between")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("-r,--repetitions", flags.repetitions, "Runs of each row")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_flag("--no-warmup", flags.no_warmup, "Leave out the run before");
  app.add_flag("--json", flags.json, "Every repetition, load times, device and versions as JSON");
  auto *profile = app.add_flag("--profile", flags.profile, "Time of each kernel of a step, and the bytes it must move");
  app.add_option("--profile-trace", flags.profile_trace, "Write the profiled steps for Perfetto or chrome://tracing")
      ->needs(profile);
  app.add_option("--cupti", flags.cupti, "libcupti.so or its folder (default: CUDA_HOME, wheels, the system's)")
      ->needs(profile);
  AddEngineFlags(app, flags.engine);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  Interrupts interrupts;
  if (absl::Status status = Run(flags, interrupts); !status.ok())
    return Fail(app, status);
  return kDone;
}

// bench-model bandwidth
int BandwidthMain(int argc, char **argv) {
  std::string target = "auto";
  int threads = 0;
  bool json = false;
  CLI::App app{"Measures how fast this machine reads its memory, the unit of decode steps.", "bench-model"};
  app.add_option("--target", target, "cpu, sm_90a, or auto: the GPU if there is one")->capture_default_str();
  app.add_option("--threads", threads, "Threads of the host (default: one a core)")->check(CLI::Range(0, 4096));
  app.add_flag("--json", json, "Bytes a second as JSON");
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  bool is_auto = target == "auto";
  if (is_auto)
    target = "sm_90a";
  absl::StatusOr<double> read = MeasureReadBandwidth(target, threads);
  // No driver, or no GPU of that kind.
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
  // A bundle that is called like a subcommand is given as ./bandwidth.
  std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "bandwidth")
    return inlay::tools::BandwidthMain(argc - 1, argv + 1);
  if (command == "serve")
    return inlay::tools::ServeBenchMain(argc - 1, argv + 1);
  if (command == "throughput")
    return inlay::tools::ThroughputMain(argc - 1, argv + 1);
  return inlay::tools::Main(argc, argv);
}

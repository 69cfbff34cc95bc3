// bench-model: measures tokens per second of a compiled model in the form of llama-bench. With --profile it also
// measures the time of each kernel.
#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/device/read_bandwidth.h"
#include "runtime/support/version.h"
#include "runtime/tools/bench_flags.h"
#include "runtime/tools/bench_profiler.h"
#include "runtime/tools/bench_runs.h"
#include "runtime/tools/bench_serve.h"
#include "runtime/tools/launcher.h"
#include "runtime/tools/tool_support.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace inlay::tools {
namespace {

using nlohmann::ordered_json;

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

// "llama.inlay": the name of the bundle's directory.
std::string ModelName(const std::string &bundle) {
  std::filesystem::path path = std::filesystem::path(bundle).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

absl::Status Run(const BenchFlags &flags, Interrupts &interrupts) {
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
  BenchFlags flags;
  CLI::App app{
      "Measures prompt processing and generation speed of a compiled model. Subcommands: bandwidth, serve, throughput.",
      "bench-model"};
  AddBenchFlags(app, flags);
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

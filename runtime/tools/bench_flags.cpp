#include "runtime/tools/bench_flags.h"

#include "fmt/format.h"
#include "runtime/device/cuda_gpus.h"
#include "runtime/tools/tool_support.h"

#include <charconv>
#include <tuple>
#include <utility>

namespace inlay::tools {
namespace {

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

} // namespace

void AddBenchFlags(CLI::App &app, BenchFlags &flags) {
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
}

absl::StatusOr<std::vector<Test>> TestsOf(const BenchFlags &flags) {
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

uint32_t RanksHere(const BenchFlags &flags, const EngineStats &stats) {
  return flags.engine.process.ranks > 0 ? 1 : static_cast<uint32_t>(stats.ranks);
}

absl::Status CheckProfiledRank(const BenchFlags &flags, uint32_t ranks) {
  if (flags.profile_rank >= ranks)
    return absl::InvalidArgumentError(fmt::format("--profile-rank is {}, but {} has {} ranks; expected 0 to {}",
                                                  flags.profile_rank, flags.bundle, ranks, ranks - 1));
  if (SharesGpus(flags.engine.devices))
    return absl::InvalidArgumentError(
        "--profile traces kernels by GPU, and --device names a GPU for several ranks; give each rank a GPU of its own");
  return absl::OkStatus();
}

absl::Status CheckProfile(const BenchFlags &flags, std::span<const Test> tests, const EngineStats &stats) {
  if (flags.profile_rank >= RanksHere(flags, stats))
    return absl::InvalidArgumentError(
        fmt::format("--profile-rank is {}, but the process of rank 0 traces its own kernels only; run all ranks in one "
                    "process, without mpirun",
                    flags.profile_rank));
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

} // namespace inlay::tools

// bench-model: tokens a second of a compiled model, in rows as llama-bench prints them.
#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/support/version.h"
#include "runtime/tools/tool_support.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <random>

namespace inlay::tools {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

constexpr const char *kHelp = R"(What is measured:
  ppP      B prompts of P random ids, from the first one's submission to the last one's first token;
           tokens/s = B * P / time. Depth does not apply: each prompt starts at position 0.
  tgN @ dD B sequences of D random ids (at least one) are computed, then each generates, greedily and past the end of
           the sequence; the time is that of N steps of B tokens, from the last sequence's first token to N tokens later;
           tokens/s = B * N / time. Sequences whose prompt was ready earlier are a few tokens deeper.
Each row is run once to warm up, then -r times; shown are mean and standard deviation, and the median time of a step.

Examples:
  bench-model llama.inlay                                  pp512 and tg128
  bench-model llama.inlay -p 512,2048 -n 0                 prompts alone
  bench-model llama.inlay -p 0 -n 128 -b 1,8 -d 0,4096     generation, batch by depth
  bench-model llama.inlay -r 10 --json > figures.json      every repetition)";

struct Flags {
  std::string bundle;
  std::vector<int> prompt{512}, generate{128}, batch{1}, depth{0};
  int repetitions = 5;
  bool json = false, no_warmup = false;
  EngineOptions engine;
};

// A row of the table.
struct Test {
  bool is_prompt = false;
  int tokens = 0; // P or N
  int batch = 1;
  int depth = 0;

  std::string name() const {
    std::string name = fmt::format("{}{}", is_prompt ? "pp" : "tg", tokens);
    return depth > 0 ? fmt::format("{} @ d{}", name, depth) : name;
  }
  int steps() const { return is_prompt ? 1 : tokens; }
  // Tokens that a sequence generates: the first one begins the time of the steps.
  int generated() const { return is_prompt ? 1 : tokens + 1; }
};

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

class Bench {
public:
  Bench(Engine &engine, uint32_t vocab_size)
      : engine_(engine), ids_(0, static_cast<int32_t>(vocab_size) - 1), stats_(engine.Stats()) {}

  // Whether all sequences of a test can run at the same time.
  absl::Status Check(const Test &test) const {
    if (test.batch > stats_.max_num_seqs)
      return absl::InvalidArgumentError(
          fmt::format("-b {}: the engine runs at most {} sequences; compile with a larger --max-num-seqs", test.batch,
                      stats_.max_num_seqs));
    int64_t length = PromptSize(test) + MaxTokens(test);
    if (length > stats_.max_model_len)
      return absl::InvalidArgumentError(
          fmt::format("{} with -b {}: needs {} positions a sequence, the engine has {}; lower -p, -n or -d, or compile "
                      "with a larger --max-model-len",
                      test.name(), test.batch, length, stats_.max_model_len));
    int64_t page_size = stats_.kv_cache_tokens / stats_.total_pages;
    int64_t pages = (length + page_size - 1) / page_size * test.batch;
    if (pages > stats_.total_pages)
      return absl::ResourceExhaustedError(fmt::format(
          "{} with -b {}: needs {} KV pages of {} positions, there are {}; raise --kv-cache-memory-bytes or "
          "--gpu-memory-utilization, or lower -b or -d",
          test.name(), test.batch, pages, page_size, stats_.total_pages));
    return absl::OkStatus();
  }

  // Seconds of one run.
  absl::StatusOr<double> Run(const Test &test) {
    std::vector<Request> requests(static_cast<size_t>(test.batch));
    for (Request &request : requests) {
      for (int64_t i = 0; i < PromptSize(test); ++i)
        request.prompt_token_ids.push_back(ids_(random_));
      request.sampling.temperature = 0;
      request.sampling.ignore_eos = true;
      request.sampling.max_tokens = static_cast<int32_t>(MaxTokens(test));
    }
    // The sequence submitted last is the last to be ready; the others run on until it is done.
    requests.back().sampling.max_tokens = test.generated();
    Clock::time_point begin = Clock::now(), end = begin;
    std::vector<std::unique_ptr<RequestHandle>> handles;
    for (const Request &request : requests) {
      absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine_.Submit(request);
      if (!handle.ok())
        return handle.status();
      handles.push_back(*std::move(handle));
    }
    int tokens = 0;
    for (; handles.back()->Next(); ++tokens) {
      end = Clock::now();
      if (tokens == 0 && !test.is_prompt)
        begin = end;
    }
    for (auto &handle : handles)
      handle->Cancel();
    for (auto &handle : handles)
      while (handle->Next()) {
      }
    for (auto &handle : handles)
      if (handle->finish_reason() == FinishReason::kError)
        return handle->status();
    if (tokens != test.generated())
      return absl::InternalError(
          fmt::format("{}: {} tokens were generated, expected {}", test.name(), tokens, test.generated()));
    return std::chrono::duration<double>(end - begin).count();
  }

private:
  int64_t PromptSize(const Test &test) const { return test.is_prompt ? test.tokens : std::max(1, test.depth); }

  // Tokens that the sequences ready first may generate until the last one has its own: one for each step in between.
  int64_t MaxTokens(const Test &test) const {
    if (test.is_prompt || test.batch == 1)
      return test.generated();
    // Rows of a step that are left for prompts while the others generate.
    int64_t rows = std::max<int64_t>(1, stats_.max_num_batched_tokens - test.batch);
    return test.generated() + (PromptSize(test) * test.batch + rows - 1) / rows + test.batch;
  }

  Engine &engine_;
  std::mt19937 random_{1};
  std::uniform_int_distribution<int32_t> ids_;
  EngineStats stats_;
};

std::vector<Test> TestsOf(const Flags &flags) {
  std::vector<Test> tests;
  for (int batch : flags.batch) {
    for (int tokens : flags.prompt)
      if (tokens > 0)
        tests.push_back({/*is_prompt=*/true, tokens, batch, 0});
    for (int depth : flags.depth)
      for (int tokens : flags.generate)
        if (tokens > 0)
          tests.push_back({/*is_prompt=*/false, tokens, batch, depth});
  }
  return tests;
}

// "llama.inlay": the name of the bundle's directory.
std::string ModelName(const std::string &bundle) {
  std::filesystem::path path = std::filesystem::path(bundle).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

absl::Status Run(const Flags &flags, Interrupts &interrupts) {
  std::vector<Test> tests = TestsOf(flags);
  if (tests.empty())
    return absl::InvalidArgumentError("-p 0 and -n 0 leave nothing to measure");
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(flags.bundle);
  if (!bundle.ok())
    return bundle.status();
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(flags.bundle, flags.engine);
  if (!engine.ok())
    return engine.status();
  EngineStats stats = (*engine)->Stats();
  Bench bench(**engine, (*bundle)->plan().model()->vocab_size());
  for (const Test &test : tests)
    if (absl::Status status = bench.Check(test); !status.ok())
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
  if (!flags.json) {
    fmt::print("{}; weights {}, loaded in {:.2f} s (weights {:.2f} s)\n\n", stats.device,
               HumanBytes(stats.weights_bytes), stats.load_seconds, stats.weights_seconds);
    fmt::print("| {:<24} | {:<8} | {:>5} | {:>16} | {:>20} | {:>10} |\n", "model", "target", "batch", "test",
               "tokens/s", "ms/step");
    fmt::print("| {:-<24} | {:-<8} | {:->4}: | {:->15}: | {:->19}: | {:->9}: |\n", "", "", "", "", "", "");
  }
  for (const Test &test : tests) {
    std::vector<double> runs, speeds;
    for (int i = flags.no_warmup ? 0 : -1; i < flags.repetitions; ++i) {
      absl::StatusOr<double> seconds = bench.Run(test);
      if (!seconds.ok())
        return seconds.status();
      if (i < 0)
        continue;
      runs.push_back(*seconds);
      speeds.push_back(static_cast<double>(test.batch) * test.tokens / *seconds);
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
                              {"seconds", runs},
                              {"median_step_ms", step_ms},
                              {"avg_ts", speed.mean},
                              {"stddev_ts", speed.deviation}});
  }
  if (flags.json)
    fmt::print("{}\n", Dump(report));
  return absl::OkStatus();
}

int Main(int argc, char **argv) {
  Flags flags;
  CLI::App app{"Measures how fast a compiled model reads prompts and generates.", "bench-model"};
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
  list("-d,--n-depth", flags.depth, "Tokens of a sequence before it generates", 0);
  app.add_option("-r,--repetitions", flags.repetitions, "Runs of each row")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_flag("--no-warmup", flags.no_warmup, "Leave out the run before");
  app.add_flag("--json", flags.json, "Every repetition, load times, device and versions as JSON");
  AddEngineFlags(app, flags.engine);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  Interrupts interrupts;
  if (absl::Status status = Run(flags, interrupts); !status.ok())
    return Fail(app, status);
  return kDone;
}

} // namespace
} // namespace inlay::tools

int main(int argc, char **argv) { return inlay::tools::Main(argc, argv); }

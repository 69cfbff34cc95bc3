// bench-model: rows as llama-bench prints them.
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/support/version.h"
#include "runtime/tools/flags.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>

namespace {

using namespace inlay;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// One measurement: `batch` sequences with `depth` + `prompt` tokens, then `generate` more.
struct Case {
  int32_t prompt = 0, generate = 0, batch = 1, depth = 0;
  std::string name() const {
    std::string text = generate > 0 ? fmt::format("tg{}", generate) : fmt::format("pp{}", prompt);
    return depth > 0 ? text + fmt::format(" @ d{}", depth) : text;
  }
};

// Seconds that count: of a prompt until every sequence has its first token; of generation from the first token of all
// to the last.
absl::StatusOr<double> Measure(Engine &engine, const Case &c, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int32_t> id(0, 255);
  auto submit = [&](int32_t length, int32_t tokens) -> absl::StatusOr<std::unique_ptr<RequestHandle>> {
    Request request;
    for (int32_t i = 0; i < length; ++i)
      request.prompt_token_ids.push_back(id(random));
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = tokens;
    return engine.Submit(request);
  };
  std::vector<std::unique_ptr<RequestHandle>> handles;
  auto begin = Clock::now();
  int32_t length = c.generate > 0 ? std::max(c.depth, 1) : c.prompt;
  for (int32_t i = 0; i < c.batch; ++i) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = submit(length, c.generate > 0 ? c.generate + 1 : 1);
    if (!handle.ok())
      return handle.status();
    handles.push_back(*std::move(handle));
  }
  for (auto &handle : handles)
    if (!handle->Next())
      return handle->status();
  if (c.generate == 0)
    return SecondsSince(begin);
  begin = Clock::now();
  for (auto &handle : handles) {
    while (handle->Next()) {
    }
    if (absl::Status status = handle->status(); !status.ok())
      return status;
  }
  return SecondsSince(begin);
}

} // namespace

int main(int argc, char **argv) {
  std::string bundle;
  std::vector<int32_t> prompts{512}, generates{128}, batches{1}, depths{0};
  int repetitions = 5;
  bool as_json = false;
  EngineOptions options;
  CLI::App app{
      "Measures prompt processing (pp) and generation (tg) of a compiled model, greedy, on random token ids.\n\n"
      "  bench-model llama.inlay -p 512 -n 128 -b 1,8 -d 512\n\n"
      "pp: tokens of all prompts over the time until every sequence has its first token.\n"
      "tg: tokens generated after the first over the time from the first token of all to the last, with\n"
      "    -d tokens before them in the cache. Loading and one warm-up run are not counted."};
  app.set_version_flag("--version", VersionLine("bench-model"));
  app.add_option("bundle", bundle, "Directory that compile-model wrote")->required();
  app.add_option("-p,--n-prompt", prompts, "Lengths of prompts; 0 for none")->delimiter(',');
  app.add_option("-n,--n-gen", generates, "Tokens to generate; 0 for none")->delimiter(',');
  app.add_option("-b,--batch", batches, "Sequences at once")->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("-d,--n-depth", depths, "Tokens in the cache before generation")->delimiter(',');
  app.add_option("-r,--repetitions", repetitions, "Repetitions")->check(CLI::PositiveNumber);
  app.add_flag("--json", as_json, "Print JSON with every repetition");
  tools::AddEngineFlags(app, options);
  if (int code = tools::Parse(app, argc, argv); code >= 0)
    return code;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(bundle, options);
  if (!engine.ok())
    return tools::Fail("bench-model", engine.status());
  EngineStats stats = (*engine)->Stats();

  std::vector<Case> cases;
  for (int32_t batch : batches) {
    for (int32_t prompt : prompts)
      if (prompt > 0)
        cases.push_back({prompt, 0, batch, 0});
    for (int32_t generate : generates)
      for (int32_t depth : depths)
        if (generate > 0)
          cases.push_back({0, generate, batch, depth});
  }
  json rows = json::array();
  if (!as_json)
    fmt::print("| device | batch | test | ms a step | tokens/s |\n|---|---:|---|---:|---:|\n");
  for (const Case &c : cases) {
    std::vector<double> seconds;
    for (int i = -1; i < repetitions; ++i) {
      absl::StatusOr<double> one = Measure(**engine, c, static_cast<uint32_t>(i + 1));
      if (!one.ok())
        return tools::Fail("bench-model", one.status());
      if (i >= 0)
        seconds.push_back(*one);
    }
    double tokens = static_cast<double>(c.batch) * (c.generate > 0 ? c.generate : c.prompt), mean = 0, square = 0;
    for (double s : seconds)
      mean += tokens / s / static_cast<double>(seconds.size());
    for (double s : seconds)
      square += (tokens / s - mean) * (tokens / s - mean);
    double deviation = seconds.size() > 1 ? std::sqrt(square / static_cast<double>(seconds.size() - 1)) : 0;
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    double step_ms = sorted[sorted.size() / 2] * 1e3 / (c.generate > 0 ? c.generate : 1);
    if (!as_json)
      fmt::print("| {} | {} | {} | {:.4f} | {:.2f} ± {:.2f} |\n", stats.device, c.batch, c.name(), step_ms, mean,
                 deviation);
    std::fflush(stdout);
    rows.push_back({{"test", c.name()},
                    {"n_prompt", c.prompt},
                    {"n_gen", c.generate},
                    {"batch", c.batch},
                    {"n_depth", c.depth},
                    {"seconds", seconds},
                    {"median_step_ms", step_ms},
                    {"avg_ts", mean},
                    {"stddev_ts", deviation}});
  }
  if (as_json) {
    json result = {{"version", std::string(Version())},
                   {"revision", std::string(Revision())},
                   {"bundle", bundle},
                   {"device", stats.device},
                   {"load_s", stats.load_seconds},
                   {"weights_s", stats.weights_seconds},
                   {"weights_bytes", stats.weights_bytes},
                   {"kv_cache_tokens", stats.kv_cache_tokens},
                   {"rows", rows}};
    std::fputs((result.dump(2, ' ', false, json::error_handler_t::replace) + "\n").c_str(), stdout);
  }
  return tools::kDone;
}

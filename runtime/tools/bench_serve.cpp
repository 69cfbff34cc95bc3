#include "runtime/tools/bench_serve.h"

#include "fmt/chrono.h"
#include "fmt/format.h"
#include "runtime/bundle/bundle.h"
#include "runtime/tools/bench_client.h"
#include "runtime/tools/launcher.h"
#include "runtime/tools/tool_support.h"

#include <chrono>
#include <cstdlib>
#include <fstream>

namespace inlay::tools {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr const char *kServeHelp =
    R"(Sends requests to any server with the OpenAI API. The metrics and their names are those of `vllm bench serve`:
  TTFT  time to first token       TPOT  time per output token after the first
  ITL   time between two events   E2EL  time of a whole request
Workloads (--dataset-name):
  random             prompts of random token ids; the first --random-prefix-len tokens are the same in all prompts
  prefix_repetition  like random, with --num-prefixes different prefixes used in turn; measures prefix reuse
  multi_turn         conversations of --turns questions; each prompt is the conversation so far and --random-input-len
                     new words

Examples:
  bench-model serve --port 8000 --num-prompts 256 --random-input-len 1024 --random-output-len 128
  bench-model serve --request-rate 1,2,4,8,inf --goodput ttft:500 --goodput tpot:50      one run per rate
  bench-model serve --max-concurrency 1,8,64 --json --result-filename sweep.json
  bench-model serve --dataset-name prefix_repetition --random-prefix-len 2048 --num-prefixes 4 --max-concurrency 1
      compare the TTFT with that of serve-model --no-enable-prefix-caching
The API key is read from the environment variable OPENAI_API_KEY, as in vLLM.)";

constexpr const char *kThroughputHelp =
    R"(Submits all requests at once to an engine in this process and measures the time until the last one ends. The names of
the results are those of `vllm bench throughput`.

Examples:
  bench-model throughput llama.inlay --num-prompts 256 --input-len 1024 --output-len 128
  bench-model throughput llama.inlay --num-prompts 64 --json)";

void AddDatasetFlags(CLI::App &app, Dataset &dataset, const std::string &prefix) {
  constexpr const char *kGroup = "Workload";
  auto count = [&](const std::string &name, int64_t &value, const char *description, int64_t least) {
    app.add_option(name, value, description)
        ->check(CLI::Range(least, int64_t{1} << 30))
        ->capture_default_str()
        ->group(kGroup);
  };
  count("--num-prompts", dataset.num_prompts, "Number of requests", 1);
  count("--" + prefix + "input-len", dataset.input_len, "Input length: tokens of a prompt, or words of a turn", 1);
  count("--" + prefix + "output-len", dataset.output_len, "Output tokens per request", 1);
  count("--" + prefix + "prefix-len", dataset.prefix_len,
        "Length of the common prefix in tokens, in addition to the input length", 0);
  app.add_option("--" + prefix + "range-ratio", dataset.range_ratio,
                 "Vary lengths at random by up to this fraction, in [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--seed", dataset.seed, "Random seed for lengths, token ids and arrival times")
      ->capture_default_str()
      ->group(kGroup);
}

absl::StatusOr<std::vector<double>> ParseRates(const std::vector<std::string> &texts) {
  std::vector<double> rates;
  for (const std::string &text : texts) {
    char *end = nullptr;
    double rate = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(rate > 0))
      return absl::InvalidArgumentError(
          fmt::format("--request-rate: found '{}'; expected requests per second above 0, or inf", text));
    rates.push_back(rate);
  }
  return rates;
}

struct ServeFlags {
  ServerAddress address;
  Dataset dataset;
  std::vector<std::string> rates{"inf"}, goodput;
  std::vector<int64_t> concurrency{0};
  std::vector<double> percentiles{99};
  double burstiness = 1;
  int64_t num_warmups = 1;
  std::string base_url, result_file;
  bool json = false, no_ignore_eos = false, is_detailed = false;
};

absl::Status RunServe(ServeFlags flags) {
  absl::StatusOr<std::vector<double>> rates = ParseRates(flags.rates);
  absl::StatusOr<std::map<std::string, double>> goodput = ParseGoodput(flags.goodput);
  for (const absl::Status &status : {rates.status(), goodput.status()})
    if (!status.ok())
      return status;
  if (!flags.base_url.empty())
    if (absl::Status status = ReadBaseUrl(flags.base_url, flags.address); !status.ok())
      return status;
  if (flags.address.is_chat() && flags.dataset.name != "multi_turn")
    return absl::InvalidArgumentError(
        "--endpoint is a chat endpoint, which takes no token ids; add --dataset-name multi_turn");
  if (const char *key = std::getenv("OPENAI_API_KEY"))
    flags.address.api_key = key;
  flags.address.ignore_eos = !flags.no_ignore_eos;
  if (flags.address.model.empty()) {
    absl::StatusOr<std::string> model = FindModel(flags.address);
    if (!model.ok())
      return model.status();
    flags.address.model = *model;
  }
  std::vector<Job> jobs = MakeJobs(flags.dataset);
  if (flags.num_warmups > 0) {
    Dataset warmup = flags.dataset;
    warmup.num_prompts = flags.num_warmups;
    warmup.seed += 1'000'003;
    double ignored = 0;
    for (const RequestTimes &times : RunLoad(flags.address, MakeJobs(warmup),
                                             std::vector<double>(static_cast<size_t>(flags.num_warmups)), 1, ignored))
      if (!times.error.empty())
        return absl::InvalidArgumentError(fmt::format("the warm-up request failed: {}", times.error));
  }
  ordered_json results = ordered_json::array();
  for (double rate : *rates)
    for (int64_t concurrency : flags.concurrency) {
      Setting setting{rate, flags.burstiness, concurrency};
      double duration = 0;
      std::vector<double> arrivals = MakeArrivals(jobs.size(), rate, flags.burstiness, flags.dataset.seed);
      std::vector<RequestTimes> times = RunLoad(flags.address, jobs, arrivals, concurrency, duration);
      ordered_json result = {{"date", fmt::format("{:%Y%m%d-%H%M%S}", fmt::localtime(std::time(nullptr)))},
                             {"endpoint_type", flags.address.is_chat() ? "openai-chat" : "openai"},
                             {"model_id", flags.address.model},
                             {"dataset_name", flags.dataset.name}};
      result.update(Summarize(times, duration, setting, *goodput, flags.percentiles));
      if (flags.is_detailed)
        result.update(Details(times));
      if (!flags.json) {
        fmt::print("{}", ToTable(result, flags.percentiles));
        if (result.contains("errors") && !flags.is_detailed)
          fmt::print("errors: {}\n", result["errors"].dump());
        std::fflush(stdout);
      }
      results.push_back(std::move(result));
    }
  ordered_json all = results.size() == 1 ? results[0] : ordered_json{{"results", results}};
  if (flags.json)
    fmt::print("{}\n", Dump(all));
  if (!flags.result_file.empty()) {
    std::ofstream file(flags.result_file, std::ios::trunc);
    file << Dump(all) << "\n";
    file.close();
    if (!file)
      return absl::InvalidArgumentError(
          fmt::format("--result-filename: {} cannot be written; choose another path", flags.result_file));
  }
  for (const ordered_json &result : results)
    if (result["completed"] == 0)
      return absl::InvalidArgumentError(fmt::format("every request failed: {}", result["errors"].dump()));
  return absl::OkStatus();
}

struct ThroughputFlags {
  std::string bundle, result_file;
  Dataset dataset;
  EngineOptions engine;
  bool json = false;
};

absl::Status RunThroughput(ThroughputFlags flags) {
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(flags.bundle, flags.engine.weights_source);
  if (!bundle.ok())
    return bundle.status();
  flags.dataset.vocab_size = static_cast<int32_t>((*bundle)->plan().model()->vocab_size());
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(flags.bundle, flags.engine);
  if (!engine.ok())
    return engine.status();
  std::vector<Request> requests;
  for (Job &job : MakeJobs(flags.dataset)) {
    Request &request = requests.emplace_back();
    request.prompt_token_ids = std::move(job.prompt);
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = static_cast<int32_t>(job.output_len[0]);
  }
  // One request to warm up.
  if (absl::StatusOr<std::unique_ptr<RequestHandle>> first = (*engine)->Submit(requests[0]); !first.ok())
    return first.status();
  else
    while ((*first)->Next()) {
    }
  auto begin = Clock::now();
  std::vector<std::unique_ptr<RequestHandle>> handles;
  int64_t input = 0, output = 0;
  for (const Request &request : requests) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = (*engine)->Submit(request);
    if (!handle.ok())
      return handle.status();
    handles.push_back(*std::move(handle));
    input += static_cast<int64_t>(request.prompt_token_ids.size());
  }
  for (auto &handle : handles) {
    while (handle->Next())
      ++output;
    if (handle->finish_reason() == FinishReason::kError)
      return handle->status();
  }
  double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  auto rate = [&](int64_t count) { return static_cast<double>(count) / seconds; };
  auto count = static_cast<int64_t>(requests.size());
  ordered_json result = {{"elapsed_time", seconds},
                         {"num_requests", count},
                         {"total_num_tokens", input + output},
                         {"requests_per_second", rate(count)},
                         {"tokens_per_second", rate(input + output)},
                         {"output_tokens_per_second", rate(output)},
                         {"device", (*engine)->Stats().device}};
  if (flags.json)
    fmt::print("{}\n", Dump(result));
  else
    fmt::print("Throughput: {:.2f} requests/s, {:.2f} total tokens/s, {:.2f} output tokens/s\n"
               "Total num prompt tokens:  {}\nTotal num output tokens:  {}\n",
               rate(count), rate(input + output), rate(output), input, output);
  if (!flags.result_file.empty()) {
    std::ofstream file(flags.result_file, std::ios::trunc);
    file << Dump(result) << "\n";
    file.close();
    if (!file)
      return absl::InvalidArgumentError(
          fmt::format("--output-json: {} cannot be written; choose another path", flags.result_file));
  }
  return absl::OkStatus();
}

} // namespace

int ServeBenchMain(int argc, char **argv) {
  ServeFlags flags;
  CLI::App app{"Load test of a server with the OpenAI API.", "bench-model serve"};
  app.footer(kServeHelp);
  app.add_option("--host", flags.address.host, "Host of the server")->capture_default_str()->group("Server");
  app.add_option("--port", flags.address.port, "Port of the server")->capture_default_str()->group("Server");
  app.add_option("--base-url", flags.base_url, "http://HOST:PORT, instead of --host and --port")->group("Server");
  app.add_option("--endpoint", flags.address.endpoint,
                 "Path of the API; a path that ends in /chat/completions gets chat requests")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--model", flags.address.model, "Model name (default: the first one of /v1/models)")->group("Server");
  AddDatasetFlags(app, flags.dataset, "random-");
  app.add_option("--dataset-name", flags.dataset.name, "Workload: random, prefix_repetition or multi_turn")
      ->check(CLI::IsMember({"random", "prefix_repetition", "multi_turn"}))
      ->capture_default_str()
      ->group("Workload");
  app.add_option("--num-prefixes", flags.dataset.num_prefixes, "Number of different prefixes of prefix_repetition")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Workload");
  app.add_option("--turns", flags.dataset.turns, "Questions per conversation of multi_turn")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Workload");
  app.add_option("--vocab-size", flags.dataset.vocab_size, "Upper bound (exclusive) of random token ids")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str()
      ->group("Workload");
  app.add_option("--temperature", flags.address.temperature, "Sampling temperature; 0 is greedy")
      ->capture_default_str()
      ->group("Workload");
  app.add_flag("--no-ignore-eos", flags.no_ignore_eos,
               "Do not send ignore_eos, so that responses may end before the output length")
      ->group("Workload");
  app.add_option("--request-rate", flags.rates,
                 "Requests per second with Poisson arrivals, or inf for all at once; a list such as 1,4,inf makes one "
                 "run each (default inf)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group("Load");
  app.add_option("--burstiness", flags.burstiness,
                 "Shape of the gamma distribution of arrival gaps; 1 is Poisson, below 1 is burstier")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str()
      ->group("Load");
  app.add_option("--max-concurrency", flags.concurrency,
                 "Maximum concurrent requests; 0 is no limit; a list such as 1,8,64 makes one run each (default 0)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0, 1 << 20))
      ->group("Load");
  app.add_option("--num-warmups", flags.num_warmups, "Warm-up requests before the measurement")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str()
      ->group("Load");
  AddRepeated(app, "--goodput",
              "Report the rate of requests that meet this limit in milliseconds, for example ttft:500, tpot:50 or "
              "e2el:9000; may be repeated")
      ->group("Results");
  app.add_option("--metric-percentiles", flags.percentiles, "Percentiles to report, for example 50,90,99 (default 99)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0.0, 100.0))
      ->group("Results");
  app.add_flag("--json", flags.json, "Print the results as JSON, with vLLM's names")->group("Results");
  app.add_flag("--save-detailed", flags.is_detailed,
               "Add lists of times, lengths, texts and errors of each request to the JSON")
      ->group("Results");
  app.add_option("--result-filename", flags.result_file, "Also write the JSON to this file")->group("Results");
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  flags.goodput = app.get_option("--goodput")->results();
  if (absl::Status status = RunServe(std::move(flags)); !status.ok())
    return Fail(app, status);
  return kDone;
}

int ThroughputMain(int argc, char **argv) {
  ThroughputFlags flags;
  CLI::App app{"Throughput of an engine in this process when all requests arrive at once.", "bench-model throughput"};
  app.footer(kThroughputHelp);
  app.add_option("bundle", flags.bundle, "Bundle directory written by compile-model")->required();
  AddDatasetFlags(app, flags.dataset, "");
  app.add_flag("--json", flags.json, "Print the results as JSON, with vLLM's names")->group("Results");
  app.add_option("--output-json", flags.result_file, "Also write the JSON to this file")->group("Results");
  AddEngineFlags(app, flags.engine);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  if (std::optional<int> code = RunOtherRank(app, flags.bundle, flags.engine))
    return *code;
  if (absl::Status status = RunThroughput(std::move(flags)); !status.ok())
    return Fail(app, status);
  return kDone;
}

} // namespace inlay::tools

// The workloads of `bench-model serve` and `throughput`: prompts, arrival times and the summary of the measured times.
// This file does no I/O.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_LOAD_H_
#define INLAY_RUNTIME_TOOLS_BENCH_LOAD_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tools {

// The options of a workload. The names are those of vLLM.
struct Dataset {
  std::string name = "random"; // random, prefix_repetition, multi_turn
  int64_t num_prompts = 100;
  int64_t input_len = 256, output_len = 64;
  double range_ratio = 0; // lengths are drawn from [len * (1 - r), len * (1 + r)]
  int64_t prefix_len = 0; // length of the common prefix in tokens
  int64_t num_prefixes = 1;
  int64_t turns = 4;         // of a conversation
  int32_t vocab_size = 1000; // ids are drawn below it
  uint64_t seed = 0;
};

// One request, or a conversation. The prompt of a turn is the conversation so far and the text of the turn.
struct Job {
  std::vector<int32_t> prompt;     // token ids of a single request; empty for a conversation
  std::vector<std::string> turns;  // texts of a conversation; empty for a single request
  std::vector<int64_t> output_len; // output tokens of the request, or of each turn
};

std::vector<Job> MakeJobs(const Dataset &dataset);

// Arrival time of each job in seconds from the start. The gaps have a gamma distribution; burstiness 1 is Poisson.
std::vector<double> MakeArrivals(size_t jobs, double request_rate, double burstiness, uint64_t seed);

// Measurements of one request. Times are in seconds.
struct RequestTimes {
  std::string error = {};                  // empty: success
  double start = 0, ttft = 0, latency = 0; // start: since the beginning of the run
  std::vector<double> itl = {};
  int64_t input_len = 0, output_len = 0;
  std::string text = {};
};

struct Setting {
  double request_rate = std::numeric_limits<double>::infinity();
  double burstiness = 1;
  int64_t max_concurrency = 0; // 0: no limit
};

// Parses limits such as "ttft:500" (milliseconds). A request is good if it meets all limits.
absl::StatusOr<std::map<std::string, double>> ParseGoodput(const std::vector<std::string> &limits);

// The p-th percentile, p in [0, 100], with numpy's linear interpolation; 0 for an empty list.
double Percentile(std::vector<double> values, double p);

// The results, with the names of vLLM's JSON.
nlohmann::ordered_json Summarize(const std::vector<RequestTimes> &requests, double duration, const Setting &setting,
                                 const std::map<std::string, double> &goodput, const std::vector<double> &percentiles);
// The lists that vLLM's --save-detailed adds: one value per request, times in seconds.
nlohmann::ordered_json Details(const std::vector<RequestTimes> &requests);
// The results as the table that vLLM prints.
std::string ToTable(const nlohmann::ordered_json &result, const std::vector<double> &percentiles);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_LOAD_H_

// The load of `bench-model serve` and `throughput`: what is asked, when, and what is made of the times. Nothing here
// talks to anyone.
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

// What `--dataset-name` and the flags around it say. Names are vLLM's.
struct Dataset {
  std::string name = "random"; // random, prefix_repetition, multi_turn
  int64_t num_prompts = 100;
  int64_t input_len = 256, output_len = 64;
  double range_ratio = 0; // lengths are drawn from [len * (1 - r), len * (1 + r)]
  int64_t prefix_len = 0; // tokens that all prompts (or those of one prefix) begin with
  int64_t num_prefixes = 1;
  int64_t turns = 4;         // of a conversation
  int32_t vocab_size = 1000; // ids are drawn below it
  uint64_t seed = 0;
};

// One request, or a conversation: each turn's prompt is all that was said before and the turn's own text.
struct Job {
  std::vector<int32_t> prompt;     // token ids, of a single request
  std::vector<std::string> turns;  // texts, of a conversation
  std::vector<int64_t> output_len; // of each
};

std::vector<Job> MakeJobs(const Dataset &dataset);

// Seconds from the beginning at which each job begins: gaps of a gamma distribution, Poisson at burstiness 1.
std::vector<double> MakeArrivals(size_t jobs, double request_rate, double burstiness, uint64_t seed);

// What was seen of one request. Times are seconds.
struct RequestTimes {
  std::string error = {}; // empty: it ended well
  double start = 0, ttft = 0, latency = 0;
  std::vector<double> itl = {};
  int64_t input_len = 0, output_len = 0;
  std::string text = {};
};

struct Setting {
  double request_rate = std::numeric_limits<double>::infinity();
  double burstiness = 1;
  int64_t max_concurrency = 0; // 0: any
};

// "ttft:500": every request that ends within all of these milliseconds is good.
absl::StatusOr<std::map<std::string, double>> ParseGoodput(const std::vector<std::string> &limits);

// The p-th percentile, 0 to 100, as numpy interpolates it; 0 of nothing.
double Percentile(std::vector<double> values, double p);

// The results in the names of vLLM's JSON.
nlohmann::ordered_json Summarize(const std::vector<RequestTimes> &requests, double duration, const Setting &setting,
                                 const std::map<std::string, double> &goodput, const std::vector<double> &percentiles);
// What vLLM's --save-detailed adds: lists over requests, in seconds.
nlohmann::ordered_json Details(const std::vector<RequestTimes> &requests);
// The same as vLLM prints them.
std::string ToTable(const nlohmann::ordered_json &result, const std::vector<double> &percentiles);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_LOAD_H_

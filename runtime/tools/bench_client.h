// Sends requests to an OpenAI-compatible server and records when each token arrives.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_CLIENT_H_
#define INLAY_RUNTIME_TOOLS_BENCH_CLIENT_H_

#include "runtime/tools/bench_load.h"

namespace inlay::tools {

struct ServerAddress {
  std::string host = "127.0.0.1";
  std::string port = "8000";
  std::string endpoint = "/v1/completions"; // or a path that ends in /chat/completions
  std::string api_key;
  std::string model; // empty: the first one that the server lists
  double temperature = 0;
  bool ignore_eos = true; // a field of vLLM and Inlay; other servers may refuse it

  bool is_chat() const { return endpoint.ends_with("/chat/completions"); }
};

// Parses a URL such as "http://127.0.0.1:8000" into the host and port of `address`.
absl::Status ReadBaseUrl(const std::string &url, ServerAddress &address);

// The first model that the server lists.
absl::StatusOr<std::string> FindModel(const ServerAddress &address);

// Runs all jobs and returns the times of each request. A job starts at its arrival time, or later if max_concurrency
// jobs are running. `duration` is the time in seconds from the first start to the last end.
std::vector<RequestTimes> RunLoad(const ServerAddress &address, const std::vector<Job> &jobs,
                                  const std::vector<double> &arrivals, int64_t max_concurrency, double &duration);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_CLIENT_H_

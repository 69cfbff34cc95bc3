// The server's Prometheus metrics. The names are those of vLLM with the prefix `inlay:`.
#ifndef INLAY_RUNTIME_SERVE_METRICS_H_
#define INLAY_RUNTIME_SERVE_METRICS_H_

#include "runtime/api/histogram.h"
#include "runtime/api/inlay.h"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::serve {

// The values recorded when a sequence ends.
struct FinishedSequence {
  std::string reason; // "stop", "length", "abort", "error"
  int64_t prompt_tokens = 0, generation_tokens = 0;
  int64_t max_tokens = 0;
  double e2e_seconds = 0;
  double time_to_first_token_seconds = -1; // below 0: no token was generated
};

// The memory use does not depend on what clients send, because all label values come from fixed sets. Thread-safe.
class Metrics {
public:
  // `model_name` is valid UTF-8.
  explicit Metrics(std::string_view model_name);
  // `handler` is a label from the server's table of routes, never text of a request.
  void CountAnswer(std::string_view handler, int status);
  void CountConnection(int change); // +1, -1
  void CountRefusedConnection();
  void ObserveInterTokenLatency(double seconds);
  void ObserveRequest(int64_t n);
  void ObserveFinished(const FinishedSequence &sequence);
  std::string Text(const EngineStats &stats) const;

private:
  mutable std::mutex mutex_;
  std::string labels_;
  std::map<std::pair<std::string, int>, int64_t> answers_; // by handler and status
  std::map<std::string, int64_t> finished_;                // by reason
  int64_t connections_ = 0, refused_connections_ = 0;
  Histogram time_to_first_token_, inter_token_latency_, time_per_output_token_, e2e_latency_;
  Histogram prompt_tokens_, generation_tokens_, max_tokens_, n_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_METRICS_H_

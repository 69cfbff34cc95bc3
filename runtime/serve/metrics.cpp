#include "runtime/serve/metrics.h"

#include "fmt/format.h"

#include <fstream>
#include <unistd.h>

namespace inlay::serve {
namespace {

// A label's value, escaped for Prometheus' text format.
std::string Escaped(std::string_view value) {
  std::string out;
  for (char c : value)
    if (c == '\n')
      out += "\\n";
    else if (c == '"' || c == '\\')
      (out += '\\') += c;
    else
      out += c;
  return out;
}

void Describe(std::string_view name, std::string_view type, std::string_view help, std::string &out) {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

// Writes a histogram as a metric family. Writes nothing if the histogram has no buckets. `labels` is, for example,
// `model_name="x"`.
void Write(std::string_view name, std::string_view help, const Histogram &histogram, std::string_view labels,
           std::string &out) {
  if (histogram.counts.empty())
    return;
  Describe(name, "histogram", help, out);
  int64_t count = 0;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    count += histogram.counts[i];
    std::string bound = i < histogram.bounds.size() ? fmt::format("{}", histogram.bounds[i]) : "+Inf";
    out += fmt::format("{}_bucket{{le=\"{}\",{}}} {}\n", name, bound, labels, count);
  }
  out += fmt::format("{0}_sum{{{1}}} {2}\n{0}_count{{{1}}} {3}\n", name, labels, histogram.sum, histogram.count);
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

} // namespace

Metrics::Metrics(std::string_view model_name)
    : labels_(fmt::format("engine=\"0\",model_name=\"{}\"", Escaped(model_name))),
      finished_({{"stop", 0}, {"length", 0}, {"abort", 0}, {"error", 0}}),
      time_to_first_token_(MakeHistogram(FirstTokenBounds())), inter_token_latency_(MakeHistogram(InterTokenBounds())),
      time_per_output_token_(MakeHistogram(InterTokenBounds())), e2e_latency_(MakeHistogram(RequestBounds())),
      prompt_tokens_(MakeHistogram(TokenCountBounds())), generation_tokens_(MakeHistogram(TokenCountBounds())),
      max_tokens_(MakeHistogram(TokenCountBounds())), n_(MakeHistogram({1, 2, 5, 10, 20})) {}

void Metrics::CountAnswer(std::string_view handler, int status) {
  std::lock_guard lock(mutex_);
  ++answers_[{std::string(handler), status}];
}

void Metrics::CountConnection(int change) {
  std::lock_guard lock(mutex_);
  connections_ += change;
}

void Metrics::CountRefusedConnection() {
  std::lock_guard lock(mutex_);
  ++refused_connections_;
}

void Metrics::ObserveInterTokenLatency(double seconds) {
  std::lock_guard lock(mutex_);
  Observe(inter_token_latency_, seconds);
}

void Metrics::ObserveRequest(int64_t n) {
  std::lock_guard lock(mutex_);
  Observe(n_, static_cast<double>(n));
}

void Metrics::ObserveFinished(const FinishedSequence &sequence) {
  std::lock_guard lock(mutex_);
  ++finished_[sequence.reason];
  Observe(prompt_tokens_, static_cast<double>(sequence.prompt_tokens));
  Observe(generation_tokens_, static_cast<double>(sequence.generation_tokens));
  Observe(max_tokens_, static_cast<double>(sequence.max_tokens));
  Observe(e2e_latency_, sequence.e2e_seconds);
  if (sequence.time_to_first_token_seconds < 0)
    return;
  Observe(time_to_first_token_, sequence.time_to_first_token_seconds);
  if (sequence.generation_tokens > 1)
    Observe(time_per_output_token_, (sequence.e2e_seconds - sequence.time_to_first_token_seconds) /
                                        static_cast<double>(sequence.generation_tokens - 1));
}

std::string Metrics::Text(const EngineStats &stats) const {
  std::string out;
  auto one = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    Describe(name, type, help, out);
    out += fmt::format("{}{{{}}} {}\n", name, labels_, value);
  };
  double used = stats.total_pages > 0
                    ? static_cast<double>(stats.total_pages - stats.free_pages) / static_cast<double>(stats.total_pages)
                    : 0;
  one("inlay:num_requests_running", "gauge", "Number of running sequences.", stats.running);
  one("inlay:num_requests_waiting", "gauge", "Number of waiting sequences.", stats.waiting);
  one("inlay:kv_cache_usage_perc", "gauge", "Fraction of KV pages in use, in [0, 1].", used);
  one("inlay:kv_cache_pages", "gauge", "Number of KV pages.", stats.total_pages);
  one("inlay:kv_cache_free_pages", "gauge", "Number of free KV pages.", stats.free_pages);
  one("inlay:kv_cache_cached_pages", "gauge", "Number of free KV pages that the prefix cache holds.",
      stats.cached_pages);
  one("inlay:prefix_cache_queries_total", "counter", "Number of prompt tokens looked up in the prefix cache.",
      stats.prefix_cache_queries);
  one("inlay:prefix_cache_hits_total", "counter", "Number of prompt tokens found in the prefix cache.",
      stats.prefix_cache_hits);
  one("inlay:num_preemptions_total", "counter", "Number of preemptions.", stats.preemptions);
  one("inlay:swapped_out_pages_total", "counter", "Number of KV pages copied to host memory.", stats.swapped_out_pages);
  one("inlay:swapped_in_pages_total", "counter", "Number of KV pages copied back from host memory.",
      stats.swapped_in_pages);
  one("inlay:spec_decode_num_draft_tokens_total", "counter", "Number of draft tokens.", stats.draft_tokens);
  one("inlay:spec_decode_num_accepted_tokens_total", "counter", "Number of accepted draft tokens.",
      stats.accepted_draft_tokens);
  one("inlay:engine_steps_total", "counter", "Number of engine steps.", stats.steps);
  one("inlay:prompt_tokens_total", "counter", "Number of prompt tokens processed.", stats.prompt_tokens);
  one("inlay:generation_tokens_total", "counter", "Number of generated tokens.", stats.generation_tokens);
  one("inlay:max_num_seqs", "gauge", "Maximum number of running sequences.", stats.max_num_seqs);
  one("inlay:process_resident_memory_bytes", "gauge", "Resident memory of the process in bytes.", ResidentBytes());

  std::lock_guard lock(mutex_);
  Describe("inlay:request_success_total", "counter", "Number of finished sequences by finish reason.", out);
  for (const auto &[reason, count] : finished_)
    out += fmt::format("inlay:request_success_total{{{},finished_reason=\"{}\"}} {}\n", labels_, reason, count);
  Describe("inlay:http_requests_total", "counter", "Number of responses by path and status.", out);
  for (const auto &[key, count] : answers_)
    out += fmt::format("inlay:http_requests_total{{handler=\"{}\",status=\"{}\"}} {}\n", Escaped(key.first), key.second,
                       count);
  one("inlay:http_connections", "gauge", "Number of open connections.", connections_);
  one("inlay:http_refused_connections_total", "counter", "Number of connections refused because of --max-connections.",
      refused_connections_);
  Write("inlay:request_queue_time_seconds", "Time in the waiting queue in seconds.", stats.queue_time, labels_, out);
  Write("inlay:request_prefill_time_seconds", "Time from the first step to the first token in seconds.",
        stats.prefill_time, labels_, out);
  Write("inlay:request_decode_time_seconds", "Time from the first token to the last token in seconds.",
        stats.decode_time, labels_, out);
  Write("inlay:request_inference_time_seconds", "Time from the first step to the last token in seconds.",
        stats.inference_time, labels_, out);
  Write("inlay:iteration_tokens_total", "Number of tokens per engine step.", stats.step_tokens, labels_, out);
  struct {
    const char *name, *help;
    const Histogram &histogram;
  } histograms[] = {
      {"inlay:time_to_first_token_seconds", "Time to first token in seconds.", time_to_first_token_},
      {"inlay:inter_token_latency_seconds", "Time between two tokens in seconds.", inter_token_latency_},
      {"inlay:request_time_per_output_token_seconds", "Mean time per output token after the first, in seconds.",
       time_per_output_token_},
      {"inlay:e2e_request_latency_seconds", "End-to-end request latency in seconds.", e2e_latency_},
      {"inlay:request_prompt_tokens", "Number of prompt tokens per sequence.", prompt_tokens_},
      {"inlay:request_generation_tokens", "Number of generated tokens per sequence.", generation_tokens_},
      {"inlay:request_params_max_tokens", "max_tokens per sequence.", max_tokens_},
      {"inlay:request_params_n", "n per request.", n_},
  };
  for (const auto &entry : histograms) {
    Write(entry.name, entry.help, entry.histogram, labels_, out);
  }
  return out;
}

} // namespace inlay::serve

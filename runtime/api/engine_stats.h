// What the engine counts.
#ifndef INLAY_RUNTIME_API_ENGINE_STATS_H_
#define INLAY_RUNTIME_API_ENGINE_STATS_H_

#include "runtime/api/inlay.h"

#include <algorithm>
#include <chrono>

namespace inlay {

inline double Seconds(std::chrono::steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

inline void Observe(Histogram &histogram, double value, int64_t times = 1) {
  auto bucket = std::ranges::lower_bound(histogram.bounds, value) - histogram.bounds.begin();
  histogram.counts[static_cast<size_t>(bucket)] += times;
  histogram.sum += value * static_cast<double>(times);
  histogram.count += times;
}

// The buckets are vLLM's.
inline void PrepareHistograms(EngineStats &stats) {
  auto prepare = [](Histogram &histogram, std::vector<double> bounds) {
    histogram.counts.resize(bounds.size() + 1);
    histogram.bounds = std::move(bounds);
  };
  prepare(stats.time_to_first_token, {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                      1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560});
  prepare(stats.inter_token_latency,
          {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80});
  std::vector<double> request{0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                              30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
  prepare(stats.e2e_latency, request);
  for (Histogram *part : {&stats.queue_time, &stats.prefill_time, &stats.decode_time, &stats.inference_time})
    prepare(*part, request);
  prepare(stats.step_tokens, {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384});
}

} // namespace inlay

#endif // INLAY_RUNTIME_API_ENGINE_STATS_H_

// Counters and histograms of the engine.
#ifndef INLAY_RUNTIME_API_ENGINE_STATS_H_
#define INLAY_RUNTIME_API_ENGINE_STATS_H_

#include "runtime/api/histogram.h"
#include "runtime/api/inlay.h"

#include <chrono>

namespace inlay {

inline double Seconds(std::chrono::steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

inline void PrepareHistograms(EngineStats &stats) {
  stats.time_to_first_token = MakeHistogram(FirstTokenBounds());
  stats.inter_token_latency = MakeHistogram(InterTokenBounds());
  for (Histogram *part :
       {&stats.e2e_latency, &stats.queue_time, &stats.prefill_time, &stats.decode_time, &stats.inference_time})
    *part = MakeHistogram(RequestBounds());
  stats.step_tokens = MakeHistogram(StepTokenBounds());
}

} // namespace inlay

#endif // INLAY_RUNTIME_API_ENGINE_STATS_H_

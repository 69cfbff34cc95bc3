// Adds observations to histograms. The buckets are those of vLLM.
#ifndef INLAY_RUNTIME_API_HISTOGRAM_H_
#define INLAY_RUNTIME_API_HISTOGRAM_H_

#include "runtime/api/inlay.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace inlay {

inline Histogram MakeHistogram(std::vector<double> bounds) {
  Histogram histogram;
  histogram.counts.resize(bounds.size() + 1);
  histogram.bounds = std::move(bounds);
  return histogram;
}

inline void Observe(Histogram &histogram, double value, int64_t times = 1) {
  auto bucket = std::ranges::lower_bound(histogram.bounds, value) - histogram.bounds.begin();
  histogram.counts[static_cast<size_t>(bucket)] += times;
  histogram.sum += value * static_cast<double>(times);
  histogram.count += times;
}

// Bounds of the time to the first token, in seconds.
inline std::vector<double> FirstTokenBounds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
          1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
}
// Bounds of the time between two tokens, in seconds.
inline std::vector<double> InterTokenBounds() {
  return {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0};
}
// Bounds of the time of a request and of its parts, in seconds.
inline std::vector<double> RequestBounds() {
  return {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
          30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
}
// Bounds of the tokens of a request: 1, 2, 5, 10, 20, 50, ... up to a million.
inline std::vector<double> TokenCountBounds() {
  std::vector<double> bounds;
  for (int power = 1; power <= 1'000'000; power *= 10)
    for (int mantissa : {1, 2, 5})
      if (mantissa * power <= 1'000'000)
        bounds.push_back(mantissa * power);
  return bounds;
}
// Bounds of the tokens of a step.
inline std::vector<double> StepTokenBounds() {
  return {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
}

} // namespace inlay

#endif // INLAY_RUNTIME_API_HISTOGRAM_H_

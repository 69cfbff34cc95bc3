// How the ranks of the tests divide the example model, and sampled tokens that all of them must agree on.
#ifndef INLAY_TEST_E2E_ENGINE_DIVISIONS_H_
#define INLAY_TEST_E2E_ENGINE_DIVISIONS_H_

#include "test/e2e/engine_testing.h"

#include <ostream>

namespace inlay {

// How ranks divide the model.
struct Division {
  const char *name;
  const char *bundle;
  int32_t ranks, stages;
};
inline constexpr Division kTwoRanks{"TwoRanks", INLAY_TEST_RANKS_BUNDLE, 2, 1};
inline constexpr Division kTwoStages{"TwoStages", INLAY_TEST_STAGES_BUNDLE, 2, 2};
inline constexpr Division kBoth{"TwoStagesOfTwoRanks", INLAY_TEST_BOTH_BUNDLE, 4, 2};

inline void PrintTo(const Division &division, std::ostream *out) { *out << division.name; }

inline SamplingParams Sampled(int32_t tokens) {
  SamplingParams sampling = Greedy(tokens);
  sampling.temperature = 0.8f;
  sampling.top_p = 0.9f;
  sampling.seed = 7;
  return sampling;
}

} // namespace inlay

#endif // INLAY_TEST_E2E_ENGINE_DIVISIONS_H_

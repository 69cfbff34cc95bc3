// Log-probabilities of a row of logits.
#ifndef INLAY_RUNTIME_SAMPLE_LOGPROBS_H_
#define INLAY_RUNTIME_SAMPLE_LOGPROBS_H_

#include "runtime/api/inlay.h"

#include <cstdint>
#include <span>

namespace inlay {

// Returns the log-probability and rank of `token`, and the `count` most likely tokens with theirs. The likeliest token
// comes first; among equals, the smaller id. `logits` is not empty, and `token` is one of its indices. The relative
// error of the sum of exponentials is below 1e-6. The engine's step waits for it, so it must be fast: it takes about
// 0.1 ms for 128,256 logits.
PromptLogprob LogprobOf(std::span<const float> logits, int32_t token, int32_t count);

} // namespace inlay

#endif // INLAY_RUNTIME_SAMPLE_LOGPROBS_H_

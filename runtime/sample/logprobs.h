// Log-probabilities of a row of logits.
#ifndef INLAY_RUNTIME_SAMPLE_LOGPROBS_H_
#define INLAY_RUNTIME_SAMPLE_LOGPROBS_H_

#include "runtime/api/inlay.h"

#include <cstdint>
#include <span>

namespace inlay {

// The token's log-probability and rank, and the `count` most likely tokens with theirs, the likeliest first and the
// smaller id first among equals. `logits` is not empty and holds `token`. The sum of exponentials is off by less than
// 1e-6 of itself. Takes about 0.1 ms for 128,256 logits: the engine's thread calls it for each row.
PromptLogprob LogprobOf(std::span<const float> logits, int32_t token, int32_t count);

} // namespace inlay

#endif // INLAY_RUNTIME_SAMPLE_LOGPROBS_H_

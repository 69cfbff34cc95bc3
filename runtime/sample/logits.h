// The host's part in a row of logits.
#ifndef INLAY_RUNTIME_SAMPLE_LOGITS_H_
#define INLAY_RUNTIME_SAMPLE_LOGITS_H_

#include "runtime/schedule/step.h"

#include <span>

namespace inlay {

// What the sampling parameters ask for before penalties: logit_bias, and no end before min_tokens.
inline void EditLogits(const Sequence &sequence, std::span<float> logits) {
  for (const auto &[id, bias] : sequence.sampling.logit_bias)
    logits[static_cast<size_t>(id)] += bias;
  // Far below any other, and a number: the sampler subtracts the largest.
  constexpr float kNever = -1e30f;
  if (sequence.length() - sequence.prompt_size < sequence.sampling.min_tokens)
    for (int32_t id : sequence.end_ids)
      logits[static_cast<size_t>(id)] = kNever;
}

} // namespace inlay

#endif // INLAY_RUNTIME_SAMPLE_LOGITS_H_

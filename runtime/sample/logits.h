// Edits of a row of logits on the host.
#ifndef INLAY_RUNTIME_SAMPLE_LOGITS_H_
#define INLAY_RUNTIME_SAMPLE_LOGITS_H_

#include "runtime/schedule/sequence.h"

#include <algorithm>
#include <span>
#include <vector>

namespace inlay {

// A logit far below all others. It is finite because the sampler subtracts the largest logit, which may be this one.
inline constexpr float kNeverSampled = -1e30f;

// Masks all tokens that are not in allowed_token_ids.
inline void KeepAllowed(std::span<const int32_t> allowed, std::span<float> logits) {
  std::vector<float> kept;
  kept.reserve(allowed.size());
  for (int32_t id : allowed)
    kept.push_back(logits[static_cast<size_t>(id)]);
  std::ranges::fill(logits, kNeverSampled);
  for (size_t i = 0; i < allowed.size(); ++i)
    logits[static_cast<size_t>(allowed[i])] = kept[i];
}

// Masks tokens that would complete a bad word. As in vLLM, only generated tokens count, not those of the prompt.
inline void MaskBadWords(const Sequence &sequence, std::span<float> logits) {
  auto generated = std::span(sequence.tokens).subspan(static_cast<size_t>(sequence.prompt_size));
  for (const std::vector<int32_t> &word : sequence.edits.bad_words) {
    auto before = std::span(word).first(word.size() - 1);
    if (before.size() <= generated.size() && std::ranges::equal(before, generated.last(before.size())))
      logits[static_cast<size_t>(word.back())] = kNeverSampled;
  }
}

// Applies the sampling parameters that come before penalties: allowed_token_ids, bad_words, logit_bias, min_tokens and
// the token mask. Before min_tokens, end tokens are masked. An exception is a mask that allows only end tokens, because
// the guided text is complete: then the sequence may end before min_tokens. `length` is that of the sequence before the
// token that is sampled from `logits`.
inline void EditLogits(const Sequence &sequence, int32_t length, std::span<float> logits) {
  if (!sequence.edits.allowed_token_ids.empty())
    KeepAllowed(sequence.edits.allowed_token_ids, logits);
  MaskBadWords(sequence, logits);
  for (const auto &[id, bias] : sequence.edits.logit_bias)
    logits[static_cast<size_t>(id)] += bias;
  bool may_end = length - sequence.prompt_size >= sequence.edits.min_tokens;
  if (const TokenMask *mask = sequence.edits.mask.get()) {
    bool only_ends = true;
    for (size_t word = 0; word < mask->words.size(); ++word) {
      uint32_t bits = mask->words[word];
      size_t first = word * 32, end = std::min(first + 32, logits.size());
      if (bits == 0) {
        std::fill(logits.begin() + static_cast<int64_t>(first), logits.begin() + static_cast<int64_t>(end),
                  kNeverSampled);
        continue;
      }
      for (size_t id = first; id < end; ++id)
        if ((bits >> (id - first) & 1) == 0)
          logits[id] = kNeverSampled;
        else if (!may_end && only_ends)
          only_ends =
              std::ranges::find(sequence.edits.end_ids, static_cast<int32_t>(id)) != sequence.edits.end_ids.end();
    }
    may_end = may_end || only_ends;
  }
  if (!may_end)
    for (int32_t id : sequence.edits.end_ids)
      logits[static_cast<size_t>(id)] = kNeverSampled;
}

} // namespace inlay

#endif // INLAY_RUNTIME_SAMPLE_LOGITS_H_

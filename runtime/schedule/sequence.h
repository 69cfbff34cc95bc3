// A sequence as the scheduler sees it: its tokens, how the next ones are sampled, and where its keys and values are.
#ifndef INLAY_RUNTIME_SCHEDULE_SEQUENCE_H_
#define INLAY_RUNTIME_SCHEDULE_SEQUENCE_H_

#include "runtime/kv/page_pool.h"
#include "runtime/schedule/ngram_index.h"
#include "runtime/schedule/token_mask.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace inlay {

struct ActiveSequence;
struct Sequence;

// How a token is sampled from a row of logits. The kernels read these from the step's metadata.
struct RowSampling {
  float temperature = 1; // 0 is greedy
  int32_t top_k = 0;     // 0 is off
  float top_p = 1, min_p = 0;
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  uint32_t seed = 0;

  bool has_penalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

// What the host changes in a row of logits before a token is sampled from it: EditLogits().
struct LogitEdits {
  std::map<int32_t, float> logit_bias;
  std::vector<int32_t> allowed_token_ids;      // only these; empty: all
  std::vector<std::vector<int32_t>> bad_words; // the last token of one is not sampled after the others
  int32_t min_tokens = 0;
  std::vector<int32_t> end_ids; // not to be sampled before min_tokens
  // Of the token after the known ones, where the text must take a form; or none.
  std::shared_ptr<TokenMask> mask;
};

// Where the keys and values of a sequence are. The scheduler's alone.
struct CachedTokens {
  std::string salt;         // pages are shared with sequences of the same salt
  bool reuses_pages = true; // of others with the same salt
  std::vector<int32_t> pages;
  int32_t computed =
      0; // positions whose keys and values are in the pages, or will be when the steps on their way are done
  std::vector<PagePrefix> prefixes; // of the full pages that were published or found
  int32_t found = 0;                // tokens of the prompt found in the cache when the sequence was first admitted
  Sequence *leader = nullptr;       // another sequence of the same prompt, to share its pages
  // While it waits after a preemption: pages in the host's memory, and what is in them.
  std::vector<int32_t> host_pages;
  int32_t host_computed = 0;
};

struct Sequence {
  std::vector<int32_t> tokens; // prompt, then what was generated
  int32_t prompt_size = 0;
  int32_t pending = 0; // tokens after `tokens` that steps on their way will sample
  int32_t max_tokens = 16;
  RowSampling sampling;
  std::map<int32_t, int32_t> counts; // token -> times generated (0: only in the prompt); kept if penalties need it
  LogitEdits edits;

  double priority_key = 0; // seconds; those that are admitted first have the smallest
  CachedTokens cache;
  // The logits of the prompt's rows are wanted, but for the last, which gives the first token; so many were taken.
  bool wants_prompt_logits = false;
  int32_t prompt_logits = 0;
  int32_t last_logits_row = -1; // of the step on its way that samples the pending token
  NgramIndex ngrams;
  std::vector<int32_t> drafts; // guesses of what follows `tokens`, which the planned step verifies

  ActiveSequence *active = nullptr; // the engine's side of it; null where no request belongs to it

  int32_t length() const { return static_cast<int32_t>(tokens.size()) + pending; }
  // All that may be generated is, or is on its way.
  bool is_full() const { return length() - prompt_size >= max_tokens; }
  // The host has a part in the logits of the next token.
  bool edits_logits() const {
    return edits.mask || !edits.logit_bias.empty() || !edits.allowed_token_ids.empty() || !edits.bad_words.empty() ||
           length() - prompt_size < edits.min_tokens;
  }
  // It is not known yet which tokens may come next: of one that a step on its way samples neither.
  bool waits_for_mask() const { return edits.mask && (pending > 0 || !edits.mask->is_ready); }
  // The next step of it needs the tokens that steps on their way sample.
  bool needs_tokens() const { return sampling.has_penalties() || !edits.bad_words.empty(); }
  // Each of its rows gives the token that it would give alone, so that guesses can be verified.
  bool takes_drafts() const {
    return !needs_tokens() && !edits.mask && edits.logit_bias.empty() && edits.allowed_token_ids.empty() &&
           edits.min_tokens == 0;
  }
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_SEQUENCE_H_

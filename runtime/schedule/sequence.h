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

  bool has_filters() const { return top_k > 0 || top_p < 1.0f || min_p > 0.0f; }
  bool has_penalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

// Changes that the host makes to a row of logits before a token is sampled from it. See EditLogits().
struct LogitEdits {
  std::map<int32_t, float> logit_bias;
  std::vector<int32_t> allowed_token_ids;      // only these; empty: all
  std::vector<std::vector<int32_t>> bad_words; // the last token of a word is not sampled after the word's other tokens
  int32_t min_tokens = 0;
  std::vector<int32_t> end_ids; // not sampled before min_tokens tokens were generated
  // With guided decoding: the allowed values of the token after `tokens`. Otherwise null.
  std::shared_ptr<TokenMask> mask;
};

// Where the keys and values of a sequence are. Only the scheduler uses it.
struct CachedTokens {
  std::string salt;           // pages are shared with sequences of the same salt
  bool reuses_pages = true;   // whether it uses the prefix cache
  std::vector<int32_t> pages; // of all cache groups: see sequence_pages.h
  // Positions whose keys and values are in the pages, or will be when the steps in flight are done.
  int32_t computed = 0;
  // Of each page_size positions whose pages were published or found in the prefix cache.
  std::vector<PagePrefix> prefixes;
  // The row of rope tables with two parts for position 0 of the sequence. See SchedulerLimits::short_rope_len.
  int32_t first_rope_row = 0;
  int32_t found = 0;          // tokens of the prompt found in the prefix cache when the sequence was first admitted
  Sequence *leader = nullptr; // another sequence with the same prompt, whose pages this one will share
  // While a preempted sequence waits: its pages in host memory, in the order of `pages`, and the number of positions in
  // them. -1 where the next row sees no page.
  std::vector<int32_t> host_pages;
  int32_t host_computed = 0;
};

struct Sequence {
  std::vector<int32_t> tokens; // the prompt, then the generated tokens
  int32_t prompt_size = 0;
  int32_t pending = 0; // tokens after `tokens` that steps in flight will sample
  int32_t max_tokens = 16;
  RowSampling sampling;
  std::map<int32_t, int32_t> counts; // token -> times generated (0: only in the prompt); kept if penalties need it
  LogitEdits edits;

  double priority_key = 0; // seconds; sequences with smaller keys are admitted first
  CachedTokens cache;
  // Whether the logits of the prompt's rows are requested. The last row is not one of them: the first generated token
  // is sampled from it.
  bool wants_prompt_logits = false;
  int32_t prompt_logits = 0;    // rows of the prompt whose logits were received
  int32_t last_logits_row = -1; // the row of logits from which the step in flight samples the pending token
  NgramIndex ngrams;
  std::vector<int32_t> drafts; // draft tokens after `tokens`, which the planned step verifies

  ActiveSequence *active = nullptr; // the engine's state of the sequence; null if it belongs to no request

  int32_t length() const { return static_cast<int32_t>(tokens.size()) + pending; }
  // Whether max_tokens tokens have been generated, counting those of steps in flight.
  bool is_full() const { return length() - prompt_size >= max_tokens; }
  // Whether the host changes the logits of the next token.
  bool edits_logits() const {
    return edits.mask || !edits.logit_bias.empty() || !edits.allowed_token_ids.empty() || !edits.bad_words.empty() ||
           length() - prompt_size < edits.min_tokens;
  }
  // Whether the token mask of the next token is not known yet. It cannot be known while a step in flight samples the
  // token before it.
  bool waits_for_mask() const { return edits.mask && (pending > 0 || !edits.mask->is_ready); }
  // Whether the host needs the tokens of the steps in flight to prepare the next step: penalties and bad words depend
  // on all earlier tokens.
  bool needs_tokens() const { return sampling.has_penalties() || !edits.bad_words.empty(); }
  // Whether the sequence can have draft tokens. Several tokens are then sampled in one step, so the sampling of a token
  // must not depend on the generated tokens or on changes of the logits by the host.
  bool takes_drafts() const {
    return !needs_tokens() && !edits.mask && edits.logit_bias.empty() && edits.allowed_token_ids.empty() &&
           edits.min_tokens == 0;
  }
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_SEQUENCE_H_

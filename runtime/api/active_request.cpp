#include "runtime/api/active_request.h"

#include <algorithm>
#include <random>

namespace inlay {
namespace {

// Lower temperatures are greedy, as in vLLM: logit / temperature would not fit into f32.
constexpr float kLeastTemperature = 1e-5f;

bool Contains(std::span<const int32_t> ids, int32_t id) { return std::ranges::find(ids, id) != ids.end(); }

// The bytes [begin, end) of a text that are equal to a stop string.
struct StopMatch {
  size_t begin = 0, end = 0;
  const std::string *stop = nullptr;
};

// Returns the stop string whose end comes first in the text after `offset`. The text before `offset` was searched
// already.
std::optional<StopMatch> FindStop(const std::string &text, size_t offset, const std::vector<std::string> &stops) {
  std::optional<StopMatch> found;
  for (const std::string &stop : stops) {
    size_t from = offset + 1 > stop.size() ? offset + 1 - stop.size() : 0;
    size_t at = text.find(stop, from);
    if (at != std::string::npos && (!found || at + stop.size() < found->end))
      found = StopMatch{at, at + stop.size(), &stop};
  }
  return found;
}

// Returns the number of bytes at the end of `text` that may be the beginning of a stop string.
size_t BeginningOfStop(const std::string &text, const std::vector<std::string> &stops) {
  size_t held = 0;
  for (const std::string &stop : stops)
    for (size_t n = std::min(stop.size() - 1, text.size()); n > held; --n)
      if (text.compare(text.size() - n, n, stop, 0, n) == 0)
        held = n;
  return held;
}

// Returns the text that a token completes. Text that may be the beginning of a stop string is held back until it is
// known whether it is. `is_stop` says that the token itself ends the text. If a stop string is found, sets `is_stop`
// and the stop reason.
std::string TakeText(ActiveSequence &sequence, int32_t token, bool &is_stop, bool is_last) {
  if (!sequence.text_stream)
    return {};
  const SamplingParams &sampling = sequence.request->sampling();
  std::string &all = sequence.text;
  size_t searched = all.size();
  if (!is_stop || sampling.include_stop_str_in_output)
    if (absl::StatusOr<std::string> text = sequence.text_stream->Push(token); text.ok())
      all += *text;
  if (is_last)
    if (absl::StatusOr<std::string> text = sequence.text_stream->Flush(); text.ok())
      all += *text;
  size_t end = all.size();
  // A stop string that ends in the text of the first min_tokens tokens is ignored, but a stop string may begin there.
  auto generated = static_cast<int32_t>(sequence.tokens.size()) - sequence.prompt_size;
  if (generated > sampling.min_tokens)
    if (std::optional<StopMatch> match = FindStop(all, searched, sampling.stop)) {
      end = sampling.include_stop_str_in_output ? match->end : match->begin;
      is_stop = is_last = true;
      sequence.stop_reason = {.token_id = std::nullopt, .text = *match->stop};
    }
  if (!is_last && !sampling.include_stop_str_in_output)
    end = std::max(sequence.text_given, end - BeginningOfStop(all, sampling.stop));
  std::string text;
  if (end > sequence.text_given)
    text = all.substr(sequence.text_given, end - sequence.text_given);
  sequence.text_given = std::max(sequence.text_given, end);
  return text;
}

class Handle : public RequestHandle {
public:
  explicit Handle(std::shared_ptr<ActiveRequest> request) : request_(std::move(request)) {}
  ~Handle() override { Cancel(); }

  std::optional<Piece> Next() override { return request_->Next(std::nullopt, nullptr); }
  absl::StatusOr<std::optional<Piece>> Next(std::chrono::steady_clock::time_point deadline) override {
    bool timed_out = false;
    std::optional<Piece> piece = request_->Next(deadline, &timed_out);
    if (timed_out)
      return absl::DeadlineExceededError("no token came before the deadline of Next(); call it again");
    return piece;
  }
  void Cancel() override { request_->Cancel(); }
  FinishReason finish_reason(int32_t index) const override { return request_->finish_reason(index); }
  StopReason stop_reason(int32_t index) const override { return request_->stop_reason(index); }
  RequestTimings timings() const override { return request_->timings(); }
  int32_t cached_prompt_tokens() const override { return request_->cached_tokens(); }
  std::vector<PromptLogprob> prompt_logprobs() const override { return request_->prompt_logprobs(); }
  absl::Status status() const override { return request_->status(); }
  const std::vector<int32_t> &prompt_token_ids() const override { return request_->prompt(); }

private:
  std::shared_ptr<ActiveRequest> request_;
};

} // namespace

std::string_view ToString(FinishReason reason) {
  switch (reason) {
  case FinishReason::kNone:
    break;
  case FinishReason::kStop:
    return "stop";
  case FinishReason::kLength:
    return "length";
  case FinishReason::kCancelled:
    return "cancelled";
  case FinishReason::kError:
    return "error";
  }
  return "none";
}

std::unique_ptr<RequestHandle> MakeHandle(std::shared_ptr<ActiveRequest> request) {
  return std::make_unique<Handle>(std::move(request));
}

ActiveRequest::ActiveRequest(const Request &request, std::vector<int32_t> prompt, const tokenizer::Tokenizer *tokenizer,
                             std::span<const int32_t> eos_ids)
    : sampling_(request.sampling), prompt_(std::move(prompt)), deadline_(request.deadline),
      on_progress_(request.on_progress), finished_(static_cast<size_t>(sampling_.n), FinishReason::kNone),
      stop_reasons_(static_cast<size_t>(sampling_.n)) {
  timings_.queued = Clock::now();
  if (tokenizer)
    tokenizer_eos_ = tokenizer->TokenToId(tokenizer->eos_token());
  if (!tokenizer_eos_ && !eos_ids.empty())
    tokenizer_eos_ = eos_ids.front();
  uint32_t seed = sampling_.seed ? *sampling_.seed : std::random_device{}();
  for (int32_t index = 0; index < std::max(sampling_.n, sampling_.best_of); ++index) {
    auto sequence = std::make_unique<ActiveSequence>();
    sequence->request = this;
    sequence->index = index;
    sequence->tokens = prompt_;
    sequence->prompt_size = static_cast<int32_t>(prompt_.size());
    sequence->max_tokens = sampling_.max_tokens;
    sequence->sampling = {.temperature = sampling_.temperature < kLeastTemperature ? 0 : sampling_.temperature,
                          .top_k = sampling_.top_k,
                          .top_p = sampling_.top_p,
                          .min_p = sampling_.min_p,
                          .repetition_penalty = sampling_.repetition_penalty,
                          .presence_penalty = sampling_.presence_penalty,
                          .frequency_penalty = sampling_.frequency_penalty,
                          // The sequences sample like separate requests with consecutive seeds.
                          .seed = seed + static_cast<uint32_t>(index)};
    sequence->edits.logit_bias = sampling_.logit_bias;
    sequence->edits.allowed_token_ids = sampling_.allowed_token_ids;
    sequence->edits.min_tokens = sampling_.min_tokens;
    sequence->cache.salt = request.cache_salt;
    sequence->cache.reuses_pages = request.enable_prefix_caching;
    sequence->wants_prompt_logits = index == 0 && sampling_.prompt_logprobs >= 0;
    if (index > 0)
      sequence->cache.leader = sequences_.front().get();
    if (sampling_.min_tokens > 0) {
      sequence->edits.end_ids = sampling_.stop_token_ids;
      sequence->edits.end_ids.insert(sequence->edits.end_ids.end(), eos_ids.begin(), eos_ids.end());
    }
    if (sequence->sampling.has_penalties())
      for (int32_t id : prompt_)
        sequence->counts.emplace(id, 0);
    if (tokenizer)
      sequence->text_stream = std::make_unique<tokenizer::DetokenizeStream>(*tokenizer, sampling_.skip_special_tokens);
    sequences_.push_back(std::move(sequence));
  }
}

void ActiveRequest::TakePromptLogprobs(ActiveSequence &sequence, const ScheduledRows &part,
                                       std::span<const PromptLogprob> found) {
  sequence.prompt_logits = part.prompt_end();
  std::lock_guard lock(mutex_);
  prompt_logprobs_.insert(prompt_logprobs_.end(), found.begin(), found.end());
}

void ActiveRequest::TakeToken(ActiveSequence &sequence, int32_t token, const PromptLogprob &logprob,
                              std::span<const float> logits, std::span<const int32_t> eos_ids, Clock::time_point now) {
  sequence.tokens.push_back(token);
  if (sequence.sampling.has_penalties())
    ++sequence.counts[token];
  Piece piece;
  piece.index = sequence.index;
  piece.token_id = token;
  piece.time = now;
  if (needs_logits()) {
    piece.logprob = logprob.token.logprob;
    piece.rank = logprob.token.rank;
    piece.top = logprob.top;
    sequence.logprob_sum += piece.logprob;
  }
  piece.logits.assign(logits.begin(), logits.end());
  bool is_end = !sampling_.ignore_eos && Contains(eos_ids, token);
  bool is_stop = is_end || Contains(sampling_.stop_token_ids, token);
  if (is_stop && !(is_end && token == tokenizer_eos_))
    sequence.stop_reason.token_id = token;
  auto generated = static_cast<int32_t>(sequence.tokens.size()) - sequence.prompt_size;
  bool is_full = generated >= sequence.max_tokens;
  piece.text = TakeText(sequence, token, is_stop, is_stop || is_full);
  if (is_stop || is_full)
    sequence.finished = is_stop ? FinishReason::kStop : FinishReason::kLength;
  if (is_best_of())
    sequence.held.push_back(std::move(piece));
  else
    HandOut(std::move(piece), sequence);
  if (sequence.finished == FinishReason::kNone)
    return;
  bool all_done = std::ranges::all_of(sequences_, [](const auto &one) { return one->finished != FinishReason::kNone; });
  if (all_done && is_best_of())
    HandOutBest();
  std::lock_guard lock(mutex_);
  if (all_done && !done_) {
    timings_.finished = now;
    done_ = true;
  }
}

void ActiveRequest::HandOut(Piece piece, const ActiveSequence &sequence) {
  std::lock_guard lock(mutex_);
  if (done_) // the watchdog's thread may have ended the request
    return;
  finished_[static_cast<size_t>(piece.index)] = sequence.finished;
  stop_reasons_[static_cast<size_t>(piece.index)] = sequence.stop_reason;
  if (!timings_.first_token)
    timings_.first_token = piece.time;
  pieces_.push_back(std::move(piece));
}

// Delivers the n sequences with the highest mean log-probability, the best first.
void ActiveRequest::HandOutBest() {
  std::vector<ActiveSequence *> order;
  for (const auto &sequence : sequences_)
    order.push_back(sequence.get());
  std::ranges::sort(order, {}, [](const ActiveSequence *sequence) {
    return std::pair(-sequence->logprob_sum / static_cast<double>(sequence->held.size()), sequence->index);
  });
  for (int32_t index = 0; index < sampling_.n; ++index) {
    ActiveSequence &sequence = *order[static_cast<size_t>(index)];
    for (Piece &piece : sequence.held) {
      piece.index = index;
      HandOut(std::move(piece), sequence);
    }
  }
}

void ActiveRequest::Finish(FinishReason reason, absl::Status why) {
  {
    std::lock_guard lock(mutex_);
    if (done_)
      return;
    done_ = true;
    for (FinishReason &finished : finished_)
      if (finished == FinishReason::kNone)
        finished = reason;
    status_ = std::move(why);
    timings_.finished = Clock::now();
  }
  Notify();
}

bool ActiveRequest::is_prepared() const {
  return std::ranges::all_of(sequences_, [](const auto &one) { return !one->guided || one->guided->is_ready; });
}

absl::Status ActiveRequest::guided_failure() const {
  if (is_guided())
    for (const auto &sequence : sequences_)
      if (sequence->guided && sequence->guided->has_failed)
        return sequence->guided->status;
  return absl::OkStatus();
}

void ActiveRequest::Notify() {
  changed_.notify_all();
  if (on_progress_)
    on_progress_();
}

void ActiveRequest::Scheduled(int32_t cached_tokens) {
  std::lock_guard lock(mutex_);
  if (timings_.scheduled)
    return;
  timings_.scheduled = Clock::now();
  cached_tokens_ = cached_tokens;
}

std::optional<Piece> ActiveRequest::Next(std::optional<Clock::time_point> deadline, bool *timed_out) {
  std::unique_lock lock(mutex_);
  auto has_news = [&] { return next_piece_ < pieces_.size() || done_; };
  if (!deadline)
    changed_.wait(lock, has_news);
  else if (!changed_.wait_until(lock, *deadline, has_news))
    *timed_out = true;
  if (next_piece_ == pieces_.size())
    return std::nullopt;
  Piece piece = std::move(pieces_[next_piece_++]);
  // clear() keeps the memory, so that the engine's thread does not have to allocate for the next pieces.
  if (next_piece_ == pieces_.size()) {
    pieces_.clear();
    next_piece_ = 0;
  }
  return piece;
}

FinishReason ActiveRequest::finish_reason(int32_t index) const {
  std::lock_guard lock(mutex_);
  return index >= 0 && index < sampling_.n ? finished_[static_cast<size_t>(index)] : FinishReason::kNone;
}

StopReason ActiveRequest::stop_reason(int32_t index) const {
  std::lock_guard lock(mutex_);
  return index >= 0 && index < sampling_.n ? stop_reasons_[static_cast<size_t>(index)] : StopReason();
}

absl::Status ActiveRequest::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

RequestTimings ActiveRequest::timings() const {
  std::lock_guard lock(mutex_);
  return timings_;
}

std::vector<PromptLogprob> ActiveRequest::prompt_logprobs() const {
  std::lock_guard lock(mutex_);
  return prompt_logprobs_.size() + 1 == prompt_.size() ? prompt_logprobs_ : std::vector<PromptLogprob>();
}

int32_t ActiveRequest::cached_tokens() const {
  std::lock_guard lock(mutex_);
  return cached_tokens_;
}

} // namespace inlay

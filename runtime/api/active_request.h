// A request inside the engine: its sequences, and what was generated but not yet fetched.
#ifndef INLAY_RUNTIME_API_ACTIVE_REQUEST_H_
#define INLAY_RUNTIME_API_ACTIVE_REQUEST_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/api/guided_pool.h"
#include "runtime/api/inlay.h"
#include "runtime/schedule/step.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace inlay {

class ActiveRequest;

// One of the sequences of a request. Once submitted, only the engine's thread uses it.
struct ActiveSequence : Sequence {
  ActiveSequence() { active = this; }

  ActiveRequest *request = nullptr;
  int32_t index = 0;
  std::unique_ptr<tokenizer::DetokenizeStream> text_stream;
  std::string text;      // all generated text, to find stop strings across tokens
  size_t text_given = 0; // bytes of `text` that were delivered
  double logprob_sum = 0;
  std::vector<Piece> held; // with best_of, until it is known which sequences are returned
  FinishReason finished = FinishReason::kNone;
  StopReason stop_reason;             // if `finished` is kStop
  std::shared_ptr<GuidedText> guided; // the token mask; null without guided decoding
};

// Shared by the engine and the handle.
class ActiveRequest {
public:
  using Clock = std::chrono::steady_clock;

  ActiveRequest(const Request &request, std::vector<int32_t> prompt, const tokenizer::Tokenizer *tokenizer,
                std::span<const int32_t> eos_ids);

  // For the engine's thread.

  // Appends a token to a sequence and delivers it. `logprob` is used if needs_logits(); `logits` are for Piece::logits.
  void TakeToken(ActiveSequence &sequence, int32_t token, const PromptLogprob &logprob, std::span<const float> logits,
                 std::span<const int32_t> eos_ids, Clock::time_point now);
  // Appends the log-probabilities of the prompt rows of `part`.
  void TakePromptLogprobs(ActiveSequence &sequence, const ScheduledRows &part, std::span<const PromptLogprob> found);
  // Ends all sequences that have not ended. Does nothing if the request has ended.
  void Finish(FinishReason reason, absl::Status why = absl::OkStatus());
  // Wakes threads that wait in Next(), after tokens were delivered.
  void Notify();
  void Scheduled(int32_t cached_tokens);
  bool is_done() const { return done_; }
  bool is_guided() const { return !sampling_.guided.empty(); }
  // Whether the first token mask of each sequence is ready.
  bool is_prepared() const;
  // The error, if the token mask of a sequence cannot be computed.
  absl::Status guided_failure() const;
  bool needs_logits() const { return sampling_.logprobs >= 0 || is_best_of(); }
  const std::vector<std::unique_ptr<ActiveSequence>> &sequences() const { return sequences_; }
  const SamplingParams &sampling() const { return sampling_; }
  std::optional<Clock::time_point> deadline() const { return deadline_; }
  bool is_cancelled() const { return cancelled_; }
  int64_t number = 0;                  // in the order of submission
  std::atomic<bool> is_counted{false}; // in the statistics of ended requests
  std::optional<Clock::time_point> last_token_time;

  // For the handle.
  std::optional<Piece> Next(std::optional<Clock::time_point> deadline, bool *timed_out);
  void Cancel() { cancelled_ = true; }
  FinishReason finish_reason(int32_t index) const;
  StopReason stop_reason(int32_t index) const;
  absl::Status status() const;
  RequestTimings timings() const;
  int32_t cached_tokens() const;
  std::vector<PromptLogprob> prompt_logprobs() const;
  const std::vector<int32_t> &prompt() const { return prompt_; }

private:
  bool is_best_of() const { return static_cast<int32_t>(sequences_.size()) > sampling_.n; }
  void HandOut(Piece piece, const ActiveSequence &sequence);
  void HandOutBest();

  const SamplingParams sampling_;
  const std::vector<int32_t> prompt_;
  const std::optional<Clock::time_point> deadline_;
  const std::function<void()> on_progress_;
  std::optional<int32_t> tokenizer_eos_; // the tokenizer's end token, for which no stop reason is reported
  std::vector<std::unique_ptr<ActiveSequence>> sequences_;
  std::atomic<bool> cancelled_{false}, done_{false};

  mutable std::mutex mutex_; // guards the members below
  std::condition_variable changed_;
  std::vector<Piece> pieces_;
  size_t next_piece_ = 0;              // index of the next element of pieces_ to fetch
  std::vector<FinishReason> finished_; // by index of the returned sequences
  std::vector<StopReason> stop_reasons_;
  absl::Status status_;
  RequestTimings timings_;
  int32_t cached_tokens_ = 0;
  std::vector<PromptLogprob> prompt_logprobs_; // of the prompt's tokens from the second on, as far as they are known
};

std::unique_ptr<RequestHandle> MakeHandle(std::shared_ptr<ActiveRequest> request);

} // namespace inlay

#endif // INLAY_RUNTIME_API_ACTIVE_REQUEST_H_

// The sequences of one request in the engine, and the response that is built from them.
#ifndef INLAY_RUNTIME_SERVE_GENERATION_H_
#define INLAY_RUNTIME_SERVE_GENERATION_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/api/inlay.h"
#include "runtime/serve/answer_parser.h"
#include "runtime/serve/http_message.h"
#include "runtime/serve/metrics.h"
#include "runtime/serve/openai_request.h"
#include "runtime/serve/openai_response.h"
#include "runtime/serve/sequence_reader.h"
#include "runtime/serve/special_tokens.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace inlay::serve {

// Adds `amount` to a counter for its lifetime.
class Counted {
public:
  Counted(std::shared_ptr<std::atomic<int64_t>> count, int64_t amount) : count_(std::move(count)), amount_(amount) {
    *count_ += amount_;
  }
  ~Counted() { *count_ -= amount_; }
  Counted(const Counted &) = delete;
  Counted &operator=(const Counted &) = delete;

private:
  std::shared_ptr<std::atomic<int64_t>> count_;
  int64_t amount_;
};

// The request and the server state that a Generation needs.
struct GenerationSetup {
  GenerationRequest request = {};
  std::string model = {}; // the name that the answer shows
  AnswerFormat format = {};
  const tokenizer::Tokenizer *tokenizer = nullptr; // for the texts of log-probabilities; may be null
  Metrics *metrics = nullptr;
  std::unique_ptr<Counted> counted = nullptr;
};

class Generation : public PendingReply {
public:
  using Clock = std::chrono::steady_clock;

  explicit Generation(GenerationSetup setup);
  ~Generation() override;
  // Starts one more sequence. `echo` is the prompt's text if the answer repeats it, else empty.
  absl::Status Start(Engine &engine, const Request &request, std::string echo, Wake wake);

  bool is_stream() const override { return setup_.request.stream; }
  Part Take() override;
  std::optional<Usage> usage() const override { return TotalUsage(); }

private:
  struct Sequence {
    std::unique_ptr<SequenceReader> reader;
    std::unique_ptr<AnswerParser> parser;         // null if the answer is plain text
    std::unique_ptr<SpecialTokenMarker> specials; // for the parser; may be null
    Choice choice;                                // the whole answer, or the part that the stream has not sent yet
    size_t characters = 0;                        // number sent before `choice`
    int64_t prompt_tokens = 0, cached_tokens = 0, tokens = 0, max_tokens = 0;
    double logprob_sum = 0;
    Clock::time_point last;
    double first_token_seconds = -1;
    bool has_begun = false, done = false;

    double mean_logprob() const { return tokens > 0 ? logprob_sum / static_cast<double>(tokens) : -1e30; }
  };

  void Read(Sequence &sequence);
  void Add(Sequence &sequence, const Piece &piece);
  void AddPrompt(Sequence &sequence);
  OutputToken ToOutput(const TokenLogprob &chosen, const std::vector<TokenLogprob> &top, int32_t most) const;
  void AddText(Sequence &sequence, const Piece &piece);
  void EndOf(Sequence &sequence, FinishReason reason);
  void Report(Sequence &sequence, const char *reason) const;
  std::string EventsOf(Sequence &sequence);
  TokenChoice TextOf(const TokenLogprob &token) const;
  Usage TotalUsage() const;
  Answer WholeAnswer();

  GenerationSetup setup_;
  AnswerHead head_;
  std::vector<Sequence> sequences_;
  Clock::time_point begin_ = Clock::now();
  std::optional<ApiError> error_;
  bool stream_has_begun_ = false;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_GENERATION_H_

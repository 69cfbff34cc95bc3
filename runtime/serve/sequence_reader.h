// Brings the tokens of one sequence from the engine to a connection, which never waits for them.
#ifndef INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_
#define INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/http_message.h"

#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace inlay::serve {

class SequenceReader {
public:
  static absl::StatusOr<std::unique_ptr<SequenceReader>> Start(Engine &engine, const Request &request, Wake wake);
  ~SequenceReader(); // cancels

  // The next token that is there by now.
  std::optional<Piece> TryNext();
  // kNone until the last token was taken.
  FinishReason finished();
  absl::Status status() const { return handle_->status(); }
  size_t prompt_tokens() const { return handle_->prompt_token_ids().size(); }

private:
  SequenceReader() = default;
  void Pump();

  std::unique_ptr<RequestHandle> handle_;
  Wake wake_;
  std::mutex mutex_;
  std::deque<Piece> pieces_;
  FinishReason finished_ = FinishReason::kNone;
  std::thread thread_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_

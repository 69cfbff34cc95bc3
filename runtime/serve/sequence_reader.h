// Passes the tokens of one sequence from the engine to a connection without blocking the connection.
#ifndef INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_
#define INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/http_message.h"

#include <memory>

namespace inlay::serve {

class SequenceReader {
public:
  // Submits `request` as one sequence. `wake` is called when new tokens are available.
  static absl::StatusOr<std::unique_ptr<SequenceReader>> Start(Engine &engine, Request request, Wake wake);

  // The next token if one is available, without waiting.
  std::optional<Piece> TryNext();
  // kNone until the last token was returned.
  FinishReason finished() const { return finished_; }
  RequestHandle &handle() { return *handle_; }

private:
  explicit SequenceReader(std::unique_ptr<RequestHandle> handle) : handle_(std::move(handle)) {}

  std::unique_ptr<RequestHandle> handle_; // dropping it cancels the request
  FinishReason finished_ = FinishReason::kNone;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_

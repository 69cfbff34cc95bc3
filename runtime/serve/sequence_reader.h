// Passes the tokens of one sequence from the engine to a connection without blocking the connection.
#ifndef INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_
#define INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_

#include "runtime/api/inlay.h"
#include "runtime/serve/http_message.h"

#include <memory>

namespace inlay::serve {

class SequenceReader {
public:
  // `request` is one sequence; `wake` is called when there is something to take.
  static absl::StatusOr<std::unique_ptr<SequenceReader>> Start(Engine &engine, Request request, Wake wake);

  // The next token that is there by now.
  std::optional<Piece> TryNext();
  // kNone until the last token was taken.
  FinishReason finished() const { return finished_; }
  RequestHandle &handle() { return *handle_; }

private:
  explicit SequenceReader(std::unique_ptr<RequestHandle> handle) : handle_(std::move(handle)) {}

  std::unique_ptr<RequestHandle> handle_; // dropping it cancels
  FinishReason finished_ = FinishReason::kNone;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SEQUENCE_READER_H_

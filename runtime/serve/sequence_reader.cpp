#include "runtime/serve/sequence_reader.h"

namespace inlay::serve {

absl::StatusOr<std::unique_ptr<SequenceReader>> SequenceReader::Start(Engine &engine, Request request, Wake wake) {
  request.on_progress = std::move(wake);
  absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(request);
  if (!handle.ok())
    return handle.status();
  return std::unique_ptr<SequenceReader>(new SequenceReader(*std::move(handle)));
}

std::optional<Piece> SequenceReader::TryNext() {
  if (finished_ != FinishReason::kNone)
    return std::nullopt;
  absl::StatusOr<std::optional<Piece>> piece = handle_->Next(std::chrono::steady_clock::time_point());
  if (!piece.ok()) // DeadlineExceeded: nothing yet
    return std::nullopt;
  if (!*piece)
    finished_ = handle_->finish_reason();
  return *std::move(piece);
}

} // namespace inlay::serve

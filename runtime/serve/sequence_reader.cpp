#include "runtime/serve/sequence_reader.h"

namespace inlay::serve {

absl::StatusOr<std::unique_ptr<SequenceReader>> SequenceReader::Start(Engine &engine, const Request &request,
                                                                      Wake wake) {
  absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(request);
  if (!handle.ok())
    return handle.status();
  std::unique_ptr<SequenceReader> reader(new SequenceReader());
  reader->handle_ = *std::move(handle);
  reader->wake_ = std::move(wake);
  reader->thread_ = std::thread([reader = reader.get()] { reader->Pump(); });
  return reader;
}

SequenceReader::~SequenceReader() {
  handle_->Cancel();
  thread_.join();
}

void SequenceReader::Pump() {
  while (std::optional<Piece> piece = handle_->Next()) {
    {
      std::lock_guard lock(mutex_);
      pieces_.push_back(*std::move(piece));
    }
    wake_();
  }
  {
    std::lock_guard lock(mutex_);
    finished_ = handle_->finish_reason();
  }
  wake_();
}

std::optional<Piece> SequenceReader::TryNext() {
  std::lock_guard lock(mutex_);
  if (pieces_.empty())
    return std::nullopt;
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  return piece;
}

FinishReason SequenceReader::finished() {
  std::lock_guard lock(mutex_);
  return pieces_.empty() ? finished_ : FinishReason::kNone;
}

} // namespace inlay::serve

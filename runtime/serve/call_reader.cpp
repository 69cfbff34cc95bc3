#include "runtime/serve/call_reader.h"

namespace inlay::serve {

ToolCallParser::Output CallFinder::Push(const GeneratedText &text) {
  held_.Append(text);
  Output out;
  Scan(out);
  held_.DropFront(start_);
  at_ -= start_;
  call_begin_ -= std::min(call_begin_, start_);
  start_ = 0;
  return out;
}

ToolCallParser::Output CallFinder::Finish() {
  Output out;
  while (is_reading_) {
    is_reading_ = false;
    if (passes_on_ || reader_->has_begun()) {
      if (!passes_on_)
        CallSink(out.events).Revoke();
      at_ = held_.size();
    } else {
      at_ = call_begin_ + 1;
    }
    Pass(at_, out);
    Scan(out);
  }
  if (!is_adjacent_ || !has_calls_)
    Pass(held_.size(), out);
  held_ = {};
  start_ = at_ = 0;
  return out;
}

void CallFinder::Pass(size_t end, Output &out) {
  if (end == start_)
    return;
  out.content.Append(held_, start_, end);
  is_word_start_ = held_.is_special(end - 1) || IsCallSpace(held_[end - 1]);
  start_ = end;
  is_adjacent_ = false;
}

void CallFinder::Scan(Output &out) {
  CallSink sink(out.events);
  while (at_ < held_.size()) {
    if (is_reading_) {
      TakeByte(sink, out);
      continue;
    }
    char c = held_[at_];
    bool is_first = at_ == start_;
    CallReader::Place place{.is_adjacent = is_adjacent_ && has_calls_,
                            .is_word_start =
                                is_first ? is_word_start_ : held_.is_special(at_ - 1) || IsCallSpace(held_[at_ - 1])};
    if (reader_->CanBegin(c, place)) {
      if (!is_adjacent_)
        Pass(at_, out);
      reader_->Begin(place);
      call_begin_ = at_;
      is_reading_ = true;
      passes_on_ = false;
      continue;
    }
    bool is_separator = held_.is_special(at_) ||
                        (has_calls_ ? reader_->separators().find(c) != std::string_view::npos : IsCallSpace(c));
    ++at_;
    if (!is_separator)
      is_adjacent_ = false;
  }
  if (!is_reading_ && !is_adjacent_)
    Pass(at_, out);
}

void CallFinder::TakeByte(CallSink &sink, Output &out) {
  switch (reader_->Take(held_[at_], sink)) {
  case CallReader::Status::kMore:
    ++at_;
    return;
  case CallReader::Status::kAccepted:
    has_calls_ = is_adjacent_ = true;
    [[fallthrough]];
  case CallReader::Status::kClosed:
    // Also drops the separators between this call and the previous one: they are not content.
    start_ = ++at_;
    is_word_start_ = true;
    is_reading_ = false;
    return;
  case CallReader::Status::kContent:
    passes_on_ = true;
    Pass(++at_, out);
    return;
  case CallReader::Status::kContentEnd:
    Pass(++at_, out);
    is_reading_ = false;
    return;
  case CallReader::Status::kRejected:
    is_reading_ = false;
    if (reader_->has_begun())
      sink.Revoke(); // the byte itself may begin another call
    else
      at_ = call_begin_ + 1;
    Pass(at_, out);
    return;
  }
}

} // namespace inlay::serve

// The common part of all formats of tool calls: a reader parses a call one byte at a time, and a driver finds calls in
// the surrounding text. The result does not depend on how text is split into pieces, so a streamed answer equals the
// whole one.
#ifndef INLAY_RUNTIME_SERVE_CALL_READER_H_
#define INLAY_RUNTIME_SERVE_CALL_READER_H_

#include "runtime/serve/generated_text.h"
#include "runtime/serve/tool_calls.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// Collects the events of calls; arguments of one call that follow each other become one event.
class CallSink {
public:
  explicit CallSink(std::vector<ToolCallEvent> &events) : events_(events) {}
  void Begin(std::string_view name) { events_.push_back({ToolCallEvent::Kind::kBegin, std::string(name)}); }
  void Arguments(std::string_view text) {
    if (text.empty())
      return;
    if (events_.empty() || events_.back().kind != ToolCallEvent::Kind::kArguments)
      events_.push_back({ToolCallEvent::Kind::kArguments, {}});
    events_.back().text += text;
  }
  void End() { events_.push_back({ToolCallEvent::Kind::kEnd, {}}); }
  void Revoke() { events_.push_back({ToolCallEvent::Kind::kRevoke, {}}); }

private:
  std::vector<ToolCallEvent> &events_;
};

// What surrounds a call and is still open after it: more calls may follow inside, and its end is no content.
struct OpenGroup {
  bool tag = false;  // <tool_call>
  bool list = false; // [
  bool any() const { return tag || list; }
};

class CallReader {
public:
  enum class Status {
    kMore,       // may become a call
    kAccepted,   // the byte ended a call
    kClosed,     // the byte ended the mark that closes a group
    kContent,    // this is no call: all bytes up to this one are content, and so is what comes until kContentEnd
    kContentEnd, // the same, and the last byte of it
    kRejected,   // the byte shows that this is no call
  };
  struct Place {
    bool is_adjacent = false;   // nothing but separators stands between this and the call before
    bool is_word_start = false; // white space, a special token or nothing stands before
  };

  explicit CallReader(const ToolSet &tools) : tools_(tools) {}
  virtual ~CallReader() = default;
  // What may stand between calls without being content.
  virtual std::string_view separators() const { return " \t\r\n"; }
  // Whether a call or the end of a group may begin with `c`.
  virtual bool CanBegin(char c, const Place &place) const = 0;
  // A new attempt, whose first byte CanBegin() allowed.
  virtual void Begin(const Place &place) = 0;
  virtual Status Take(char c, CallSink &sink) = 0;
  // Whether the call of this attempt was announced to the sink.
  virtual bool has_begun() const = 0;

protected:
  const ToolSet &tools_;
};

// Narrows down which of some marks the bytes spell. No mark is the beginning of another.
class MarkMatcher {
public:
  static constexpr int kMore = -1, kNone = -2;
  void Reset() {
    text_.clear();
    marks_.clear();
  }
  void Add(int id, std::string_view mark) { marks_.push_back({id, mark}); }
  // The id of the mark that `c` completes, kMore or kNone.
  int Take(char c) {
    text_ += c;
    for (const auto &[id, mark] : marks_)
      if (mark.starts_with(text_))
        return mark.size() == text_.size() ? id : kMore;
    return kNone;
  }

private:
  std::string text_;
  std::vector<std::pair<int, std::string_view>> marks_;
};

inline bool IsCallSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Finds the calls of one format in text.
class CallFinder : public ToolCallParser {
public:
  explicit CallFinder(std::unique_ptr<CallReader> reader) : reader_(std::move(reader)) {}
  Output Push(const GeneratedText &text) override;
  Output Finish() override;

private:
  void Scan(Output &out);
  void TakeByte(CallSink &sink, Output &out);
  // The held bytes before `end` are content.
  void Pass(size_t end, Output &out);

  std::unique_ptr<CallReader> reader_;
  GeneratedText held_;     // [start_, ...) is neither content nor a call yet
  size_t start_ = 0;       // before it all is settled
  size_t at_ = 0;          // the next byte to look at
  size_t call_begin_ = 0;  // of the attempt that runs
  bool passes_on_ = false; // the attempt is no call, and its bytes are content up to its end
  bool is_reading_ = false, is_adjacent_ = true, has_calls_ = false;
  bool is_word_start_ = true; // of the byte at start_
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CALL_READER_H_

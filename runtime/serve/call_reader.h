// The common part of all formats of tool calls: a reader parses a call one byte at a time, and a driver finds calls in
// the surrounding text. The result does not depend on how the text is split into pieces, so a streamed answer has the
// same calls as a complete one.
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

// Collects the events of calls. Consecutive pieces of a call's arguments are merged into one event.
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

// The tag or list around a call that is still open after the call. More calls may follow inside it, and its closing
// mark is not content.
struct OpenGroup {
  bool tag = false;  // <tool_call>
  bool list = false; // [
  bool any() const { return tag || list; }
};

class CallReader {
public:
  enum class Status {
    kMore,       // the bytes so far may become a call
    kAccepted,   // the byte ended a call
    kClosed,     // the byte completed the closing mark of a group
    kContent,    // not a call: all bytes up to this one are content, and so are the next ones until kContentEnd
    kContentEnd, // as kContent; this is the last byte of it
    kRejected,   // the byte shows that this is not a call
  };
  struct Place {
    bool is_adjacent = false;   // only separators lie between this byte and the previous call
    bool is_word_start = false; // the previous byte is white space or part of a special token, or there is none
  };

  explicit CallReader(const ToolSet &tools) : tools_(tools) {}
  virtual ~CallReader() = default;
  // The characters that may separate calls. They are not content.
  virtual std::string_view separators() const { return " \t\r\n"; }
  // Whether a call or the end of a group may begin with `c`.
  virtual bool CanBegin(char c, const Place &place) const = 0;
  // Starts a new attempt to read a call. CanBegin() returned true for its first byte.
  virtual void Begin(const Place &place) = 0;
  virtual Status Take(char c, CallSink &sink) = 0;
  // Whether this attempt has called CallSink::Begin().
  virtual bool has_begun() const = 0;

protected:
  const ToolSet &tools_;
};

// Matches bytes against a set of marks. No mark may be a prefix of another.
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
  // Outputs the held bytes before `end` as content.
  void Pass(size_t end, Output &out);

  std::unique_ptr<CallReader> reader_;
  GeneratedText held_;     // [start_, ...) is neither content nor a call yet
  size_t start_ = 0;       // the bytes before it are already output or dropped
  size_t at_ = 0;          // the next byte to look at
  size_t call_begin_ = 0;  // where the current attempt began
  bool passes_on_ = false; // the current attempt is not a call; its bytes are content up to its end
  bool is_reading_ = false, is_adjacent_ = true, has_calls_ = false;
  bool is_word_start_ = true; // Place::is_word_start of the byte at start_
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_CALL_READER_H_

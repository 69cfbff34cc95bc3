// The format of Qwen3-Coder. <tool_call> is optional. </parameter> may be missing if the next tag begins a line:
//   <tool_call>
//   <function=NAME>
//   <parameter=KEY>
//   VALUE
//   </parameter>
//   </function>
//   </tool_call>
#include "runtime/serve/call_reader.h"
#include "runtime/serve/parameter_type.h"
#include "runtime/serve/python_literal.h"

#include "fmt/format.h"

namespace inlay::serve {
namespace {

constexpr std::string_view kParameter = "<parameter=", kEndOfParameter = "</parameter>", kEndOfFunction = "</function>";

class Qwen3CoderReader : public CallReader {
public:
  using CallReader::CallReader;

  bool CanBegin(char c, const Place &) const override { return c == '<'; }
  void Begin(const Place &) override {
    step_ = Step::kMark;
    marks_.Reset();
    marks_.Add(kOpen, "<tool_call>");
    marks_.Add(kFunction, "<function=");
    if (in_tag_)
      marks_.Add(kClose, "</tool_call>");
    opens_tag_ = in_tag_;
    text_.clear();
    name_.clear();
    has_begun_ = has_arguments_ = false;
  }
  bool has_begun() const override { return has_begun_; }

  Status Take(char c, CallSink &sink) override {
    switch (step_) {
    case Step::kMark:
      return TakeMark(c);
    case Step::kName:
      return TakeName(c, sink);
    case Step::kBody:
      return TakeBody(c, sink);
    case Step::kKey:
      return TakeKey(c);
    default:
      return TakeValue(c, sink);
    }
  }

private:
  enum class Step { kMark, kName, kBody, kKey, kValue };
  enum Mark { kOpen, kFunction, kClose, kNextParameter, kEnd };

  Status TakeMark(char c) {
    if (text_.empty() && opens_tag_ && !in_tag_ && IsCallSpace(c)) // white space between <tool_call> and <function=
      return Status::kMore;
    text_ += c;
    switch (marks_.Take(c)) {
    case MarkMatcher::kMore:
      return Status::kMore;
    case kOpen:
      in_tag_ = false;
      opens_tag_ = true;
      marks_.Reset();
      marks_.Add(kFunction, "<function=");
      text_.clear();
      return Status::kMore;
    case kFunction:
      step_ = Step::kName;
      text_.clear();
      return Status::kMore;
    case kClose:
      in_tag_ = false;
      return Status::kClosed;
    default:
      return Status::kRejected;
    }
  }

  Status TakeName(char c, CallSink &) {
    if (c != '>') {
      text_ += c;
      return text_.size() <= kMaxName ? Status::kMore : Status::kRejected;
    }
    name_ = std::exchange(text_, {});
    function_ = tools_.Find(name_);
    step_ = Step::kBody;
    ExpectBody();
    return function_ ? Status::kMore : Status::kRejected;
  }

  void ExpectBody() {
    marks_.Reset();
    marks_.Add(kNextParameter, kParameter);
    marks_.Add(kEnd, kEndOfFunction);
    text_.clear();
  }

  Status TakeBody(char c, CallSink &sink) {
    if (text_.empty() && IsCallSpace(c))
      return Status::kMore;
    text_ += c;
    switch (marks_.Take(c)) {
    case MarkMatcher::kMore:
      return Status::kMore;
    case kNextParameter:
      return BeginParameter(sink);
    case kEnd:
      return EndOfCall(sink);
    default:
      return Status::kRejected;
    }
  }

  void Announce(CallSink &sink) {
    if (!std::exchange(has_begun_, true))
      sink.Begin(name_);
  }
  Status BeginParameter(CallSink &sink) {
    Announce(sink);
    step_ = Step::kKey;
    text_.clear();
    return Status::kMore;
  }
  Status EndOfCall(CallSink &sink) {
    Announce(sink);
    sink.Arguments(has_arguments_ ? "}" : "{}");
    sink.End();
    in_tag_ = opens_tag_;
    return Status::kAccepted;
  }

  Status TakeKey(char c) {
    if (c != '>') {
      text_ += c;
      return text_.size() <= kMaxName ? Status::kMore : Status::kRejected;
    }
    key_ = std::exchange(text_, {});
    step_ = Step::kValue;
    return Status::kMore;
  }

  Status TakeValue(char c, CallSink &sink) {
    text_ += c;
    if (text_.ends_with(kEndOfParameter)) {
      GiveParameter(text_.size() - kEndOfParameter.size(), sink);
      step_ = Step::kBody;
      ExpectBody();
      return Status::kMore;
    }
    auto ends_with_line = [&](std::string_view tag) {
      return text_.ends_with(tag) && text_.size() > tag.size() && text_[text_.size() - tag.size() - 1] == '\n';
    };
    if (ends_with_line(kParameter)) {
      GiveParameter(text_.size() - kParameter.size(), sink);
      return BeginParameter(sink);
    }
    if (ends_with_line(kEndOfFunction)) {
      GiveParameter(text_.size() - kEndOfFunction.size(), sink);
      return EndOfCall(sink);
    }
    return Status::kMore;
  }

  // Sends a parameter. Its value is the first `size` bytes of text_ without one line break at each end.
  void GiveParameter(size_t size, CallSink &sink) {
    std::string_view value = std::string_view(text_).substr(0, size);
    if (value.starts_with('\n'))
      value.remove_prefix(1);
    if (value.ends_with('\n'))
      value.remove_suffix(1);
    sink.Arguments(fmt::format("{}{}: {}", has_arguments_ ? ", " : "{", JsonStringOf(key_),
                               JsonOfParameter(*function_, key_, value)));
    has_arguments_ = true;
    text_.clear();
  }

  static constexpr size_t kMaxName = 256;
  MarkMatcher marks_;
  Step step_ = Step::kMark;
  std::string text_, name_, key_;
  const Json *function_ = nullptr;
  bool has_begun_ = false, has_arguments_ = false;
  bool opens_tag_ = false; // <tool_call> precedes the call being read
  bool in_tag_ = false;    // an accepted call was preceded by <tool_call>, which is not closed yet
};

} // namespace

std::unique_ptr<ToolCallParser> MakeQwen3CoderParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(std::make_unique<Qwen3CoderReader>(tools));
}

} // namespace inlay::serve

// The format of Llama 3.2 and Llama 4: [f(a=1), g(b="x")], a list of calls in Python syntax with named arguments that
// are literals. The list is at the beginning of the text or after white space, optionally after <|python_tag|> or
// <|python_start|>.
#include "runtime/serve/call_reader.h"
#include "runtime/serve/python_literal.h"

#include "fmt/format.h"

namespace inlay::serve {
namespace {

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

class PythonicReader : public CallReader {
public:
  using CallReader::CallReader;

  std::string_view separators() const override { return in_list_ ? " \t\r\n," : " \t\r\n"; }
  bool CanBegin(char c, const Place &place) const override {
    if (in_list_ && place.is_adjacent)
      return c == ']' || c == '<' || IsNameByte(c);
    return c == '<' || (c == '[' && place.is_word_start);
  }
  void Begin(const Place &place) override {
    step_ = Step::kMark;
    marks_.Reset();
    marks_.Add(kOpen, "<|python_start|>");
    marks_.Add(kOpen, "<|python_tag|>");
    if (expects_end_)
      marks_.Add(kEnd, "<|python_end|>");
    if (in_list_ && place.is_adjacent)
      marks_.Add(kEndOfList, "]");
    marks_.Add(kList, "[");
    name_.clear();
    has_begun_ = false;
    is_first_byte_ = true;
  }
  bool has_begun() const override { return has_begun_; }

  Status Take(char c, CallSink &sink) override {
    if (std::exchange(is_first_byte_, false) && in_list_ && IsNameByte(c))
      step_ = Step::kName;
    switch (step_) {
    case Step::kMark:
      return TakeMark(c);
    case Step::kList:
      if (c == '[')
        step_ = Step::kName;
      return c == '[' || IsCallSpace(c) ? Status::kMore : Status::kRejected;
    case Step::kName:
      return TakeName(c);
    case Step::kFirstArgument:
      if (c == ')' && argument_.empty())
        return TakeEnd("{}", sink);
      [[fallthrough]];
    case Step::kArgument:
      return TakeArgumentName(c, sink);
    default:
      return TakeValue(c, sink);
    }
  }

private:
  enum class Step { kMark, kList, kName, kFirstArgument, kArgument, kValue };
  enum Mark { kOpen, kEnd, kList, kEndOfList };

  Status TakeMark(char c) {
    switch (marks_.Take(c)) {
    case MarkMatcher::kMore:
      return Status::kMore;
    case kOpen:
      step_ = Step::kList;
      return Status::kMore;
    case kList:
      step_ = Step::kName;
      return Status::kMore;
    case kEnd:
      expects_end_ = false;
      return Status::kClosed;
    case kEndOfList:
      in_list_ = false;
      return Status::kClosed;
    default:
      return Status::kRejected;
    }
  }

  Status TakeName(char c) {
    if (IsNameByte(c) && name_.size() < kMaxName) {
      name_ += c;
      return Status::kMore;
    }
    if (name_.empty() && IsCallSpace(c))
      return Status::kMore;
    if (c != '(' || !tools_.Find(name_))
      return Status::kRejected;
    step_ = Step::kFirstArgument;
    argument_.clear();
    return Status::kMore;
  }

  Status TakeArgumentName(char c, CallSink &sink) {
    if (IsNameByte(c) && argument_.size() < kMaxName && !argument_.ends_with(' ')) {
      argument_ += c;
      return Status::kMore;
    }
    if (IsCallSpace(c)) {
      if (!argument_.empty() && !argument_.ends_with(' '))
        argument_ += ' ';
      return Status::kMore;
    }
    if (argument_.ends_with(' '))
      argument_.pop_back();
    if (c == ')' && step_ == Step::kArgument && argument_.empty()) // f(a=1,)
      return TakeEnd("}", sink);
    if (c != '=' || argument_.empty())
      return Status::kRejected;
    Announce(sink);
    prefix_ = step_ == Step::kFirstArgument ? "{" : ", ";
    step_ = Step::kValue;
    literal_ = PythonLiteral();
    return Status::kMore;
  }

  // Takes a byte of a value. The value ends before the next ',' or ')'.
  Status TakeValue(char c, CallSink &sink) {
    if (literal_.Take(c))
      return literal_.is_bad() ? Status::kRejected : Status::kMore;
    std::string json;
    if (!literal_.ToJson(json))
      return Status::kRejected;
    sink.Arguments(fmt::format("{}{}: {}", prefix_, JsonStringOf(argument_), json));
    if (c == ')')
      return TakeEnd("}", sink);
    argument_.clear();
    step_ = Step::kArgument;
    return Status::kMore;
  }

  Status TakeEnd(std::string_view rest, CallSink &sink) {
    Announce(sink);
    sink.Arguments(rest);
    sink.End();
    in_list_ = expects_end_ = true;
    return Status::kAccepted;
  }
  void Announce(CallSink &sink) {
    if (!std::exchange(has_begun_, true))
      sink.Begin(name_);
  }

  static constexpr size_t kMaxName = 256;
  MarkMatcher marks_;
  Step step_ = Step::kMark;
  std::string name_, argument_;
  std::string_view prefix_;
  PythonLiteral literal_;
  bool is_first_byte_ = true, has_begun_ = false;
  bool in_list_ = false, expects_end_ = false; // set by an accepted call
};

} // namespace

std::unique_ptr<ToolCallParser> MakePythonicParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(std::make_unique<PythonicReader>(tools));
}

} // namespace inlay::serve

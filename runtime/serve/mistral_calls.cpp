// The formats of Mistral's models. Older models write [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]. Since
// version 11 of their tokenizer they write [TOOL_CALLS]name[ARGS]{...}; [CALL_ID]id may precede [ARGS], and [ARGS] may
// be missing.
#include "runtime/serve/json_call.h"

namespace inlay::serve {
namespace {

constexpr std::string_view kArguments = "[ARGS]", kCallId = "[CALL_ID]";

class MistralReader : public JsonCallReader {
public:
  explicit MistralReader(const ToolSet &tools) : JsonCallReader(tools, {.open = "[TOOL_CALLS]"}) {}

  void Begin(const Place &place) override {
    JsonCallReader::Begin(place);
    head_.clear();
    scanner_ = {};
    has_begun_ = false;
  }
  bool has_begun() const override { return has_begun_ || JsonCallReader::has_begun(); }

protected:
  // Collects the bytes up to the arguments in head_, then passes the arguments to the sink as they arrive.
  Status TakeOther(char c, CallSink &sink) override {
    if (!has_begun_) {
      if (c != '{') {
        head_ += c;
        return head_.size() <= kMaxHead ? Status::kMore : Status::kRejected;
      }
      std::string_view name = Name();
      if (!tools_.Find(name))
        return Status::kRejected;
      sink.Begin(name);
      has_begun_ = true;
    }
    JsonScanner::Event event = scanner_.Take(c);
    if (event == JsonScanner::Event::kBad)
      return Status::kRejected;
    sink.Arguments(std::string_view(&c, 1));
    if (scanner_.depth() > 0)
      return Status::kMore;
    sink.End();
    return Status::kAccepted;
  }

private:
  static constexpr size_t kMaxHead = 512;

  static std::string_view Trim(std::string_view text) {
    while (!text.empty() && IsCallSpace(text.front()))
      text.remove_prefix(1);
    while (!text.empty() && IsCallSpace(text.back()))
      text.remove_suffix(1);
    return text;
  }
  // The tool's name at the beginning of head_, without the marks after it.
  std::string_view Name() const {
    std::string_view head = Trim(head_);
    if (head.ends_with(kArguments))
      head = Trim(head.substr(0, head.size() - kArguments.size()));
    return Trim(head.substr(0, head.find(kCallId)));
  }

  std::string head_;
  JsonScanner scanner_;
  bool has_begun_ = false;
};

} // namespace

std::unique_ptr<ToolCallParser> MakeMistralParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(std::make_unique<MistralReader>(tools));
}

} // namespace inlay::serve

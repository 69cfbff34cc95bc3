// Splits generated text into the reasoning, for example <think>...</think>, and the answer after it.
#ifndef INLAY_RUNTIME_SERVE_REASONING_H_
#define INLAY_RUNTIME_SERVE_REASONING_H_

#include "runtime/serve/generated_text.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// A format of reasoning. `name` is its name in vLLM's --reasoning-parser.
struct ReasoningFormat {
  std::string_view name;
  std::string_view description;
  std::string_view open, close;
  // The answer begins with reasoning even without the opening tag, unless the prompt ends with the closing tag.
  bool begins_open = false;
};
// The format with this name. Null if there is none.
const ReasoningFormat *FindReasoningFormat(std::string_view name);
std::span<const ReasoningFormat> ReasoningFormats();
std::vector<std::string> ReasoningFormatNames();

// Whether an answer begins inside the reasoning, according to the end of its prompt.
enum class ReasoningStart {
  kUnknown,
  kOpen,   // the prompt ends with the opening tag
  kClosed, // the prompt ends with the closing tag: the answer has no reasoning
};
ReasoningStart ReasoningStartOf(const ReasoningFormat &format, std::string_view prompt);

class ReasoningParser {
public:
  struct Output {
    GeneratedText reasoning, content;
  };
  ReasoningParser(const ReasoningFormat &format, ReasoningStart start);
  Output Push(const GeneratedText &text);
  // Called at the end of the answer. Returns the held text; unclosed reasoning stays reasoning.
  Output Finish();

private:
  // kStart: expects white space and the opening tag.
  enum class State { kStart, kReasoning, kContent };
  void Scan(Output &out, bool is_end);

  const ReasoningFormat &format_;
  bool begins_in_reasoning_;
  State state_ = State::kStart;
  GeneratedText held_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_REASONING_H_

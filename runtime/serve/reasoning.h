// Splits generated text into the reasoning, for example <think>...</think>, and the answer after it.
#ifndef INLAY_RUNTIME_SERVE_REASONING_H_
#define INLAY_RUNTIME_SERVE_REASONING_H_

#include "runtime/serve/generated_text.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// A way of writing reasoning, under the name that vLLM's --reasoning-parser has for it.
struct ReasoningFormat {
  std::string_view name;
  std::string_view description;
  std::string_view open, close;
  // Text is reasoning from its first byte on, also without the opening tag, unless the prompt closed it.
  bool begins_open = false;
};
// The format of that name; null if there is none.
const ReasoningFormat *FindReasoningFormat(std::string_view name);
std::span<const ReasoningFormat> ReasoningFormats();
std::vector<std::string> ReasoningFormatNames();

// Where an answer begins, as far as the end of its prompt says.
enum class ReasoningStart {
  kUnknown,
  kOpen,   // the chat template wrote the opening tag
  kClosed, // it wrote the closing tag: the model is not to reason
};
ReasoningStart ReasoningStartOf(const ReasoningFormat &format, std::string_view prompt);

class ReasoningParser {
public:
  struct Output {
    GeneratedText reasoning, content;
  };
  ReasoningParser(const ReasoningFormat &format, ReasoningStart start);
  Output Push(const GeneratedText &text);
  // At the end of the answer. Reasoning that was not closed stays reasoning.
  Output Finish();

private:
  // kStart: white space and the opening tag may come.
  enum class State { kStart, kReasoning, kContent };
  void Scan(Output &out, bool is_end);

  const ReasoningFormat &format_;
  bool begins_in_reasoning_;
  State state_ = State::kStart;
  GeneratedText held_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_REASONING_H_

// Splits an answer, while it is generated, into reasoning, content and tool calls.
#ifndef INLAY_RUNTIME_SERVE_ANSWER_PARSER_H_
#define INLAY_RUNTIME_SERVE_ANSWER_PARSER_H_

#include "runtime/serve/openai_response.h"
#include "runtime/serve/reasoning.h"
#include "runtime/serve/tool_calls.h"

#include <memory>
#include <optional>
#include <string>

namespace inlay::serve {

// The parts that the parser looks for in an answer. A null format disables the part.
struct AnswerFormat {
  const ReasoningFormat *reasoning = nullptr;
  ReasoningStart reasoning_start = ReasoningStart::kUnknown;
  const ToolCallFormat *tool_calls = nullptr;
  std::shared_ptr<const ToolSet> tools = nullptr; // used with tool_calls
  bool parallel_tool_calls = true;                // false: only the first call is kept
  bool shows_special_tokens = false;              // keep special tokens in reasoning and content
  bool any() const { return reasoning || tool_calls; }
};

class AnswerParser {
public:
  explicit AnswerParser(AnswerFormat format);
  // Parses `text` and adds the result to `choice`. Parts of one tool call are merged into one entry of `choice`.
  void Push(const GeneratedText &text, Choice &choice);
  void Finish(Choice &choice);
  // The number of complete tool calls.
  int32_t calls() const { return calls_; }

private:
  void AddContent(const GeneratedText &text, Choice &choice);
  void Add(ToolCallParser::Output found, Choice &choice);
  void Add(const ToolCallEvent &event, Choice &choice);
  std::string Shown(const GeneratedText &text) const;

  AnswerFormat format_;
  std::optional<ReasoningParser> reasoning_;
  std::unique_ptr<ToolCallParser> tool_calls_;
  int32_t begun_ = 0, calls_ = 0;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_ANSWER_PARSER_H_

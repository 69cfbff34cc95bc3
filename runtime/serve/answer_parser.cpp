#include "runtime/serve/answer_parser.h"

namespace inlay::serve {

AnswerParser::AnswerParser(AnswerFormat format) : format_(std::move(format)) {
  if (format_.reasoning)
    reasoning_.emplace(*format_.reasoning, format_.reasoning_start);
  if (format_.tool_calls)
    tool_calls_ = format_.tool_calls->make(*format_.tools);
}

std::string AnswerParser::Shown(const GeneratedText &text) const {
  return format_.shows_special_tokens ? std::string(text.text()) : text.WithoutSpecials();
}

void AnswerParser::Push(const GeneratedText &text, Choice &choice) {
  if (!reasoning_)
    return AddContent(text, choice);
  ReasoningParser::Output found = reasoning_->Push(text);
  choice.reasoning += Shown(found.reasoning);
  AddContent(found.content, choice);
}

void AnswerParser::Finish(Choice &choice) {
  if (reasoning_) {
    ReasoningParser::Output found = reasoning_->Finish();
    choice.reasoning += Shown(found.reasoning);
    AddContent(found.content, choice);
  }
  if (tool_calls_)
    Add(tool_calls_->Finish(), choice);
}

void AnswerParser::AddContent(const GeneratedText &text, Choice &choice) {
  if (tool_calls_)
    Add(tool_calls_->Push(text), choice);
  else
    choice.text += Shown(text);
}

void AnswerParser::Add(ToolCallParser::Output found, Choice &choice) {
  choice.text += Shown(found.content);
  for (const ToolCallEvent &event : found.events)
    Add(event, choice);
}

// A revoked call is removed from `choice`. If its beginning was not sent yet, the next call reuses its index.
void AnswerParser::Add(const ToolCallEvent &event, Choice &choice) {
  using Kind = ToolCallEvent::Kind;
  if (!format_.parallel_tool_calls && calls_ > 0)
    return;
  switch (event.kind) {
  case Kind::kBegin:
    choice.tool_calls.push_back(
        {.index = begun_++, .id = RandomCallId(*format_.tool_calls), .name = event.text, .arguments = {}});
    break;
  case Kind::kArguments:
    if (choice.tool_calls.empty() || choice.tool_calls.back().index != begun_ - 1)
      choice.tool_calls.push_back({.index = begun_ - 1, .id = {}, .name = {}, .arguments = {}});
    choice.tool_calls.back().arguments += event.text;
    break;
  case Kind::kEnd:
    ++calls_;
    break;
  case Kind::kRevoke:
    if (choice.tool_calls.empty() || choice.tool_calls.back().index != begun_ - 1)
      break;
    if (!choice.tool_calls.back().id.empty())
      --begun_;
    choice.tool_calls.pop_back();
    break;
  }
}

} // namespace inlay::serve

#include "runtime/serve/reasoning.h"

#include <algorithm>
#include <iterator>

namespace inlay::serve {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

constexpr ReasoningFormat kFormats[] = {
    {"deepseek_r1", "<think>...</think>; text is reasoning up to </think>", "<think>", "</think>",
     /*begins_open=*/true},
    {"qwen3", "<think>...</think>; without <think> there is no reasoning", "<think>", "</think>"},
    {"deepseek_v3", "as qwen3", "<think>", "</think>"},
    {"glm45", "as qwen3", "<think>", "</think>"},
    {"mistral", "[THINK]...[/THINK]", "[THINK]", "[/THINK]"},
};

// The length of the longest suffix of `text` that is a proper prefix of `tag`.
size_t Overlap(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(tag.size() - 1, text.size()); n > 0; --n)
    if (text.ends_with(tag.substr(0, n)))
      return n;
  return 0;
}

} // namespace

const ReasoningFormat *FindReasoningFormat(std::string_view name) {
  const auto *found = std::ranges::find(kFormats, name, &ReasoningFormat::name);
  return found == std::end(kFormats) ? nullptr : found;
}

std::span<const ReasoningFormat> ReasoningFormats() { return kFormats; }

std::vector<std::string> ReasoningFormatNames() {
  std::vector<std::string> names;
  for (const ReasoningFormat &format : kFormats)
    names.emplace_back(format.name);
  return names;
}

ReasoningStart ReasoningStartOf(const ReasoningFormat &format, std::string_view prompt) {
  prompt = prompt.substr(0, prompt.find_last_not_of(kSpace) + 1);
  if (prompt.ends_with(format.open))
    return ReasoningStart::kOpen;
  return prompt.ends_with(format.close) ? ReasoningStart::kClosed : ReasoningStart::kUnknown;
}

ReasoningParser::ReasoningParser(const ReasoningFormat &format, ReasoningStart start)
    : format_(format), begins_in_reasoning_(start == ReasoningStart::kOpen || format.begins_open),
      state_(start == ReasoningStart::kClosed ? State::kContent : State::kStart) {}

ReasoningParser::Output ReasoningParser::Push(const GeneratedText &text) {
  Output out;
  held_.Append(text);
  Scan(out, /*is_end=*/false);
  return out;
}

ReasoningParser::Output ReasoningParser::Finish() {
  Output out;
  Scan(out, /*is_end=*/true);
  return out;
}

void ReasoningParser::Scan(Output &out, bool is_end) {
  if (state_ == State::kStart) {
    size_t begin = held_.text().find_first_not_of(kSpace);
    std::string_view rest = begin == std::string_view::npos ? std::string_view() : held_.text().substr(begin);
    if (!is_end && format_.open.starts_with(rest) && rest.size() < format_.open.size())
      return;
    bool has_tag = rest.starts_with(format_.open);
    if (has_tag)
      held_.DropFront(begin + format_.open.size());
    state_ = has_tag || begins_in_reasoning_ ? State::kReasoning : State::kContent;
  }
  if (state_ == State::kReasoning) {
    size_t end = held_.text().find(format_.close);
    bool is_closed = end != std::string_view::npos;
    if (!is_closed)
      end = held_.size() - (is_end ? 0 : Overlap(held_.text(), format_.close));
    out.reasoning.Append(held_, 0, end);
    held_.DropFront(is_closed ? end + format_.close.size() : end);
    if (!is_closed)
      return;
    state_ = State::kContent;
  }
  out.content.Append(std::exchange(held_, {}));
}

} // namespace inlay::serve

// Runs answer parsers on text that is split in different ways.
#ifndef INLAY_TEST_RUNTIME_SERVE_TOOL_CALL_TESTING_H_
#define INLAY_TEST_RUNTIME_SERVE_TOOL_CALL_TESTING_H_

#include "runtime/serve/answer_parser.h"
#include "runtime/serve/json_scanner.h"

#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::serve {

using Calls = std::vector<std::pair<std::string, std::string>>; // names and arguments

// The parsed answer, and the number of parts that it was sent in.
struct Parsed {
  std::string content, reasoning;
  Calls calls;
  int parts = 0; // number of parts of arguments

  bool operator==(const Parsed &other) const {
    return content == other.content && reasoning == other.reasoning && calls == other.calls;
  }
};

inline std::ostream &operator<<(std::ostream &out, const Parsed &parsed) {
  out << "content '" << parsed.content << "', reasoning '" << parsed.reasoning << "', calls";
  for (const auto &[name, arguments] : parsed.calls)
    out << ' ' << name << arguments;
  return out;
}

// Parses `tools`, a list of functions as in a request.
inline std::shared_ptr<const ToolSet> ToolsOf(std::string_view tools) {
  return std::make_shared<ToolSet>(Json::parse(tools));
}

// Parses a whole answer: all parts go into one choice.
inline Parsed ParseWhole(const AnswerFormat &format, const std::vector<GeneratedText> &pieces) {
  AnswerParser parser(format);
  Choice choice;
  for (const GeneratedText &piece : pieces)
    parser.Push(piece, choice);
  parser.Finish(choice);
  Parsed parsed{.content = choice.text, .reasoning = choice.reasoning, .calls = {}};
  for (const ToolCall &call : choice.tool_calls)
    parsed.calls.emplace_back(call.name, call.arguments);
  return parsed;
}

// Whether `text` is a complete JSON object. Invalid UTF-8 and lone surrogates are accepted.
inline bool IsWholeObject(std::string_view text) {
  JsonScanner scanner;
  for (char c : text)
    if (scanner.Take(c) == JsonScanner::Event::kBad)
      return false;
  return text.starts_with('{') && scanner.depth() == 0;
}

// Joins the parts of a stream in the way of a client. Drops calls with incomplete arguments, which are calls that broke
// off. `parser_calls` is set to the number of complete calls that the parser reports.
inline Parsed ParseStream(const AnswerFormat &format, const std::vector<GeneratedText> &pieces, int *parser_calls) {
  AnswerParser parser(format);
  Parsed parsed;
  auto take = [&](Choice &choice) {
    parsed.content += choice.text;
    parsed.reasoning += choice.reasoning;
    for (const ToolCall &call : choice.tool_calls) {
      if (!call.id.empty())
        parsed.calls.emplace_back(call.name, "");
      if (static_cast<size_t>(call.index) + 1 == parsed.calls.size())
        parsed.calls.back().second += call.arguments;
      else
        parsed.content += "[a part of no call]";
      ++parsed.parts;
    }
    choice = {};
  };
  Choice choice;
  for (const GeneratedText &piece : pieces) {
    parser.Push(piece, choice);
    take(choice);
  }
  parser.Finish(choice);
  take(choice);
  std::erase_if(parsed.calls, [](const auto &call) { return !IsWholeObject(call.second); });
  *parser_calls = parser.calls();
  return parsed;
}

inline std::vector<GeneratedText> Bytes(std::string_view text) {
  std::vector<GeneratedText> pieces;
  for (char c : text)
    pieces.emplace_back(std::string_view(&c, 1));
  return pieces;
}

} // namespace inlay::serve

#endif // INLAY_TEST_RUNTIME_SERVE_TOOL_CALL_TESTING_H_

// Finds calls of tools in generated text, in the forms that model families write them.
#ifndef INLAY_RUNTIME_SERVE_TOOL_CALLS_H_
#define INLAY_RUNTIME_SERVE_TOOL_CALLS_H_

#include "runtime/serve/openai_response.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// Takes text as it is generated; gives what is surely content at once, and each call when it is complete. Text that
// looked like a call and is none comes out as content.
class ToolCallParser {
public:
  struct Output {
    std::string content;
    std::vector<ToolCall> calls;
  };
  virtual ~ToolCallParser() = default;
  virtual Output Push(std::string_view text) = 0;
  virtual Output Finish() = 0;
};

// "hermes": <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as Hermes and Qwen write.
// "llama3_json", "mistral": the whole answer is one such object, several separated by ';', or a list of them.
inline constexpr std::string_view kToolCallParsers[] = {"hermes", "llama3_json", "mistral"};
std::unique_ptr<ToolCallParser> MakeToolCallParser(std::string_view name);

// What an answer must follow that calls one of `tools` (a list, as in the request), or the one of that name: a JSON
// Schema. With `several` more calls than one may come. Answers are for the parser of the name below.
std::string ForcedCallSchema(const std::string &tools, std::string_view name, bool several);
inline constexpr std::string_view kForcedCallParser = "llama3_json";

// "call_" and 24 random digits.
std::string RandomId(std::string_view prefix);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_TOOL_CALLS_H_

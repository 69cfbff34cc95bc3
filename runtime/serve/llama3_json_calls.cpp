// The format of Llama 3: {"name": ..., "parameters": {...}}, anywhere in the text or after <|python_tag|>. Several
// calls are separated by ';' or form a list.
#include "runtime/serve/json_call.h"

namespace inlay::serve {

std::unique_ptr<ToolCallParser> MakeLlama3JsonParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(std::make_unique<JsonCallReader>(
      tools, JsonCallReader::Spec{.open = "<|python_tag|>", .is_bare = true, .separators = " \t\r\n,;"}));
}

} // namespace inlay::serve

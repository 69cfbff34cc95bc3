// {"name": ..., "parameters": {...}}, as Llama 3 writes: anywhere in the text, also after <|python_tag|>, several
// separated by ';' or in a list.
#include "runtime/serve/json_call.h"

namespace inlay::serve {

std::unique_ptr<ToolCallParser> MakeLlama3JsonParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(std::make_unique<JsonCallReader>(
      tools, JsonCallReader::Spec{.open = "<|python_tag|>", .is_bare = true, .separators = " \t\r\n,;"}));
}

} // namespace inlay::serve

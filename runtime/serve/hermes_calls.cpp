// The format of Hermes, Qwen2.5 and Qwen3: <tool_call>{"name": ..., "arguments": {...}}</tool_call>. One pair of tags
// may also contain several objects or a list of objects. The last closing tag may be missing.
#include "runtime/serve/json_call.h"

namespace inlay::serve {

std::unique_ptr<ToolCallParser> MakeHermesParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(
      std::make_unique<JsonCallReader>(tools, JsonCallReader::Spec{.open = "<tool_call>", .close = "</tool_call>"}));
}

} // namespace inlay::serve

// <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as Hermes, Qwen2.5 and Qwen3 write. Also several objects,
// or a list of them, between one pair of tags; the last closing tag may be missing.
#include "runtime/serve/json_call.h"

namespace inlay::serve {

std::unique_ptr<ToolCallParser> MakeHermesParser(const ToolSet &tools) {
  return std::make_unique<CallFinder>(
      std::make_unique<JsonCallReader>(tools, JsonCallReader::Spec{.open = "<tool_call>", .close = "</tool_call>"}));
}

} // namespace inlay::serve

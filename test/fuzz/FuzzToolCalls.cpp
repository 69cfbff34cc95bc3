// Arbitrary bytes as generated text: every parser of tool calls handles it, and streamed parsing gives the same result
// as parsing the whole text.
#include "../runtime/serve/tool_call_testing.h"

#include <cstdlib>

using namespace inlay::serve;

// The first byte is the seed for the splits of the text and for the places of special tokens.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0 || size > 4096)
    return 0;
  static const std::shared_ptr<const ToolSet> kTools = ToolsOf(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}}}},
          {"type": "function", "function": {"name": "g"}}])");
  std::string_view text(reinterpret_cast<const char *>(data) + 1, size - 1);
  std::mt19937 random(data[0]);
  GeneratedText whole;
  std::vector<GeneratedText> pieces;
  for (size_t at = 0, count = 0; at < text.size(); at += count) {
    count = std::min<size_t>(1 + random() % 8, text.size() - at);
    bool is_special = random() % 8 == 0;
    whole.Append(text.substr(at, count), is_special);
    pieces.emplace_back().Append(text.substr(at, count), is_special);
  }
  for (const ToolCallFormat &format : ToolCallFormats())
    for (bool reasons : {false, true}) {
      AnswerFormat answer;
      answer.tool_calls = &format;
      answer.tools = kTools;
      answer.reasoning = reasons ? FindReasoningFormat("qwen3") : nullptr;
      answer.shows_special_tokens = data[0] % 2 == 0;
      Parsed expected = ParseWhole(answer, {whole});
      int calls = 0;
      if (!(ParseStream(answer, pieces, &calls) == expected) || static_cast<size_t>(calls) != expected.calls.size())
        std::abort();
      for (const auto &[name, arguments] : expected.calls)
        if (!kTools->Find(name))
          std::abort();
    }
  return 0;
}

// Finds tool calls in generated text, in the formats of several model families.
#ifndef INLAY_RUNTIME_SERVE_TOOL_CALLS_H_
#define INLAY_RUNTIME_SERVE_TOOL_CALLS_H_

#include "runtime/serve/generated_text.h"
#include "runtime/serve/tool_set.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

// An event of the tool calls in an answer. Calls follow each other; each has kBegin, any number of kArguments, then
// kEnd or kRevoke.
struct ToolCallEvent {
  enum class Kind {
    kBegin,     // `text`: the name of an offered tool
    kArguments, // `text`: the next piece of a JSON object
    kEnd,       // the arguments are complete
    kRevoke,    // the text is not a call after all: its arguments are not valid JSON, and the rest is content
  };
  Kind kind = Kind::kBegin;
  std::string text;
};

// Parses text while it is generated. Returns content as soon as it cannot be part of a call, and calls piece by piece.
// Text is a call only if it names an offered tool and its arguments are a JSON object; anything else is content. White
// space between calls is dropped. The result does not depend on how the text is split into pieces.
class ToolCallParser {
public:
  struct Output {
    GeneratedText content;
    std::vector<ToolCallEvent> events;
  };
  virtual ~ToolCallParser() = default;
  virtual Output Push(const GeneratedText &text) = 0;
  // Called at the end of the answer.
  virtual Output Finish() = 0;
};

// A format of tool calls. `name` is its name in vLLM's --tool-call-parser.
struct ToolCallFormat {
  std::string_view name;
  std::string_view description;
  std::unique_ptr<ToolCallParser> (*make)(const ToolSet &tools);
  bool has_short_ids = false; // ids of 9 letters and digits, which Mistral's chat templates require
};
// The format with this name. Null if there is none.
const ToolCallFormat *FindToolCallFormat(std::string_view name);
std::span<const ToolCallFormat> ToolCallFormats();
std::vector<std::string> ToolCallFormatNames();

// `tools` must outlive the parsers.
std::unique_ptr<ToolCallParser> MakeHermesParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakeLlama3JsonParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakeMistralParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakePythonicParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakeQwen3CoderParser(const ToolSet &tools);

// A JSON Schema for answers that call one of `tools`, or the tool `name` if it is not empty. `several` allows more than
// one call. kForcedCallParser parses such answers.
std::string ForcedCallSchema(const ToolSet &tools, std::string_view name, bool several);
inline constexpr std::string_view kForcedCallParser = "llama3_json";

// `prefix` and 24 random hexadecimal digits.
std::string RandomId(std::string_view prefix);
// A random call id in the form of `format`: "call_..." or 9 letters and digits.
std::string RandomCallId(const ToolCallFormat &format);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_TOOL_CALLS_H_

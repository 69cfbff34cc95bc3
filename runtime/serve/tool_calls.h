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

// What became known of the calls of an answer, one after the other: kBegin, any number of kArguments, then kEnd or
// kRevoke.
struct ToolCallEvent {
  enum class Kind {
    kBegin,     // `text`: the name of an offered tool
    kArguments, // `text`: more of a JSON object
    kEnd,       // the arguments are whole
    kRevoke,    // the call broke off; its arguments are no JSON, and its text comes out as content
  };
  Kind kind = Kind::kBegin;
  std::string text;
};

// Takes text as it is generated; gives what is surely content at once, and calls as they grow. A call is one only if it
// names an offered tool and its arguments are a JSON object; anything else is content. White space between calls is no
// content. What comes out does not depend on how the text is cut.
class ToolCallParser {
public:
  struct Output {
    GeneratedText content;
    std::vector<ToolCallEvent> events;
  };
  virtual ~ToolCallParser() = default;
  virtual Output Push(const GeneratedText &text) = 0;
  // At the end of the answer.
  virtual Output Finish() = 0;
};

// A format of calls, under the name that vLLM's --tool-call-parser has for it.
struct ToolCallFormat {
  std::string_view name;
  std::string_view description;
  std::unique_ptr<ToolCallParser> (*make)(const ToolSet &tools);
  bool has_short_ids = false; // ids of 9 letters and digits, which Mistral's chat templates insist on
};
// The format of that name; null if there is none.
const ToolCallFormat *FindToolCallFormat(std::string_view name);
std::span<const ToolCallFormat> ToolCallFormats();
std::vector<std::string> ToolCallFormatNames();

// `tools` must outlive the parsers.
std::unique_ptr<ToolCallParser> MakeHermesParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakeLlama3JsonParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakeMistralParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakePythonicParser(const ToolSet &tools);
std::unique_ptr<ToolCallParser> MakeQwen3CoderParser(const ToolSet &tools);

// What an answer must follow that calls one of `tools`, or the one of that name: a JSON Schema. With `several` more
// calls than one may come. Answers are for the parser of the name below.
std::string ForcedCallSchema(const ToolSet &tools, std::string_view name, bool several);
inline constexpr std::string_view kForcedCallParser = "llama3_json";

// The prefix and 24 random digits.
std::string RandomId(std::string_view prefix);
// As `format` has them: "call_..." or 9 letters and digits.
std::string RandomCallId(const ToolCallFormat &format);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_TOOL_CALLS_H_

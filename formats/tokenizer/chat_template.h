// Chat templates convert messages to the prompt format that a model was trained on. The language is Jinja as
// transformers runs it: jinja2's immutable sandbox with trim_blocks, lstrip_blocks, loop controls and {% generation %}.
// Unsupported features are refused; the error names them. Templates are untrusted: steps, depth and output are limited.
#ifndef INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_H_
#define INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

struct ChatMessage {
  std::string role; // "system", "user", "assistant", "tool"
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;
  std::string bos_token;
  std::string eos_token;
  std::map<std::string, std::string> variables; // further variables, strings
  std::string variables_json;                   // a JSON object of further variables: tools, enable_thinking, documents
};

struct TemplateLimits {
  int64_t steps = 2'000'000; // nodes evaluated, characters and elements copied
  size_t output_bytes = 16u << 20;
};

// Immutable; Render may be called from several threads.
class ChatTemplate {
public:
  // The template `name` of a directory (chat_template_files.h lists the files that are searched). NotFound if there is
  // none.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Load(const std::string &directory,
                                                            std::string_view name = "default");

  // `file` is the name for error messages.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromSource(std::string_view source,
                                                                  std::string_view file = "chat_template");
  ~ChatTemplate();

  absl::StatusOr<std::string> Render(const std::vector<ChatMessage> &messages, const ChatOptions &options,
                                     const TemplateLimits &limits = {}) const;

  // The same for messages in the form of the OpenAI API: a JSON list of objects with tool calls and lists of parts.
  // They are prepared as in transformers (chat_messages.h).
  absl::StatusOr<std::string> RenderJson(std::string_view messages_json, const ChatOptions &options,
                                         const TemplateLimits &limits = {}) const;

private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_H_

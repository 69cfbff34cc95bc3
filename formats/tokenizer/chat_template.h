// Chat templates: messages to the prompt that a model was trained on. The language is Jinja as transformers runs it:
// jinja2's immutable sandbox with trim_blocks, lstrip_blocks, loop controls and {% generation %}. What is not
// supported is refused by name.
// A template comes from a stranger: steps, depth and output are limited.
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
  std::map<std::string, std::string> variables; // more strings that the template may name
  std::string variables_json;                   // a JSON object with more: tools, enable_thinking, documents
};

struct TemplateLimits {
  int64_t steps = 2'000'000; // nodes evaluated, characters and elements copied
  size_t output_bytes = 16u << 20;
};

// Immutable; Render may be called from several threads.
class ChatTemplate {
public:
  // The template that the directory has under `name` (chat_template_files.h says where they are looked for). NotFound
  // if there is none.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Load(const std::string &directory,
                                                            std::string_view name = "default");

  // `file` is named in errors.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromSource(std::string_view source,
                                                                  std::string_view file = "chat_template");
  ~ChatTemplate();

  absl::StatusOr<std::string> Render(const std::vector<ChatMessage> &messages, const ChatOptions &options,
                                     const TemplateLimits &limits = {}) const;

  // The same for messages as a JSON list of objects, as the OpenAI API takes them (tool calls, lists of parts). They
  // are prepared as transformers does it (chat_messages.h).
  absl::StatusOr<std::string> RenderJson(std::string_view messages_json, const ChatOptions &options,
                                         const TemplateLimits &limits = {}) const;

private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_CHAT_TEMPLATE_H_

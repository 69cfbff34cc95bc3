// Arbitrary bytes as a tokenizer_config.json or chat_template.json: parsing gives templates or an error, never a crash.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/tokenizer/chat_template_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  auto files = inlay::tokenizer::ParseChatTemplates(text, "chat_template.json");
  if (files.ok() && files->by_name.contains("default") && files->by_name["default"].file.empty())
    __builtin_trap();
  return 0;
}

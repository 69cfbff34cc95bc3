// A chat template from a stranger: it prints or fails within its limits.
#include "formats/tokenizer/chat_template.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto chat_template =
      inlay::tokenizer::ChatTemplate::FromSource(std::string_view(reinterpret_cast<const char *>(data), size));
  if (!chat_template.ok())
    return 0;
  (void)(*chat_template)
      ->Render({{"system", " s "}, {"user", "u"}, {"assistant", "<think>a</think>b"}}, {}, {20'000, 1 << 16});
  return 0;
}

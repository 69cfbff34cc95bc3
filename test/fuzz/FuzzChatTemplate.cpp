// Arbitrary chat templates, conversations and variables: rendering succeeds or fails within its limits. The input is
// the template, the messages and the variables (JSON), separated by zero bytes. Missing parts have defaults.
#include "formats/tokenizer/chat_template.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

static constexpr std::string_view kMessages = R"([{"role": "system", "content": " s "},
  {"role": "user", "content": "u"}, {"role": "assistant", "content": "<think>a</think>b"}])";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view rest(reinterpret_cast<const char *>(data), size);
  auto take = [&] {
    std::string_view part = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    return part;
  };
  auto chat_template = inlay::tokenizer::ChatTemplate::FromSource(take());
  if (!chat_template.ok())
    return 0;
  std::string_view messages = take();
  inlay::tokenizer::ChatOptions options;
  options.variables_json = std::string(take());
  (void)(*chat_template)->RenderJson(messages.empty() ? kMessages : messages, options, {20'000, 1 << 16});
  return 0;
}

// Arbitrary bytes as bodies of requests: each parser accepts them or refuses them with a message that is valid JSON.
#include "runtime/serve/openai_request.h"

#include "nlohmann/json.hpp"

#include <cstdlib>

using namespace inlay::serve;

static void Check(const std::optional<ApiError> &wrong) {
  if (wrong && (wrong->message.empty() || !nlohmann::json::accept(ErrorBody(*wrong))))
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view body(reinterpret_cast<const char *>(data), size);
  RequestContext context;
  context.vocab_size = 1000;
  context.max_model_len = 256;
  context.has_tool_parser = size % 2 == 0;
  GenerationRequest completion, chat;
  TokenizeRequest tokenize;
  DetokenizeRequest detokenize;
  Check(ParseCompletion(body, context, completion));
  Check(ParseTokenize(body, context, tokenize));
  Check(ParseDetokenize(body, context, detokenize));
  std::optional<ApiError> wrong = ParseChat(body, context, chat);
  Check(wrong);
  // The chat template gets the messages as valid JSON.
  if (!wrong && !nlohmann::json::accept(chat.conversation.messages))
    std::abort();
  return 0;
}

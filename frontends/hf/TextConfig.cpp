#include "frontends/hf/TextConfig.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontends/hf/ConfigReader.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

struct Wrapper {
  std::string_view model_type, architecture;
};

constexpr Wrapper kWrappers[] = {{"gemma3", "Gemma3ForConditionalGeneration"},
                                 {"llava", "LlavaForConditionalGeneration"},
                                 {"mistral3", "Mistral3ForConditionalGeneration"}};

// Keys of the whole configuration that hold where the text's has none.
constexpr std::string_view kInherited[] = {"dtype",        "torch_dtype",         "bos_token_id",
                                           "eos_token_id", "tie_word_embeddings", "quantization_config"};

} // namespace

std::optional<json> FindTextConfig(const json &config, std::string_view file, Problems &problems) {
  ConfigReader keys(config, file, "", problems);
  const json *model_type = keys.Find("model_type"), *text = keys.Find("text_config");
  const auto *wrapper = std::find_if(std::begin(kWrappers), std::end(kWrappers),
                                     [&](const Wrapper &row) { return model_type && *model_type == row.model_type; });
  if (wrapper == std::end(kWrappers))
    return std::nullopt;
  if (!text || !text->is_object()) {
    keys.Error("text_config", text ? Describe(*text) : "no such key", "an object", "add the configuration of the text");
    return json::object();
  }
  if (const json *architectures = keys.Find("architectures");
      architectures && *architectures != json::array({wrapper->architecture}))
    keys.Error("architectures", Describe(*architectures), fmt::format("[\"{}\"]", wrapper->architecture),
               "only the text part of this model is supported");
  json result = *text;
  for (std::string_view key : kInherited)
    if (const json *value = keys.Find(key); value && !result.contains(key))
      result[std::string(key)] = *value;
  problems.AddNote(file, "",
                   fmt::format("only the text part of {} is read: {} are ignored", wrapper->model_type,
                               fmt::join(keys.UnreadKeys(), ", ")));
  return result;
}

} // namespace inlay::hf

// Configurations of models that read more than text.

#ifndef INLAY_FRONTENDS_HF_TEXT_CONFIG_H
#define INLAY_FRONTENDS_HF_TEXT_CONFIG_H

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "frontends/hf/Problems.h"

namespace inlay::hf {

// The `text_config` of a configuration whose `model_type` is that of a model with a vision part, together with the keys
// of the whole that hold for it (type, tokens, tied embeddings). Absent for all other configurations. What is wrong,
// and a note about what is ignored, is added to `problems`.
std::optional<nlohmann::json> FindTextConfig(const nlohmann::json &config, std::string_view file, Problems &problems);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_TEXT_CONFIG_H

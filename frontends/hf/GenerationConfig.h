// generation_config.json: how the authors of a model recommend to sample from it.

#ifndef INLAY_FRONTENDS_HF_GENERATION_CONFIG_H
#define INLAY_FRONTENDS_HF_GENERATION_CONFIG_H

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "frontends/hf/Problems.h"

namespace inlay::hf {

// The keys that vLLM's `--generation-config auto` takes, and do_sample. What the file leaves out is absent.
struct GenerationConfig {
  std::optional<double> temperature;        // 0 where do_sample is false, as transformers samples then
  std::optional<double> top_p;              // (0, 1]
  std::optional<double> min_p;              // [0, 1]
  std::optional<double> repetition_penalty; // (0, 100]
  std::optional<int64_t> top_k;             // 0: all tokens; the file may also write -1
  std::optional<int64_t> max_new_tokens;    // at least 1; vLLM's max_tokens
  std::optional<std::vector<int64_t>> eos;  // tokens that end a text, in place of config.json's
};

// Reads the text of a generation_config.json for a model of `vocab_size` tokens. A value that is out of range is an
// error in `problems`, a key that changes what transformers generates and is not used here a warning, every other key a
// note. `file` is named in them. The result is absent when there is an error.
std::optional<GenerationConfig> ParseGenerationConfig(std::string_view text, std::string_view file, int64_t vocab_size,
                                                      Problems &problems);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_GENERATION_CONFIG_H

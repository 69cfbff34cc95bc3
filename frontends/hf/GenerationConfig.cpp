#include "frontends/hf/GenerationConfig.h"

#include <fmt/format.h>

#include <algorithm>

#include "frontends/hf/ConfigReader.h"
#include "frontends/hf/TokenIds.h"

namespace inlay::hf {
namespace {

using nlohmann::json;

// A key that changes what transformers generates, with the value at which it does nothing. null never does anything.
struct UnusedKey {
  std::string_view key;
  const char *no_effect; // JSON; empty: every value has an effect
};

constexpr UnusedKey kUnusedKeys[] = {
    {"assistant_early_exit", ""},
    {"bad_words_ids", "[]"},
    {"begin_suppress_tokens", "[]"},
    {"constraints", "[]"},
    {"diversity_penalty", "0.0"},
    {"dola_layers", ""},
    {"encoder_no_repeat_ngram_size", "0"},
    {"encoder_repetition_penalty", "1.0"},
    {"epsilon_cutoff", "0.0"},
    {"eta_cutoff", "0.0"},
    {"exponential_decay_length_penalty", ""},
    {"force_words_ids", "[]"},
    {"forced_bos_token_id", ""},
    {"forced_decoder_ids", "[]"},
    {"forced_eos_token_id", ""},
    {"guidance_scale", "1.0"},
    {"length_penalty", "1.0"},
    {"min_length", "0"},
    {"min_new_tokens", "0"},
    {"no_repeat_ngram_size", "0"},
    {"num_beam_groups", "1"},
    {"num_beams", "1"},
    {"num_return_sequences", "1"},
    {"penalty_alpha", "0.0"},
    {"renormalize_logits", "false"},
    {"sequence_bias", "{}"},
    {"stop_strings", "[]"},
    {"suppress_tokens", "[]"},
    {"token_healing", "false"},
    {"top_h", ""},
    {"typical_p", "1.0"},
    {"watermarking_config", ""},
};

// Names every key that nothing read.
void NameUnusedKeys(const json &object, std::string_view file, ConfigReader &keys, Problems &problems) {
  for (const std::string &key : keys.UnreadKeys()) {
    const json &value = object[key];
    const auto *unused = std::find_if(std::begin(kUnusedKeys), std::end(kUnusedKeys),
                                      [&](const UnusedKey &row) { return row.key == key; });
    bool known = unused != std::end(kUnusedKeys);
    bool harmless = value.is_null() || (known && json::parse(unused->no_effect, nullptr, false) == value);
    if (known && !harmless)
      keys.Warn(key, Describe(value), "a key that is used", "it is ignored; texts differ from those of transformers");
    else
      problems.AddNote(file, key,
                       known ? "ignored: it has no effect at this value" : "ignored: it says nothing about sampling");
  }
}

} // namespace

std::optional<GenerationConfig> ParseGenerationConfig(std::string_view text, std::string_view file, int64_t vocab_size,
                                                      Problems &problems) {
  Problems found;
  GenerationConfig config;
  if (std::optional<json> object = ParseJson(text, file, found)) {
    ConfigReader keys(*object, file, "", found);
    constexpr int64_t kMost = int64_t{1} << 30;
    config.temperature = keys.Number("temperature", 0, 100);
    config.top_p = keys.PositiveNumber("top_p", 1);
    config.min_p = keys.Number("min_p", 0, 1);
    config.repetition_penalty = keys.PositiveNumber("repetition_penalty", 100);
    config.top_k = keys.Int("top_k", -1, kMost);
    if (config.top_k)
      config.top_k = std::max<int64_t>(*config.top_k, 0);
    config.max_new_tokens = keys.Int("max_new_tokens", 1, kMost);
    if (!keys.Bool("do_sample", true))
      config.temperature = 0;
    config.eos = ReadEndTokens(keys, vocab_size);
    NameUnusedKeys(*object, file, keys, found);
  }
  problems.Add(found);
  if (found.HasErrors())
    return std::nullopt;
  return config;
}

} // namespace inlay::hf

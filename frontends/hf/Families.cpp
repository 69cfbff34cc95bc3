#include "frontends/hf/Families.h"

#include <algorithm>
#include <array>

namespace inlay::hf {
namespace {

constexpr ModuleNames kLlamaModules = {
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .lm_head = "lm_head",
    .layer = "model.layers.{}",
    .input_norm = "model.layers.{}.input_layernorm",
    .post_attention_norm = "model.layers.{}.post_attention_layernorm",
    .attention = "model.layers.{}.self_attn",
    .q = "model.layers.{}.self_attn.q_proj",
    .k = "model.layers.{}.self_attn.k_proj",
    .v = "model.layers.{}.self_attn.v_proj",
    .o = "model.layers.{}.self_attn.o_proj",
    .q_norm = "model.layers.{}.self_attn.q_norm",
    .k_norm = "model.layers.{}.self_attn.k_norm",
    .mlp = "model.layers.{}.mlp",
    .gate = "model.layers.{}.mlp.gate_proj",
    .up = "model.layers.{}.mlp.up_proj",
    .down = "model.layers.{}.mlp.down_proj",
};

constexpr BiasRule kNever = BiasRule::kNever;
constexpr BiasRule kAlways = BiasRule::kAlways;
constexpr BiasRule kConfigured = BiasRule::kConfigured;

// Defaults are those of the configuration classes of transformers 5.
// clang-format off
constexpr std::array kFamilies = {
    // model_type, architecture,        q/k/v bias,  o bias,      mlp bias,    qk norm, windows, head_dim, kv heads, bos, eos, positions
    Family{"llama",   "LlamaForCausalLM",   kConfigured, kConfigured, kConfigured, false, WindowRule::kNone,         0,  0,  1,  2,   2048, &kLlamaModules},
    Family{"mistral", "MistralForCausalLM", kNever,      kNever,      kNever,      false, WindowRule::kAllLayers,    0,  8,  1,  2, 131072, &kLlamaModules},
    Family{"qwen2",   "Qwen2ForCausalLM",   kAlways,     kNever,      kNever,      false, WindowRule::kLayerTypes,   0, 32, -1, -1,  32768, &kLlamaModules},
    Family{"qwen3",   "Qwen3ForCausalLM",   kConfigured, kConfigured, kNever,      true,  WindowRule::kLayerTypes, 128, 32, -1, -1,  32768, &kLlamaModules},
};
// clang-format on

constexpr std::array<std::string_view, 46> kIgnoredKeys = {
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "add_cross_attention",
    "attention_dropout",
    "attn_implementation",
    "bad_words_ids",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "max_window_layers", // Read where the family has windows by layer.
    "min_length",
    "model_type",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "task_specific_params",
    "temperature",
    "tie_encoder_decoder",
    "tokenizer_class",
    "torchscript",
    "transformers_version",
    "use_cache",
};
static_assert(std::is_sorted(kIgnoredKeys.begin(), kIgnoredKeys.end()));

} // namespace

std::span<const Family> AllFamilies() { return kFamilies; }

const Family *FindFamily(std::string_view model_type) {
  const auto *it = std::find_if(kFamilies.begin(), kFamilies.end(),
                                [&](const Family &family) { return family.model_type == model_type; });
  return it == kFamilies.end() ? nullptr : &*it;
}

const Family *FindFamilyOfArchitecture(std::string_view architecture) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const auto *it = std::find_if(kFamilies.begin(), kFamilies.end(), [&](const Family &family) {
    return std::ranges::equal(family.architecture, architecture, {}, lower, lower);
  });
  return it == kFamilies.end() ? nullptr : &*it;
}

bool IsIgnoredKey(std::string_view key) { return std::binary_search(kIgnoredKeys.begin(), kIgnoredKeys.end(), key); }

} // namespace inlay::hf

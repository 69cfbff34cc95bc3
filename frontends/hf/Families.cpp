#include "frontends/hf/Families.h"

#include <algorithm>
#include <array>

namespace inlay::hf {
namespace {

// Norms behind attention and MLP and none before them.
constexpr ModuleNames kPostNormModules = {.attention_norm = "",
                                          .attention_post_norm = "post_attention_layernorm",
                                          .mlp_norm = "",
                                          .mlp_post_norm = "post_feedforward_layernorm"};

// Defaults are those of the configuration classes of transformers 5.
constexpr std::array kFamilies = {
    Family{.model_type = "llama",
           .architecture = "LlamaForCausalLM",
           .qkv_bias = {false, "attention_bias"},
           .output_bias = {false, "attention_bias"},
           .mlp_bias = {false, "mlp_bias"},
           .rope = {.theta = 10000.0},
           .defaults = {.bos = 1, .eos = 2}},
    Family{.model_type = "mistral",
           .architecture = "MistralForCausalLM",
           .windows = {.rule = WindowRule::kAllLayers, .otherwise = 4096},
           .defaults = {.kv_heads = 8, .bos = 1, .eos = 2, .positions = 131072}},
    Family{.model_type = "qwen2",
           .architecture = "Qwen2ForCausalLM",
           .qkv_bias = {true},
           .windows = {.rule = WindowRule::kLastLayers, .otherwise = 4096},
           .defaults = {.kv_heads = 32, .positions = 32768}},
    Family{.model_type = "qwen3",
           .architecture = "Qwen3ForCausalLM",
           .qkv_bias = {false, "attention_bias"},
           .output_bias = {false, "attention_bias"},
           .qk_norm = QkNorm::kHead,
           .windows = {.rule = WindowRule::kLastLayers, .otherwise = 4096},
           .defaults = {.head_dim = 128, .kv_heads = 32, .positions = 32768}},
    Family{.model_type = "seed_oss",
           .architecture = "SeedOssForCausalLM",
           .qkv_bias = {true, "attention_bias"},
           .output_bias = {false, "attention_out_bias"},
           .mlp_bias = {false, "mlp_bias"},
           .defaults = {.head_dim = 128, .kv_heads = 8, .bos = 0, .eos = 2, .positions = 524288}},
    Family{.model_type = "smollm3",
           .architecture = "SmolLM3ForCausalLM",
           .qkv_bias = {false, "attention_bias"},
           .output_bias = {false, "attention_bias"},
           .mlp_bias = {false, "mlp_bias"},
           .windows = {.rule = WindowRule::kNoRope},
           .rope = {.layers = RopeLayers::kListed, .theta = 2000000.0},
           .defaults = {.kv_heads = 4, .bos = 128000, .eos = 128001, .positions = 32768, .tied = true}},
    Family{.model_type = "olmo2",
           .architecture = "Olmo2ForCausalLM",
           .qkv_bias = {false, "attention_bias"},
           .output_bias = {false, "attention_bias"},
           .qk_norm = QkNorm::kRow,
           .defaults = {.eos = 50279, .norm_eps = 1e-5},
           .modules = kPostNormModules},
    Family{.model_type = "olmo3",
           .architecture = "Olmo3ForCausalLM",
           .qkv_bias = {false, "attention_bias"},
           .output_bias = {false, "attention_bias"},
           .qk_norm = QkNorm::kRow,
           .windows = {.rule = WindowRule::kPattern, .otherwise = 4096, .pattern = 4},
           .rope = {.theta = 500000.0, .window_theta = 500000.0, .window_theta_key = "rope_theta"},
           .defaults = {.eos = 50279, .norm_eps = 1e-5},
           .modules = kPostNormModules},
    Family{.model_type = "exaone4",
           .architecture = "Exaone4ForCausalLM",
           .qk_norm = QkNorm::kHead,
           .windows = {.rule = WindowRule::kPattern, .otherwise = 4096, .pattern = 4, .pattern_key = true},
           .rope = {.layers = RopeLayers::kWindowed, .full_model_rotates = true},
           .defaults = {.kv_heads = 32, .bos = 0, .eos = 2, .norm_eps = 1e-5},
           .modules = kPostNormModules},
};

constexpr std::array<std::string_view, 47> kIgnoredKeys = {
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
    "residual_dropout",
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

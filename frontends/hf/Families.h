// The model families that the frontend reads, as rows of data. A new family of
// the same block structure is a new row and nothing else.

#ifndef INLAY_FRONTENDS_HF_FAMILIES_H
#define INLAY_FRONTENDS_HF_FAMILIES_H

#include <cstdint>
#include <span>
#include <string_view>

namespace inlay::hf {

// Whether a group of projections has biases.
enum class BiasRule { kNever, kAlways, kConfigured };

// Which layers attend through a sliding window.
enum class WindowRule {
  kNone,      // No layer; the family has no such keys.
  kAllLayers, // Every layer, when `sliding_window` is a number.
  kLayerTypes // As `layer_types` says, or from layer `max_window_layers` on when `use_sliding_window` is true.
};

// Names of the checkpoint's modules; a tensor is the module plus ".weight" or
// ".bias". `{}` stands for the index of the layer.
struct ModuleNames {
  std::string_view embedding, final_norm, lm_head;
  std::string_view layer;
  std::string_view input_norm, post_attention_norm;
  std::string_view attention, q, k, v, o, q_norm, k_norm;
  std::string_view mlp, gate, up, down;
};

struct Family {
  std::string_view model_type;   // `model_type` of config.json.
  std::string_view architecture; // The entry of `architectures`.
  BiasRule qkv_bias;             // Configured by `attention_bias`.
  BiasRule output_bias;          // Configured by `attention_bias`.
  BiasRule mlp_bias;             // Configured by `mlp_bias`.
  bool qk_norm;                  // RMS norm over each head of queries and keys.
  WindowRule windows;
  int64_t default_head_dim;         // 0: hidden_size / num_attention_heads.
  int64_t default_kv_heads;         // 0: num_attention_heads.
  int64_t default_bos, default_eos; // -1: none.
  int64_t default_max_position_embeddings;
  const ModuleNames *modules;
};

// All families, and the one of a `model_type` (null when there is none).
std::span<const Family> AllFamilies();
const Family *FindFamily(std::string_view model_type);

// The family of an entry of `architectures`, in any letter case ("LLaMAForCausalLM" of the first conversions).
const Family *FindFamilyOfArchitecture(std::string_view architecture);

// Keys of config.json that say nothing about inference.
bool IsIgnoredKey(std::string_view key);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_FAMILIES_H

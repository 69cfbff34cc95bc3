// The model families that the frontend reads, as rows of data: what the blocks
// of a family compute, what its configuration and its tensors are called. A new
// family of known features is a new row and nothing else.

#ifndef INLAY_FRONTENDS_HF_FAMILIES_H
#define INLAY_FRONTENDS_HF_FAMILIES_H

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace inlay::hf {

// A flag of the configuration. Without a key, `value` holds always; with one, where config.json has no such key.
struct Flag {
  bool value = false;
  std::string_view key = "";
};

// A key of config.json and the value that it has in one variant of a family. Flags are 0 and 1.
struct Condition {
  std::string_view key = "";
  int64_t value = 0;
  int64_t otherwise = 0; // Where config.json has no such key, or null.
};

// A factor: `apply` of the number under `key`, or of `otherwise` where there is none. Without a key there is no factor.
struct Factor {
  enum Function { kIdentity, kReciprocal, kSquareRoot, kReciprocalSquareRoot };
  std::string_view key = "";
  Function apply = kIdentity;
  double otherwise = 1.0;
};

// The cap of a soft-cap. There is none without a key, and where the value or `otherwise` is null (0).
struct Cap {
  std::string_view key = "";
  double otherwise = 0.0;
};

// What the norms of a family compute.
struct NormStyle {
  bool centered = false; // LayerNorm; RMS norm otherwise.
  bool weight = true;
  bool bias = false;          // A bias besides the weight.
  double weight_offset = 0.0; // Added to the weight in float32: 1 in Gemma and Nemotron.
};

// What norms of queries and keys are over.
enum class QkNorm {
  kNone,
  kHead,     // Each head, with one weight for all heads.
  kEachHead, // Each head, with a weight for each.
  kRow,      // All heads together.
};

struct QkNorms {
  QkNorm kind = QkNorm::kNone;
  Flag when = {true}; // Otherwise there are none.
  bool after_rope = false;
  bool bias = false;
  // kEachHead: the module of a head in `q_norm` and `k_norm`, in which `{}` stands for its index. Without a name, a
  // tensor [heads, head_dim] holds the weights of all heads.
  std::string_view head = "";
};

// Which layers attend through a sliding window, and where `layer_types` is absent.
enum class WindowRule {
  kNone,       // No layer; the family has no such keys.
  kAllLayers,  // Every layer, when `sliding_window` is a number.
  kLastLayers, // From layer `max_window_layers` on, when `use_sliding_window` is true.
  kPattern,    // All but every n-th, with n under `sliding_window_pattern` in families that read the key.
  kNoRope,     // Those that do not rotate, when `use_sliding_window` is true.
};

struct Windows {
  WindowRule rule = WindowRule::kNone;
  int64_t otherwise = 0; // `sliding_window` where the key is absent; 0: none.
  int64_t pattern = 0;   // The n of kPattern.
  bool pattern_key = false;
};

// How positions enter.
enum class Positions {
  kRope,    // Rotary.
  kAlibi,   // A bias of the scores that grows with the distance (Press et al., 2022), slopes as in BLOOM.
  kLearned, // A table of embeddings, added to those of the tokens.
};

// Which layers rotate.
enum class RopeLayers {
  kAll,
  kListed,   // Those with a 1 in `no_rope_layers`; all but every `no_rope_layer_interval`-th without the list.
  kWindowed, // Layers with a window; those of a model without windows as well if `full_model_rotates`.
};

struct Rope {
  bool interleaved = false; // Pairs of adjacent elements rotate; otherwise those of the two halves of a head.
  RopeLayers layers = RopeLayers::kAll;
  bool full_model_rotates = false;
  double theta = 0.0; // Base where config.json has none; 0: that is an error.
  std::string_view theta_key = "rope_theta";
  std::string_view dim_key = "";      // Elements of a head that rotate; all of them where it is null.
  std::string_view fraction_key = ""; // Share of a head that rotates; all of it without a key.
  double fraction = 1.0;              // Where the key is absent.
  // `query_beta` of RopeParameters.
  std::string_view long_query_key = "";
  bool has_longrope = false; // "su" and "yarn" are old names of longrope.
  bool has_alpha = false;    // Dynamic scaling with an `alpha` is a base stretched by it.
  // Layers with a window have parameters of their own: this base and no scaling where there is no nested object for
  // them.
  double window_theta = 0.0; // 0: the same parameters.
  std::string_view window_theta_key = "";
};

// Names of the checkpoint's modules; a tensor is the module plus ".weight" or ".bias". Those of a layer begin after
// `layer`, in which `{}` stands for its index. Where a norm or `gate` has no name, the family has none.
struct ModuleNames {
  std::string_view embedding = "model.embed_tokens";
  std::string_view embedding_norm = "";
  std::string_view positions = "";
  // Where the embedding has another width: from it to `hidden_size`, and back before the head.
  std::string_view project_in = "", project_out = "";
  std::string_view final_norm = "model.norm";
  std::string_view lm_head = "lm_head";
  std::string_view layer = "model.layers.{}";
  std::string_view attention_norm = "input_layernorm"; // Of what attention reads.
  std::string_view attention_post_norm = "";           // Of what attention adds to the residual.
  std::string_view mlp_norm = "post_attention_layernorm";
  std::string_view mlp_post_norm = "";
  std::string_view attention = "self_attn";
  std::string_view q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj", o = "self_attn.o_proj";
  std::string_view qkv = ""; // One tensor instead of the three; `q`, `k` and `v` are not read then.
  std::string_view q_norm = "self_attn.q_norm", k_norm = "self_attn.k_norm";
  std::string_view mlp = "mlp";
  std::string_view gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
  std::string_view gate_up = ""; // One tensor, first the rows of the gate; `gate` and `up` are not read then.
};

// Names of keys of config.json that differ by family. An empty name: the family has no such key.
struct ConfigKeys {
  std::string_view hidden_size = "hidden_size";
  std::string_view intermediate_size = "intermediate_size";
  std::string_view layers = "num_hidden_layers";
  std::string_view heads = "num_attention_heads";
  std::string_view kv_heads = "num_key_value_heads";
  std::string_view head_dim = "head_dim";
  std::string_view embedding_size = ""; // Width of the embedding and of what the head reads: `hidden_size` by default.
  std::string_view positions = "max_position_embeddings";
  std::string_view norm_eps = "rms_norm_eps";
  std::string_view activation = "hidden_act";
};

// Where config.json has no such key; what transformers 5 takes.
struct Defaults {
  int64_t vocab = 0;    // 0: the key is required.
  int64_t heads = 0;    // 0: the key is required.
  int64_t head_dim = 0; // 0: hidden_size / num_attention_heads.
  int64_t kv_heads = 0; // 0: num_attention_heads.
  int64_t bos = -1;     // -1: none.
  int64_t eos = -1;
  int64_t positions = 2048;
  int64_t inner_factor = 0; // `intermediate_size` as a multiple of `hidden_size`; 0: the key is required.
  double norm_eps = 1e-6;
  std::string_view activation = "silu";
  bool tied = false; // `tie_word_embeddings`
};

// How the rows of queries, keys and values are arranged in the tensor `qkv`, where the family has one for all three.
enum class QkvLayout {
  kConcatenated, // All queries, all keys, all values.
  kPerGroup,     // For each head of the keys its queries, its key and its value.
};

struct Family {
  std::string_view model_type;   // `model_type` of config.json.
  std::string_view architecture; // The entry of `architectures`.
  // What config.json has where this row holds. Of several rows of one `model_type`, the first that fits is taken.
  std::array<Condition, 2> when = {};
  Flag qkv_bias = {}, output_bias = {}, mlp_bias = {}, head_bias = {};
  NormStyle norm = {};
  QkNorms qk_norm = {};
  Windows windows = {};
  QkvLayout qkv_layout = QkvLayout::kConcatenated;
  bool transposed = false; // Matrices of the layers are [inputs, outputs], as GPT-2's Conv1D has them.
  Positions positions = Positions::kRope;
  int64_t position_offset = 0; // Row of the first position in the table of kLearned.
  Rope rope = {};
  // Norms before attention and MLP. Otherwise behind their sums with the residual, and no final norm.
  Flag norms_before = {true};
  Flag parallel = {};                // x + attention(norm(x)) + mlp(norm(x)).
  bool parallel_shares_norm = false; // With one norm for both: `mlp_norm` is absent then.
  Factor embedding_scale = {}, residual_scale = {}, logits_scale = {};
  Factor attention_scale = {"head_dim", Factor::kReciprocalSquareRoot};
  Cap attention_softcap = {}, logits_softcap = {};
  bool float16_overflows = false;
  bool published_with_code = false; // `auto_map` names code that transformers has since taken over.
  bool gelu_is_tanh = false;        // "gelu" in config.json means the tanh form.
  std::string_view null_key = "";   // A key that must be absent or null.
  std::array<Flag, 4> fixed = {};   // Flags that must have `value`, which is what they have where absent.
  Defaults defaults = {};
  ConfigKeys keys = {};
  ModuleNames modules = {};
};

// All families, and the first row of a `model_type` (null when there is none).
std::span<const Family> AllFamilies();
const Family *FindFamily(std::string_view model_type);

// The family of an entry of `architectures`, in any letter case ("LLaMAForCausalLM" of the first conversions).
const Family *FindFamilyOfArchitecture(std::string_view architecture);

// Keys of config.json that say nothing about inference.
bool IsIgnoredKey(std::string_view key);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_FAMILIES_H

// The model configuration of a Hugging Face directory: config.json, as
// transformers 4 and 5 write it, read into one form that is checked wholly.

#ifndef INLAY_FRONTENDS_HF_CONFIG_H
#define INLAY_FRONTENDS_HF_CONFIG_H

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Families.h"
#include "frontends/hf/Problems.h"
#include "frontends/hf/Quantization.h"
#include "frontends/hf/Rope.h"

namespace inlay::hf {

enum class DType { kBFloat16, kFloat16, kFloat32 };
enum class Activation { kSilu, kGeluTanh, kGelu, kRelu, kRelu2 };

// The name of a type as --dtype and config.json write it, and back.
std::string_view DTypeName(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

// What keys and values are cached as (--kv-cache-dtype). Auto: as the checkpoint says, else as the model's type.
enum class CacheType { kAuto, kBFloat16, kFp8 };

struct ModelOptions {
  std::optional<DType> dtype;                            // Of weights and activations; the checkpoint's own by default.
  std::optional<int64_t> max_model_len;                  // Tokens of a sequence; max_position_embeddings by default.
  std::optional<int64_t> default_max_model_len_cap = {}; // The default is at most this.
  QuantizerOptions quantizer = {};                       // Of a checkpoint with floats.
  CacheType kv_cache = CacheType::kAuto;
  ActivationQuantization activations = ActivationQuantization::kAuto;
};

// The scale of a layer's keys or values in an fp8 cache: code * scale is the number.
struct CacheScale {
  std::string tensor = {};         // As the family names it; empty: the scale is 1.
  std::vector<int64_t> shape = {}; // Of the tensor.
  bool per_head = false;           // One for each kv head; one for all otherwise.
};

struct LayerConfig {
  std::optional<int64_t> window;     // Positions that a row attends to, itself included; all when absent.
  std::optional<size_t> rope;        // Of keys: index into ModelConfig::ropes; absent in layers without rope.
  std::optional<size_t> query_rope;  // Of queries.
  CacheScale key_scale, value_scale; // Of an fp8 cache.
};

// How the checkpoint names what says in which order the columns of a module come.
struct SortedColumns {
  std::string groups; // The tensor with the group of each column.
  std::string order;  // The tensor with the same groups whose order is read: that of the first of such modules.
};

// A prefix of the family's names of tensors, and what the checkpoint has in its place.
struct Renaming {
  std::string from, to;
};

struct ModelConfig {
  const Family *family = nullptr;
  bool is_text_part = false;       // Of a checkpoint with a vision part too.
  std::vector<Renaming> renamings; // Empty where the checkpoint has the family's names.
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t embedding_size = 0; // Columns of the embedding and of the head.
  int64_t intermediate_size = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;          // Divides `heads`.
  int64_t head_dim = 0;          // Even.
  int64_t rotary_dim = 0;        // Elements of a head that rope rotates, the first ones; even.
  int64_t learned_positions = 0; // Rows of the table of positions, in families that have one.
  int64_t max_model_len = 0;
  int64_t max_prompt_len = 0; // At most max_model_len; less with dynamic rope, see ComputeRope.
  int64_t short_rope_len = 0; // The most tokens of sequences with the short factors of longrope; 0: all have the same.
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool head_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  std::map<std::string, double> nested_offsets; // NestedScales::offset of a tensor; read from the weights.
  // Of modules whose columns were sorted before they were quantized; read from the weights.
  std::map<std::string, SortedColumns> sorted_columns;
  bool norms_before = true; // See Family.
  bool parallel = false;    // Attention and MLP read the same rows.
  double norm_eps = 0;
  double embedding_scale = 1.0; // Factors of what is named.
  double residual_scale = 1.0;  // Of what attention and MLP add to the residual.
  double attention_scale = 1.0; // Of the scores.
  double logits_scale = 1.0;
  std::optional<double> attention_softcap, logits_softcap;
  Activation activation = Activation::kSilu;
  DType dtype = DType::kBFloat16;
  std::optional<int64_t> bos;
  std::vector<int64_t> eos;
  std::vector<RopeFrequencies> ropes; // Distinct ones.
  std::vector<double> alibi;          // Slopes of the heads, in families that have them.
  std::vector<LayerConfig> layers;
  std::optional<Quantization> quantization; // How matrices are stored; absent: as floats.
  bool fp8_cache = false;                   // Keys and values are cached as e4m3.
};

// Reads the text of a config.json. Every problem is added to `problems`; the
// result is absent when one of them is an error. `file` is named in them.
std::optional<ModelConfig> ParseConfig(std::string_view text, std::string_view file, const ModelOptions &options,
                                       Problems &problems);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CONFIG_H

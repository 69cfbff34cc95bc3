// The model configuration of a Hugging Face directory: config.json, as
// transformers 4 and 5 write it, read into one form that is checked wholly.

#ifndef INLAY_FRONTENDS_HF_CONFIG_H
#define INLAY_FRONTENDS_HF_CONFIG_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Families.h"
#include "frontends/hf/Problems.h"
#include "frontends/hf/Rope.h"

namespace inlay::hf {

enum class DType { kBFloat16, kFloat16, kFloat32 };
enum class Activation { kSilu, kGeluTanh, kGelu };

// The name of a type as --dtype and config.json write it, and back.
std::string_view DTypeName(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

struct ModelOptions {
  std::optional<DType> dtype;                            // Of weights and activations; the checkpoint's own by default.
  std::optional<int64_t> max_model_len;                  // Tokens of a sequence; max_position_embeddings by default.
  std::optional<int64_t> default_max_model_len_cap = {}; // The default is at most this.
};

struct LayerConfig {
  std::optional<int64_t> window; // Positions that a row attends to, itself included; all when absent.
  size_t rope = 0;               // Index into ModelConfig::ropes.
};

struct ModelConfig {
  const Family *family = nullptr;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0; // Divides `heads`.
  int64_t head_dim = 0; // Even.
  int64_t max_model_len = 0;
  int64_t max_prompt_len = 0; // At most max_model_len; less with dynamic rope, see ComputeRope.
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  double rms_norm_eps = 0;
  Activation activation = Activation::kSilu;
  DType dtype = DType::kBFloat16;
  std::optional<int64_t> bos;
  std::vector<int64_t> eos;
  std::vector<RopeFrequencies> ropes; // Distinct ones.
  std::vector<LayerConfig> layers;
};

// Reads the text of a config.json. Every problem is added to `problems`; the
// result is absent when one of them is an error. `file` is named in them.
std::optional<ModelConfig> ParseConfig(std::string_view text, std::string_view file, const ModelOptions &options,
                                       Problems &problems);

// A tensor that a model of this configuration reads.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// All of them, in the order of the model.
std::vector<TensorSpec> RequiredTensors(const ModelConfig &config);

// The name of a module of layer `layer`.
std::string LayerModule(std::string_view pattern, size_t layer);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_CONFIG_H

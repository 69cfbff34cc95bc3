#include "frontends/hf/Tensors.h"

#include <utility>

namespace inlay::hf {
namespace {

// Collects the tensors of one model.
class Collector {
public:
  explicit Collector(const ModelConfig &config) : config_(config), names_(config.family->modules) {}

  std::vector<TensorSpec> Collect() {
    AddWeight(std::string(names_.embedding), {config_.vocab_size, config_.hidden_size});
    if (config_.family->positions == Positions::kLearned)
      AddWeight(std::string(names_.positions), {config_.learned_positions, config_.hidden_size});
    for (size_t i = 0; i < config_.layers.size(); ++i)
      AddLayer(i);
    AddNorm(std::string(names_.final_norm), config_.hidden_size);
    if (!config_.tie_word_embeddings)
      AddWeight(std::string(names_.lm_head), {config_.vocab_size, config_.hidden_size}, config_.head_bias);
    return std::move(tensors_);
  }

private:
  void AddLayer(size_t layer) {
    const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    const int64_t queries = config_.heads * config_.head_dim, keys = config_.kv_heads * config_.head_dim;
    auto name = [&](std::string_view module) { return LayerModule(names_, module, layer); };
    AddNorm(name(names_.attention_norm), hidden);
    AddWeight(name(names_.q), {queries, hidden}, config_.qkv_bias);
    AddWeight(name(names_.k), {keys, hidden}, config_.qkv_bias);
    AddWeight(name(names_.v), {keys, hidden}, config_.qkv_bias);
    if (QkNorm kind = config_.family->qk_norm; kind != QkNorm::kNone) {
      AddNorm(name(names_.q_norm), kind == QkNorm::kRow ? queries : config_.head_dim);
      AddNorm(name(names_.k_norm), kind == QkNorm::kRow ? keys : config_.head_dim);
    }
    AddWeight(name(names_.o), {hidden, queries}, config_.output_bias);
    AddNorm(name(names_.attention_post_norm), hidden);
    if (!(config_.parallel && config_.family->parallel_shares_norm))
      AddNorm(name(names_.mlp_norm), hidden);
    if (!names_.gate.empty())
      AddWeight(name(names_.gate), {inner, hidden}, config_.mlp_bias);
    AddWeight(name(names_.up), {inner, hidden}, config_.mlp_bias);
    AddWeight(name(names_.down), {hidden, inner}, config_.mlp_bias);
    AddNorm(name(names_.mlp_post_norm), hidden);
  }

  void AddNorm(const std::string &module, int64_t columns) {
    if (!module.empty())
      AddWeight(module, {columns}, config_.family->norm.bias);
  }

  void AddWeight(const std::string &module, std::vector<int64_t> shape, bool bias = false) {
    if (bias)
      tensors_.push_back({module + ".bias", {shape[0]}});
    tensors_.push_back({module + ".weight", std::move(shape)});
  }

  const ModelConfig &config_;
  const ModuleNames &names_;
  std::vector<TensorSpec> tensors_;
};

} // namespace

std::string LayerModule(const ModuleNames &names, std::string_view name, size_t layer) {
  if (name.empty())
    return "";
  std::string full(names.layer);
  full.replace(full.find("{}"), 2, std::to_string(layer));
  return full.append(".").append(name);
}

std::vector<TensorSpec> RequiredTensors(const ModelConfig &config) { return Collector(config).Collect(); }

} // namespace inlay::hf

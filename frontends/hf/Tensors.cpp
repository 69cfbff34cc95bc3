#include "frontends/hf/Tensors.h"

#include <iterator>
#include <set>
#include <utility>

#include "frontends/hf/QuantizedTensors.h"

namespace inlay::hf {
namespace {

// `name` with `index` in place of `{}`.
std::string Numbered(std::string_view name, size_t index) {
  std::string full(name);
  return full.replace(full.find("{}"), 2, std::to_string(index));
}

// Collects the weights of one model.
class Collector {
public:
  explicit Collector(const ModelConfig &config)
      : config_(config), family_(*config.family), names_(config.family->modules) {}

  std::vector<WeightSpec> Collect() {
    AddTensor(std::string(names_.embedding), {config_.vocab_size, config_.embedding_size});
    if (config_.embedding_size != config_.hidden_size)
      AddTensor(std::string(names_.project_in), {config_.hidden_size, config_.embedding_size});
    AddNorm(std::string(names_.embedding_norm), config_.hidden_size);
    if (family_.positions == Positions::kLearned)
      AddTensor(std::string(names_.positions), {config_.learned_positions, config_.hidden_size});
    for (size_t i = 0; i < config_.layers.size(); ++i)
      AddLayer(i);
    if (config_.norms_before)
      AddNorm(std::string(names_.final_norm), config_.hidden_size);
    if (config_.embedding_size != config_.hidden_size)
      AddTensor(std::string(names_.project_out), {config_.embedding_size, config_.hidden_size});
    AddHead();
    return std::move(weights_);
  }

private:
  // A matrix of a layer: `rows` of the `tensor_rows` of its tensor, chosen by `source`.
  struct Matrix {
    std::string name, tensor;
    int64_t rows, columns, tensor_rows;
    bool bias;
    WeightSource source = {};
  };

  void AddLayer(size_t layer) {
    const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    auto name = [&](std::string_view module) { return LayerModule(names_, module, layer); };
    AddNorm(name(names_.attention_norm), hidden);
    AddQkv(layer);
    AddCacheScale(CacheScaleName(names_, layer, "k_scale"), config_.layers[layer].key_scale);
    AddCacheScale(CacheScaleName(names_, layer, "v_scale"), config_.layers[layer].value_scale);
    AddQkNorm(name(names_.q_norm), config_.heads);
    AddQkNorm(name(names_.k_norm), config_.kv_heads);
    AddMatrix(name(names_.o), hidden, config_.heads * config_.head_dim, config_.output_bias);
    AddNorm(name(names_.attention_post_norm), hidden);
    if (!(config_.parallel && family_.parallel_shares_norm))
      AddNorm(name(names_.mlp_norm), hidden);
    LayerWeights parts = NamesOfLayer(names_, layer);
    if (!names_.gate_up.empty()) {
      std::string tensor = name(names_.gate_up);
      AddPart({parts.gate, tensor, inner, hidden, 2 * inner, config_.mlp_bias, Rows(2 * inner, 0, inner)});
      AddPart({parts.up, tensor, inner, hidden, 2 * inner, config_.mlp_bias, Rows(2 * inner, inner, inner)});
    } else {
      if (!parts.gate.empty())
        AddMatrix(parts.gate, inner, hidden, config_.mlp_bias);
      AddMatrix(parts.up, inner, hidden, config_.mlp_bias);
    }
    AddMatrix(name(names_.down), hidden, inner, config_.mlp_bias);
    AddNorm(name(names_.mlp_post_norm), hidden);
  }

  void AddQkv(size_t layer) {
    const int64_t d = config_.head_dim, queries = config_.heads * d, keys = config_.kv_heads * d;
    const int64_t all = queries + 2 * keys, hidden = config_.hidden_size;
    const LayerWeights parts = NamesOfLayer(names_, layer);
    WeightSource q, k, v;
    if (!names_.qkv.empty() && family_.qkv_layout == QkvLayout::kConcatenated) {
      q = Rows(all, 0, queries);
      k = Rows(all, queries, keys);
      v = Rows(all, queries + keys, keys);
    } else if (!names_.qkv.empty()) {
      const int64_t group = queries / config_.kv_heads, block = group + 2 * d;
      q = Rows(block, 0, group);
      k = Rows(block, group, d);
      v = Rows(block, group + d, d);
    }
    if (family_.rope.interleaved)
      for (WeightSource *rotated : {&q, &k}) {
        rotated->head_dim = d;
        rotated->rotary_dim = config_.rotary_dim;
      }
    const bool fused = !names_.qkv.empty();
    const std::string tensor = LayerModule(names_, names_.qkv, layer);
    AddPart({parts.q, fused ? tensor : parts.q, queries, hidden, fused ? all : queries, config_.qkv_bias, q});
    AddPart({parts.k, fused ? tensor : parts.k, keys, hidden, fused ? all : keys, config_.qkv_bias, k});
    AddPart({parts.v, fused ? tensor : parts.v, keys, hidden, fused ? all : keys, config_.qkv_bias, v});
  }

  // A number for each kv head, which all have the same one where the tensor has one.
  void AddCacheScale(const std::string &name, const CacheScale &scale) {
    if (scale.tensor.empty())
      return;
    WeightSource source{.tensor = {scale.tensor, scale.shape}, .flat = true, .scale = 1.0};
    if (!scale.per_head)
      source.repeat = source.rows = config_.kv_heads;
    weights_.push_back({.name = name, .shape = {config_.kv_heads}, .source = std::move(source), .is_float32 = true});
  }

  static WeightSource Rows(int64_t block, int64_t offset, int64_t count) {
    return {.tensor = {}, .block = block, .offset = offset, .count = count};
  }

  void AddMatrix(const std::string &module, int64_t rows, int64_t columns, bool bias) {
    AddPart({module, module, rows, columns, rows, bias});
  }

  // The head of a tied model is its embedding, unless the quantizer makes a matrix of its own of it.
  void AddHead() {
    const std::string head(names_.lm_head);
    const bool is_tied = config_.tie_word_embeddings;
    if (!is_tied)
      AddMatrix(head, config_.vocab_size, config_.embedding_size, config_.head_bias);
    else if (HasHeadBesideEmbedding(config_))
      AddPart(
          {head, std::string(names_.embedding), config_.vocab_size, config_.embedding_size, config_.vocab_size, false});
  }

  void AddPart(Matrix matrix) {
    WeightSource &source = matrix.source;
    if (matrix.bias) {
      WeightSource of_bias = source;
      of_bias.tensor = {matrix.tensor + ".bias", {matrix.tensor_rows}};
      weights_.push_back({matrix.name + ".bias", {matrix.rows}, std::move(of_bias)});
    }
    const bool transposed = family_.transposed && matrix.name != names_.lm_head;
    if (const Scheme *scheme = SchemeOf(matrix)) {
      source.tensor.name = matrix.tensor;
      return AddQuantized(*scheme,
                          {matrix.name, matrix.rows, matrix.columns, matrix.tensor_rows, transposed, std::move(source),
                           config_.quantization->InputScaleOf(matrix.name + ".weight")},
                          weights_);
    }
    source.transposed = transposed;
    source.tensor = {matrix.tensor + ".weight", {matrix.tensor_rows, matrix.columns}};
    if (source.transposed)
      std::swap(source.tensor.shape[0], source.tensor.shape[1]);
    weights_.push_back({matrix.name + ".weight", {matrix.rows, matrix.columns}, std::move(source)});
  }

  // How the checkpoint stores the matrix of a module; null for floats.
  const Scheme *SchemeOf(const Matrix &matrix) const {
    if (!config_.quantization)
      return nullptr;
    return config_.quantization->SchemeOf(CheckpointName(config_, matrix.tensor), matrix.name == names_.lm_head);
  }

  void AddNorm(const std::string &module, int64_t columns) {
    if (!module.empty() && family_.norm.weight)
      AddTensor(module, {columns}, family_.norm.bias);
  }

  void AddQkNorm(const std::string &module, int64_t heads) {
    const QkNorms &norms = family_.qk_norm;
    const int64_t d = config_.head_dim;
    if (config_.qk_norm == QkNorm::kNone)
      return;
    if (config_.qk_norm != QkNorm::kEachHead)
      return AddTensor(module, {config_.qk_norm == QkNorm::kRow ? heads * d : d}, norms.bias);
    WeightSpec weight{module + ".weight", {heads * d}, {}};
    if (norms.head.empty()) {
      weight.source = OfHeads({module + ".weight", {heads, d}});
    } else {
      for (int64_t head = 0; head < heads; ++head)
        weight.more_sources.push_back(
            OfHeads({Numbered(module + "." + std::string(norms.head), head) + ".weight", {d}}));
      weight.source = std::move(weight.more_sources.front());
      weight.more_sources.erase(weight.more_sources.begin());
    }
    weights_.push_back(std::move(weight));
  }

  // Elements of heads, in the order in which their rows of the projection are stored.
  WeightSource OfHeads(TensorSpec tensor) const {
    const bool interleaved = family_.rope.interleaved, flat = tensor.shape.size() > 1;
    return {.tensor = std::move(tensor),
            .flat = flat,
            .head_dim = interleaved ? config_.head_dim : 0,
            .rotary_dim = interleaved ? config_.rotary_dim : 0};
  }

  // A weight that is a whole tensor.
  void AddTensor(const std::string &module, const std::vector<int64_t> &shape, bool bias = false) {
    auto add = [&](const std::string &name, const std::vector<int64_t> &of) {
      weights_.push_back({name, of, {.tensor = {name, of}}});
    };
    if (bias)
      add(module + ".bias", {shape[0]});
    add(module + ".weight", shape);
  }

  const ModelConfig &config_;
  const Family &family_;
  const ModuleNames &names_;
  std::vector<WeightSpec> weights_;
};

} // namespace

bool HasHeadBesideEmbedding(const ModelConfig &config) {
  return config.quantization && config.quantization->IsOfFloats() &&
         config.quantization->SchemeOf("", /*is_head=*/true) != nullptr;
}

std::string LayerModule(const ModuleNames &names, std::string_view name, size_t layer) {
  return name.empty() ? "" : Numbered(names.layer, layer).append(".").append(name);
}

std::string CacheScaleName(const ModuleNames &names, size_t layer, std::string_view scale) {
  return LayerModule(names, names.attention, layer).append(".").append(scale);
}

LayerWeights NamesOfLayer(const ModuleNames &names, size_t layer) {
  auto part = [&](std::string_view fused, std::string_view suffix, std::string_view separate) {
    return fused.empty() ? LayerModule(names, separate, layer) : LayerModule(names, fused, layer).append(suffix);
  };
  return {part(names.qkv, ".q", names.q), part(names.qkv, ".k", names.k), part(names.qkv, ".v", names.v),
          part(names.gate_up, ".gate", names.gate), part(names.gate_up, ".up", names.up)};
}

std::string CheckpointName(const ModelConfig &config, std::string_view name) {
  for (const Renaming &renaming : config.renamings)
    if (name.starts_with(renaming.from))
      return renaming.to + std::string(name.substr(renaming.from.size()));
  return std::string(name);
}

std::vector<Renaming> FindRenamings(const Family &family, const std::function<bool(const std::string &)> &has_tensor) {
  const std::string base(family.modules.embedding.substr(0, family.modules.embedding.find('.') + 1));
  const std::string head(family.modules.lm_head), text = "language_model.";
  const std::vector<Renaming> candidates[] = {
      {},
      {{base, text + base}, {head, text + head}}, // transformers 4
      {{base, "model." + text}},                  // transformers 5
      {{base, ""}},
  };
  ModelConfig config;
  for (const std::vector<Renaming> &candidate : candidates) {
    config.renamings = candidate;
    if (has_tensor(CheckpointName(config, std::string(family.modules.embedding) + ".weight")))
      return candidate;
  }
  return {};
}

namespace {

// Gives codes whose columns are not in the order of their groups that order, and adds the weights with these orders.
void AddColumnOrders(const ModelConfig &config, std::vector<WeightSpec> &weights) {
  std::vector<WeightSpec> orders;
  std::set<std::string> names;
  for (WeightSpec &weight : weights) {
    if (!weight.quantized)
      continue;
    QuantizedForm &form = *weight.quantized;
    auto found = config.sorted_columns.find(form.module);
    if (found == config.sorted_columns.end())
      continue;
    weight.source.column_order = ColumnOrder{.groups = found->second.groups, .size = form.group};
    form.column_order = found->second.order + ".order";
    if (!names.insert(form.column_order).second)
      continue;
    const int64_t columns = weight.shape[1];
    WeightSource source{.tensor = {found->second.order, {columns}, {}, {"I32"}}, .flat = true};
    source.column_order = ColumnOrder{.size = form.group};
    orders.push_back(
        {.name = form.column_order, .shape = {1, columns}, .source = std::move(source), .is_column_order = true});
  }
  weights.insert(weights.end(), std::make_move_iterator(orders.begin()), std::make_move_iterator(orders.end()));
}

} // namespace

std::vector<WeightSpec> RequiredWeights(const ModelConfig &config) {
  std::vector<WeightSpec> weights = Collector(config).Collect();
  for (WeightSpec &weight : weights) {
    if (weight.value)
      continue;
    weight.source.tensor.name = CheckpointName(config, weight.source.tensor.name);
    if (std::optional<NestedScales> &nested = weight.source.nested) {
      nested->table.name = CheckpointName(config, nested->table.name);
      nested->scales.name = CheckpointName(config, nested->scales.name);
      if (auto found = config.nested_offsets.find(weight.source.tensor.name); found != config.nested_offsets.end())
        nested->offset = found->second;
    }
    for (WeightSource &source : weight.more_sources)
      source.tensor.name = CheckpointName(config, source.tensor.name);
    if (weight.quantized)
      weight.quantized->module = CheckpointName(config, weight.quantized->module);
  }
  AddColumnOrders(config, weights);
  return weights;
}

std::vector<TensorSpec> RequiredTensors(const ModelConfig &config) {
  std::vector<TensorSpec> tensors;
  std::set<std::string> names;
  auto add = [&](TensorSpec &tensor) {
    if (names.insert(tensor.name).second)
      tensors.push_back(std::move(tensor));
  };
  for (WeightSpec &weight : RequiredWeights(config)) {
    if (weight.value)
      continue;
    add(weight.source.tensor);
    for (WeightSource &source : weight.more_sources)
      add(source.tensor);
    if (std::optional<NestedScales> &nested = weight.source.nested) {
      add(nested->table);
      add(nested->scales);
    }
    if (const std::optional<ColumnOrder> &order = weight.source.column_order; order && !order->groups.empty()) {
      TensorSpec groups{order->groups, {weight.shape[1]}, {}, {"I32"}};
      add(groups);
    }
  }
  return tensors;
}

} // namespace inlay::hf

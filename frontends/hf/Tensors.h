// The tensors of a checkpoint that a model reads, with their shapes.

#ifndef INLAY_FRONTENDS_HF_TENSORS_H
#define INLAY_FRONTENDS_HF_TENSORS_H

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Config.h"

namespace inlay::hf {

// A tensor of a checkpoint.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// The rows of a tensor that make a weight, as `#llm.source` has them.
struct WeightSource {
  TensorSpec tensor;
  bool transposed = false;                  // The tensor is [columns, rows].
  int64_t block = 0, offset = 0, count = 0; // Of each `block` rows, `count` from `offset` on; block 0: all rows.
  int64_t head_dim = 0, rotary_dim = 0;     // Interleaved rope is put into halves; head_dim 0: rows stay as they are.
};

// A weight of the model: one tensor, or rows of one.
struct WeightSpec {
  std::string name; // That of the tensor, or of a part of it: "h.0.attn.c_attn.q.weight".
  std::vector<int64_t> shape;
  WeightSource source;
};

// All weights that a model of this configuration reads, in the order of the model.
std::vector<WeightSpec> RequiredWeights(const ModelConfig &config);

// The tensors that they are made of, each once.
std::vector<TensorSpec> RequiredTensors(const ModelConfig &config);

// Names of the parts of a layer's attention and MLP as weights. Those of a fused tensor are its name with ".q" and so
// on.
struct LayerWeights {
  std::string q, k, v, gate, up; // `gate` is empty in an MLP without one.
};
LayerWeights NamesOfLayer(const ModuleNames &names, size_t layer);

// How a checkpoint with these tensors names those of the family: as the family does, without the name of the base model
// before each, or as the text part of a model with a vision part.
std::vector<Renaming> FindRenamings(const Family &family, const std::function<bool(const std::string &)> &has_tensor);

// The name of a tensor or module of the family in the checkpoint.
std::string CheckpointName(const ModelConfig &config, std::string_view name);

// The full name of the module `name` of layer `layer`; empty where the family has no such module.
std::string LayerModule(const ModuleNames &names, std::string_view name, size_t layer);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_TENSORS_H

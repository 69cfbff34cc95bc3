// The tensors of a checkpoint that a model reads, with their shapes.

#ifndef INLAY_FRONTENDS_HF_TENSORS_H
#define INLAY_FRONTENDS_HF_TENSORS_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Config.h"

namespace inlay::hf {

// A tensor that a model of this configuration reads.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// All of them, in the order of the model.
std::vector<TensorSpec> RequiredTensors(const ModelConfig &config);

// The full name of the module `name` of layer `layer`; empty where the family has no such module.
std::string LayerModule(const ModuleNames &names, std::string_view name, size_t layer);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_TENSORS_H

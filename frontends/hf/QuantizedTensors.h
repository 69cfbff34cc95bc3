// The tensors of a quantized matrix: from its scheme to the weights that hold its codes, scales and zero points.

#ifndef INLAY_FRONTENDS_HF_QUANTIZED_TENSORS_H
#define INLAY_FRONTENDS_HF_QUANTIZED_TENSORS_H

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontends/hf/Quantization.h"
#include "frontends/hf/Tensors.h"

namespace inlay::hf {

// A matrix of `rows` x `columns`, made of rows of the `tensor_rows` x `columns` that the module `source.tensor.name`
// has in the checkpoint.
struct QuantizedMatrix {
  std::string name;
  int64_t rows = 0, columns = 0, tensor_rows = 0;
  bool transposed = false; // A tensor of floats is [columns, tensor_rows].
  WeightSource source;
  std::optional<float> input_scale = {}; // Of kStatic, if no tensor of the checkpoint has it.
};

// Adds the weights "NAME.weight", "NAME.weight_scale" and, with zero points, "NAME.weight_zero_point".
void AddQuantized(const Scheme &scheme, const QuantizedMatrix &matrix, std::vector<WeightSpec> &weights);

// Why a tensor of a quantized checkpoint is not needed: "NAMES: REASON", or empty.
std::string_view ReasonToIgnoreQuantized(std::string_view name);

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_QUANTIZED_TENSORS_H

//===- QuantizationReport.cpp - errors of quantized weights ----------------===//

#include "compiler/pipelines/QuantizationReport.h"

#include "fmt/format.h"
#include "frontends/hf/Tensors.h"
#include <cmath>

using namespace inlay;

/// A tensor of zeros has no error.
static double relative(double squaredError, double squaredNorm) {
  return squaredNorm > 0 ? std::sqrt(squaredError / squaredNorm) : 0;
}

QuantizationReport::QuantizationReport(const hf::ModelConfig &config) {
  if (!config.quantization)
    return;
  for (const hf::WeightSpec &weight : hf::RequiredWeights(config))
    if (weight.quantized)
      schemes[weight.source.tensor.name] = weight.quantized->scheme;
}

std::string QuantizationReport::add(const QuantizedTensor &tensor) {
  double error = relative(tensor.squared_error, tensor.squared_norm);
  ++tensors;
  elements += tensor.elements;
  squaredError += tensor.squared_error;
  squaredNorm += tensor.squared_norm;
  if (error >= worst) {
    worst = error;
    worstName = tensor.name;
  }
  return fmt::format("quantized {}: {}, relative error {:.4f}", tensor.name, schemes[tensor.name], error);
}

std::string QuantizationReport::summary() const {
  if (tensors == 0)
    return "";
  return fmt::format("quantized {} tensors of {} elements: relative error {:.4f}, at most {:.4f} ({})", tensors,
                     elements, relative(squaredError, squaredNorm), worst, worstName);
}

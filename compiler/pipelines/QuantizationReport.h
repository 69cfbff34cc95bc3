//===- QuantizationReport.h - errors of quantized weights ------------------===//
//
// What compile-model prints of its quantizer: how each matrix is stored, and its relative error in the L2 norm.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_QUANTIZATIONREPORT_H
#define INLAY_COMPILER_PIPELINES_QUANTIZATIONREPORT_H

#include "runtime/bundle/writer.h"
#include <map>
#include <string>

namespace inlay {

namespace hf {
struct ModelConfig;
} // namespace hf

class QuantizationReport {
public:
  explicit QuantizationReport(const hf::ModelConfig &config);

  /// The line of one tensor. The error is ||quantized - tensor|| / ||tensor||.
  std::string add(const QuantizedTensor &tensor);
  /// The line of all of them; empty if there were none.
  std::string summary() const;

private:
  std::map<std::string, std::string> schemes; // by the name of a tensor
  uint64_t tensors = 0, elements = 0;
  double squaredError = 0, squaredNorm = 0, worst = 0;
  std::string worstName;
};

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_QUANTIZATIONREPORT_H

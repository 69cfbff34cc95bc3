// Turns rows of floats into codes, or into the scales of these codes (RecipeOp_Quantize, RecipeOp_QuantizeScales).
#ifndef INLAY_RUNTIME_BUNDLE_ROW_QUANTIZER_H_
#define INLAY_RUNTIME_BUNDLE_ROW_QUANTIZER_H_

#include "absl/status/status.h"
#include "formats/quantization/quantize.h"
#include "runtime/bundle/plan_generated.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace inlay {

// Whether `type` is one of codes that a quantizer makes.
bool IsQuantizerType(plan::DataType type);

// What was found of the groups of one tensor. A bundle's codes and scales are different weights; while both are packed,
// a record keeps the scales, so that each is searched once, and the errors for a report. Its functions may be called
// from several threads at once.
class QuantizationRecord {
public:
  QuantizationRecord(uint64_t rows, uint64_t groups)
      : groups_(groups), scales_(rows * groups), errors_(rows * groups), norms_(rows * groups) {}

  void Store(uint64_t row, uint64_t group, const QuantizedGroup &found);
  // Writes the F32 scales of `groups` groups from `first_group` on of each of `rows` rows, if all are known.
  bool CopyScales(uint64_t first_row, uint64_t rows, uint64_t first_group, uint64_t groups, std::byte *out);
  // Sums of all groups. No thread may call Store() meanwhile.
  double squared_error() const;
  double squared_norm() const;
  bool IsComplete() const;
  uint64_t groups() const { return scales_.size(); }

private:
  uint64_t groups_; // of a row
  std::vector<float> scales_;
  std::vector<double> errors_, norms_;
};

// Makes codes, one a byte, or F32 scales, of `rows` rows of a tensor from `first_row` on. `values` has columns
// [first_group * step.block(), ...) of each of them, in whole groups, and `out` has an element for each value (codes)
// or group (scales). `record` may be null. Fails, naming `tensor`, where a value is not finite.
absl::Status QuantizeRows(const plan::RecipeStep &step, std::span<const float> values, uint64_t first_row,
                          uint64_t rows, uint64_t first_group, std::string_view tensor, QuantizationRecord *record,
                          std::byte *out);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_ROW_QUANTIZER_H_

#include "runtime/bundle/row_quantizer.h"

#include "fmt/format.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

namespace inlay {
namespace {

QuantizerCodes CodesOf(plan::DataType type) {
  return type == plan::DataType_U4   ? QuantizerCodes::kU4
         : type == plan::DataType_I8 ? QuantizerCodes::kI8
                                     : QuantizerCodes::kF8E4M3;
}

} // namespace

bool IsQuantizerType(plan::DataType type) {
  return type == plan::DataType_U4 || type == plan::DataType_I8 || type == plan::DataType_F8E4M3;
}

// Two threads that make parts of one row may both store what they found of a group; it is the same.
void QuantizationRecord::Store(uint64_t row, uint64_t group, const QuantizedGroup &found) {
  uint64_t at = row * groups_ + group;
  std::atomic_ref(errors_[at]).store(found.squared_error, std::memory_order_relaxed);
  std::atomic_ref(norms_[at]).store(found.squared_norm, std::memory_order_relaxed);
  std::atomic_ref(scales_[at]).store(found.scale, std::memory_order_relaxed);
}

bool QuantizationRecord::CopyScales(uint64_t first_row, uint64_t rows, uint64_t first_group, uint64_t groups,
                                    std::byte *out) {
  for (uint64_t row = first_row; row < first_row + rows; ++row)
    for (uint64_t group = first_group; group < first_group + groups; ++group) {
      const float scale = std::atomic_ref(scales_[row * groups_ + group]).load(std::memory_order_relaxed);
      if (scale == 0) // not stored yet
        return false;
      std::memcpy(out, &scale, sizeof scale);
      out += sizeof scale;
    }
  return true;
}

double QuantizationRecord::squared_error() const { return std::accumulate(errors_.begin(), errors_.end(), 0.0); }

double QuantizationRecord::squared_norm() const { return std::accumulate(norms_.begin(), norms_.end(), 0.0); }

bool QuantizationRecord::IsComplete() const { return std::find(scales_.begin(), scales_.end(), 0.0f) == scales_.end(); }

absl::Status QuantizeRows(const plan::RecipeStep &step, std::span<const float> values, uint64_t first_row,
                          uint64_t rows, uint64_t first_group, std::string_view tensor, QuantizationRecord *record,
                          std::byte *out) {
  const uint64_t size = step.block(), groups = values.size() / rows / size;
  const bool makes_scales = step.op() == plan::RecipeOp_QuantizeScales;
  std::vector<std::byte> unused(makes_scales ? size : 0);
  for (uint64_t row = 0; row < rows; ++row)
    for (uint64_t group = 0; group < groups; ++group) {
      const uint64_t at = row * groups + group;
      std::span<std::byte> codes = makes_scales ? std::span(unused) : std::span(out + at * size, size);
      QuantizedGroup found = QuantizeGroup(CodesOf(step.type()), values.subspan(at * size, size), codes);
      if (std::isnan(found.scale))
        return absl::InvalidArgumentError(
            fmt::format("tensor '{}': has a value in row {} that is not finite, expected finite numbers to quantize",
                        tensor, first_row + row));
      if (record)
        record->Store(first_row + row, first_group + group, found);
      if (makes_scales)
        std::memcpy(out + at * sizeof found.scale, &found.scale, sizeof found.scale);
    }
  return absl::OkStatus();
}

} // namespace inlay

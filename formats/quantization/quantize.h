// Quantizes floats to nearest: compile-model --quantization. Results do not depend on the CPU or on the number of
// threads.
#ifndef INLAY_FORMATS_QUANTIZATION_QUANTIZE_H_
#define INLAY_FORMATS_QUANTIZATION_QUANTIZE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace inlay {

// The codes that a quantizer makes. A value is (code - zero point) * scale.
enum class QuantizerCodes {
  kU4,     // 0 to 15, zero point 8
  kI8,     // -127 to 127, zero point 0
  kF8E4M3, // bits of a float, at most 448, zero point 0
};

// The largest group of 128, 64 and 32 columns that divides `columns`; 0: none does. For codes of 4 bits.
int64_t QuantizerGroup(int64_t columns);

struct QuantizedGroup {
  float scale = 1;          // finite and above 0; NaN if a value is not finite
  double squared_error = 0; // sum of (value - quantized value)^2
  double squared_norm = 0;  // sum of value^2
};

// Quantizes values that share a scale. `codes` has a byte for each. Integers search for the range that they are clipped
// to: the one with the least squared error, of a grid below the largest magnitude. Floats are not clipped, because
// their relative error does not depend on the scale. A group of zeros has the scale 1.
QuantizedGroup QuantizeGroup(QuantizerCodes type, std::span<const float> values, std::span<std::byte> codes);

} // namespace inlay

#endif // INLAY_FORMATS_QUANTIZATION_QUANTIZE_H_

#include "formats/quantization/quantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

// AVX2 for CPUs that have it. Contraction to multiply-adds is off (CMakeLists.txt), so both versions give equal bits.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INLAY_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define INLAY_CLONES
#endif

namespace inlay {
namespace {

// Partial sums of independent lanes, which the compiler keeps in vectors. Their order is that of the source text.
constexpr size_t kLanes = 16;

// Adding and subtracting 1.5 * 2^23 rounds a float below 2^22 to the nearest integer, ties to even.
constexpr float kRound = 0x1.8p23f;

template <typename Sum> double SumOf(const std::array<Sum, kLanes> &lanes) {
  double sum = 0;
  for (Sum lane : lanes)
    sum += lane;
  return sum;
}

// The largest magnitude; NaN if a value is not finite.
INLAY_CLONES float MaxMagnitude(const float *values, size_t count) {
  std::array<uint32_t, kLanes> most{};
  // Magnitudes are ordered as their bits are.
  auto add = [&](size_t i, size_t lane) {
    most[lane] = std::max(most[lane], std::bit_cast<uint32_t>(values[i]) & 0x7fffffff);
  };
  size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      add(i + lane, lane);
  for (size_t i = whole; i < count; ++i)
    add(i, i - whole);
  float result = std::bit_cast<float>(*std::max_element(most.begin(), most.end()));
  return std::isfinite(result) ? result : std::numeric_limits<float>::quiet_NaN();
}

// Smaller scales are no normal floats, and their inverse may be infinite.
float Usable(float scale) { return std::max(scale, FLT_MIN); }

struct Fit {
  float error = 0;            // squared
  float dot = 0, squares = 0; // of values and codes, of codes and codes
};

// How codes in [low, high] with this scale represent the values.
INLAY_CLONES Fit FitOf(const float *values, size_t count, float scale, float low, float high) {
  const float inverse = 1 / scale;
  std::array<float, kLanes> error{}, dot{}, squares{};
  auto add = [&](size_t i, size_t lane) {
    float value = values[i];
    float code = (std::min(std::max(value * inverse, low), high) + kRound) - kRound;
    float difference = value - code * scale;
    error[lane] += difference * difference;
    dot[lane] += value * code;
    squares[lane] += code * code;
  };
  size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      add(i + lane, lane);
  for (size_t i = whole; i < count; ++i)
    add(i, i - whole);
  return {static_cast<float>(SumOf(error)), static_cast<float>(SumOf(dot)), static_cast<float>(SumOf(squares))};
}

// The scale with the least squared error: of ranges from `most` down to `least` of the largest magnitude, then the
// least squares scale of the codes that the best of them gives.
float SearchScale(const float *values, size_t count, float largest, float low, float high, float half_range) {
  constexpr int kSteps = 12;
  constexpr float kMost = 1.05f, kLeast = 0.5f;
  float best = Usable(largest / half_range);
  Fit best_fit = FitOf(values, count, best, low, high);
  for (int step = 0; step <= kSteps; ++step) {
    float range = kMost - (kMost - kLeast) * static_cast<float>(step) / kSteps;
    float scale = Usable(largest * range / half_range);
    if (Fit fit = FitOf(values, count, scale, low, high); fit.error < best_fit.error)
      best = scale, best_fit = fit;
  }
  if (best_fit.squares > 0 && best_fit.dot > 0) {
    float refined = Usable(best_fit.dot / best_fit.squares);
    if (FitOf(values, count, refined, low, high).error < best_fit.error)
      return refined;
  }
  return best;
}

INLAY_CLONES void EncodeIntegers(const float *values, size_t count, float scale, float low, float high, int32_t offset,
                                 std::byte *codes) {
  const float inverse = 1 / scale;
  for (size_t i = 0; i < count; ++i) {
    float code = (std::min(std::max(values[i] * inverse, low), high) + kRound) - kRound;
    codes[i] = static_cast<std::byte>(static_cast<int32_t>(code) + offset);
  }
}

// To nearest, ties to even. The largest number of e4m3 is 448, the smallest normal one 2^-6, the smallest one 2^-9.
INLAY_CLONES void EncodeF8E4M3(const float *values, size_t count, float scale, std::byte *codes) {
  const float inverse = 1 / scale;
  for (size_t i = 0; i < count; ++i) {
    float number = values[i] * inverse, magnitude = std::min(std::fabs(number), 448.0f);
    auto bits = std::bit_cast<uint32_t>(magnitude);
    // 3 of 23 bits of the fraction stay; the exponent's bias is 7 instead of 127.
    uint32_t normal = ((bits + 0x7ffff + ((bits >> 20) & 1)) >> 20) - ((127 - 7) << 3);
    uint32_t subnormal = std::bit_cast<uint32_t>(magnitude * 0x1p9f + kRound) & 0xf; // a multiple of 2^-9
    uint32_t sign = std::bit_cast<uint32_t>(number) >> 31 << 7;
    codes[i] = static_cast<std::byte>(sign | (magnitude < 0x1p-6f ? subnormal : normal));
  }
}

float DecodeF8E4M3(std::byte code) {
  auto bits = static_cast<uint32_t>(code);
  uint32_t exponent = bits >> 3 & 0xf, fraction = bits & 7;
  float magnitude = exponent == 0 ? static_cast<float>(fraction) * 0x1p-9f
                                  : std::bit_cast<float>((exponent + 127 - 7) << 23 | fraction << 20);
  return bits & 0x80 ? -magnitude : magnitude;
}

// The values of all 256 codes of a type without its zero point.
std::array<float, 256> NumbersOf(QuantizerCodes type) {
  std::array<float, 256> numbers{};
  for (int code = 0; code < 256; ++code)
    numbers[static_cast<size_t>(code)] = type == QuantizerCodes::kU4   ? static_cast<float>(code - 8)
                                         : type == QuantizerCodes::kI8 ? static_cast<float>(static_cast<int8_t>(code))
                                                                       : DecodeF8E4M3(static_cast<std::byte>(code));
  return numbers;
}

} // namespace

int64_t QuantizerGroup(int64_t columns) {
  for (int64_t group : {128, 64, 32})
    if (columns % group == 0)
      return group;
  return 0;
}

QuantizedGroup QuantizeGroup(QuantizerCodes type, std::span<const float> values, std::span<std::byte> codes) {
  static const std::array<float, 256> kNumbers[] = {NumbersOf(QuantizerCodes::kU4), NumbersOf(QuantizerCodes::kI8),
                                                    NumbersOf(QuantizerCodes::kF8E4M3)};
  QuantizedGroup result;
  const size_t count = values.size();
  const float largest = MaxMagnitude(values.data(), count);
  if (std::isnan(largest)) {
    result.scale = largest;
    return result;
  }
  switch (type) {
  case QuantizerCodes::kU4:
    if (largest > 0)
      result.scale = SearchScale(values.data(), count, largest, -8, 7, 7.5f);
    EncodeIntegers(values.data(), count, result.scale, -8, 7, 8, codes.data());
    break;
  case QuantizerCodes::kI8:
    if (largest > 0)
      result.scale = SearchScale(values.data(), count, largest, -127, 127, 127);
    EncodeIntegers(values.data(), count, result.scale, -127, 127, 0, codes.data());
    break;
  case QuantizerCodes::kF8E4M3:
    if (largest > 0)
      result.scale = Usable(largest / 448);
    EncodeF8E4M3(values.data(), count, result.scale, codes.data());
    break;
  }
  const std::array<float, 256> &numbers = kNumbers[static_cast<size_t>(type)];
  std::array<double, kLanes> error{}, norm{};
  for (size_t i = 0; i < count; ++i) {
    double value = values[i], difference = value - numbers[static_cast<size_t>(codes[i])] * double{result.scale};
    error[i % kLanes] += difference * difference;
    norm[i % kLanes] += value * value;
  }
  result.squared_error = SumOf(error);
  result.squared_norm = SumOf(norm);
  return result;
}

} // namespace inlay

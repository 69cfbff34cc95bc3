#include "formats/quantization/quantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

// AVX2 for CPUs that have it. Contraction to multiply-adds is off (CMakeLists.txt), so both versions give equal bits.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INLAY_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define INLAY_CLONES
#endif

namespace inlay {
namespace {

// Lanes that are summed apart, and then in a tree, so that the order of sums is the same for every CPU.
constexpr size_t kLanes = 16;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));

// Adding and subtracting 1.5 * 2^23 rounds a float below 2^22 to the nearest integer, ties to even.
constexpr float kRound = 0x1.8p23f;

template <typename Sum> Sum SumOf(std::array<Sum, kLanes> lanes) {
  for (size_t half = kLanes / 2; half > 0; half /= 2)
    for (size_t lane = 0; lane < half; ++lane)
      lanes[lane] += lanes[lane + half];
  return lanes[0];
}

float SumOf(const Floats &lanes) {
  std::array<float, kLanes> elements{};
  std::memcpy(elements.data(), &lanes, sizeof lanes);
  return SumOf(elements);
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

// The nearest code in [low, high] to a value times the inverse of a scale.
float CodeOf(float number, float low, float high) { return (std::min(std::max(number, low), high) + kRound) - kRound; }

// Sums of a group of values with their codes in [low, high]: a vector of all lanes at a time, as compilers do not find
// them in loops. The last one is filled up with zeros, whose code is 0.
struct Sums {
  float error = 0;            // of (value - code * scale)^2
  float dot = 0, squares = 0; // of value * code and code^2
};
INLAY_CLONES Sums SumsOf(const float *values, size_t count, float scale, float low, float high) {
  const Floats inverse = Floats{} + 1 / scale, least = Floats{} + low, most = Floats{} + high,
               round = Floats{} + kRound;
  std::array<float, kLanes> last{};
  std::copy(values + count / kLanes * kLanes, values + count, last.begin());
  Floats error{}, dot{}, squares{};
  for (size_t i = 0; i < count; i += kLanes) {
    Floats value;
    std::memcpy(&value, i + kLanes <= count ? values + i : last.data(), sizeof value);
    Floats code = value * inverse;
    code = code < least ? least : code;
    code = code > most ? most : code;
    code = (code + round) - round;
    const Floats difference = value - code * scale;
    error += difference * difference;
    dot += value * code;
    squares += code * code;
  }
  return {SumOf(error), SumOf(dot), SumOf(squares)};
}

// The scale with the least squared error: of ranges from `most` down to `least` of the largest magnitude, then the
// least squares scale of the codes that the best of them gives.
float SearchScale(const float *values, size_t count, float largest, float low, float high, float half_range) {
  constexpr int kSteps = 12;
  constexpr float kMost = 1.05f, kLeast = 0.5f;
  float best = Usable(largest / half_range);
  Sums best_sums = SumsOf(values, count, best, low, high);
  auto consider = [&](float scale) {
    if (Sums sums = SumsOf(values, count, scale, low, high); sums.error < best_sums.error) {
      best = scale;
      best_sums = sums;
    }
  };
  for (int step = 0; step <= kSteps; ++step)
    consider(Usable(largest * (kMost - (kMost - kLeast) * static_cast<float>(step) / kSteps) / half_range));
  // Not finite or not positive where all codes are 0.
  if (float refined = best_sums.dot / best_sums.squares; refined > 0 && std::isfinite(refined))
    consider(Usable(refined));
  return best;
}

INLAY_CLONES void EncodeIntegers(const float *values, size_t count, float scale, float low, float high, int32_t offset,
                                 std::byte *codes) {
  const float inverse = 1 / scale;
  std::array<uint8_t, kLanes> block{}; // codes might be the values for all that the compiler knows
  auto encode = [&](size_t i, size_t lane) {
    float code = CodeOf(values[i] * inverse, low, high);
    block[lane] = static_cast<uint8_t>(static_cast<int32_t>(code) + offset);
  };
  size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane)
      encode(i + lane, lane);
    std::memcpy(codes + i, block.data(), kLanes);
  }
  for (size_t i = whole; i < count; ++i)
    encode(i, i - whole);
  std::memcpy(codes + whole, block.data(), count - whole);
}

// To nearest, ties to even. The largest number of e4m3 is 448, the smallest normal one 2^-6, the smallest one 2^-9.
// Returns the squared error.
INLAY_CLONES double EncodeF8E4M3(const float *values, size_t count, float scale, std::byte *codes) {
  const float inverse = 1 / scale;
  std::array<float, kLanes> error{};
  std::array<uint8_t, kLanes> block{}; // codes might be the values for all that the compiler knows
  auto encode = [&](size_t i, size_t lane) {
    float number = values[i] * inverse, magnitude = std::min(std::fabs(number), 448.0f);
    auto bits = std::bit_cast<uint32_t>(magnitude);
    // 3 of 23 bits of the fraction stay; the exponent's bias is 7 instead of 127.
    uint32_t normal = (bits + 0x7ffff + ((bits >> 20) & 1)) & ~0xfffffU;
    float multiple = magnitude * 0x1p9f + kRound; // of 2^-9
    bool is_subnormal = magnitude < 0x1p-6f;
    float rounded = is_subnormal ? (multiple - kRound) * 0x1p-9f : std::bit_cast<float>(normal);
    uint32_t code = is_subnormal ? std::bit_cast<uint32_t>(multiple) & 0xf : (normal >> 20) - ((127 - 7) << 3);
    block[lane] = static_cast<uint8_t>(std::bit_cast<uint32_t>(number) >> 31 << 7 | code);
    float difference = std::fabs(values[i]) - rounded * scale;
    error[lane] += difference * difference;
  };
  size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane)
      encode(i + lane, lane);
    std::memcpy(codes + i, block.data(), kLanes);
  }
  for (size_t i = whole; i < count; ++i)
    encode(i, i - whole);
  std::memcpy(codes + whole, block.data(), count - whole);
  return SumOf(error);
}

INLAY_CLONES double SquaredNorm(const float *values, size_t count) {
  std::array<double, kLanes> norm{};
  size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      norm[lane] += double{values[i + lane]} * double{values[i + lane]};
  for (size_t i = whole; i < count; ++i)
    norm[i - whole] += double{values[i]} * double{values[i]};
  return SumOf(norm);
}

} // namespace

int64_t QuantizerGroup(int64_t columns) {
  for (int64_t group : {128, 64, 32})
    if (columns % group == 0)
      return group;
  return 0;
}

QuantizedGroup QuantizeGroup(QuantizerCodes type, std::span<const float> values, std::span<std::byte> codes) {
  QuantizedGroup result;
  const size_t count = values.size();
  const float largest = MaxMagnitude(values.data(), count);
  if (std::isnan(largest)) {
    result.scale = largest;
    return result;
  }
  // Of integers: their least and largest code, and what is added when they are stored.
  auto encode = [&](float low, float high, float half_range, int32_t offset) {
    if (largest > 0)
      result.scale = SearchScale(values.data(), count, largest, low, high, half_range);
    EncodeIntegers(values.data(), count, result.scale, low, high, offset, codes.data());
    result.squared_error = SumsOf(values.data(), count, result.scale, low, high).error;
  };
  switch (type) {
  case QuantizerCodes::kU4:
    encode(-8, 7, 7.5f, 8);
    break;
  case QuantizerCodes::kI8:
    encode(-127, 127, 127, 0);
    break;
  case QuantizerCodes::kF8E4M3:
    if (largest > 0)
      result.scale = Usable(largest / 448);
    result.squared_error = EncodeF8E4M3(values.data(), count, result.scale, codes.data());
    break;
  }
  result.squared_norm = SquaredNorm(values.data(), count);
  return result;
}

} // namespace inlay

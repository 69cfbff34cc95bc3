#include "runtime/bundle/elements.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace inlay {
namespace {

float LoadFloat(const std::byte *at, plan::DataType type) {
  uint16_t bits = 0;
  if (type == plan::DataType_F32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::memcpy(&bits, at, sizeof bits);
  if (type == plan::DataType_BF16)
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  // Exponent and fraction where a float has them are the number times 2^-112, which vectors of integers and floats do
  // without instructions for halves. An exponent of ones stays one.
  const auto magnitude = std::bit_cast<uint32_t>(std::bit_cast<float>((bits & 0x7fffU) << 13) * 0x1p112f);
  const uint32_t is_not_finite = (bits & 0x7c00U) == 0x7c00U ? 0x7f800000U : 0U;
  return std::bit_cast<float>(magnitude | is_not_finite | (bits & 0x8000U) << 16);
}

void StoreFloat(float value, std::byte *at, plan::DataType type) {
  if (type == plan::DataType_F32) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  uint16_t bits = 0;
  if (type == plan::DataType_F16) {
    bits = std::bit_cast<uint16_t>(static_cast<_Float16>(value));
  } else {
    auto wide = std::bit_cast<uint32_t>(value);
    uint32_t quiet = (wide >> 16) | 0x40, nearest = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
    bits = static_cast<uint16_t>(std::isnan(value) ? quiet : nearest);
  }
  std::memcpy(at, &bits, sizeof bits);
}

// With the types known, the compiler turns the loop into vectors.
template <plan::DataType From, plan::DataType To> void ConvertLoop(const std::byte *from, std::byte *to, size_t count) {
  constexpr size_t kFrom = From == plan::DataType_F32 ? 4 : 2, kTo = To == plan::DataType_F32 ? 4 : 2;
  for (size_t i = 0; i < count; ++i)
    StoreFloat(LoadFloat(from + i * kFrom, From), to + i * kTo, To);
}

} // namespace

size_t ElementBits(plan::DataType type) {
  switch (type) {
  case plan::DataType_F32:
  case plan::DataType_I32:
    return 32;
  case plan::DataType_BF16:
  case plan::DataType_F16:
    return 16;
  case plan::DataType_F8E4M3:
  case plan::DataType_F8E5M2:
  case plan::DataType_F8E8M0:
  case plan::DataType_I8:
  case plan::DataType_U8:
    return 8;
  case plan::DataType_I4:
  case plan::DataType_U4:
  case plan::DataType_F4E2M1:
    return 4;
  }
  return 0;
}

float DecodeF8E8M0(uint8_t code) {
  return code == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, code - 127);
}

void ConvertToStored(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type,
                     size_t count) {
  if (IsFloat(from_type))
    return ConvertElements(from, from_type, to, to_type, count);
  if (from_type == to_type) {
    std::memcpy(to, from, count);
    return;
  }
  for (size_t i = 0; i < count / 2; ++i)
    to[i] = from[2 * i] | from[2 * i + 1] << 4;
}

void ConvertElements(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type,
                     size_t count) {
  using enum plan::DataType;
  static constexpr decltype(&ConvertLoop<DataType_F32, DataType_BF16>) kLoops[3][3] = {
      {ConvertLoop<DataType_F32, DataType_F32>, ConvertLoop<DataType_F32, DataType_BF16>,
       ConvertLoop<DataType_F32, DataType_F16>},
      {ConvertLoop<DataType_BF16, DataType_F32>, ConvertLoop<DataType_BF16, DataType_BF16>,
       ConvertLoop<DataType_BF16, DataType_F16>},
      {ConvertLoop<DataType_F16, DataType_F32>, ConvertLoop<DataType_F16, DataType_BF16>,
       ConvertLoop<DataType_F16, DataType_F16>}};
  static_assert(DataType_F32 == 0 && DataType_BF16 == 1 && DataType_F16 == 2);
  if (from_type == to_type)
    std::memcpy(to, from, count * ElementSize(to_type));
  else
    kLoops[from_type][to_type](from, to, count);
}

} // namespace inlay

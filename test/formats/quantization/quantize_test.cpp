// The quantizer of compile-model: codes are the nearest, scales those with the least error that is found.
#include "formats/quantization/quantize.h"

#include <array>
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <vector>

namespace inlay {
namespace {

using ::testing::ElementsAre;

// What the bits of an e4m3 code stand for, by the definition (OCP, OFP8).
double DecodeF8E4M3(int code) {
  int exponent = code >> 3 & 15, fraction = code & 7;
  double magnitude = exponent == 0 ? fraction * std::ldexp(1.0, -9) : (8 + fraction) * std::ldexp(1.0, exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

double Decode(QuantizerCodes type, std::byte code) {
  auto bits = static_cast<uint8_t>(code);
  switch (type) {
  case QuantizerCodes::kU4:
    return bits - 8;
  case QuantizerCodes::kI8:
    return static_cast<int8_t>(bits);
  case QuantizerCodes::kF8E4M3:
    return DecodeF8E4M3(bits);
  }
  return 0;
}

struct Quantized {
  QuantizedGroup group;
  std::vector<std::byte> codes;
};

Quantized Quantize(QuantizerCodes type, const std::vector<float> &values) {
  Quantized result{{}, std::vector<std::byte>(values.size())};
  result.group = QuantizeGroup(type, values, result.codes);
  return result;
}

std::vector<float> Normal(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

constexpr QuantizerCodes kAllCodes[] = {QuantizerCodes::kU4, QuantizerCodes::kI8, QuantizerCodes::kF8E4M3};

TEST(Quantize, GroupsDivideTheColumns) {
  EXPECT_EQ(QuantizerGroup(14336), 128);
  EXPECT_EQ(QuantizerGroup(192), 64);
  EXPECT_EQ(QuantizerGroup(96), 32);
  EXPECT_EQ(QuantizerGroup(100), 0);
}

// Every number of e4m3 is its own code, and a value between two of them gets the nearer one, of equally near ones that
// with an even fraction.
TEST(Quantize, FloatsAreRoundedToNearestEven) {
  for (int code = 0; code < 0x7e; ++code) {
    double low = DecodeF8E4M3(code), high = DecodeF8E4M3(code + 1), middle = (low + high) / 2;
    // 448 makes the scale 1.
    Quantized found = Quantize(QuantizerCodes::kF8E4M3,
                               {448, static_cast<float>(low), static_cast<float>(-low), static_cast<float>(middle),
                                std::nextafterf(static_cast<float>(middle), 0), static_cast<float>(-middle)});
    EXPECT_EQ(found.group.scale, 1);
    int even = code % 2 == 0 ? code : code + 1;
    EXPECT_THAT(found.codes, ElementsAre(std::byte{0x7e}, static_cast<std::byte>(code),
                                         static_cast<std::byte>(code | 0x80), static_cast<std::byte>(even),
                                         static_cast<std::byte>(code), static_cast<std::byte>(even | 0x80)))
        << code;
  }
}

TEST(Quantize, NoCodeIsNearer) {
  for (QuantizerCodes type : kAllCodes)
    for (size_t count : {1, 7, 16, 128, 1000}) {
      const std::vector<float> values = Normal(count, static_cast<uint32_t>(count));
      Quantized found = Quantize(type, values);
      double error = 0, norm = 0;
      for (size_t i = 0; i < count; ++i) {
        double value = values[i], scale = found.group.scale, of_code = Decode(type, found.codes[i]) * scale;
        error += (value - of_code) * (value - of_code);
        norm += value * value;
        for (int other = type == QuantizerCodes::kI8 ? 1 : 0; other < (type == QuantizerCodes::kU4 ? 16 : 256);
             ++other) {
          if (type == QuantizerCodes::kF8E4M3 && (other & 0x7f) == 0x7f)
            continue;
          if (type == QuantizerCodes::kI8 && other == 0x80) // -128 is no code of a symmetric quantizer
            continue;
          EXPECT_LE(std::fabs(value - of_code),
                    std::fabs(value - Decode(type, static_cast<std::byte>(other)) * scale) * (1 + 1e-5) + 1e-12)
              << "value " << value;
        }
      }
      EXPECT_NEAR(found.group.squared_error, error, 1e-4 * error + 1e-12 * norm);
      EXPECT_NEAR(found.group.squared_norm, norm, 1e-9 * norm);
    }
}

double RelativeError(QuantizerCodes type, const std::vector<float> &values) {
  QuantizedGroup found = Quantize(type, values).group;
  return std::sqrt(found.squared_error / found.squared_norm);
}

// Known errors of normally distributed values: 4 bits in groups of 128 give about 0.11 with the full range.
TEST(Quantize, ErrorsAreThoseOfTheFormats) {
  const std::vector<float> row = Normal(4096, 1);
  EXPECT_LT(RelativeError(QuantizerCodes::kI8, row), 0.012);
  EXPECT_LT(RelativeError(QuantizerCodes::kF8E4M3, row), 0.03);
  EXPECT_LT(RelativeError(QuantizerCodes::kU4, Normal(128, 2)), 0.11);
}

// A value far from all others is clipped if that costs less than the coarser steps for the others.
TEST(Quantize, OutliersAreClipped) {
  std::vector<float> values(128);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i % 15) - 7;
  values[0] = 9;
  EXPECT_NEAR(Quantize(QuantizerCodes::kU4, values).group.scale, 1, 0.05);
}

TEST(Quantize, ZerosHaveTheScaleOne) {
  for (QuantizerCodes type : kAllCodes) {
    Quantized found = Quantize(type, std::vector<float>(20));
    EXPECT_EQ(found.group.scale, 1);
    EXPECT_EQ(Decode(type, found.codes[3]), 0);
  }
}

// The smallest and the largest floats neither overflow nor divide by 0.
TEST(Quantize, ExtremeValuesHaveUsableScales) {
  for (QuantizerCodes type : kAllCodes)
    for (float value : {std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::max()}) {
      Quantized found = Quantize(type, {value, -value, 0});
      EXPECT_TRUE(std::isfinite(found.group.scale) && found.group.scale > 0) << value;
      EXPECT_EQ(Decode(type, found.codes[2]), 0);
    }
}

TEST(Quantize, ValuesThatAreNotFiniteHaveNoScale) {
  for (QuantizerCodes type : kAllCodes)
    for (float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
      EXPECT_TRUE(std::isnan(Quantize(type, {1, value, 2}).group.scale));
}

} // namespace
} // namespace inlay

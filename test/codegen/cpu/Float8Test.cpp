//===- Float8Test.cpp - conversions of f8E4M3FN on the cpu -----------------===//
//
// Every code, and numbers at, between and beside codes, against LLVM's arithmetic.
//
//===----------------------------------------------------------------------===//

#include "test/codegen/cpu/KernelTesting.h"
#include "llvm/ADT/APFloat.h"

#include <cmath>

namespace {
using namespace inlay;
using namespace inlay::testing;
using llvm::APFloat;

constexpr int kCount = 4096;
const char *const kPrograms = R"(
tile.program @encode(%x: !tile.view<1x4096xf32, activation>, %y: !tile.view<1x4096xf8E4M3FN, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %a = tile.load %x[%c0, %c0] : <1x4096xf32, activation> -> tensor<1x4096xf32>
  %b = arith.truncf %a : tensor<1x4096xf32> to tensor<1x4096xf8E4M3FN>
  tile.store %b, %y[%c0, %c0] : tensor<1x4096xf8E4M3FN>, <1x4096xf8E4M3FN, output>
}
tile.program @decode(%x: !tile.view<1x4096xf8E4M3FN, activation>, %y: !tile.view<1x4096xf32, output>)
    grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1)> {
  %c0 = arith.constant 0 : index
  %a = tile.load %x[%c0, %c0] : <1x4096xf8E4M3FN, activation> -> tensor<1x4096xf8E4M3FN>
  %b = arith.extf %a : tensor<1x4096xf8E4M3FN> to tensor<1x4096xf32>
  tile.store %b, %y[%c0, %c0] : tensor<1x4096xf32>, <1x4096xf32, output>
}
)";

float numberOf(int code) {
  return static_cast<float>(
      APFloat(APFloat::Float8E4M3FN(), llvm::APInt(8, static_cast<uint64_t>(code))).convertToDouble());
}

TEST(Float8, CodesBecomeTheirNumbers) {
  Library library(kPrograms);
  Kernel kernel = library.kernel("decode");
  ASSERT_TRUE(kernel);
  std::vector<uint8_t> codes(kCount);
  for (int i = 0; i < kCount; ++i)
    codes[i] = static_cast<uint8_t>(i);
  std::vector<float> numbers(kCount);
  launch(kernel, 1, 1, {}, codes, numbers);
  for (int i = 0; i < kCount; ++i) {
    if ((codes[i] & 0x7f) == 0x7f)
      EXPECT_TRUE(std::isnan(numbers[i])) << "code " << i % 256;
    else
      EXPECT_EQ(numbers[i], numberOf(codes[i])) << "code " << i % 256;
  }
}

TEST(Float8, NumbersBecomeTheNearestCodes) {
  Library library(kPrograms);
  Kernel kernel = library.kernel("encode");
  ASSERT_TRUE(kernel);
  std::vector<float> numbers;
  for (int code = 0; code < 0x7e; ++code)
    for (float sign : {1.0f, -1.0f}) {
      float low = numberOf(code), high = numberOf(code + 1), middle = (low + high) / 2;
      for (float x : {low, middle, std::nextafter(middle, low), std::nextafter(middle, high), low + (high - low) / 3})
        numbers.push_back(sign * x);
    }
  numbers.insert(numbers.end(), {448.0f, -448.0f, 1e-30f, 460.0f, -1e20f, INFINITY});
  for (float x : Random(3).f32(kCount - numbers.size(), 100))
    numbers.push_back(std::clamp(x, -448.0f, 448.0f));
  std::vector<uint8_t> codes(kCount);
  launch(kernel, 1, 1, {}, numbers, codes);
  for (int i = 0; i < kCount; ++i) {
    APFloat expected(std::clamp(numbers[i], -448.0f, 448.0f));
    bool isInexact;
    expected.convert(APFloat::Float8E4M3FN(), APFloat::rmNearestTiesToEven, &isInexact);
    EXPECT_EQ(codes[i], expected.bitcastToAPInt().getZExtValue()) << "of " << numbers[i];
  }
}

TEST(Float8, NanStaysNan) {
  Library library(kPrograms);
  Kernel kernel = library.kernel("encode");
  ASSERT_TRUE(kernel);
  std::vector<float> numbers(kCount, NAN);
  std::vector<uint8_t> codes(kCount);
  launch(kernel, 1, 1, {}, numbers, codes);
  EXPECT_EQ(codes[0] & 0x7f, 0x7f);
}
} // namespace

//===- SmallFloatsTest.cpp - floats of 8 bits on the cpu target ------------===//

#include "test/codegen/cpu/KernelTesting.h"

#include "llvm/ADT/APFloat.h"
#include <cmath>

namespace {
using namespace inlay;
using namespace inlay::testing;

constexpr int kRow = 256;

/// Converts rows of 256 elements of one type to another.
std::string conversion(const std::string &from, const std::string &to, const std::string &op) {
  std::string tile = "tensor<1x256x";
  return "!x = !tile.view<?x256x" + from + ", activation, tokens>\n!y = !tile.view<?x256x" + to +
         ", output, tokens>\ntile.program @convert(%x: !x, %y: !y) grid affine_map<()[s0, s1, s2, s3, s4, s5] -> (1, "
         "s0)> {\n  %row = tile.program_id 1\n  %c0 = arith.constant 0 : index\n  %t = tile.load %x[%row, %c0] : !x "
         "-> " +
         tile + from + ">\n  %u = arith." + op + " %t : " + tile + from + "> to " + tile + to +
         ">\n  tile.store %u, %y[%row, %c0] : " + tile + to + ">, !y\n}\n";
}

float decode(uint8_t code) {
  return llvm::APFloat(llvm::APFloat::Float8E4M3FN(), llvm::APInt(8, code)).convertToFloat();
}

TEST(SmallFloats, EachCodeIsItsNumber) {
  std::vector<uint8_t> codes(kRow);
  for (int code = 0; code < kRow; ++code)
    codes[code] = static_cast<uint8_t>(code);
  std::vector<float> wide(kRow);
  std::vector<uint16_t> half(kRow);
  Library toF32(conversion("f8E4M3FN", "f32", "extf")), toHalf(conversion("f8E4M3FN", "bf16", "extf"));
  ASSERT_TRUE(toF32.kernel("convert") && toHalf.kernel("convert"));
  launch(toF32.kernel("convert"), 1, 1, {1}, codes, wide);
  launch(toHalf.kernel("convert"), 1, 1, {1}, codes, half);
  for (int code = 0; code < kRow; ++code) {
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(wide[code]) && std::isnan(toFloat(half[code])));
      continue;
    }
    EXPECT_EQ(wide[code], decode(static_cast<uint8_t>(code)));
    EXPECT_EQ(toFloat(half[code]), wide[code]);
    EXPECT_EQ(std::signbit(wide[code]), code >= 0x80);
  }
}

/// Numbers, the middles between them, where ties go to the even code, and what is next to these.
TEST(SmallFloats, NumbersBecomeTheNearestCode) {
  std::vector<float> numbers;
  for (int code = 0; code < 0x7f; ++code) {
    float low = decode(static_cast<uint8_t>(code)), high = code == 0x7e ? 480 : decode(static_cast<uint8_t>(code + 1));
    float middle = (low + high) / 2;
    for (float number : {low, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1000.0f)})
      numbers.insert(numbers.end(), {number, -number});
  }
  numbers.insert(numbers.end(), {1.0e-30f, 1.0e-40f, 1000.0f, INFINITY, -INFINITY, NAN});
  numbers.resize((numbers.size() + kRow - 1) / kRow * kRow);
  int32_t rows = static_cast<int32_t>(numbers.size() / kRow);
  std::vector<uint8_t> codes(numbers.size());
  Library library(conversion("f32", "f8E4M3FN", "truncf"));
  ASSERT_TRUE(library.kernel("convert"));
  launch(library.kernel("convert"), 1, rows, {rows}, numbers, codes);
  for (size_t i = 0; i < numbers.size(); ++i) {
    llvm::APFloat expected(numbers[i]);
    bool loses = false;
    expected.convert(llvm::APFloat::Float8E4M3FN(), llvm::APFloat::rmNearestTiesToEven, &loses);
    if (expected.isNaN())
      EXPECT_EQ(codes[i] & 0x7f, 0x7f) << numbers[i];
    else
      EXPECT_EQ(codes[i], expected.bitcastToAPInt().getZExtValue()) << numbers[i];
  }
}

} // namespace

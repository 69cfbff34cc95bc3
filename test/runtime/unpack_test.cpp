// Recipes of quantized weights: elements leave the words of a checkpoint's tensors, scales are checked and repeated.
#include "runtime/bundle/recipe.h"
#include "test/runtime/plan_testing.h"

#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <numeric>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A tensor in memory.
struct Tensor {
  plan::DataType type = plan::DataType_I32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  template <typename T>
  static Tensor Of(plan::DataType type, std::vector<int64_t> shape, const std::vector<T> &values) {
    Tensor tensor{type, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
    return tensor;
  }
};

// The bytes of a weight with one source, or the error.
absl::StatusOr<std::vector<uint8_t>> Make(uint64_t rows, uint64_t columns, plan::DataType type, const Tensor &source,
                                          const std::vector<TestStep> &steps,
                                          const std::map<std::string_view, Tensor> &others = {}) {
  flatbuffers::FlatBufferBuilder builder;
  auto recipe = plan::CreateRecipe(builder, CreateSources(builder, {{"t", steps}}), rows, columns);
  builder.Finish(plan::CreateWeight(builder, builder.CreateString("w"), type, 0, 0, recipe));
  const plan::Weight &weight = *flatbuffers::GetRoot<plan::Weight>(builder.GetBufferPointer());
  absl::Status verified = VerifySourceSteps(*weight.recipe()->sources()->Get(0), "w");
  EXPECT_TRUE(verified.ok()) << verified;
  auto lookup = [&](std::string_view name) -> absl::StatusOr<SourceTensor> {
    const Tensor &tensor = name == "t" ? source : others.at(name);
    auto read = [&](uint64_t offset, std::span<std::byte> out) -> absl::Status {
      if (offset + out.size() > tensor.bytes.size())
        return absl::OutOfRangeError("read past the end of a tensor");
      std::memcpy(out.data(), tensor.bytes.data() + offset, out.size());
      return absl::OkStatus();
    };
    return SourceTensor{tensor.type, tensor.shape, tensor.bytes.size(), read};
  };
  ThreadPool pool(2);
  std::vector<uint8_t> out(*WeightBytes(weight));
  absl::Status status = Materialize(weight, lookup, std::as_writable_bytes(std::span(out)), pool);
  if (!status.ok())
    return status;
  return out;
}

template <typename T> std::vector<T> As(const absl::StatusOr<std::vector<uint8_t>> &bytes) {
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  std::vector<T> values(bytes.ok() ? bytes->size() / sizeof(T) : 0);
  if (!values.empty())
    std::memcpy(values.data(), bytes->data(), values.size() * sizeof(T));
  return values;
}

constexpr int kRows = 24, kColumns = 40;

// The element of row r and column c. Neighbours differ.
uint32_t Code(int r, int c, int bits) { return static_cast<uint32_t>(r * 7 + c * 3 + r * c) & ((1U << bits) - 1); }

// The codes as a weight stores them: two of 4 bits a byte, the first in its lower half.
std::vector<uint8_t> Stored(int bits) {
  std::vector<uint8_t> bytes;
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kColumns; c += 8 / bits)
      bytes.push_back(static_cast<uint8_t>(bits == 8 ? Code(r, c, 8) : Code(r, c, 4) | Code(r, c + 1, 4) << 4));
  return bytes;
}

TEST(Unpack, WordsAlongTheRows) {
  // AWQ: [columns, rows / 8], nibble i holds row 8 w + order[i].
  constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  std::vector<uint32_t> words;
  for (int c = 0; c < kColumns; ++c)
    for (int w = 0; w < kRows / 8; ++w) {
      uint32_t word = 0;
      for (int i = 0; i < 8; ++i)
        word |= Code(8 * w + kOrder[i], c, 4) << (4 * i);
      words.push_back(word);
    }
  TestStep unpack{.op = plan::RecipeOp_Unpack,
                  .block = 32,
                  .count = kRows,
                  .axis = plan::Axis_Rows,
                  .type = plan::DataType_U4,
                  .order = plan::FieldOrder_Awq};
  EXPECT_EQ(
      As<uint8_t>(Make(kRows, kColumns, plan::DataType_U4, Tensor::Of(plan::DataType_I32, {kColumns, kRows / 8}, words),
                       {{plan::RecipeOp_Transpose}, unpack})),
      Stored(4));
}

TestStep UnpackAlongColumns(int bits) {
  return {.op = plan::RecipeOp_Unpack,
          .block = 32,
          .axis = plan::Axis_Columns,
          .type = bits == 4 ? plan::DataType_U4 : plan::DataType_U8};
}

// Codes in words along the columns: [rows, columns / n] as in compressed-tensors, and the same transposed as in GPTQ.
std::pair<Tensor, Tensor> WordsAlongColumns(int bits) {
  const int in_word = 32 / bits;
  std::vector<uint32_t> words(kRows * kColumns / in_word), transposed(words.size());
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kColumns; ++c) {
      uint32_t field = Code(r, c, bits) << (c % in_word * bits);
      words[r * kColumns / in_word + c / in_word] |= field;
      transposed[c / in_word * kRows + r] |= field;
    }
  return {Tensor::Of(plan::DataType_I32, {kRows, kColumns / in_word}, words),
          Tensor::Of(plan::DataType_I32, {kColumns / in_word, kRows}, transposed)};
}

TEST(Unpack, WordsAlongTheColumns) {
  for (int bits : {4, 8}) {
    const TestStep unpack = UnpackAlongColumns(bits);
    const auto [in_rows, transposed] = WordsAlongColumns(bits);
    EXPECT_EQ(As<uint8_t>(Make(kRows, kColumns, unpack.type, in_rows, {unpack})), Stored(bits));
    EXPECT_EQ(As<uint8_t>(Make(kRows, kColumns, unpack.type, transposed, {{plan::RecipeOp_Transpose}, unpack})),
              Stored(bits));
  }
}

// Groups of columns in a random order, of 8 columns each.
std::vector<int32_t> ShuffledGroups() {
  std::vector<int32_t> groups;
  for (int32_t c = 0; c < kColumns; ++c)
    groups.push_back(c * 7 % kColumns / 8);
  return groups;
}

TEST(Unpack, ColumnsComeInTheOrderOfTheirGroups) {
  const std::vector<int32_t> groups = ShuffledGroups();
  std::vector<int32_t> order;
  for (int32_t group = 0; group < kColumns / 8; ++group)
    for (int32_t c = 0; c < kColumns; ++c)
      if (groups[static_cast<size_t>(c)] == group)
        order.push_back(c);
  std::map<std::string_view, Tensor> others{{"g", Tensor::Of(plan::DataType_I32, {kColumns}, groups)}};
  TestStep sort{.op = plan::RecipeOp_SortColumns, .block = 8, .table = "g"};
  for (int bits : {4, 8}) {
    const TestStep unpack = UnpackAlongColumns(bits);
    const auto [in_rows, transposed] = WordsAlongColumns(bits);
    std::vector<uint8_t> expected;
    for (int r = 0; r < kRows; ++r)
      for (size_t c = 0; c < kColumns; c += 8 / bits)
        expected.push_back(static_cast<uint8_t>(bits == 8 ? Code(r, order[c], 8)
                                                          : Code(r, order[c], 4) | Code(r, order[c + 1], 4) << 4));
    EXPECT_EQ(As<uint8_t>(Make(kRows, kColumns, unpack.type, in_rows, {unpack, sort}, others)), expected);
    EXPECT_EQ(
        As<uint8_t>(Make(kRows, kColumns, unpack.type, transposed, {{plan::RecipeOp_Transpose}, unpack, sort}, others)),
        expected);
  }
  EXPECT_EQ(As<int32_t>(Make(1, kColumns, plan::DataType_I32, others.at("g"),
                             {{plan::RecipeOp_Reshape}, {.op = plan::RecipeOp_ColumnOrder, .block = 8}})),
            order);
}

// Parts of an order that is longer than a job begin inside of it.
TEST(Unpack, LongOrdersAreMadeInParts) {
  constexpr int32_t kMany = 600'000;
  std::vector<int32_t> groups(kMany), order(kMany);
  for (int32_t c = 0; c < kMany; ++c)
    groups[static_cast<size_t>(c)] = order[static_cast<size_t>(c)] = kMany - 1 - c;
  EXPECT_EQ(As<int32_t>(Make(1, kMany, plan::DataType_I32, Tensor::Of(plan::DataType_I32, {kMany}, groups),
                             {{plan::RecipeOp_Reshape}, {.op = plan::RecipeOp_ColumnOrder, .block = 1}})),
            order);
}

TEST(Unpack, GroupsThatAreNotWholeAreRefused) {
  TestStep sort{.op = plan::RecipeOp_SortColumns, .block = 8, .table = "g"};
  std::map<std::string_view, Tensor> others;
  auto message = [&](plan::DataType type, const std::vector<int32_t> &groups) {
    others["g"] = Tensor::Of(type, {static_cast<int64_t>(groups.size())}, groups);
    return std::string(Make(1, kColumns, plan::DataType_U8,
                            Tensor::Of(plan::DataType_U8, {1, kColumns}, std::vector<uint8_t>(kColumns)), {sort},
                            others)
                           .status()
                           .message());
  };
  std::vector<int32_t> groups = ShuffledGroups();
  groups[3] = 5;
  EXPECT_EQ(message(plan::DataType_I32, groups), "tensor 'g': has group 5 of column 3, expected a group from 0 to 4");
  groups[3] = 0;
  EXPECT_EQ(message(plan::DataType_I32, groups), "tensor 'g': has 9 columns of group 0, expected 8");
  EXPECT_EQ(message(plan::DataType_F32, groups), "tensor 'g': has 160 bytes of F32, expected 40 elements I32");
  groups.resize(39);
  EXPECT_EQ(message(plan::DataType_I32, groups), "tensor 'g': has 156 bytes of I32, expected 40 elements I32");
}

TEST(Unpack, BytesWithTheHigherHalfFirst) {
  // bitsandbytes: all elements in one column of bytes.
  std::vector<uint8_t> bytes;
  for (int i = 0; i < kRows * kColumns; i += 2)
    bytes.push_back(static_cast<uint8_t>(Code(i / kColumns, i % kColumns, 4) << 4 |
                                         Code((i + 1) / kColumns, (i + 1) % kColumns, 4)));
  TestStep unpack{.op = plan::RecipeOp_Unpack,
                  .block = 8,
                  .axis = plan::Axis_Columns,
                  .type = plan::DataType_U4,
                  .order = plan::FieldOrder_HighFirst};
  EXPECT_EQ(As<uint8_t>(Make(kRows, kColumns, plan::DataType_U4,
                             Tensor::Of(plan::DataType_U8, {kRows * kColumns / 2, 1}, bytes),
                             {{plan::RecipeOp_Reshape}, unpack})),
            Stored(4));
}

// mxfp4: the numbers of all codes, by the definition of e4m3 (OCP, OFP8).
TEST(Unpack, SmallFloatsBecomeE4M3) {
  std::vector<uint8_t> bytes;
  for (int code = 0; code < 16; code += 2)
    bytes.push_back(static_cast<uint8_t>(code | (code + 1) << 4));
  TestStep unpack{.op = plan::RecipeOp_Unpack, .block = 8, .axis = plan::Axis_Columns, .type = plan::DataType_F4E2M1};
  const Tensor tensor = Tensor::Of(plan::DataType_U8, {2, 4}, bytes);
  const std::vector<uint8_t> codes = As<uint8_t>(Make(2, 8, plan::DataType_F8E4M3, tensor, {unpack}));
  constexpr double kNumbers[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  ASSERT_EQ(codes.size(), 16u);
  for (size_t i = 0; i < 16; ++i) {
    int exponent = codes[i] >> 3 & 15, fraction = codes[i] & 7;
    EXPECT_EQ(exponent == 0 ? fraction : (8 + fraction) * std::ldexp(1.0, exponent - 10), kNumbers[i % 8]) << i;
    EXPECT_EQ(static_cast<size_t>(codes[i] >> 7), i / 8) << i;
  }
  EXPECT_EQ(Make(2, 8, plan::DataType_U4, tensor, {unpack}).status().message(),
            "tensor 't': has elements U8, which cannot become the U4 of weight 'w'");
}

TEST(Unpack, ZeroPointsBecomeFloats) {
  // Ten rows in two words, the second of which has two. 15 + 1 is 16 and not 0: stored zero points of GPTQ wrap.
  std::vector<uint32_t> words = {0xf6543210, 0x00000098};
  TestStep unpack{.op = plan::RecipeOp_Unpack,
                  .block = 32,
                  .count = 10,
                  .axis = plan::Axis_Rows,
                  .type = plan::DataType_U4,
                  .addend = 1};
  EXPECT_THAT(As<float>(Make(10, 1, plan::DataType_F32, Tensor::Of(plan::DataType_I32, {2, 1}, words), {unpack})),
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 16, 9, 10));
  EXPECT_THAT(As<float>(Make(3, 1, plan::DataType_F32, Tensor::Of(plan::DataType_I32, {2, 1}, words),
                             {unpack, {plan::RecipeOp_Slice, 10, 6, 3}})),
              ElementsAre(7, 16, 9));
  unpack.count = 17;
  EXPECT_THAT(
      std::string(
          Make(17, 1, plan::DataType_F32, Tensor::Of(plan::DataType_I32, {2, 1}, words), {unpack}).status().message()),
      HasSubstr("tensor 't': has shape [2, 1], whose 2 rows of 8 each are not the 17 of weight 'w'"));
}

TEST(Scales, AreRepeatedAndMultiplied) {
  TestStep scale{.op = plan::RecipeOp_Scale, .factor = 0.5};
  TestStep repeat{.op = plan::RecipeOp_Repeat, .block = 2, .count = 5};
  std::vector<float> blocks = {2, 4, 6, 8, 10, 12};
  EXPECT_THAT(
      As<float>(Make(5, 2, plan::DataType_F32, Tensor::Of(plan::DataType_F32, {3, 2}, blocks), {repeat, scale})),
      ElementsAre(1, 2, 1, 2, 3, 4, 3, 4, 5, 6));
  // One scale of a whole tensor is a scalar.
  repeat.block = repeat.count = 3;
  EXPECT_THAT(As<float>(Make(3, 1, plan::DataType_F32, Tensor::Of(plan::DataType_F32, {}, std::vector<float>{7}),
                             {{plan::RecipeOp_Reshape}, repeat, scale})),
              ElementsAre(3.5, 3.5, 3.5));
}

TEST(Scales, ThatAreCodesAreLookedUp) {
  std::vector<float> values(256);
  std::iota(values.begin(), values.end(), -100.0f);
  std::map<std::string_view, Tensor> others{
      {"table", Tensor::Of(plan::DataType_F32, {256}, values)},
      {"scales", Tensor::Of(plan::DataType_F32, {2}, std::vector<float>{0.5, 2})}};
  const Tensor codes = Tensor::Of(plan::DataType_U8, {6}, std::vector<uint8_t>{0, 100, 255, 101, 102, 0});
  const std::vector<TestStep> steps{
      {plan::RecipeOp_Reshape},
      {.op = plan::RecipeOp_Nested, .block = 4, .factor = 0.25, .table = "table", .scales = "scales"},
      {.op = plan::RecipeOp_Scale, .factor = 1, .allows_zero = true}};
  EXPECT_THAT(As<float>(Make(3, 2, plan::DataType_F32, codes, steps, others)),
              ElementsAre(-49.75, 0.25, 77.75, 0.75, 4.25, -199.75));
  others.at("scales") = Tensor::Of(plan::DataType_F32, {1}, std::vector<float>{0.5});
  EXPECT_EQ(Make(3, 2, plan::DataType_F32, codes, steps, others).status().message(),
            "tensor 'scales': has 4 bytes of F32, expected 2 elements F32");
  EXPECT_EQ(Make(3, 2, plan::DataType_F32, Tensor::Of(plan::DataType_F32, {6}, std::vector<float>(6)), steps, others)
                .status()
                .message(),
            "tensor 't': has elements F32, which cannot become the F32 of weight 'w'");
}

TEST(Scales, ThatAreExponentsArePowersOfTwo) {
  const TestStep scale{.op = plan::RecipeOp_Scale, .type = plan::DataType_F8E8M0, .factor = 1};
  auto make = [&](plan::DataType type, const std::vector<uint8_t> &bytes) {
    return Make(2, 2, plan::DataType_F32, Tensor::Of(type, {2, 2}, bytes), {scale});
  };
  for (plan::DataType type : {plan::DataType_U8, plan::DataType_F8E8M0})
    EXPECT_THAT(As<float>(make(type, {127, 120, 254, 0})), ElementsAre(1, 0x1p-7f, 0x1p127f, 0x1p-127f));
  EXPECT_EQ(make(plan::DataType_U8, {127, 120, 255, 0}).status().message(),
            "tensor 't': has the scale nan in row 1, expected a finite number that is not 0");
  EXPECT_EQ(make(plan::DataType_I8, {127, 120, 1, 0}).status().message(),
            "tensor 't': has elements I8, which cannot become the F32 of weight 'w'");
}

TEST(Scales, ThatAreNoNumbersAreRefused) {
  auto make = [](float bad, bool allows_zero) {
    return Make(3, 1, plan::DataType_F32, Tensor::Of(plan::DataType_F32, {3, 1}, std::vector<float>{1, 1, bad}),
                {{.op = plan::RecipeOp_Scale, .factor = 1, .allows_zero = allows_zero}});
  };
  for (const auto &[bad, shown] : {std::pair{NAN, "nan"}, {INFINITY, "inf"}, {0.0f, "0"}})
    EXPECT_EQ(make(bad, false).status().message(),
              std::string("tensor 't': has the scale ") + shown + " in row 2, expected a finite number that is not 0");
  EXPECT_TRUE(make(0, true).ok());
  EXPECT_FALSE(make(NAN, true).ok());
}

TEST(Codes, AreOfTheTypeOfTheWeight) {
  Tensor fp8 = Tensor::Of(plan::DataType_F8E4M3, {1, 4}, std::vector<uint8_t>{0x00, 0x7e, 0xfe, 0x38});
  EXPECT_THAT(As<uint8_t>(Make(1, 4, plan::DataType_F8E4M3, fp8, {})), ElementsAre(0x00, 0x7e, 0xfe, 0x38));
  EXPECT_EQ(Make(1, 4, plan::DataType_F32, fp8, {}).status().message(),
            "tensor 't': has elements F8E4M3, which cannot become the F32 of weight 'w'");
  fp8.bytes[1] = std::byte{0xff};
  EXPECT_EQ(Make(1, 4, plan::DataType_F8E4M3, fp8, {}).status().message(),
            "tensor 't': has a NaN in row 0, expected finite numbers");
}

// Codes and scales of each group of `size` columns, one after the other.
std::pair<std::vector<uint8_t>, std::vector<float>> Quantized(QuantizerCodes type, std::span<const float> values,
                                                              size_t size) {
  std::vector<uint8_t> codes(values.size());
  std::vector<float> scales;
  for (size_t at = 0; at < values.size(); at += size)
    scales.push_back(
        QuantizeGroup(type, values.subspan(at, size), std::as_writable_bytes(std::span(codes)).subspan(at, size))
            .scale);
  return {codes, scales};
}

// Parts of a weight begin inside of groups: 1 MiB is no multiple of a row.
TEST(Quantize, FloatsBecomeCodesAndScales) {
  constexpr uint64_t kMany = 800, kWide = 3000;
  std::vector<float> values(kMany * kWide), transposed(values.size());
  for (uint64_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 2654435761U % 1009) / 500 - 1;
    transposed[i % kWide * kMany + i / kWide] = values[i];
  }
  for (auto [type, codes, size] : {std::tuple{plan::DataType_I8, QuantizerCodes::kI8, kWide},
                                   {plan::DataType_F8E4M3, QuantizerCodes::kF8E4M3, kWide},
                                   {plan::DataType_U4, QuantizerCodes::kU4, uint64_t{100}}}) {
    auto [expected, scales] = Quantized(codes, values, size);
    if (type == plan::DataType_U4) {
      for (size_t i = 0; i < expected.size() / 2; ++i)
        expected[i] = static_cast<uint8_t>(expected[2 * i] | expected[2 * i + 1] << 4);
      expected.resize(expected.size() / 2);
    }
    TestStep quantize{.op = plan::RecipeOp_Quantize, .block = size, .type = type},
        scale{.op = plan::RecipeOp_QuantizeScales, .block = size, .type = type};
    Tensor tensor = Tensor::Of(plan::DataType_F32, {kMany, kWide}, values);
    EXPECT_EQ(As<uint8_t>(Make(kMany, kWide, type, tensor, {quantize})), expected);
    EXPECT_EQ(As<float>(Make(kMany, kWide / size, plan::DataType_F32, tensor, {scale})), scales);
    tensor = Tensor::Of(plan::DataType_F32, {kWide, kMany}, transposed);
    EXPECT_EQ(As<uint8_t>(Make(kMany, kWide, type, tensor, {{plan::RecipeOp_Transpose}, quantize})), expected);
  }
}

TEST(Quantize, RefusesWhatHasNoCodes) {
  TestStep quantize{.op = plan::RecipeOp_Quantize, .block = 4, .type = plan::DataType_I8};
  Tensor tensor = Tensor::Of(plan::DataType_F32, {2, 4}, std::vector<float>{1, 2, 3, 4, 5, INFINITY, 7, 8});
  EXPECT_EQ(Make(2, 4, plan::DataType_I8, tensor, {quantize}).status().message(),
            "tensor 't': has a value in row 1 that is not finite, expected finite numbers to quantize");
  tensor = Tensor::Of(plan::DataType_I32, {2, 4}, std::vector<int32_t>(8));
  EXPECT_EQ(Make(2, 4, plan::DataType_I8, tensor, {quantize}).status().message(),
            "tensor 't': has elements I32, which cannot become the I8 of weight 'w'");
  quantize.block = 3;
  EXPECT_THAT(std::string(Make(2, 4, plan::DataType_I8, tensor, {quantize}).status().message()),
              HasSubstr("source 't' of weight 'w' has 4 columns, expected whole groups of 3"));
}

// What a record keeps is what would be found again.
TEST(Quantize, RecordsScalesAndErrors) {
  std::vector<float> values = {1, 2, -3, 4, 5, 6, 7, -8};
  std::vector<std::byte> codes(8), scales(2 * sizeof(float)), again(scales.size());
  flatbuffers::FlatBufferBuilder builder;
  plan::RecipeStepBuilder step(builder);
  step.add_op(plan::RecipeOp_Quantize);
  step.add_type(plan::DataType_I8);
  step.add_block(4);
  builder.Finish(step.Finish());
  const auto &quantize = *flatbuffers::GetRoot<plan::RecipeStep>(builder.GetBufferPointer());
  QuantizationRecord record(2, 1);
  EXPECT_FALSE(record.CopyScales(0, 2, 0, 1, scales.data()));
  EXPECT_FALSE(record.IsComplete());
  ASSERT_TRUE(QuantizeRows(quantize, values, 0, 2, 0, "t", &record, codes.data()).ok());
  EXPECT_TRUE(record.IsComplete());
  ASSERT_TRUE(record.CopyScales(0, 2, 0, 1, scales.data()));
  std::vector<float> expected = Quantized(QuantizerCodes::kI8, values, 4).second;
  EXPECT_EQ(std::memcmp(scales.data(), expected.data(), scales.size()), 0);
  EXPECT_EQ(record.squared_norm(), 204);
  EXPECT_GT(record.squared_error(), 0);
  EXPECT_LT(record.squared_error(), 0.01);
}

} // namespace
} // namespace inlay

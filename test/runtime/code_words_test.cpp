// Weights of 4-bit codes from words of 32 bits against the same weights from bytes, one for each code.
#include "runtime/bundle/code_words.h"
#include "runtime/bundle/recipe.h"
#include "test/runtime/plan_testing.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <map>

// Names of its own, because the tests of recipes are compiled in one unit.
namespace inlay::code_words_test {
namespace {

struct Layout {
  const char *name;
  bool is_transposed, along_rows;
  plan::FieldOrder order;
};
constexpr Layout kLayouts[] = {{"compressed-tensors", false, false, plan::FieldOrder_Plain},
                               {"GPTQ", true, false, plan::FieldOrder_Plain},
                               {"AWQ", true, true, plan::FieldOrder_Awq},
                               {"AWQ in order", true, true, plan::FieldOrder_Plain}};

struct Tensor {
  plan::DataType type;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};

uint8_t CodeOf(uint64_t row, uint64_t column) {
  return static_cast<uint8_t>((row * 5 + column * 3 + row * column / 7) & 15);
}

// Rows [first, first + rows) of the matrix, a byte for each code.
Tensor Bytes(uint64_t first, uint64_t rows, uint64_t columns) {
  Tensor tensor{plan::DataType_U8, {static_cast<int64_t>(rows), static_cast<int64_t>(columns)}, {}};
  for (uint64_t r = 0; r < rows; ++r)
    for (uint64_t c = 0; c < columns; ++c)
      tensor.bytes.push_back(CodeOf(first + r, c));
  return tensor;
}

// The same rows in words.
Tensor Words(const Layout &layout, uint64_t first, uint64_t rows, uint64_t columns) {
  constexpr std::array<uint64_t, 8> kAwq = {0, 4, 1, 5, 2, 6, 3, 7}; // the nibble of element i
  uint64_t word_rows = layout.along_rows ? rows / 8 : rows, word_columns = layout.along_rows ? columns : columns / 8;
  std::vector<uint32_t> words(word_rows * word_columns);
  for (uint64_t r = 0; r < rows; ++r)
    for (uint64_t c = 0; c < columns; ++c) {
      uint64_t row = layout.along_rows ? r / 8 : r, column = layout.along_rows ? c : c / 8;
      uint64_t element = (layout.along_rows ? r : c) % 8;
      uint64_t nibble = layout.order == plan::FieldOrder_Awq ? kAwq[element] : element;
      uint64_t at = layout.is_transposed ? column * word_rows + row : row * word_columns + column;
      words[at] |= uint32_t{CodeOf(first + r, c)} << (4 * nibble);
    }
  std::vector<int64_t> shape{static_cast<int64_t>(word_rows), static_cast<int64_t>(word_columns)};
  if (layout.is_transposed)
    std::swap(shape[0], shape[1]);
  Tensor tensor{plan::DataType_I32, shape, std::vector<uint8_t>(words.size() * 4)};
  std::memcpy(tensor.bytes.data(), words.data(), tensor.bytes.size());
  return tensor;
}

std::vector<TestStep> StepsOf(const Layout &layout, uint64_t rows) {
  std::vector<TestStep> steps;
  if (layout.is_transposed)
    steps.push_back({plan::RecipeOp_Transpose});
  steps.push_back({.op = plan::RecipeOp_Unpack,
                   .block = 32,
                   .count = layout.along_rows ? rows : 0,
                   .axis = layout.along_rows ? plan::Axis_Rows : plan::Axis_Columns,
                   .type = plan::DataType_U4,
                   .order = layout.order});
  return steps;
}

// What Make() gives of a weight, `part` bytes at a time; 0: all at once.
std::vector<uint8_t> Make(const flatbuffers::FlatBufferBuilder &builder,
                          const std::map<std::string_view, Tensor> &tensors, Rank rank, uint64_t part) {
  const plan::Weight &weight = *flatbuffers::GetRoot<plan::Weight>(builder.GetBufferPointer());
  auto recipe = WeightRecipe::Open(
      weight,
      [&](std::string_view name) -> absl::StatusOr<SourceTensor> {
        const Tensor &tensor = tensors.at(name);
        auto read = [&tensor](uint64_t offset, std::span<std::byte> out) -> absl::Status {
          if (offset > tensor.bytes.size() || out.size() > tensor.bytes.size() - offset)
            return absl::OutOfRangeError("read past the end of a tensor");
          std::memcpy(out.data(), tensor.bytes.data() + offset, out.size());
          return absl::OkStatus();
        };
        return SourceTensor{tensor.type, tensor.shape, tensor.bytes.size(), read};
      },
      rank);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  std::vector<uint8_t> out(recipe.ok() ? *WeightBytes(weight) : 0, 7);
  for (uint64_t at = 0; at < out.size();) {
    uint64_t bytes = std::min(part ? part : out.size(), out.size() - at);
    absl::Status status = recipe->Make(at, std::as_writable_bytes(std::span(out).subspan(at, bytes)));
    EXPECT_TRUE(status.ok()) << status;
    at += bytes;
  }
  return out;
}

// Two sources of `rows` rows, in `order`, of which `rank` has its part.
void ExpectEqual(const Layout &layout, uint64_t rows, uint64_t columns, plan::RowOrder order,
                 std::vector<TestStep> shard = {}, Rank rank = {}) {
  std::map<std::string_view, Tensor> words{{"a", Words(layout, 0, rows, columns)},
                                           {"b", Words(layout, rows, rows, columns)}};
  std::map<std::string_view, Tensor> bytes{{"a", Bytes(0, rows, columns)}, {"b", Bytes(rows, rows, columns)}};
  uint64_t parts = shard.empty() ? 1 : shard[0].parts;
  bool are_columns = !shard.empty() && shard[0].axis == plan::Axis_Columns;
  auto build = [&](flatbuffers::FlatBufferBuilder &builder, std::vector<TestStep> steps) {
    steps.insert(steps.end(), shard.begin(), shard.end());
    auto recipe = plan::CreateRecipe(builder, CreateSources(builder, {{"a", steps}, {"b", steps}}),
                                     2 * rows / (are_columns ? 1 : parts), columns / (are_columns ? parts : 1), order,
                                     /*head_dim=*/8, plan::Packing_Codes16x128);
    auto name = builder.CreateString("w");
    builder.Finish(plan::CreateWeight(builder, name, plan::DataType_U4, 0, 0, recipe));
  };
  flatbuffers::FlatBufferBuilder of_words, of_bytes;
  build(of_words, StepsOf(layout, rows));
  build(of_bytes, {});
  std::vector<uint8_t> wanted = Make(of_bytes, bytes, rank, 0);
  for (uint64_t part : {uint64_t{0}, kRecipeUnit, 3 * kRecipeUnit, 7 * kRecipeUnit})
    EXPECT_EQ(Make(of_words, words, rank, part), wanted)
        << layout.name << ", " << rows << " x " << columns << ", order " << order << ", parts of " << part;
}

TEST(CodeWords, AreTheCodes) {
  for (const Layout &layout : kLayouts) {
    ExpectEqual(layout, 64, 256, plan::RowOrder_Plain);
    ExpectEqual(layout, 40, 416, plan::RowOrder_Alternate);
    ExpectEqual(layout, 24, 136, plan::RowOrder_HalfPairs);
  }
}

TEST(CodeWords, OfRanksAreTheirParts) {
  for (const Layout &layout : kLayouts)
    for (plan::Axis axis : {plan::Axis_Rows, plan::Axis_Columns})
      for (uint32_t index : {0U, 1U})
        ExpectEqual(layout, 48, 288, plan::RowOrder_Alternate, {{.op = plan::RecipeOp_Shard, .parts = 2, .axis = axis}},
                    {index, 2});
}

// A part of 4 rows of words of 8 rows.
TEST(CodeWords, MayBeginWithinAWord) {
  for (const Layout &layout : kLayouts)
    for (uint32_t index : {0U, 1U, 3U})
      ExpectEqual(layout, 16, 128, plan::RowOrder_Plain, {{.op = plan::RecipeOp_Shard, .parts = 4}}, {index, 4});
}

TEST(StripCache, ReadsAcrossStripsAndAgainAfterRelease) {
  std::vector<std::byte> bytes((3 << 20) - 5);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 7 >> 3);
  int reads = 0;
  StripCache cache(bytes.size(), [&](uint64_t offset, std::span<std::byte> out) {
    ++reads;
    std::memcpy(out.data(), bytes.data() + offset, out.size());
    return absl::OkStatus();
  });
  auto expect = [&](size_t offset, size_t count) {
    std::vector<std::byte> out(count);
    ASSERT_TRUE(cache.Read(offset, out).ok());
    EXPECT_EQ(std::memcmp(out.data(), bytes.data() + offset, count), 0);
  };
  expect((1 << 20) - 3, 6);
  expect(17, 5);
  EXPECT_EQ(reads, 2);
  expect(0, bytes.size());
  EXPECT_EQ(reads, 3);
  cache.Release();
  expect(bytes.size() - 4, 4);
  EXPECT_EQ(reads, 4);
}

TEST(StripCache, AnErrorIsThatOfTheRead) {
  StripCache cache(100, [](uint64_t, std::span<std::byte>) { return absl::DataLossError("shortened"); });
  std::array<std::byte, 4> out;
  EXPECT_EQ(cache.Read(8, out), absl::DataLossError("shortened"));
}

TEST(StripCache, BytesBeyondTheTensorAreAnError) {
  StripCache cache(100, [](uint64_t, std::span<std::byte>) { return absl::OkStatus(); });
  std::array<std::byte, 4> out;
  EXPECT_EQ(cache.Read(96, out), absl::OkStatus());
  for (uint64_t offset : {97u, 100u, 101u, 1u << 20})
    EXPECT_EQ(cache.Read(offset, out).code(), absl::StatusCode::kInternal) << offset;
}

} // namespace
} // namespace inlay::code_words_test

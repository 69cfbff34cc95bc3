// Recipes against what plan.fbs says of them, element by element.
#include "runtime/bundle/recipe.h"

#include "test/runtime/plan_testing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <tuple>
#include <utility>

namespace inlay {
namespace {

struct Shape {
  uint64_t rows, columns;
  plan::RowOrder order = plan::RowOrder_Plain;
  uint32_t head_dim = 0;
  plan::Packing packing = plan::Packing_RowMajor;
};

// A weight in a finished buffer.
class WeightBuffer {
public:
  WeightBuffer(const Shape &shape, plan::DataType type, const std::vector<TestSource> &sources,
               const std::vector<double> &inv_freq = {}, double attention_factor = 1, uint32_t short_rows = 0,
               double temperature_beta = 0, uint32_t temperature_length = 1) {
    auto recipe =
        plan::CreateRecipe(builder_, CreateSources(builder_, sources), shape.rows, shape.columns, shape.order,
                           shape.head_dim, shape.packing, inv_freq.empty() ? 0 : builder_.CreateVector(inv_freq),
                           attention_factor, short_rows, temperature_beta, temperature_length);
    builder_.Finish(plan::CreateWeight(builder_, builder_.CreateString("w"), type, 0, 0, recipe));
  }
  const plan::Weight &operator*() const { return *flatbuffers::GetRoot<plan::Weight>(builder_.GetBufferPointer()); }

private:
  flatbuffers::FlatBufferBuilder builder_;
};

SourceTensor InMemory(plan::DataType type, std::vector<int64_t> shape, std::span<const std::byte> bytes) {
  return {type, std::move(shape), bytes.size(), [bytes](uint64_t offset, std::span<std::byte> out) -> absl::Status {
            if (offset > bytes.size() || out.size() > bytes.size() - offset)
              return absl::OutOfRangeError("read past the end of a tensor");
            std::memcpy(out.data(), bytes.data() + offset, out.size());
            return absl::OkStatus();
          }};
}

// Element (row, column) of every source is row * 1000 + column; the second source's rows go on after the first's.
class Sources {
public:
  Sources(std::vector<int64_t> rows, int64_t columns) {
    int64_t next = 0;
    for (size_t s = 0; s < rows.size(); ++s) {
      data_.emplace_back();
      for (int64_t r = 0; r < rows[s]; ++r, ++next)
        for (int64_t c = 0; c < columns; ++c)
          data_.back().push_back(static_cast<float>(next * 1000 + c));
      shapes_.push_back({rows[s], columns});
    }
  }
  // The same rows, stored as columns.
  static Sources Transposed(int64_t rows, int64_t columns) {
    Sources sources({rows}, columns);
    std::vector<float> turned;
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t r = 0; r < rows; ++r)
        turned.push_back(static_cast<float>(r * 1000 + c));
    sources.data_ = {std::move(turned)};
    sources.shapes_ = {{columns, rows}};
    return sources;
  }
  absl::StatusOr<SourceTensor> operator()(std::string_view name) const {
    auto s = static_cast<size_t>(name[0] - 'a');
    return InMemory(plan::DataType_F32, shapes_[s], std::as_bytes(std::span(data_[s])));
  }

private:
  std::vector<std::vector<float>> data_;
  std::vector<std::vector<int64_t>> shapes_;
};

template <typename T> std::vector<T> Make(const plan::Weight &weight, const SourceLookup &lookup, Rank rank = {}) {
  ThreadPool pool(3);
  std::vector<T> out(*WeightBytes(weight) / sizeof(T), T(7));
  absl::Status status = Materialize(weight, lookup, std::as_writable_bytes(std::span(out)), pool, rank);
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

TEST(Recipe, ConcatenatesRows) {
  WeightBuffer weight({5, 2}, plan::DataType_F32, {"a", "b"});
  EXPECT_THAT(Make<float>(*weight, Sources({2, 3}, 2)),
              ::testing::ElementsAre(0, 1, 1000, 1001, 2000, 2001, 3000, 3001, 4000, 4001));
}

TEST(Recipe, PairsTheHalvesOfEachHead) {
  WeightBuffer weight({8, 1, plan::RowOrder_HalfPairs, 4}, plan::DataType_F32, {"a"});
  EXPECT_THAT(Make<float>(*weight, Sources({8}, 1)),
              ::testing::ElementsAre(0, 2000, 1000, 3000, 4000, 6000, 5000, 7000));
}

TEST(Recipe, AlternatesTwoSources) {
  WeightBuffer weight({6, 1, plan::RowOrder_Alternate}, plan::DataType_F32, {"a", "b"});
  EXPECT_THAT(Make<float>(*weight, Sources({3, 3}, 1)), ::testing::ElementsAre(0, 3000, 1000, 4000, 2000, 5000));
}

TestStep Slice(uint64_t block, uint64_t offset, uint64_t count) { return {plan::RecipeOp_Slice, block, offset, count}; }
// Rope's pairs to halves.
TestStep Deinterleave(uint64_t head_dim, uint64_t rotary_dim) {
  return {plan::RecipeOp_Permute, head_dim, 0, rotary_dim, rotary_dim / 2};
}
constexpr TestStep kTranspose{plan::RecipeOp_Transpose};

// The rows of one tensor that a source is made of.
struct Layout {
  const char *name;
  std::vector<TestStep> steps;
  int64_t tensor_rows;
  std::vector<int64_t> expected;
};

const std::vector<Layout> &Layouts() {
  static const std::vector<Layout> kLayouts = {
      {"k of concatenated q, k, v", {Slice(10, 4, 3)}, 10, {4, 5, 6}},
      {"k of [heads, 3, d]", {Slice(6, 2, 2)}, 12, {2, 3, 8, 9}},
      {"q of [kv, q/kv + 2, d]", {Slice(8, 0, 4)}, 16, {0, 1, 2, 3, 8, 9, 10, 11}},
      {"v of [kv, q/kv + 2, d]", {Slice(8, 6, 2)}, 16, {6, 7, 14, 15}},
      {"up of alternating gate, up", {Slice(2, 1, 1)}, 6, {1, 3, 5}},
      {"interleaved rope", {Deinterleave(4, 4)}, 8, {0, 2, 1, 3, 4, 6, 5, 7}},
      {"interleaved rope of a part of a head", {Deinterleave(7, 4)}, 7, {0, 2, 1, 3, 4, 5, 6}},
      {"interleaved rope of k in [heads, 3, d]",
       {Slice(12, 4, 4), Deinterleave(4, 4)},
       24,
       {4, 6, 5, 7, 16, 18, 17, 19}},
      {"a slice of a slice", {Slice(8, 0, 4), Slice(4, 2, 2)}, 16, {2, 3, 10, 11}},
  };
  return kLayouts;
}

TEST(Recipe, TakesPartsOfFusedTensors) {
  for (const Layout &layout : Layouts()) {
    auto rows = static_cast<uint64_t>(layout.expected.size());
    std::vector<float> expected;
    for (int64_t row : layout.expected)
      for (int64_t c = 0; c < 3; ++c)
        expected.push_back(static_cast<float>(row * 1000 + c));
    WeightBuffer weight({rows, 3}, plan::DataType_F32, {{"a", layout.steps}});
    EXPECT_EQ(Make<float>(*weight, Sources({layout.tensor_rows}, 3)), expected) << layout.name;
    // GPT-2 stores its matrices as [in, out].
    std::vector<TestStep> steps = {kTranspose};
    steps.insert(steps.end(), layout.steps.begin(), layout.steps.end());
    WeightBuffer transposed({rows, 3}, plan::DataType_F32, {{"a", steps}});
    EXPECT_EQ(Make<float>(*transposed, Sources::Transposed(layout.tensor_rows, 3)), expected) << layout.name;
  }
}

TestStep ShardRows(uint64_t parts, uint64_t size = 0) {
  return {.op = plan::RecipeOp_Shard, .count = size, .parts = parts};
}
TestStep ShardColumns(uint64_t parts) {
  return {.op = plan::RecipeOp_Shard, .parts = parts, .axis = plan::Axis_Columns};
}

// Each part is divided before the parts are concatenated, so that a rank has whole heads of each.
TEST(Recipe, RanksHaveTheirRowsOfEachSource) {
  WeightBuffer weight({3, 1}, plan::DataType_F32, {{"a", {ShardRows(2)}}, {"b", {ShardRows(2)}}});
  EXPECT_THAT(Make<float>(*weight, Sources({4, 2}, 1), {0, 2}), ::testing::ElementsAre(0, 1000, 4000));
  EXPECT_THAT(Make<float>(*weight, Sources({4, 2}, 1), {1, 2}), ::testing::ElementsAre(2000, 3000, 5000));
  WeightBuffer fused({2, 1}, plan::DataType_F32, {{"a", {Slice(3, 1, 1), ShardRows(2)}}});
  EXPECT_THAT(Make<float>(*fused, Sources({12}, 1), {1, 2}), ::testing::ElementsAre(7000, 10000));
}

TEST(Recipe, RanksHaveTheirColumns) {
  WeightBuffer weight({3, 2}, plan::DataType_F32, {{"a", {ShardColumns(2)}}});
  EXPECT_THAT(Make<float>(*weight, Sources({3}, 4), {0, 2}), ::testing::ElementsAre(0, 1, 1000, 1001, 2000, 2001));
  EXPECT_THAT(Make<float>(*weight, Sources({3}, 4), {1, 2}), ::testing::ElementsAre(2, 3, 1002, 1003, 2002, 2003));
  WeightBuffer transposed({3, 2}, plan::DataType_F32, {{"a", {kTranspose, ShardColumns(2)}}});
  EXPECT_EQ(Make<float>(*transposed, Sources::Transposed(3, 4), {1, 2}), Make<float>(*weight, Sources({3}, 4), {1, 2}));
}

// Two kv heads on four ranks.
TEST(Recipe, SeveralRanksMayHaveOnePart) {
  WeightBuffer weight({1, 1}, plan::DataType_F32, {{"a", {ShardRows(2)}}});
  for (auto [rank, expected] : {std::pair{0u, 0.0f}, {1u, 0.0f}, {2u, 1000.0f}, {3u, 1000.0f}})
    EXPECT_THAT(Make<float>(*weight, Sources({2}, 1), {rank, 4}), ::testing::ElementsAre(expected)) << rank;
}

// Norms of heads that are tensors of their own.
TEST(Recipe, PartsMayBeWholeSources) {
  TestStep first = ShardRows(2), second = ShardRows(2);
  first.offset = 1;
  second.offset = 2;
  WeightBuffer weight({2, 1}, plan::DataType_F32, {{"a", {first}}, {"b", {second}}});
  EXPECT_THAT(Make<float>(*weight, Sources({2, 2}, 1), {0, 2}), ::testing::ElementsAre(0, 1000));
  EXPECT_THAT(Make<float>(*weight, Sources({2, 2}, 1), {1, 2}), ::testing::ElementsAre(2000, 3000));
}

TEST(Recipe, RowsThatTheLastRanksLackAreZeros) {
  WeightBuffer weight({2, 2}, plan::DataType_F32, {{"a", {ShardRows(4, 2)}}});
  EXPECT_THAT(Make<float>(*weight, Sources({5}, 2), {1, 4}), ::testing::ElementsAre(2000, 2001, 3000, 3001));
  EXPECT_THAT(Make<float>(*weight, Sources({5}, 2), {2, 4}), ::testing::ElementsAre(4000, 4001, 0, 0));
  EXPECT_THAT(Make<float>(*weight, Sources({5}, 2), {3, 4}), ::testing::ElementsAre(0, 0, 0, 0));
}

TEST(Recipe, TensorsThatRanksCannotDivideAreNamed) {
  ThreadPool pool(1);
  std::vector<std::byte> out(16);
  WeightBuffer odd({2, 2}, plan::DataType_F32, {{"a", {ShardRows(2)}}});
  EXPECT_EQ(std::string(Materialize(*odd, Sources({5}, 2), out, pool, {1, 2}).message()),
            "tensor 'a': has 5 rows for weight 'w', expected 2 equal parts");
  WeightBuffer small({2, 2}, plan::DataType_F32, {{"a", {ShardRows(2, 2)}}});
  EXPECT_EQ(std::string(Materialize(*small, Sources({5}, 2), out, pool, {1, 2}).message()),
            "tensor 'a': has 5 rows for weight 'w', expected at most 2 parts of 2");
  WeightBuffer columns({2, 2}, plan::DataType_F32, {{"a", {ShardColumns(2)}}});
  EXPECT_EQ(std::string(Materialize(*columns, Sources({2}, 2), out, pool, {1, 2}).message()),
            "tensor 'a': has shape [2, 2], expected rows of 4 for weight 'w'");
}

TEST(Recipe, TakesPartsOfBiases) {
  WeightBuffer weight({4, 1}, plan::DataType_F32, {{"a", {Slice(6, 2, 2)}}});
  EXPECT_THAT(Make<float>(*weight, Sources({12}, 1)), ::testing::ElementsAre(2000, 3000, 8000, 9000));
}

TEST(Recipe, PartsOfOneTensorAreConcatenatedInTheirOrder) {
  WeightBuffer weight({6, 1}, plan::DataType_F32,
                      {{"a", {Slice(3, 2, 1)}}, {"a", {Slice(3, 0, 1)}}, {"a", {Slice(3, 1, 1)}}});
  EXPECT_THAT(Make<float>(*weight, Sources({6}, 1)), ::testing::ElementsAre(2000, 5000, 0, 3000, 1000, 4000));
}

// The pairs of interleaved rope, brought to halves and stored as pairs, are where they were.
TEST(Recipe, HalfPairsOfDeinterleavedRowsAreTheCheckpoints) {
  WeightBuffer weight({16, 2, plan::RowOrder_HalfPairs, 8}, plan::DataType_F32, {{"a", {Deinterleave(8, 8)}}});
  WeightBuffer plain({16, 2}, plan::DataType_F32, {"a"});
  EXPECT_EQ(Make<float>(*weight, Sources({16}, 2)), Make<float>(*plain, Sources({16}, 2)));
}

TEST(Recipe, PacksAtomsAndPadsThemWithZeros) {
  constexpr uint64_t kRows = 13, kColumns = 100;
  WeightBuffer weight({kRows, kColumns, plan::RowOrder_Plain, 0, plan::Packing_Atom8x64}, plan::DataType_BF16, {"a"});
  std::vector<uint16_t> packed = Make<uint16_t>(*weight, Sources({kRows}, kColumns));
  ASSERT_EQ(packed.size(), 16u * 128);
  for (uint64_t r = 0; r < 16; ++r)
    for (uint64_t c = 0; c < 128; ++c) {
      // [rows / 8][columns / 64] atoms; in an atom row r % 8, chunk of 8 elements at chunk ^ (r % 8).
      uint64_t at = ((r / 8) * 2 + c / 64) * 512 + r % 8 * 64 + ((c % 64 / 8) ^ (r % 8)) * 8 + c % 8;
      float expected = r < kRows && c < kColumns ? static_cast<float>(r * 1000 + c) : 0.0f;
      float found = std::bit_cast<float>(static_cast<uint32_t>(packed[at]) << 16);
      EXPECT_NEAR(found, expected, expected / 256) << r << ", " << c;
    }
}

// Codes for each row and column, one in a byte.
std::vector<uint8_t> CodesOf(uint64_t rows, uint64_t columns, unsigned mask) {
  std::vector<uint8_t> codes(rows * columns);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<uint8_t>((i * 37 + i / 256) & mask);
  return codes;
}

// Byte 4 t + i of a piece of 16 columns has column 2 t + {0, 8, 1, 9}[i].
TEST(Recipe, PacksCodesAndPadsThemWithZeros) {
  constexpr uint64_t kRows = 21, kColumns = 144;
  std::vector<uint8_t> codes = CodesOf(kRows, kColumns, 0x7f);
  auto lookup = [&](std::string_view) -> absl::StatusOr<SourceTensor> {
    return InMemory(plan::DataType_I8, {kRows, kColumns}, std::as_bytes(std::span(codes)));
  };
  WeightBuffer weight({kRows, kColumns, plan::RowOrder_Plain, 0, plan::Packing_Codes16x128}, plan::DataType_I8, {"a"});
  std::vector<uint8_t> packed = Make<uint8_t>(*weight, lookup);
  ASSERT_EQ(packed.size(), 32u * 256);
  for (uint64_t at = 0; at < packed.size(); ++at) {
    uint64_t unit = at / 2048, in_unit = at % 2048 / 128, piece = at % 128 / 16 ^ in_unit % 8, byte = at % 16;
    uint64_t row = unit / 2 * 16 + in_unit;
    uint64_t column = unit % 2 * 128 + piece * 16 + byte / 4 * 2 + byte % 2 * 8 + byte / 2 % 2;
    ASSERT_EQ(packed[at], row < kRows && column < kColumns ? codes[row * kColumns + column] : 0) << at;
  }
}

// Field i of word t of a piece of 32 columns has column 2 t + {0, 8, 16, 24, 1, 9, 17, 25}[i].
TEST(Recipe, PacksCodesOf4Bits) {
  constexpr uint64_t kRows = 32, kColumns = 256;
  std::vector<uint8_t> codes = CodesOf(kRows, kColumns, 0xf);
  auto lookup = [&](std::string_view) -> absl::StatusOr<SourceTensor> {
    return InMemory(plan::DataType_U8, {kRows, kColumns}, std::as_bytes(std::span(codes)));
  };
  WeightBuffer weight({kRows, kColumns, plan::RowOrder_Plain, 0, plan::Packing_Codes16x128}, plan::DataType_U4, {"a"});
  std::vector<uint32_t> packed = Make<uint32_t>(*weight, lookup);
  ASSERT_EQ(packed.size(), kRows * kColumns / 8);
  for (uint64_t at = 0; at < packed.size() * 8; ++at) {
    uint64_t unit = at / 2048, in_unit = at % 2048 / 128, piece = at % 128 / 32 ^ in_unit / 2 % 4;
    uint64_t row = unit / 2 * 16 + in_unit, word = at % 32 / 8, field = at % 8;
    uint64_t column = unit % 2 * 128 + piece * 32 + word * 2 + field % 4 * 8 + field / 4;
    ASSERT_EQ(packed[at / 8] >> (4 * field) & 15, codes[row * kColumns + column]) << at;
  }
}

TEST(Recipe, PacksNumbersOf16Rows) {
  constexpr uint64_t kRows = 21, kColumns = 5;
  WeightBuffer weight({kRows, kColumns, plan::RowOrder_Plain, 0, plan::Packing_Rows16}, plan::DataType_F32, {"a"});
  std::vector<float> packed = Make<float>(*weight, Sources({kRows}, kColumns));
  ASSERT_EQ(packed.size(), 32u * kColumns);
  for (uint64_t at = 0; at < packed.size(); ++at) {
    uint64_t row = at / 80 * 16 + at % 16, column = at / 16 % 5;
    EXPECT_EQ(packed[at], row < kRows ? static_cast<float>(row * 1000 + column) : 0.0f) << at;
  }
}

TEST(Recipe, RoundsToNearestEven) {
  // Halfway between two bfloat16 values, with an even and an odd neighbour below; then just above halfway.
  std::vector<float> values = {std::bit_cast<float>(0x3f808000u), std::bit_cast<float>(0x3f818000u),
                               std::bit_cast<float>(0x3f808001u), std::bit_cast<float>(0x7fc00001u)};
  auto lookup = [&](std::string_view) -> absl::StatusOr<SourceTensor> {
    return InMemory(plan::DataType_F32, {1, 4}, std::as_bytes(std::span(values)));
  };
  WeightBuffer weight({1, 4}, plan::DataType_BF16, {"a"});
  EXPECT_THAT(Make<uint16_t>(*weight, lookup), ::testing::ElementsAre(0x3f80, 0x3f82, 0x3f81, 0x7fc0));
}

TEST(Recipe, TablesHoldCosinesThenSines) {
  WeightBuffer weight({3, 4}, plan::DataType_F32, {}, {1.0, 0.1}, /*attention_factor=*/2);
  std::vector<float> table = Make<float>(*weight, Sources({}, 0));
  for (int position = 0; position < 3; ++position)
    for (int i = 0; i < 2; ++i) {
      double angle = static_cast<float>(position) * (i == 0 ? 1.0f : 0.1f);
      EXPECT_EQ(table[static_cast<size_t>(position * 4 + i)], static_cast<float>(2 * std::cos(angle)));
      EXPECT_EQ(table[static_cast<size_t>(position * 4 + 2 + i)], static_cast<float>(2 * std::sin(angle)));
    }
}

// Three sets for four rows: rows 0 and 1 have the first, row 2 the second, row 3 the third.
TEST(Recipe, LateRowsOfATableMayHaveFrequenciesOfTheirOwn) {
  WeightBuffer weight({4, 2}, plan::DataType_F32, {}, {1.0, 0.5, 0.25});
  ASSERT_TRUE(FitsRopeTable(*(*weight).recipe()));
  std::vector<float> table = Make<float>(*weight, Sources({}, 0));
  for (auto [position, frequency] : {std::pair{0, 1.0f}, {1, 1.0f}, {2, 0.5f}, {3, 0.25f}})
    EXPECT_EQ(table[static_cast<size_t>(position * 2)],
              static_cast<float>(std::cos(double{static_cast<float>(position) * frequency})));
}

// Two rows for short sequences, three for long ones.
TEST(Recipe, ATableMayHaveAPartForShortAndOneForLongSequences) {
  WeightBuffer weight({5, 2}, plan::DataType_F32, {}, {1.0, 0.5}, 1, /*short_rows=*/2);
  ASSERT_TRUE(FitsRopeTable(*(*weight).recipe()));
  std::vector<float> table = Make<float>(*weight, Sources({}, 0));
  for (auto [row, angle] : {std::pair{0, 0.0f}, {1, 1.0f}, {2, 0.0f}, {3, 0.5f}, {4, 1.0f}})
    EXPECT_EQ(table[static_cast<size_t>(row * 2)], static_cast<float>(std::cos(double{angle}))) << row;
  EXPECT_FALSE(FitsRopeTable(*(*WeightBuffer({5, 2}, plan::DataType_F32, {}, {1.0, 0.5}, 1, 5)).recipe()));
  EXPECT_FALSE(FitsRopeTable(*(*WeightBuffer({5, 2}, plan::DataType_F32, {}, {1.0}, 1, 2)).recipe()));
}

TEST(Recipe, RowsOfATableMayHaveATemperature) {
  WeightBuffer weight({5, 2}, plan::DataType_F32, {}, {1.0}, 1, 0, /*temperature_beta=*/0.5, /*temperature_length=*/2);
  std::vector<float> table = Make<float>(*weight, Sources({}, 0));
  for (auto [row, factor] : {std::pair{1, 1.0}, {2, 1 + 0.5 * std::log(2.0)}, {4, 1 + 0.5 * std::log(3.0)}})
    EXPECT_FLOAT_EQ(table[static_cast<size_t>(row * 2)], static_cast<float>(std::cos(row) * factor)) << row;
}

TEST(Recipe, TablesHaveASetOfFrequenciesOrOneForEachLateRow) {
  for (auto [rows, columns, frequencies, fits] :
       {std::tuple{2, 4, 2, true}, {2, 4, 4, true}, {2, 4, 6, false}, {2, 4, 3, false}, {2, 1, 1, false}}) {
    WeightBuffer weight({static_cast<uint64_t>(rows), static_cast<uint64_t>(columns)}, plan::DataType_F32, {},
                        std::vector<double>(static_cast<size_t>(frequencies), 1.0));
    EXPECT_EQ(FitsRopeTable(*(*weight).recipe()), fits) << rows << " " << columns << " " << frequencies;
  }
}

TEST(Recipe, SourcesOfOtherShapesAreNamed) {
  ThreadPool pool(1);
  std::vector<std::byte> out(40);
  WeightBuffer rows({5, 2}, plan::DataType_F32, {"a"});
  EXPECT_EQ(std::string(Materialize(*rows, Sources({4}, 2), out, pool).message()),
            "weight 'w': its sources have 4 rows, expected 5");
  EXPECT_EQ(std::string(Materialize(*rows, Sources({5}, 3), out, pool).message()),
            "tensor 'a': has shape [5, 3], expected rows of 2 for weight 'w'");
}

TEST(Recipe, TensorsThatAreNotWholeBlocksAreNamed) {
  ThreadPool pool(1);
  std::vector<std::byte> out(40);
  WeightBuffer rows({5, 2}, plan::DataType_F32, {{"a", {Slice(4, 0, 2)}}});
  EXPECT_EQ(std::string(Materialize(*rows, Sources({10}, 2), out, pool).message()),
            "tensor 'a': has shape [10, 2]; its 10 rows are not whole blocks of 4, which weight 'w' is made of");
  EXPECT_EQ(std::string(Materialize(*rows, Sources({8}, 2), out, pool).message()),
            "weight 'w': its sources have 4 rows, expected 5");
  WeightBuffer vector({2, 1}, plan::DataType_F32, {{"a", {kTranspose}}});
  auto lookup = [&](std::string_view) -> absl::StatusOr<SourceTensor> {
    return InMemory(plan::DataType_F32, {2}, std::span(out).first(8));
  };
  EXPECT_EQ(std::string(Materialize(*vector, lookup, std::span(out).first(8), pool).message()),
            "tensor 'a': has shape [2], expected columns of 1 for weight 'w'");
}

TEST(Recipe, StepsThatDoNotFitAreRefused) {
  struct {
    std::vector<TestStep> steps;
    const char *message;
  } cases[] = {
      {{Slice(4, 3, 2)}, "source 'a' of weight 'w' takes 2 rows from 3 on of each 4"},
      {{Slice(0, 0, 0)}, "takes 0 rows from 0 on of each 0"},
      {{Slice(4, UINT64_MAX, 2)}, "takes 2 rows from 18446744073709551615 on of each 4"},
      {{{plan::RecipeOp_Permute, 4, 0, 4, 3}}, "permutes 3 parts of 4 rows of each 4"},
      {{{plan::RecipeOp_Permute, 4, 0, 4, 0}}, "permutes 0 parts of 4 rows"},
      {{{plan::RecipeOp_Permute, 4, 0, 6, 2}}, "permutes 2 parts of 6 rows of each 4"},
      {{Slice(2, 0, 1), kTranspose}, "has step 1 Transpose behind one that it comes before"},
      {{kTranspose, kTranspose}, "has step 1 Transpose behind one that it comes before"},
      {{kTranspose, {plan::RecipeOp_Reshape}}, "has step 1 Reshape behind one that it comes before"},
      {{{plan::RecipeOp_Repeat, 2}}, "repeats each row 2 times to 0 rows"},
      {{{.op = plan::RecipeOp_Scale}}, "multiplies scales by 0"},
      {{{.op = plan::RecipeOp_Nested, .block = 256, .table = "t", .scales = "s"}}, "has nested scales without a table"},
      {{kTranspose,
        {.op = plan::RecipeOp_Nested, .block = 256, .table = "t", .scales = "s"},
        {.op = plan::RecipeOp_Scale, .factor = 1}},
       "has nested scales after Transpose, expected at most Reshape"},
      {std::vector<TestStep>(9, Slice(1, 0, 1)), "has 9 steps, expected at most 8"},
      {{ShardRows(2), Slice(1, 0, 1)}, "has steps behind step 0 Shard, expected it to be the last"},
      {{ShardRows(3)}, "source 'a' of weight 'w' has 3 parts, expected a divisor of the 4 ranks"},
      {{ShardRows(0)}, "has 0 parts, expected a divisor of the 4 ranks"},
      {{{.op = plan::RecipeOp_Shard, .parts = 2, .axis = static_cast<plan::Axis>(9)}}, "divides axis 9 of source 'a'"},
      {{{.op = plan::RecipeOp_Shard, .offset = 3, .parts = 2}},
       "source 'a' of weight 'w' is part 3 of 2 as a whole, in parts of 0 along Rows"},
      {{{.op = plan::RecipeOp_Shard, .count = 3, .parts = 2, .axis = plan::Axis_Columns}},
       "has parts of 3 columns, expected equal parts"},
      {{{.op = plan::RecipeOp_Unpack, .block = 32, .type = plan::DataType_I4}},
       "unpacks I4 of words of 32 bits in the order Plain of source 'a', which this runtime does not execute"},
      {{{.op = plan::RecipeOp_Unpack, .block = 8, .type = plan::DataType_U4, .order = plan::FieldOrder_Awq}},
       "unpacks U4 of words of 8 bits in the order Awq"},
      {{{.op = plan::RecipeOp_Scale, .type = plan::DataType_I8, .factor = 1}}, "has scales I8 of source 'a'"},
      {{{.op = plan::RecipeOp_SortColumns, .block = 8}}, "has SortColumns of groups of 8 columns by ''"},
      {{{.op = plan::RecipeOp_SortColumns, .block = 0, .table = "g"}}, "has SortColumns of groups of 0 columns by 'g'"},
      {{{.op = plan::RecipeOp_ColumnOrder, .block = 8, .table = "g"}}, "has ColumnOrder of groups of 8 columns by 'g'"},
      {{{.op = plan::RecipeOp_Scale, .factor = 1}, {.op = plan::RecipeOp_SortColumns, .block = 8, .table = "g"}},
       "has Scale before SortColumns, expected codes"},
      {{kTranspose, {.op = plan::RecipeOp_ColumnOrder, .block = 8}},
       "has Transpose before ColumnOrder, expected Reshape"},
      {{{.op = plan::RecipeOp_SortColumns, .block = 8, .table = "g"},
        {.op = plan::RecipeOp_Shard, .parts = 2, .axis = plan::Axis_Columns}},
       "divides columns that are sorted"},
      {{{static_cast<plan::RecipeOp>(99)}}, "has step 99 of source 'a', which this runtime does not execute"},
  };
  for (const auto &[steps, message] : cases) {
    WeightBuffer weight({4, 2}, plan::DataType_F32, {{"a", steps}});
    absl::Status status = VerifySourceSteps(*(*weight).recipe()->sources()->Get(0), "w", /*ranks=*/4);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(message));
  }
}

TEST(Recipe, SizesThatOverflowAreRefused) {
  WeightBuffer weight({uint64_t{1} << 40, uint64_t{1} << 40}, plan::DataType_F32, {"a"});
  EXPECT_THAT(std::string(WeightBytes(*weight).status().message()), ::testing::HasSubstr("do not fit into memory"));
}

void ExpectPartsOfTheWhole(const plan::Weight &weight, const Sources &sources) {
  std::vector<std::byte> whole = Make<std::byte>(weight, sources);
  absl::StatusOr<WeightRecipe> recipe = WeightRecipe::Open(weight, std::cref(sources));
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  for (uint64_t part : {kRecipeUnit, 3 * kRecipeUnit, 64 * kRecipeUnit}) {
    std::vector<std::byte> joined(whole.size());
    for (uint64_t at = 0; at < joined.size(); at += part) {
      absl::Status status = recipe->Make(at, std::span(joined).subspan(at, std::min(part, joined.size() - at)));
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_TRUE(joined == whole) << weight.recipe()->rows() << " x " << weight.recipe()->columns() << " in parts of "
                                 << part;
  }
}

// Wherever a weight is cut, its parts are those of the whole: within rows, within groups of 8 rows, across sources.
TEST(Recipe, PartsAreThoseOfTheWhole) {
  struct {
    Shape shape;
    std::vector<int64_t> rows;
    plan::DataType type;
  } cases[] = {
      {{40, 300}, {13, 27}, plan::DataType_F32},
      {{300, 1}, {100, 200}, plan::DataType_BF16},
      {{3, 5000}, {1, 2}, plan::DataType_F16},
      {{32, 200, plan::RowOrder_HalfPairs, 16, plan::Packing_Atom8x64}, {16, 16}, plan::DataType_BF16},
      {{100, 130, plan::RowOrder_Alternate, 0, plan::Packing_Atom8x64}, {50, 50}, plan::DataType_F16},
      {{9, 4096, plan::RowOrder_Plain, 0, plan::Packing_Atom8x64}, {4, 0, 5}, plan::DataType_BF16},
      {{70, 33, plan::RowOrder_Alternate, 0, plan::Packing_Rows16}, {35, 35}, plan::DataType_F32},
  };
  for (const auto &[shape, rows, type] : cases) {
    std::vector<TestSource> names;
    for (size_t i = 0; i < rows.size(); ++i)
      names.emplace_back(std::string(1, static_cast<char>('a' + i)));
    WeightBuffer weight(shape, type, names);
    Sources sources(rows, static_cast<int64_t>(shape.columns));
    ExpectPartsOfTheWhole(*weight, sources);
  }
  // Rows of fused tensors: parts of three, put into halves; of a tensor that is transposed.
  Shape shape{64, 200, plan::RowOrder_HalfPairs, 16, plan::Packing_Atom8x64};
  std::vector<TestStep> steps{Slice(48, 16, 16), Deinterleave(16, 8)}, after{kTranspose};
  after.insert(after.end(), steps.begin(), steps.end());
  ExpectPartsOfTheWhole(*WeightBuffer(shape, plan::DataType_BF16, {{"a", steps}}), Sources({192}, 200));
  ExpectPartsOfTheWhole(*WeightBuffer(shape, plan::DataType_BF16, {{"a", after}}), Sources::Transposed(192, 200));
}

TEST(Recipe, ConversionsRoundAndWiden) {
  std::vector<float> values = {1.0f, -0.333f, 65504.0f, 1e-8f};
  auto bytes = std::as_bytes(std::span(values));
  for (plan::DataType type : {plan::DataType_BF16, plan::DataType_F16}) {
    std::vector<std::byte> narrow(8), again(8);
    std::vector<float> wide(4);
    ConvertElements(bytes.data(), plan::DataType_F32, narrow.data(), type, 4);
    ConvertElements(narrow.data(), type, std::as_writable_bytes(std::span(wide)).data(), plan::DataType_F32, 4);
    ConvertElements(std::as_bytes(std::span(wide)).data(), plan::DataType_F32, again.data(), type, 4);
    EXPECT_EQ(narrow, again);
    EXPECT_EQ(wide[0], 1.0f);
    EXPECT_NEAR(wide[1], -0.333f, type == plan::DataType_BF16 ? 1e-3 : 1e-4);
  }
}

TEST(Recipe, AllHalvesBecomeTheirFloats) {
  std::vector<uint16_t> halves(1 << 16);
  std::iota(halves.begin(), halves.end(), 0);
  std::vector<float> floats(halves.size());
  ConvertElements(std::as_bytes(std::span(halves)).data(), plan::DataType_F16,
                  std::as_writable_bytes(std::span(floats)).data(), plan::DataType_F32, halves.size());
  for (size_t i = 0; i < halves.size(); ++i) {
    auto wanted = static_cast<float>(std::bit_cast<_Float16>(halves[i]));
    if (std::isnan(wanted))
      EXPECT_TRUE(std::isnan(floats[i])) << i;
    else
      EXPECT_EQ(std::bit_cast<uint32_t>(floats[i]), std::bit_cast<uint32_t>(wanted)) << i;
  }
}

TEST(ThreadPool, CallsEachIndexOnce) {
  ThreadPool pool(4);
  for (int64_t count : {0, 1, 2, 31, 1000}) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
    pool.Run(count, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
    for (const auto &n : calls)
      EXPECT_EQ(n, 1);
  }
}

} // namespace
} // namespace inlay

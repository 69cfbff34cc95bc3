// Bundles: reading returns what was written, and a file that was changed is refused by name.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/bundle/writer.h"
#include "runtime/support/files.h"
#include "test/runtime/small_plan.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>

namespace inlay {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class BundleTest : public ::testing::Test {
protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) /
            ("inlay-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(root_);
    fs::create_directories(root_ / "model");
    std::string header = R"({"a":{"dtype":"F32","shape":[4,3],"data_offsets":[0,48]}})";
    uint64_t size = header.size();
    std::ofstream file(root_ / "model/model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char *>(&size), 8);
    file << header;
    for (int i = 0; i < 12; ++i) {
      auto value = static_cast<float>(i);
      file.write(reinterpret_cast<const char *>(&value), 4);
    }
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string path() const { return (root_ / "bundle").string(); }

  absl::Status Write(const std::string &mode, bool overwrite = false, std::string plan = SmallPlan()) {
    return WriteBundle({.plan = std::move(plan),
                        .manifest_extra = "{}",
                        .files = {{"kernels/cpu/kernels.so", "not run here"}},
                        .weights_mode = mode,
                        .checkpoint = (root_ / "model").string()},
                       path(), overwrite);
  }

  void Replace(const std::string &name, const std::string &from, const std::string &to) {
    std::string text = *ReadFile(path() + "/" + name);
    size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    std::ofstream(path() + "/" + name, std::ios::binary) << text.replace(at, from.size(), to);
  }

  void FlipLastByte(const std::string &name) {
    std::string text = *ReadFile(path() + "/" + name);
    text.back() = static_cast<char>(text.back() ^ 1);
    std::ofstream(path() + "/" + name, std::ios::binary) << text;
  }

  std::string OpenError() { return std::string(Bundle::Open(path()).status().message()); }

  static absl::Status Load(const Bundle &bundle, std::vector<float> &out) {
    ThreadPool pool(2);
    HostSink sink(pool);
    EXPECT_EQ(WeightsBytes(*bundle.target("cpu")), 48);
    return LoadWeights(bundle, *bundle.target("cpu"), std::as_writable_bytes(std::span(out)).data(), sink);
  }

  static std::vector<float> Weight(const Bundle &bundle) {
    std::vector<float> out(12);
    absl::Status status = Load(bundle, out);
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }

  fs::path root_;
};

TEST_F(BundleTest, PackedAndLinkedWeightsAreTheCheckpoints) {
  std::vector<float> expected(12);
  std::iota(expected.begin(), expected.end(), 0.0f);
  for (const char *mode : {"pack", "link"}) {
    ASSERT_TRUE(Write(mode, /*overwrite=*/true).ok());
    auto bundle = Bundle::Open(path());
    ASSERT_TRUE(bundle.ok()) << bundle.status();
    EXPECT_EQ(Weight(**bundle), expected) << mode;
  }
}

// Each rank has two of the four rows. Packed weights are a file for each.
TEST_F(BundleTest, RanksReadTheirPartsOfTheWeights) {
  std::string plan = SmallPlan({.weight_bytes = 24,
                                .view = {plan::Count(plan::Extent_One, 1, 1), 24},
                                .model = {.ranks = 2},
                                .rows = 2,
                                .source = {"a", {{.op = plan::RecipeOp_Shard, .parts = 2}}}});
  for (const char *mode : {"pack", "link"}) {
    ASSERT_TRUE(Write(mode, /*overwrite=*/true, plan).ok());
    auto bundle = Bundle::Open(path());
    ASSERT_TRUE(bundle.ok()) << bundle.status();
    ThreadPool pool(1);
    HostSink sink(pool);
    for (uint32_t rank : {0u, 1u}) {
      std::vector<float> expected(6), found(6);
      std::iota(expected.begin(), expected.end(), static_cast<float>(6 * rank));
      absl::Status status =
          LoadWeights(**bundle, *(*bundle)->target("cpu"), std::as_writable_bytes(std::span(found)).data(), sink, rank);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(found, expected) << mode << " " << rank;
    }
  }
  ASSERT_TRUE(Write("pack", /*overwrite=*/true, plan).ok());
  fs::resize_file(path() + "/weights/cpu.rank1.bin", 20);
  EXPECT_THAT(OpenError(), HasSubstr("weights/cpu.rank1.bin: has 20 bytes, expected 24"));
}

TEST_F(BundleTest, WeightsMayBeNumbersOfThePlan) {
  std::vector<float> expected(12);
  std::iota(expected.begin(), expected.end(), 0.5f);
  for (const char *mode : {"pack", "link", "dummy"}) {
    ASSERT_TRUE(Write(mode, /*overwrite=*/true, SmallPlan({.values = expected})).ok());
    auto bundle = Bundle::Open(path());
    ASSERT_TRUE(bundle.ok()) << bundle.status();
    EXPECT_EQ(Weight(**bundle), expected) << mode;
  }
}

TEST_F(BundleTest, DummyWeightsNeedNoCheckpointAndAreNeverAllZero) {
  fs::remove_all(root_ / "model");
  ASSERT_TRUE(Write("dummy").ok());
  auto bundle = Bundle::Open(path());
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_NE(Weight(**bundle), std::vector<float>(12));
}

TEST_F(BundleTest, AnExistingBundleIsKeptUnlessOverwritten) {
  ASSERT_TRUE(Write("pack").ok());
  EXPECT_THAT(std::string(Write("pack").message()), HasSubstr("add --overwrite"));
  EXPECT_TRUE(Write("pack", /*overwrite=*/true).ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 2) << "leftovers";
}

TEST_F(BundleTest, AFailureLeavesNothing) {
  fs::remove(root_ / "model/model.safetensors");
  EXPECT_FALSE(Write("pack").ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 1) << "leftovers";
}

TEST_F(BundleTest, AMissingFileIsNamed) {
  ASSERT_TRUE(Write("pack").ok());
  fs::remove(path() + "/kernels/cpu/kernels.so");
  EXPECT_THAT(OpenError(), HasSubstr("kernels/cpu/kernels.so: cannot be opened"));
}

TEST_F(BundleTest, KernelsWithoutAHashAreRefused) {
  ASSERT_TRUE(Write("pack").ok());
  Replace("manifest.json", "\"kernels/cpu/kernels.so\"", "\"plan.fb\"");
  // The object now has "plan.fb" twice. The parser uses the second one, which has the right hash.
  EXPECT_THAT(OpenError(), HasSubstr("'files' has no hash of 'kernels/cpu/kernels.so', which target 'cpu' runs"));
}

TEST_F(BundleTest, PathsThatAreNoUtf8AreCopiedFromAndNotLinkedTo) {
  fs::rename(root_ / "model", root_ / "model\xff");
  auto write = [&](const char *mode) {
    return WriteBundle({.plan = SmallPlan(),
                        .manifest_extra = "{}",
                        .files = {{"kernels/cpu/kernels.so", "not run here"}},
                        .weights_mode = mode,
                        .checkpoint = (root_ / "model\xff").string()},
                       path(), /*overwrite=*/true);
  };
  EXPECT_THAT(std::string(write("link").message()), HasSubstr("the path is not UTF-8"));
  ASSERT_TRUE(write("pack").ok());
  EXPECT_TRUE(Bundle::Open(path()).ok());
}

TEST_F(BundleTest, AFlippedByteInAnyFileIsNamed) {
  for (const char *name : {"plan.fb", "kernels/cpu/kernels.so"}) {
    ASSERT_TRUE(Write("pack", /*overwrite=*/true).ok());
    FlipLastByte(name);
    EXPECT_THAT(OpenError(), HasSubstr(std::string(name) + ": its contents do not match the hash"));
  }
}

TEST_F(BundleTest, AFlippedByteInTheWeightsIsFoundWhileTheyAreLoaded) {
  ASSERT_TRUE(Write("pack").ok());
  FlipLastByte("weights/cpu.bin");
  auto bundle = Bundle::Open(path());
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  std::vector<float> out(12);
  EXPECT_THAT(std::string(Load(**bundle, out).message()),
              HasSubstr("weights/cpu.bin: chunk 0 does not match its hash"));
}

TEST_F(BundleTest, WeightsThatAreCutAreFoundWhenOpenedOrLoaded) {
  ASSERT_TRUE(Write("pack").ok());
  auto bundle = Bundle::Open(path());
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  fs::resize_file(path() + "/weights/cpu.bin", 20);
  EXPECT_THAT(OpenError(), HasSubstr("weights/cpu.bin: has 20 bytes, expected 48"));
  std::vector<float> out(12);
  EXPECT_THAT(std::string(Load(**bundle, out).message()), HasSubstr("weights/cpu.bin: ends at byte 20"));
}

TEST_F(BundleTest, OtherFormatsSayWhichSideToUpdate) {
  ASSERT_TRUE(Write("pack").ok());
  std::string now = std::to_string(kBundleFormatVersion), next = std::to_string(kBundleFormatVersion + 1);
  Replace("manifest.json", "\"format_version\": " + now, "\"format_version\": " + next);
  EXPECT_THAT(OpenError(), HasSubstr("has format " + next + ", this runtime"));
  EXPECT_THAT(OpenError(), HasSubstr("update the runtime"));
  Replace("manifest.json", "\"format_version\": " + next, "\"format_version\": 1");
  EXPECT_THAT(OpenError(), HasSubstr("compile the model again with this version"));
}

TEST_F(BundleTest, AManifestThatDisagreesWithThePlanIsRefused) {
  ASSERT_TRUE(Write("pack").ok());
  Replace("manifest.json", "\"cpu\"\n  ]", "\"sm_90a\"\n  ]");
  EXPECT_THAT(OpenError(), HasSubstr("'targets[0]' is \"sm_90a\", plan.fb has \"cpu\""));
  ASSERT_TRUE(Write("pack", /*overwrite=*/true).ok());
  Replace("manifest.json", "\"48 bytes\"", "\"49 bytes\"");
  EXPECT_THAT(OpenError(), HasSubstr("'kernels.cpu[0].views[0]' is \"49 bytes\", plan.fb has \"48 bytes\""));
  ASSERT_TRUE(Write("pack", /*overwrite=*/true).ok());
  Replace("manifest.json", "\"max_model_len\": 64", "\"max_model_len\": 128");
  EXPECT_THAT(OpenError(), HasSubstr("'model.max_model_len' is 128, plan.fb has 64"));
}

TEST_F(BundleTest, ValuesOfTheWrongTypeAreErrorsAndNotExceptions) {
  ASSERT_TRUE(Write("link").ok());
  Replace("manifest.json", "\"directory\": ", "\"directory\": 5, \"was\": ");
  EXPECT_THAT(OpenError(), HasSubstr("'weights.directory' is missing or not a string"));
  ASSERT_TRUE(Write("pack", /*overwrite=*/true).ok());
  Replace("manifest.json", "\"chunk_bytes\": 16777216", "\"chunk_bytes\": 0");
  EXPECT_THAT(OpenError(), HasSubstr("'weights.chunk_bytes' is missing or of the wrong type"));
  Replace("manifest.json", "\"chunk_bytes\": 0", "\"chunk_bytes\": 16777216");
  Replace("manifest.json", "\"chunks\": ", "\"chunks\": 5, \"was\": ");
  EXPECT_THAT(OpenError(), HasSubstr("'weights.chunks.cpu' is missing"));
  EXPECT_THAT(std::string(Bundle::Open(std::string(5000, 'x')).status().message()), HasSubstr("is not a directory"));
}

TEST_F(BundleTest, AChangedCheckpointIsRefused) {
  ASSERT_TRUE(Write("link").ok());
  fs::last_write_time(root_ / "model/model.safetensors", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_THAT(OpenError(), HasSubstr("the checkpoint changed since the bundle was compiled"));
}

TEST_F(BundleTest, ACopyOfTheLinkedCheckpointIsTakenWhateverItsTimes) {
  ASSERT_TRUE(Write("link").ok());
  fs::rename(root_ / "model", root_ / "copy");
  EXPECT_THAT(OpenError(), HasSubstr("give a copy of that checkpoint with --weights-source"));
  fs::last_write_time(root_ / "copy/model.safetensors", fs::file_time_type::clock::now() + std::chrono::hours(1));
  std::string copy = (root_ / "copy").string();
  auto opened = Bundle::Open(path(), copy);
  ASSERT_TRUE(opened.ok()) << opened.status();
  // Another checkpoint is recognized by its headers and sizes.
  std::ofstream(root_ / "copy/model.safetensors", std::ios::binary | std::ios::in | std::ios::out).seekp(10) << 'z';
  EXPECT_THAT(std::string(Bundle::Open(path(), copy).status().message()), HasSubstr("is not the checkpoint that"));
  fs::remove_all(root_ / "copy");
  EXPECT_THAT(std::string(Bundle::Open(path(), copy).status().message()), HasSubstr(copy));
}

TEST_F(BundleTest, ASourceOfWeightsForABundleThatHasItsOwnIsRefused) {
  for (const char *mode : {"pack", "dummy"}) {
    ASSERT_TRUE(Write(mode, /*overwrite=*/true).ok());
    EXPECT_THAT(std::string(Bundle::Open(path(), (root_ / "model").string()).status().message()),
                HasSubstr(std::string("but this one has weights mode '") + mode + "'; remove --weights-source"));
  }
}

TEST_F(BundleTest, PlansThatReachOutsideAreNotWritten) {
  EXPECT_THAT(std::string(Write("dummy", false, SmallPlan({.kernel_of_launch = 7})).message()),
              HasSubstr("a launch names kernel 7 of 1"));
  EXPECT_THAT(std::string(Write("dummy", false, SmallPlan({.weight_bytes = 64})).message()),
              HasSubstr("weight 'w' has 64 bytes, but its shape needs 48"));
}

// --- Weights that kernels pack ----------------------------------------------

struct PackedShape {
  plan::RowOrder order;
  uint64_t rows, columns;
  uint32_t head_dim;
  std::vector<TestStep> steps = {}; // of both sources
  uint64_t tensor_rows = 1;         // for a row that they leave
};

// A plan with one weight, which a kernel packs from tensors "a" and "b". Tests pass invalid `arguments` of the launch,
// or an invalid `source_row`, the bytes that the kernel expects in a row of the sources.
std::string PackedPlan(const PackedShape &shape,
                       std::vector<plan::BufferKind> arguments = {plan::BufferKind_Source, plan::BufferKind_Weight},
                       uint64_t source_row = 0) {
  flatbuffers::FlatBufferBuilder b;
  auto launch_of = [&](uint32_t kernel, const std::vector<plan::BufferKind> &kinds, plan::Extent extent,
                       uint32_t divisor) {
    std::vector<flatbuffers::Offset<plan::Argument>> list;
    for (plan::BufferKind kind : kinds)
      list.push_back(plan::CreateArgument(b, kind));
    std::vector<plan::Count> grid{{extent, divisor, 1}, {plan::Extent_One, 1, 1}};
    return plan::CreateLaunchDirect(b, kernel, &list, &grid);
  };
  auto recipe = plan::CreateRecipe(b, CreateSources(b, {{"a", shape.steps}, {"b", shape.steps}}), shape.rows,
                                   shape.columns, shape.order, shape.head_dim, plan::Packing_Atom8x64);
  uint64_t bytes = (shape.rows + 7) / 8 * 8 * ((shape.columns + 63) / 64 * 64) * 2;
  auto pack = launch_of(0, arguments, plan::Extent_Tokens, 8);
  auto weight =
      plan::CreateWeight(b, b.CreateString("w"), plan::DataType_BF16, bytes, 0, recipe, pack, plan::DataType_F32);
  uint64_t padded_row = (shape.columns + 63) / 64 * 64 * 2;
  std::vector<plan::View> pack_views{
      {plan::Count(plan::Extent_Tokens, 1, 1), source_row ? source_row : shape.columns * 4},
      {plan::Count(plan::Extent_Tokens, 8, 8), padded_row}};
  std::vector kernels{CreateCodeKernel(b, "pack", pack_views),
                      CreateCodeKernel(b, "k", {plan::View(plan::Count(plan::Extent_One, 1, 1), bytes)})};
  std::vector weights{weight};
  std::vector launches{launch_of(1, {plan::BufferKind_Weight}, plan::Extent_Tokens, 1)};
  std::vector entries{plan::CreateEntryDirect(b, "decode", plan::EntryKind_Decode, 4, 4, 1, 256, nullptr, &launches)};
  return FinishPlan(b, plan::CreateTargetDirect(b, "sm_90a", &kernels, &weights, &entries));
}

// A sink in host memory that emulates packing kernels: it packs the rows of each range with a recipe for that range.
class PackingSink : public HostSink {
public:
  PackingSink(ThreadPool &pool, const PackedShape &shape, uint64_t limit)
      : HostSink(pool), shape_(shape), limit_(limit) {}
  uint64_t MaxPackedBytes() const override { return limit_; }
  absl::Status Pack(std::span<const PackedRange> ranges, const FillRange &fill) override {
    for (size_t i = 0; i < ranges.size(); ++i, ++launches) {
      std::vector<std::byte> rows(ranges[i].bytes);
      if (absl::Status status = fill(i, 0, rows); !status.ok())
        return status;
      flatbuffers::FlatBufferBuilder b;
      auto recipe = plan::CreateRecipe(b, CreateSources(b, {"rows"}), ranges[i].rows, shape_.columns, shape_.order,
                                       shape_.head_dim, plan::Packing_Atom8x64);
      b.Finish(plan::CreateWeight(b, b.CreateString("part"), plan::DataType_BF16, 0, 0, recipe));
      const plan::Weight &part = *flatbuffers::GetRoot<plan::Weight>(b.GetBufferPointer());
      SourceTensor source{plan::DataType_F32,
                          {ranges[i].rows, static_cast<int64_t>(shape_.columns)},
                          rows.size(),
                          [&](uint64_t offset, std::span<std::byte> out) {
                            std::copy_n(rows.begin() + static_cast<int64_t>(offset), out.size(), out.begin());
                            return absl::OkStatus();
                          }};
      absl::Status status = Materialize(
          part, [&](std::string_view) -> absl::StatusOr<SourceTensor> { return source; },
          std::span(static_cast<std::byte *>(ranges[i].to), *WeightBytes(part)), host_pool());
      if (!status.ok())
        return status;
    }
    return absl::OkStatus();
  }
  int launches = 0;

private:
  PackedShape shape_;
  uint64_t limit_;
};

TEST_F(BundleTest, WhatKernelsPackInPartsIsWhatTheHostPacks) {
  for (const PackedShape &shape :
       {PackedShape{plan::RowOrder_Plain, 52, 40, 0}, PackedShape{plan::RowOrder_HalfPairs, 48, 72, 16},
        PackedShape{plan::RowOrder_Alternate, 64, 64, 0},
        // Heads of fused tensors with interleaved rope.
        PackedShape{plan::RowOrder_HalfPairs,
                    48,
                    72,
                    16,
                    {{plan::RecipeOp_Slice, 48, 16, 16}, {plan::RecipeOp_Permute, 16, 0, 8, 4}},
                    3}}) {
    // Two tensors. With the plain row order, the second does not begin at a multiple of 8 rows.
    uint64_t first = shape.order == plan::RowOrder_Plain ? 19 : shape.order == plan::RowOrder_HalfPairs ? 16 : 32;
    uint64_t row = shape.columns * 4, rows = shape.rows * shape.tensor_rows;
    uint64_t first_rows = first * shape.tensor_rows, middle = first_rows * row, end = rows * row;
    std::string header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(first_rows) + "," +
                         std::to_string(shape.columns) + "],\"data_offsets\":[0," + std::to_string(middle) +
                         "]},\"b\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(rows - first_rows) + "," +
                         std::to_string(shape.columns) + "],\"data_offsets\":[" + std::to_string(middle) + "," +
                         std::to_string(end) + "]}}";
    uint64_t size = header.size();
    std::ofstream file(root_ / "model/model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char *>(&size), 8) << header;
    for (uint64_t i = 0; i < rows * shape.columns; ++i) {
      auto value = static_cast<float>(i % 253);
      file.write(reinterpret_cast<const char *>(&value), 4);
    }
    file.close();
    BundleContents contents{
        .plan = PackedPlan(shape),
        .manifest_extra = "{}",
        .files = {{"kernels/sm_90a/k.cubin", "not run here"}, {"kernels/sm_90a/pack.cubin", "not run here"}},
        .weights_mode = "link",
        .checkpoint = (root_ / "model").string()};
    absl::Status written = WriteBundle(contents, path(), /*overwrite=*/true);
    ASSERT_TRUE(written.ok()) << written;
    auto bundle = Bundle::Open(path());
    ASSERT_TRUE(bundle.ok()) << bundle.status();
    const plan::Target &target = *(*bundle)->target("sm_90a");
    ThreadPool pool(2);
    HostSink host(pool);
    PackingSink kernels(pool, shape, 17 * row);
    std::vector<std::byte> expected(WeightsBytes(target)), found(expected.size());
    ASSERT_TRUE(LoadWeights(**bundle, target, expected.data(), host).ok());
    absl::Status loaded = LoadWeights(**bundle, target, found.data(), kernels);
    ASSERT_TRUE(loaded.ok()) << loaded;
    EXPECT_TRUE(found == expected) << plan::EnumNameRowOrder(shape.order);
    EXPECT_EQ(kernels.launches, static_cast<int>((shape.rows + 15) / 16));
  }
}

TEST_F(BundleTest, LaunchesThatPackTakeSourcesAndTheirWeight) {
  PackedShape shape{plan::RowOrder_Plain, 16, 64, 0};
  BundleContents contents{.plan = PackedPlan(shape, {plan::BufferKind_Weight, plan::BufferKind_Weight}),
                          .manifest_extra = "{}",
                          .files = {},
                          .weights_mode = "dummy",
                          .checkpoint = ""};
  EXPECT_THAT(std::string(WriteBundle(contents, path(), false).message()),
              HasSubstr("the launch that packs weight 'w' does not take sources and that weight"));
  contents.plan = PackedPlan(shape, {plan::BufferKind_Source, plan::BufferKind_Weight}, /*source_row=*/260);
  EXPECT_THAT(std::string(WriteBundle(contents, path(), false).message()),
              HasSubstr("the kernel that packs weight 'w' expects other rows than its 256 and 128 bytes"));
}

} // namespace
} // namespace inlay

// Bundles: what is written is what is read, and whatever was changed on the way is refused by name.
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/bundle/writer.h"
#include "runtime/support/files.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>

namespace inlay {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A plan of one cpu target with one kernel and, from tensor "a", one weight of 4 x 3 floats.
std::string SmallPlan(uint32_t kernel_of_launch = 0, uint64_t weight_bytes = 48) {
  flatbuffers::FlatBufferBuilder b;
  auto recipe = plan::CreateRecipe(b, b.CreateVectorOfStrings({"a"}), 4, 3);
  auto weight = plan::CreateWeight(b, b.CreateString("w"), plan::DataType_F32, weight_bytes, 0, recipe);
  auto kernel = plan::CreateKernel(b, b.CreateString("k"));
  plan::Count one(plan::Extent_One, 1, 1);
  auto argument = plan::CreateArgument(b, plan::BufferKind_Weight, 0);
  auto arguments = b.CreateVector(std::vector{argument});
  auto grid = b.CreateVectorOfStructs(&one, 1);
  auto launch = plan::CreateLaunch(b, kernel_of_launch, arguments, grid);
  auto launches = b.CreateVector(std::vector{launch});
  auto entry_name = b.CreateString("decode");
  auto entry = plan::CreateEntry(b, entry_name, plan::EntryKind_Decode, 4, 4, 1, 256, 0, launches);
  auto target_name = b.CreateString("cpu");
  auto kernels = b.CreateVector(std::vector{kernel});
  auto weights = b.CreateVector(std::vector{weight});
  auto entries = b.CreateVector(std::vector{entry});
  auto target = plan::CreateTarget(b, target_name, kernels, weights, entries);
  auto model = plan::CreateModel(b, 16, 1, 1, 8, plan::DataType_F32, 16, 64, 4, 4);
  auto targets = b.CreateVector(std::vector{target});
  plan::FinishPlanBuffer(b, plan::CreatePlan(b, kBundleFormatVersion, model, targets));
  return {reinterpret_cast<const char *>(b.GetBufferPointer()), b.GetSize()};
}

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
  // The second "plan.fb" of the object, which is the one that counts, has the hash of the real one.
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
  EXPECT_THAT(std::string(write("link").message()), HasSubstr("is no UTF-8 path"));
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
  Replace("manifest.json", "\"format_version\": 1", "\"format_version\": 2");
  EXPECT_THAT(OpenError(), HasSubstr("has format 2, this runtime"));
  EXPECT_THAT(OpenError(), HasSubstr("update the runtime"));
  Replace("manifest.json", "\"format_version\": 2", "\"format_version\": 0");
  EXPECT_THAT(OpenError(), HasSubstr("compile the model again with this version"));
}

TEST_F(BundleTest, AManifestThatDisagreesWithThePlanIsRefused) {
  ASSERT_TRUE(Write("pack").ok());
  Replace("manifest.json", "\"cpu\"\n  ]", "\"sm_90a\"\n  ]");
  EXPECT_THAT(OpenError(), HasSubstr("'targets' is missing or of the wrong type"));
}

TEST_F(BundleTest, ValuesOfTheWrongTypeAreErrorsAndNotExceptions) {
  ASSERT_TRUE(Write("link").ok());
  Replace("manifest.json", "\"directory\": ", "\"directory\": 5, \"was\": ");
  EXPECT_THAT(OpenError(), HasSubstr("'weights.directory' is missing or no string"));
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

TEST_F(BundleTest, PlansThatReachOutsideAreRefused) {
  EXPECT_THAT(std::string(Write("dummy", false, SmallPlan(/*kernel_of_launch=*/7)).message()),
              HasSubstr("a launch names kernel 7 of 1"));
  EXPECT_THAT(std::string(Write("dummy", false, SmallPlan(0, /*weight_bytes=*/64)).message()),
              HasSubstr("weight 'w' has 64 bytes, its shape 48"));
}

} // namespace
} // namespace inlay

// Timing alternatives of a kernel: which memory they read, in which order they run, and what their samples become.
#include "runtime/bundle/writer.h"
#include "runtime/tools/launch_results.h"
#include "runtime/tools/launch_timer.h"
#include "test/runtime/fake_device.h"
#include "test/runtime/plan_testing.h"

#include <cmath>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

namespace inlay::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr uint64_t kMatrixBytes = uint64_t{1024} * 32 * 2;

// Alternatives a, b and c of a decode step of 4 rows: a matrix of 1024 x 32 and a vector, the key cache, a workspace.
std::string AlternativesPlan(plan::EntryKind kind) {
  flatbuffers::FlatBufferBuilder b;
  auto matrix = plan::CreateRecipe(b, CreateSources(b, {"m"}), 1024, 32);
  auto vector = plan::CreateRecipe(b, CreateSources(b, {"v"}), 32, 1);
  std::vector weights{plan::CreateWeight(b, b.CreateString("m"), plan::DataType_BF16, kMatrixBytes, 0, matrix),
                      plan::CreateWeight(b, b.CreateString("v"), plan::DataType_BF16, 64, kMatrixBytes, vector)};
  plan::Count one(plan::Extent_One, 1, 1);
  std::vector<plan::View> views{
      {one, kMatrixBytes}, {one, 64}, {plan::Count(plan::Extent_KvRows, 1, 1), 32}, {one, 64}};
  std::vector<flatbuffers::Offset<plan::Kernel>> kernels;
  std::vector<flatbuffers::Offset<plan::Launch>> launches;
  for (uint32_t i = 0; i < 3; ++i) {
    kernels.push_back(CreateCodeKernel(b, std::string(1, static_cast<char>('a' + i)).c_str(), views));
    std::vector arguments{plan::CreateArgument(b, plan::BufferKind_Weight, 0),
                          plan::CreateArgument(b, plan::BufferKind_Weight, 1),
                          plan::CreateArgument(b, plan::BufferKind_KeyCache, 0),
                          plan::CreateArgument(b, plan::BufferKind_Workspace, 0, 128)};
    std::vector grid{one};
    launches.push_back(plan::CreateLaunchDirect(b, i, &arguments, &grid));
  }
  std::vector entries{
      plan::CreateEntryDirect(b, "tune", kind, 4, 4, kind == plan::EntryKind_Decode ? 1 : 16, 256, nullptr, &launches)};
  return FinishPlan(b, plan::CreateTargetDirect(b, "sm_90a", &kernels, &weights, &entries));
}

class LaunchTimerTest : public ::testing::Test {
protected:
  void SetUp() override {
    path_ = fs::path(::testing::TempDir()) /
            ("inlay-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    gpu_.microseconds = [](std::string_view kernel) { return kernel == "a" ? 20 : kernel == "b" ? 10 : 40; };
    options_.now = [&] { return gpu_.seconds; };
    options_.cold_bytes = 100 * kMatrixBytes;
  }
  void TearDown() override { fs::remove_all(path_); }

  absl::StatusOr<std::vector<LaunchTime>> Time(plan::EntryKind kind = plan::EntryKind_Decode) {
    absl::Status written = WriteBundle(
        {.plan = AlternativesPlan(kind),
         .manifest_extra = "{}",
         .files = {{"kernels/sm_90a/a.cubin", "a"}, {"kernels/sm_90a/b.cubin", "b"}, {"kernels/sm_90a/c.cubin", "c"}},
         .weights_mode = "dummy",
         .checkpoint = ""},
        path_.string(), /*overwrite=*/true);
    if (!written.ok())
      return written;
    auto bundle = Bundle::Open(path_.string());
    if (!bundle.ok())
      return bundle.status();
    FakeDevice device(gpu_);
    const plan::Target &target = *(*bundle)->target("sm_90a");
    absl::StatusOr<std::unique_ptr<LaunchTimer>> timer = LaunchTimer::Open(device, **bundle, target, options_);
    if (!timer.ok())
      return timer.status();
    return (*timer)->Time(*target.entries()->Get(0), std::vector(4, plan::DataType_BF16));
  }

  // The lists of more than one launch.
  std::vector<std::vector<BoundLaunch>> Chains() const {
    std::vector<std::vector<BoundLaunch>> chains;
    for (const std::vector<BoundLaunch> &list : gpu_.lists)
      if (list.size() > 1)
        chains.push_back(list);
    return chains;
  }

  fs::path path_;
  FakeGpu gpu_;
  LaunchTimerOptions options_;
};

TEST_F(LaunchTimerTest, GivesTheTimeOfOneLaunchOfAChain) {
  auto times = Time();
  ASSERT_TRUE(times.ok()) << times.status();
  ASSERT_EQ(times->size(), 3);
  EXPECT_NEAR((*times)[0].microseconds, 20, 1e-6);
  EXPECT_NEAR((*times)[1].microseconds, 10, 1e-6);
  EXPECT_NEAR((*times)[2].microseconds, 40, 1e-6);
  EXPECT_NEAR((*times)[0].spread, 0, 1e-6);
}

// 100 copies of the matrix are read in turn, and copies of the vector; the workspace and the rows of the step stay
// where they are.
TEST_F(LaunchTimerTest, AChainReadsAnotherCopyInEachLaunch) {
  ASSERT_TRUE(Time().ok());
  std::set<void *> matrices, vectors, workspaces;
  std::vector<BoundLaunch> chain = Chains().at(0);
  for (const BoundLaunch &launch : chain) {
    matrices.insert(launch.arguments[0]);
    vectors.insert(launch.arguments[1]);
    workspaces.insert(launch.arguments[3]);
  }
  EXPECT_EQ(chain.size(), 100);
  EXPECT_EQ(matrices.size(), 100);
  EXPECT_EQ(vectors.size(), 100);
  EXPECT_EQ(workspaces.size(), 1);
}

// A median is not moved by rounds in which something else slows the GPU down.
TEST_F(LaunchTimerTest, AFewSlowRoundsChangeNothing) {
  options_.sample_seconds = 1e-6; // one run a sample
  gpu_.microseconds = [&](std::string_view kernel) {
    return gpu_.runs.size() % 10 == 7 ? 500 : kernel == "a" ? 11 : 10;
  };
  auto times = Time();
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_NEAR((*times)[0].microseconds, 11, 1e-6);
  EXPECT_NEAR((*times)[1].microseconds, 10, 1e-6);
}

TEST_F(LaunchTimerTest, RoundsInterleaveAndTheSlowestHaveFewer) {
  options_.sample_seconds = 1e-6; // one run a sample
  options_.rounds = 5;
  ASSERT_TRUE(Time().ok());
  EXPECT_THAT(gpu_.runs, ElementsAre("a", "a", "b", "b", "c", "c", // first runs
                                     "a", "b", "c", "c", "b", "a", "a", "b", "c", "b", "b"));
}

// b would be the fastest.
TEST_F(LaunchTimerTest, AnAlternativeWithOtherResultsIsNotMeasured) {
  gpu_.result = [](std::string_view kernel) { return kernel == "b" ? 1.5f : 1.0f; };
  auto times = Time();
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_FALSE((*times)[0].differs);
  EXPECT_TRUE((*times)[1].differs);
  EXPECT_EQ(std::ranges::count(gpu_.runs, "b"), 0);
  EXPECT_NEAR((*times)[0].microseconds, 20, 1e-6);
}

// Sums of squares are float32 among rows of bfloat16.
TEST(LaunchResults, ElementsHaveTheTypesOfTheirArguments) {
  flatbuffers::FlatBufferBuilder b;
  std::vector arguments{plan::CreateArgument(b, plan::BufferKind_Workspace),
                        plan::CreateArgument(b, plan::BufferKind_Weight),
                        plan::CreateArgument(b, plan::BufferKind_Workspace)};
  auto launch = plan::CreateLaunchDirect(b, 0, &arguments);
  b.Finish(launch);
  BoundLaunch bound{flatbuffers::GetRoot<plan::Launch>(b.GetBufferPointer()), {}, 0};
  int rows = 0, weight = 0, squares = 0;
  bound.arguments = {&rows, &weight, &squares};
  flatbuffers::FlatBufferBuilder k;
  std::vector views(3, plan::View(plan::Count(plan::Extent_Tokens, 1, 1), 64));
  k.Finish(plan::CreateKernelDirect(k, "rows", &views));
  StepSizes sizes{};
  sizes[plan::Extent_Tokens] = 2;
  std::vector types{plan::DataType_BF16, plan::DataType_U4, plan::DataType_F32};
  auto ranges = ResultsOf(bound, *flatbuffers::GetRoot<plan::Kernel>(k.GetBufferPointer()), sizes, types);
  ASSERT_EQ(ranges.size(), 2);
  EXPECT_EQ(ranges[0].type, plan::DataType_BF16);
  EXPECT_EQ(ranges[1].address, &squares);
  EXPECT_EQ(ranges[1].bytes, 128);
  EXPECT_EQ(ranges[1].type, plan::DataType_F32);
}

TEST(LaunchResults, SumsInAnotherOrderAreTheSame) {
  ThreadPool pool(1);
  EXPECT_LT(RelativeSquaredError({{1.004f, -2}}, {{1, -2}}, pool), kSameResults);
  EXPECT_GT(RelativeSquaredError({{1.1f, -2}}, {{1, -2}}, pool), kSameResults);
  EXPECT_GT(RelativeSquaredError({{NAN, -2}}, {{1, -2}}, pool), kSameResults);
  EXPECT_EQ(RelativeSquaredError({{NAN, -2}}, {{NAN, -2}}, pool), 0);
}

// What a kernel reads is large and the same.
TEST(LaunchResults, EachArgumentIsComparedAlone) {
  ThreadPool pool(1);
  EXPECT_GT(RelativeSquaredError({{1000, 1000}, {2}}, {{1000, 1000}, {1}}, pool), kSameResults);
}

TEST_F(LaunchTimerTest, DecodeStepsHaveRowsOfAllSequences) {
  ASSERT_TRUE(Time().ok());
  EXPECT_EQ(gpu_.sizes.front()[plan::Extent_Tokens], 4);
  EXPECT_EQ(gpu_.sizes.front()[plan::Extent_Sequences], 4);
  EXPECT_GT(gpu_.sizes.front()[plan::Extent_KvRows], 0);
}

TEST_F(LaunchTimerTest, OtherStepsAreOnePrompt) {
  ASSERT_TRUE(Time(plan::EntryKind_Mixed).ok());
  EXPECT_EQ(gpu_.sizes.front()[plan::Extent_Tokens], 4);
  EXPECT_EQ(gpu_.sizes.front()[plan::Extent_Sequences], 1);
}

TEST_F(LaunchTimerTest, AnErrorNamesTheKernel) {
  gpu_.run = [](std::string_view kernel) {
    return kernel == "b" ? absl::InternalError("an illegal memory access") : absl::OkStatus();
  };
  EXPECT_EQ(Time().status(), absl::InternalError("measuring 'b': an illegal memory access"));
}

TEST_F(LaunchTimerTest, StopsBetweenSamples) {
  options_.stop = [&] { return gpu_.runs.size() > 20; };
  EXPECT_TRUE(absl::IsCancelled(Time().status()));
}

TEST_F(LaunchTimerTest, TooLittleMemoryIsAnErrorThatSaysWhatFor) {
  gpu_.free_memory = 1 << 20;
  EXPECT_EQ(Time().status(), absl::ResourceExhaustedError("fake: no memory for weights to measure with"));
}

} // namespace
} // namespace inlay::tools

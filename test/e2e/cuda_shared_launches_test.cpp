// What a stream waits for in CudaSharedLaunches::Meet(), with streams of the fake driver whose work runs late.
#include "runtime/device/cuda_shared_launches.h"
#include "test/e2e/fake_driver.h"
#include "test/e2e/fake_gpu_test.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace inlay {
namespace {

// Ranks of one stage or of several, each with a stream. Work of the fake driver runs late: when other work follows on
// its stream, or when something waits for an event behind it. So what has run says what a stream has waited for.
class CudaSharedLaunchesTest : public FakeGpuTest {
protected:
  CudaSharedLaunchesTest() : FakeGpuTest("2"), api_(**cuda_driver::LoadDriver()) { Set("FAKE_LATE", "late"); }
  ~CudaSharedLaunchesTest() override { launches_->Close(); }

  // `gpus`: that of each rank.
  void Open(const std::vector<int> &gpus, uint32_t ranks_of_stage) {
    for (int ordinal : gpus) {
      RankGpu gpu{.device = ordinal, .ordinal = ordinal};
      ASSERT_EQ(api_.PrimaryContextRetain(&gpu.context, gpu.device), 0);
      api_.ContextSetCurrent(gpu.context);
      ASSERT_EQ(api_.StreamCreate(&gpu.stream, cuda_driver::kStreamNonBlocking), 0);
      gpus_.push_back(gpu);
    }
    done_ = std::vector<std::atomic<int>>(gpus.size());
    group_ = std::make_unique<RankGroup>(static_cast<uint32_t>(gpus.size()), std::chrono::seconds(30));
    launches_ = std::make_unique<CudaSharedLaunches>(*group_, api_, gpus_, ranks_of_stage);
    ASSERT_EQ(launches_->Open(), absl::OkStatus());
  }

  // Adds work to the rank's stream, which counts in done_ when it runs.
  void AddWork(uint32_t rank) {
    api_.ContextSetCurrent(gpus_[rank].context);
    fake::Enqueue([this, rank] { ++done_[rank]; }, gpus_[rank].stream, "late");
  }

  // Calls Meet() of these ranks, each on its thread.
  void Meet(const std::vector<uint32_t> &ranks) {
    std::vector<std::thread> threads;
    for (uint32_t rank : ranks)
      threads.emplace_back([this, rank] { EXPECT_EQ(launches_->Meet(rank), absl::OkStatus()) << rank; });
    for (std::thread &thread : threads)
      thread.join();
  }

  std::vector<int> Done() const { return {done_.begin(), done_.end()}; }

  const cuda_driver::Api &api_;
  std::vector<RankGpu> gpus_;
  std::vector<std::atomic<int>> done_; // by rank
  std::unique_ptr<RankGroup> group_;
  std::unique_ptr<CudaSharedLaunches> launches_;
};

TEST_F(CudaSharedLaunchesTest, AStreamWaitsForWhatTheOtherHasBeforeItsCall) {
  Open({0, 0}, 2);
  AddWork(1);
  EXPECT_EQ(Done(), (std::vector{0, 0}));
  Meet({0, 1});
  EXPECT_EQ(Done(), (std::vector{0, 1})); // rank 0 waits for it
  AddWork(0);
  Meet({0, 1});
  EXPECT_EQ(Done(), (std::vector{1, 1})); // so does rank 1
}

// Otherwise a kernel would wait for what comes after the kernel that it exchanges with.
TEST_F(CudaSharedLaunchesTest, AStreamDoesNotWaitForWhatComesLater) {
  Open({0, 0}, 2);
  AddWork(1);
  std::thread other([this] {
    EXPECT_EQ(launches_->Meet(1), absl::OkStatus());
    AddWork(1);
  });
  Meet({0});
  other.join();
  EXPECT_EQ(Done(), (std::vector{0, 1}));
}

// The events of two calls take turns.
TEST_F(CudaSharedLaunchesTest, EachCallWaitsForTheCallOfItsNumber) {
  Open({0, 0}, 2);
  for (int call = 1; call <= 5; ++call) {
    AddWork(0);
    AddWork(1);
    Meet({0, 1});
    EXPECT_EQ(Done(), (std::vector{call, call}));
  }
}

TEST_F(CudaSharedLaunchesTest, RanksOfOtherGpusAndOtherStagesAreNotWaitedFor) {
  // Ranks 0 and 1 are a stage on one GPU, ranks 2 and 3 another one, of which rank 2 has that GPU, too.
  Open({0, 0, 0, 1}, 2);
  for (uint32_t rank = 0; rank < 4; ++rank)
    AddWork(rank);
  Meet({2});
  EXPECT_EQ(Done(), (std::vector{0, 0, 0, 0}));
  Meet({0, 1});
  EXPECT_EQ(Done(), (std::vector{1, 1, 0, 0}));
}

TEST_F(CudaSharedLaunchesTest, AStreamWaitsForAllRanksOfItsGpu) {
  Open({1, 1, 1}, 3);
  for (uint32_t rank : {1, 2})
    AddWork(rank);
  Meet({0, 1, 2});
  EXPECT_EQ(Done(), (std::vector{0, 1, 1}));
}

} // namespace
} // namespace inlay

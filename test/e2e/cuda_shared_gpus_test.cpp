// Ranks on the GPUs that --device names, with the fake driver. Several ranks can have one GPU.
#include "runtime/device/cuda_gpus.h"
#include "runtime/device/peer_table.h"
#include "runtime/device/read_bandwidth.h"
#include "test/e2e/cuda_ranks_testing.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

namespace inlay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CudaSharedGpusTest : public CudaRanksTest {};

TEST_F(CudaSharedGpusTest, RanksHaveTheGpusThatAreNamed) {
  Set("FAKE_GPUS", "4");
  named_ = {3, 1};
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(ranks_->Describe(), "GPUs 3, 1 through peer memory");
  EXPECT_EQ(ranks_->Addresses(), "0000:04:00.0, 0000:02:00.0");
  EXPECT_EQ(ranks_->RanksOnGpuOf(1), 1u);
  EXPECT_FALSE(ranks_->SharesContext(0));
  EXPECT_EQ(std::getenv("CUDA_DEVICE_MAX_CONNECTIONS"), nullptr);
}

TEST_F(CudaSharedGpusTest, OneRankHasTheGpuThatIsNamed) {
  absl::StatusOr<std::unique_ptr<Device>> first = OpenDevice("sm_90a", 1),
                                          second = OpenDevice("sm_90a", 1, "", {.devices = {1}});
  ASSERT_TRUE(first.ok() && second.ok());
  const uint64_t free_of_first = (*first)->FreeMemory(), free_of_second = (*second)->FreeMemory();
  absl::StatusOr<void *> memory = (*second)->Allocate(1 << 20, "test");
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ((*first)->FreeMemory(), free_of_first);
  EXPECT_LT((*second)->FreeMemory(), free_of_second);
  (*second)->Free(*memory);
}

TEST_F(CudaSharedGpusTest, GpusThatAreNotThereAreNamed) {
  for (int32_t wrong : {2, -1}) {
    named_ = {0, wrong};
    EXPECT_THAT(Message(Open()), AllOf(HasSubstr("--device names GPU " + std::to_string(wrong) +
                                                 ", but this machine has 2: Fake GPU (sm_90), Fake GPU (sm_90)"),
                                       HasSubstr("CUDA_VISIBLE_DEVICES")));
  }
}

TEST_F(CudaSharedGpusTest, AGpuWithAnotherChipIsNamed) {
  Set("FAKE_CHIPS", "90,80");
  named_ = {0, 1};
  EXPECT_THAT(Message(Open()),
              HasSubstr("--device names GPU 1, Fake GPU (sm_80), which cannot run code for sm_90a; name another GPU of "
                        "Fake GPU (sm_90), Fake GPU (sm_80), or compile"));
  named_ = {};
  EXPECT_THAT(Message(Open()), AllOf(HasSubstr("but this machine has 1: "), HasSubstr("ranks can share GPUs")));
}

TEST_F(CudaSharedGpusTest, FewerGpusThanRanksAreAnError) {
  named_ = {1};
  EXPECT_EQ(Message(Open()),
            "--device names too few GPUs: found 1, expected one for each of 2 ranks, separated by commas");
}

// The fake driver takes no PTX, so the measurement ends when its GPU is open.
TEST_F(CudaSharedGpusTest, TheReadBandwidthIsThatOfTheNamedGpu) {
  Set("FAKE_CHIPS", "90,80");
  auto measure = [](uint32_t rank, std::vector<int32_t> devices) {
    return Message(
        MeasureReadBandwidth("sm_90a", 1, {.index = rank, .count = 2, .devices = std::move(devices)}).status());
  };
  EXPECT_THAT(measure(1, {0, 0}), HasSubstr("while loading its kernel"));
  EXPECT_THAT(measure(1, {0, 1}),
              HasSubstr("--device names GPU 1, Fake GPU (sm_80), which cannot run code for sm_90a"));
  EXPECT_THAT(measure(1, {0, 2}), HasSubstr("--device names GPU 2, but this machine has 2"));
  EXPECT_THAT(measure(0, {}), HasSubstr("the bundle is for 2 ranks, each on a GPU for sm_90a"));
  Set("FAKE_CHIPS", "80");
  EXPECT_THAT(measure(0, {}), HasSubstr("the code is for sm_90a, but this machine has Fake GPU (sm_80)"));
}

// Each rank has exchange memory and a table of its own, and writes that of the others at their addresses.
TEST_F(CudaSharedGpusTest, RanksOnOneGpuReachEachOther) {
  Set("FAKE_GPUS", "1");
  for (DistributedBackend backend : {DistributedBackend::kAuto, DistributedBackend::kPeer}) {
    named_ = {0, 0};
    ::testing::internal::CaptureStderr();
    ASSERT_EQ(Connect(MakeTarget(builder_), backend), absl::OkStatus());
    EXPECT_EQ(::testing::internal::GetCapturedStderr(),
              "inlay: ranks 0 and 1 share GPU 0: this is for checking, not for speed\n");
    EXPECT_EQ(ranks_->Describe(), "GPUs 0, 0 through peer memory");
    EXPECT_EQ(ranks_->RanksOnGpuOf(1), 2u);
    EXPECT_TRUE(ranks_->SharesContext(0) && ranks_->SharesContext(1));
    PeerTable tables[2];
    for (uint32_t rank = 0; rank < 2; ++rank)
      std::memcpy(&tables[rank], reinterpret_cast<const void *>(ranks_->table(rank)), sizeof(PeerTable));
    EXPECT_NE(tables[0].exchange[0], tables[0].exchange[1]);
    for (uint32_t rank = 0; rank < 2; ++rank) {
      EXPECT_EQ(tables[rank].rank, rank);
      EXPECT_EQ(tables[0].exchange[rank], tables[1].exchange[rank]);
      const auto *words = reinterpret_cast<const uint32_t *>(tables[0].exchange[rank]);
      const auto count = static_cast<ptrdiff_t>(kExchangeRounds * tables[0].round_bytes / 4);
      EXPECT_EQ(std::count(words, words + count, kPeerPoison), count);
    }
    EXPECT_STREQ(std::getenv("CUDA_DEVICE_MAX_CONNECTIONS"), "32");
    EXPECT_STREQ(std::getenv("CUDA_MODULE_LOADING"), "EAGER");
    devices_.clear();
  }
}

TEST_F(CudaSharedGpusTest, MemoryOfAllRanksIsCountedAndFreed) {
  named_ = {0, 0};
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(ranks_->Choose(MakeTarget(builder_)).ok());
  const uint64_t before = devices_[0]->FreeMemory();
  ASSERT_TRUE(ranks_->Connect().ok());
  EXPECT_EQ(before - devices_[0]->FreeMemory(), ranks_->bytes(0) + ranks_->bytes(1));
  devices_[0].reset();
  devices_[1].reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(devices_[0]->FreeMemory(), before);
}

TEST_F(CudaSharedGpusTest, NcclRefusesSharedGpus) {
  named_ = {1, 1};
  EXPECT_EQ(Message(Connect(MakeTarget(builder_), DistributedBackend::kNccl)),
            "the ranks need NCCL because --distributed-backend is nccl, but ranks 0 and 1 share GPU 1, which NCCL "
            "refuses; name a GPU for each rank (--device), or use --distributed-backend peer");
  EXPECT_EQ(Message(Connect(MakeTarget(builder_, true, /*logits_have_code=*/false))),
            "the ranks need NCCL because kernel 'logits' has no code for peer memory, but ranks 0 and 1 share GPU 1, "
            "which NCCL refuses; name a GPU for each rank (--device)");
}

// A stream waits for the work that the other rank has enqueued before the same call.
TEST_F(CudaSharedGpusTest, KernelsThatExchangeStartTogether) {
  named_ = {0, 0};
  timeout_ = std::chrono::seconds(30); // no thread is late on a busy machine
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  constexpr int kCalls = 100;
  std::atomic<int> calls[2] = {0, 0};
  std::atomic<int> most_ahead{0};
  absl::Status statuses[2];
  auto run = [&](uint32_t rank) {
    for (int i = 0; i < kCalls && statuses[rank].ok(); ++i) {
      ++calls[rank];
      statuses[rank] = ranks_->Meet(rank);
      most_ahead = std::max(most_ahead.load(), i + 1 - calls[1 - rank]);
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  EXPECT_TRUE(statuses[0].ok() && statuses[1].ok()) << statuses[0] << statuses[1];
  EXPECT_EQ(most_ahead, 0); // no call has returned before the other rank's began
}

TEST_F(CudaSharedGpusTest, ARankThatDoesNotExchangeIsNamed) {
  named_ = {1, 1};
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  EXPECT_THAT(Message(ranks_->Meet(0)),
              AllOf(HasSubstr("has waited 0.2 s (--distributed-timeout) until rank 1 (step 0, call 0: idle, for "),
                    HasSubstr("exchanges with it on GPU 1; the engine cannot continue")));
  EXPECT_TRUE(group_->has_failed());
}

// They have GPUs of their own: nothing to wait for.
TEST_F(CudaSharedGpusTest, RanksOnTwoGpusDoNotMeet) {
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  EXPECT_EQ(ranks_->Meet(0), absl::OkStatus());
}

class CudaSharedStagesTest : public CudaStagesTest {};

// Each GPU has a rank of each stage, or one GPU has all.
TEST_F(CudaSharedStagesTest, StagesOnTheSameGpusPassRowsOn) {
  for (const auto &[named, described, warning] :
       {std::tuple{std::vector{0, 1, 0, 1}, "GPUs 0, 1, 0, 1", "ranks 0 and 2 share GPU 0, ranks 1 and 3 share GPU 1:"},
        {std::vector{2, 2, 2, 2}, "GPUs 2, 2, 2, 2", "ranks 0, 1, 2 and 3 share GPU 2:"}}) {
    SCOPED_TRACE(described);
    named_ = named;
    devices_.clear();
    ::testing::internal::CaptureStderr();
    ASSERT_EQ(ConnectStages(2), absl::OkStatus());
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(warning));
    EXPECT_EQ(ranks_->Describe(), std::string(described) + " through peer memory");
    for (uint32_t rank : {0u, 1u}) {
      const auto value = static_cast<uint8_t>(rank + 1);
      ASSERT_EQ(Send(rank, 1, Rows(rank, value)), absl::OkStatus());
      std::byte *received = Rows(rank + 2);
      ASSERT_EQ(Receive(rank + 2, 1, received), absl::OkStatus());
      std::vector<uint8_t> bytes(kRows * kRowBytes);
      ASSERT_TRUE(devices_[rank + 2]->CopyToHost(bytes.data(), received, bytes.size()).ok());
      EXPECT_EQ(std::ranges::count(bytes, value), std::ssize(bytes));
    }
  }
}

// Stages send rows through a communicator of all ranks.
TEST_F(CudaSharedStagesTest, NcclRefusesStagesOnOneGpu) {
  named_ = {0, 0};
  EXPECT_THAT(Message(ConnectStages(1, DistributedBackend::kNccl)), HasSubstr("ranks 0 and 1 share GPU 0, which NCCL"));
}

} // namespace
} // namespace inlay

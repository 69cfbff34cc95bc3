// Rows between stages on GPUs, with the fake driver and the fake NCCL: how they go, in which order they arrive, and
// what happens when a stage does not take part.
#include "runtime/device/peer_table.h"
#include "test/e2e/cuda_ranks_testing.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>
#include <tuple>

namespace inlay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Way {
  DistributedBackend backend;
  const char *no_peer, *broken; // FAKE_NO_PEER and FAKE_BROKEN, or null
  const char *described, *warning;
};

// The rows of two steps can be in flight, and each arrives where it belongs.
TEST_F(CudaStagesTest, RowsArriveInTheOrderOfTheSteps) {
  for (const Way &way : {Way{DistributedBackend::kAuto, nullptr, nullptr, "peer memory", ""},
                         {DistributedBackend::kPeer, nullptr, nullptr, "peer memory", ""},
                         {DistributedBackend::kNccl, nullptr, nullptr, "NCCL 2.28.9", ""},
                         {DistributedBackend::kAuto, "0:1", nullptr, "host memory",
                          "inlay: GPU 0 cannot access the memory of GPU 1, so rows between stages go through host"},
                         {DistributedBackend::kAuto, nullptr, "0:1", "host memory",
                          "Rows between stages go through host memory instead"}}) {
    SCOPED_TRACE(way.described);
    devices_.clear();
    for (auto [name, value] : {std::pair{"FAKE_NO_PEER", way.no_peer}, {"FAKE_BROKEN", way.broken}})
      Set(name, value ? value : "");
    ::testing::internal::CaptureStderr();
    ASSERT_EQ(ConnectStages(1, way.backend), absl::OkStatus());
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(way.warning));
    EXPECT_EQ(ranks_->Describe(), std::string("GPUs 0, 1 through ") + way.described);
    EXPECT_EQ(ranks_->uses_nccl(), false); // no sum depends on it
    std::byte *first = Rows(0, 1), *second = Rows(0, 2), *found = Rows(1);
    for (int64_t step = 1; step <= 7; step += 2) {
      ASSERT_EQ(Send(0, step, first), absl::OkStatus());
      ASSERT_EQ(Send(0, step + 1, second, 3), absl::OkStatus());
      // What is sent later does not change what was sent.
      for (uint64_t count : {kRows, uint64_t{3}}) {
        ASSERT_EQ(Receive(1, step + (count == 3), found, count), absl::OkStatus());
        std::vector<uint8_t> bytes(kRows * kRowBytes), expected(bytes.size(), 1);
        std::fill_n(expected.begin(), count == 3 ? 3 * kRowBytes : 0, 2);
        ASSERT_TRUE(devices_[1]->CopyToHost(bytes.data(), found, bytes.size()).ok());
        EXPECT_EQ(bytes, expected) << step;
      }
    }
  }
}

TEST_F(CudaStagesTest, ErrorsOfTheDriverStayErrors) {
  Set("FAKE_FAULT", "0:1");
  ::testing::internal::CaptureStderr();
  const absl::Status status = ConnectStages();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(status), HasSubstr("(error 700) while checking whether GPU 0 reaches the memory of GPU 1"));
}

// A sender may be ahead by as many steps as are in flight. It then waits and does not overwrite rows.
TEST_F(CudaStagesTest, ThreadsOfThreeStagesPassRowsOn) {
  constexpr int64_t kSteps = 200;
  timeout_ = std::chrono::seconds(30); // no thread is late on a busy machine
  ASSERT_TRUE(Open(DistributedBackend::kAuto, INLAY_FAKE_NCCL, 3, 3).ok());
  ASSERT_TRUE(ranks_->Choose(MakeStages(false)).ok());
  ASSERT_EQ(ranks_->Connect(), absl::OkStatus());
  std::byte *rows[] = {Rows(0), Rows(1), Rows(2)};
  std::atomic<int64_t> wrong{0};
  auto run = [&](uint32_t rank) -> absl::Status {
    std::vector<uint8_t> bytes(kRows * kRowBytes);
    for (int64_t step = 1; step <= kSteps; ++step) {
      const auto value = static_cast<uint8_t>(step);
      if (rank > 0) {
        if (absl::Status status = Receive(rank, step, rows[rank]); !status.ok())
          return status;
        if (absl::Status status = devices_[rank]->CopyToHost(bytes.data(), rows[rank], bytes.size()); !status.ok())
          return status;
        wrong += std::ranges::count_if(bytes, [&](uint8_t byte) { return byte != value; });
      } else {
        std::ranges::fill(bytes, value);
        if (absl::Status status = devices_[0]->CopyToDevice(rows[0], bytes.data(), bytes.size()); !status.ok())
          return status;
      }
      if (rank < 2)
        if (absl::Status status = Send(rank, step, rows[rank]); !status.ok())
          return status;
    }
    return absl::OkStatus();
  };
  std::vector<absl::Status> statuses(3);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] { statuses[rank] = run(rank); });
  for (std::thread &thread : threads)
    thread.join();
  for (const absl::Status &status : statuses)
    EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(wrong, 0);
}

TEST_F(CudaStagesTest, EachPairIsAskedFor) {
  Set("FAKE_NO_PEER", "2:0");
  EXPECT_THAT(Message(ConnectStages(2, DistributedBackend::kPeer)),
              HasSubstr("--distributed-backend peer: GPU 2 cannot access the memory of GPU 0; use"));
  // Ranks at different places of two stages exchange nothing.
  Set("FAKE_NO_PEER", "0:3");
  ASSERT_EQ(ConnectStages(2, DistributedBackend::kPeer), absl::OkStatus());
  EXPECT_EQ(ranks_->Describe(), "GPUs 0, 1, 2, 3 through peer memory");
}

TEST_F(CudaStagesTest, ATableHasTheRanksOfItsStage) {
  ASSERT_EQ(ConnectStages(2), absl::OkStatus());
  PeerTable tables[4];
  for (uint32_t rank = 0; rank < 4; ++rank)
    std::memcpy(&tables[rank], reinterpret_cast<const void *>(ranks_->table(rank)), sizeof(PeerTable));
  std::vector<uint64_t> memories;
  for (uint32_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(tables[rank].rank, rank % 2);
    EXPECT_EQ(tables[rank].exchange[0], tables[rank ^ 1].exchange[0]);
    EXPECT_EQ(tables[rank].exchange[1], tables[rank ^ 1].exchange[1]);
    EXPECT_EQ(tables[rank].exchange[2], 0u);
    memories.push_back(tables[rank].exchange[rank % 2]);
  }
  std::ranges::sort(memories);
  EXPECT_EQ(std::ranges::adjacent_find(memories), memories.end());
}

TEST_F(CudaStagesTest, MemoryOfTheInboxIsCounted) {
  ASSERT_TRUE(Open(DistributedBackend::kAuto, INLAY_FAKE_NCCL, 2, 2).ok());
  ASSERT_TRUE(ranks_->Choose(MakeStages(false)).ok());
  uint64_t before[2];
  for (uint32_t rank = 0; rank < 2; ++rank)
    before[rank] = devices_[rank]->FreeMemory();
  ASSERT_TRUE(ranks_->Connect().ok());
  EXPECT_EQ(ranks_->bytes(0), 0u);
  EXPECT_GE(ranks_->bytes(1), 2 * kRows * kRowBytes); // two steps in flight
  for (uint32_t rank = 0; rank < 2; ++rank)
    EXPECT_EQ(before[rank] - devices_[rank]->FreeMemory(), ranks_->bytes(rank)) << rank;
  devices_.clear();
  ASSERT_TRUE(Open(DistributedBackend::kAuto, INLAY_FAKE_NCCL, 2, 2).ok());
  EXPECT_EQ(devices_[1]->FreeMemory(), before[1]); // all was freed
}

// NCCL sums over the ranks of a stage.
TEST_F(CudaStagesTest, EachStageSumsItsRanks) {
  ASSERT_EQ(ConnectStages(2, DistributedBackend::kNccl), absl::OkStatus());
  EXPECT_EQ(ranks_->Describe(), "GPUs 0, 1, 2, 3 through NCCL 2.28.9");
  const plan::Target &target = *flatbuffers::GetRoot<plan::Target>(builder_.GetBufferPointer());
  std::vector<float> sums(4);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < 4; ++rank)
    threads.emplace_back([&, rank] {
      Device &device = *devices_[rank];
      const std::vector<float> own(kColumns, static_cast<float>(1 << rank));
      void *from = *device.Allocate(kColumns * 4, "input"), *to = *device.Allocate(kColumns * 4, "output");
      EXPECT_TRUE(device.CopyToDevice(from, own.data(), kColumns * 4).ok());
      void *arguments[] = {from, to};
      EXPECT_TRUE(ranks_->Run(rank, *target.kernels()->Get(0)->body_as_Collective(), arguments, 1).ok());
      EXPECT_TRUE(device.CopyToHost(&sums[rank], to, sizeof(float)).ok());
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(sums, (std::vector<float>{3, 3, 12, 12}));
}

TEST_F(CudaStagesTest, LostMessagesOfNcclAreFoundBeforeTheModelRuns) {
  Set("FAKE_NCCL", "lost");
  EXPECT_THAT(Message(ConnectStages(1, DistributedBackend::kNccl)),
              HasSubstr("nccl 2.28.9: rank 1 has a wrong message of a number of each rank"));
}

TEST_F(CudaStagesTest, WithoutNcclTheErrorSaysWhyItIsNeeded) {
  EXPECT_THAT(Message(ConnectStages(1, DistributedBackend::kNccl, "/none/libnccl.so.2")),
              HasSubstr("the ranks need NCCL because --distributed-backend is nccl, but libnccl.so.2 was not loaded"));
}

TEST_F(CudaStagesTest, DifferentStepsFailBothStages) {
  ASSERT_EQ(ConnectStages(), absl::OkStatus());
  ASSERT_EQ(Send(0, 4, Rows(0)), absl::OkStatus());
  const absl::Status status = Receive(1, 5, Rows(1));
  EXPECT_THAT(Message(status),
              HasSubstr("the stages do not run the same step: rank 0 sends 3200 bytes in step 4, rank 1 "
                        "receives 3200 bytes in step 5"));
  EXPECT_EQ(group_->failure(), status);
}

TEST_F(CudaStagesTest, DifferentNumbersOfRowsFailBothStages) {
  ASSERT_EQ(ConnectStages(), absl::OkStatus());
  ASSERT_EQ(Send(0, 4, Rows(0), 2), absl::OkStatus());
  EXPECT_THAT(Message(Receive(1, 4, Rows(1), 3)), HasSubstr("rank 0 sends 800 bytes in step 4, rank 1 receives 1200"));
  EXPECT_TRUE(group_->has_failed());
}

TEST_F(CudaStagesTest, AStepThatIsTooLargeIsNotSent) {
  ASSERT_EQ(ConnectStages(), absl::OkStatus());
  EXPECT_THAT(Message(Send(0, 1, Rows(0), 100)), HasSubstr("sends 40000 bytes to the next stage, expected at most"));
}

TEST_F(CudaStagesTest, AThreadThatDoesNotLaunchIsNamed) {
  ASSERT_EQ(ConnectStages(), absl::OkStatus());
  EXPECT_THAT(Message(Receive(1, 3, Rows(1))),
              AllOf(HasSubstr("rank 1 (step 3, call 1: receive of 3200 bytes, for 0."),
                    HasSubstr("of stage 1 has waited 0.2 s (--distributed-timeout) until rank 0 (step 0, "),
                    HasSubstr("of stage 0 has launched what makes the rows of step 3")));
}

// As many steps as there are stages are in flight.
TEST_F(CudaStagesTest, AThreadThatDoesNotTakeRowsIsNamed) {
  ASSERT_EQ(ConnectStages(), absl::OkStatus());
  ASSERT_EQ(Send(0, 1, Rows(0)), absl::OkStatus());
  ASSERT_EQ(Send(0, 2, Rows(0)), absl::OkStatus());
  EXPECT_THAT(Message(Send(0, 3, Rows(0))),
              AllOf(HasSubstr("of stage 0 has waited 0.2 s (--distributed-timeout) until rank 1 (step 0, "),
                    HasSubstr("of stage 1 has launched what takes the rows of step 3")));
}

// Edits of logits read them while a step runs.
TEST_F(CudaStagesTest, ReadsOfTheHostDoNotWaitForever) {
  ASSERT_EQ(ConnectStages(), absl::OkStatus());
  std::byte *rows[] = {Rows(0), Rows(1)};
  Set("FAKE_STUCK", "0");
  ASSERT_EQ(Send(0, 6, rows[0]), absl::OkStatus());
  ASSERT_EQ(Receive(1, 6, rows[1]), absl::OkStatus());
  uint32_t word = 0;
  EXPECT_THAT(Message(devices_[1]->CopyToHost(&word, rows[1], sizeof word)),
              HasSubstr("rank 0 of stage 0 has not delivered its rows of step 6 after 0.2 s"));
  Set("FAKE_STUCK", ""); // so that it ends soon
}

// The host does not wait for a GPU in Send() and Receive(). Each step ends with an event.
TEST_F(CudaStagesTest, AGpuThatDoesNotDeliverIsNamed) {
  for (auto [backend, stuck, rank, expected] :
       {std::tuple{DistributedBackend::kAuto, "0", 1u,
                   "rank 0 of stage 0 has not delivered its rows of step 6 after 0.2"},
        {DistributedBackend::kAuto, "0", 0u, "GPU 0 of stage 0 has not finished step 6 after 0.2 s"},
        {DistributedBackend::kAuto, "1", 1u, "GPU 1 of stage 1 has not finished step 6 after 0.2 s"},
        {DistributedBackend::kNccl, "0", 1u, "rank 0 of stage 0 has not delivered its rows of step 6 after 0.2 s"},
        {DistributedBackend::kNccl, "1", 0u, "rank 1 of stage 1 has not taken the rows of step 6 after 0.2 s"}}) {
    SCOPED_TRACE(expected);
    ASSERT_EQ(ConnectStages(1, backend), absl::OkStatus());
    std::byte *rows[] = {Rows(0), Rows(1)};
    Set("FAKE_STUCK", stuck);
    ASSERT_EQ(Send(0, 6, rows[0]), absl::OkStatus());
    absl::StatusOr<EventId> sent = devices_[0]->RecordEvent({});
    ASSERT_EQ(Receive(1, 6, rows[1]), absl::OkStatus());
    absl::StatusOr<EventId> received = devices_[1]->RecordEvent({});
    ASSERT_TRUE(sent.ok() && received.ok());
    EXPECT_THAT(Message(devices_[rank]->WaitForEvent(rank == 0 ? *sent : *received)), HasSubstr(expected));
    Set("FAKE_STUCK", ""); // so that it ends soon
  }
}

} // namespace
} // namespace inlay

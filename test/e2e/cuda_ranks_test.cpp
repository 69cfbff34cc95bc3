// Ranks on GPUs, with the fake driver and the fake NCCL: which GPU a rank has, how ranks reach each other, and what
// happens when they do not.
#include "runtime/device/cuda_rounds.h"
#include "test/e2e/cuda_ranks_testing.h"
#include "test/e2e/fake_driver.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <regex>
#include <thread>

namespace inlay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(CudaRanksTest, EachRankHasAGpu) {
  ASSERT_TRUE(Open().ok());
  const uint64_t free = devices_[1]->FreeMemory();
  ASSERT_TRUE(devices_[0]->Allocate(1 << 20, "test").ok());
  EXPECT_EQ(devices_[1]->FreeMemory(), free);
  EXPECT_LT(devices_[0]->FreeMemory(), free);
}

TEST_F(CudaRanksTest, TooFewGpusAreAnErrorOfTheFirstRank) {
  Set("FAKE_GPUS", "1");
  EXPECT_THAT(Message(Open()),
              AllOf(HasSubstr("the bundle is for 2 ranks, each on a GPU for sm_90a of its own, but this machine has 1: "
                              "Fake GPU (sm_90)"),
                    HasSubstr("CUDA_VISIBLE_DEVICES"),
                    HasSubstr("compile the model for at most 1 (--tensor-parallel-size")));
  EXPECT_TRUE(devices_.empty());
}

TEST_F(CudaRanksTest, PeersHaveTablesAndPoisonedMemory) {
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  EXPECT_EQ(ranks_->Describe(), "GPUs 0, 1 through peer memory");
  PeerTable tables[2];
  for (uint32_t rank = 0; rank < 2; ++rank)
    std::memcpy(&tables[rank], reinterpret_cast<const void *>(ranks_->table(rank)), sizeof(PeerTable));
  for (uint32_t rank = 0; rank < 2; ++rank) {
    const PeerTable &table = tables[rank];
    EXPECT_EQ(table.rank, rank);
    EXPECT_EQ(table.round_bytes, 1024u); // 1,000 bytes of the sum
    EXPECT_EQ(table.timeout_ns, 200'000'000u);
    EXPECT_EQ(table.round + table.arrived + table.previous_words + table.failed, 0u);
    EXPECT_EQ(table.exchange[rank], tables[1 - rank].exchange[rank]);
    const auto *words = reinterpret_cast<const uint32_t *>(table.exchange[rank]);
    EXPECT_EQ(std::count(words, words + kExchangeRounds * table.round_bytes / 4, 0x80008000u),
              static_cast<ptrdiff_t>(kExchangeRounds * table.round_bytes / 4));
  }
  EXPECT_NE(tables[0].exchange[0], tables[0].exchange[1]);
}

TEST_F(CudaRanksTest, MemoryOfTheExchangeIsCounted) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(ranks_->Choose(MakeTarget(builder_)).ok());
  const uint64_t before = devices_[1]->FreeMemory();
  ASSERT_TRUE(ranks_->Connect().ok());
  EXPECT_EQ(before - devices_[1]->FreeMemory(), ranks_->bytes(1));
  devices_[0].reset();
  devices_[1].reset();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(devices_.back()->FreeMemory(), before); // all was freed
}

TEST_F(CudaRanksTest, WithoutPeerAccessTheRanksUseNccl) {
  Set("FAKE_NO_PEER", "1:0");
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("inlay: GPU 1 cannot access the memory of GPU 0, so"));
  EXPECT_EQ(ranks_->Describe(), "GPUs 0, 1 through NCCL 2.28.9");
  EXPECT_THAT(Message(Connect(MakeTarget(builder_), DistributedBackend::kPeer)),
              HasSubstr("--distributed-backend peer: GPU 1 cannot access the memory of GPU 0; use"));
}

TEST_F(CudaRanksTest, KernelsWithoutCodeUseNccl) {
  const plan::Target &target = MakeTarget(builder_, true, /*logits_have_code=*/false);
  ASSERT_EQ(Connect(target), absl::OkStatus());
  EXPECT_EQ(ranks_->Describe(), "GPUs 0, 1 through peer memory and NCCL 2.28.9");
  EXPECT_TRUE(ranks_->IsKernel(*target.kernels()->Get(0)->body_as_Collective()));
  EXPECT_FALSE(ranks_->IsKernel(*target.kernels()->Get(1)->body_as_Collective()));
  EXPECT_THAT(Message(Connect(target, DistributedBackend::kPeer)),
              HasSubstr("--distributed-backend peer: kernel 'logits' has no code for peer memory"));
}

// A pair that says it can access its memory, and does not.
TEST_F(CudaRanksTest, WrongBytesNameThePair) {
  for (const char *pair : {"0:1", "1:0"}) {
    Set("FAKE_BROKEN", pair);
    EXPECT_THAT(
        Message(Connect(MakeTarget(builder_), DistributedBackend::kPeer)),
        AllOf(HasSubstr(std::string("GPU ") + pair[0] + " writes to the memory of GPU " + pair[2] + ": byte 0 "),
              HasSubstr("ACS"), HasSubstr("IOMMU"), HasSubstr("--distributed-backend nccl")));
    devices_.clear();
  }
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("The ranks exchange with NCCL instead"));
  EXPECT_EQ(ranks_->Describe(), "GPUs 0, 1 through NCCL 2.28.9");
  EXPECT_STREQ(std::getenv("NCCL_P2P_DISABLE"), "1");
}

// An error of the driver is not a reason to use NCCL.
TEST_F(CudaRanksTest, ErrorsOfTheDriverStayErrors) {
  Set("FAKE_FAULT", "0:1");
  ::testing::internal::CaptureStderr();
  const absl::Status status = Connect(MakeTarget(builder_));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr("GPU 0: some other error (error 700) while checking whether GPU 0 reaches the memory of "
                              "GPU 1; look for"),
                    HasSubstr("--distributed-backend nccl")));
}

TEST_F(CudaRanksTest, WithoutNcclTheErrorSaysWhyItIsNeeded) {
  EXPECT_THAT(Message(Connect(MakeTarget(builder_), DistributedBackend::kNccl, "/none/libnccl.so.2")),
              AllOf(HasSubstr("the ranks need NCCL because --distributed-backend is nccl, but libnccl.so.2 was not "
                              "loaded (/none/libnccl.so.2"),
                    HasSubstr("--nccl"), HasSubstr("nvidia-nccl-cu13"), HasSubstr("--distributed-backend peer")));
  Set("FAKE_NO_PEER", "0:1");
  EXPECT_THAT(Message(Connect(MakeTarget(builder_), DistributedBackend::kAuto, "/none/libnccl.so.2")),
              HasSubstr("the ranks need NCCL because GPU 0 cannot access the memory of GPU 1, but"));
}

TEST_F(CudaRanksTest, WrongSumsOfNcclAreFoundBeforeTheModelRuns) {
  Set("FAKE_NCCL", "wrong");
  EXPECT_THAT(Message(Connect(MakeTarget(builder_), DistributedBackend::kNccl)),
              HasSubstr("nccl 2.28.9: rank 0 has a wrong sum of a number of each rank"));
}

// Both operations in the plan's layouts, by the threads of two ranks.
TEST_F(CudaRanksTest, NcclSumsAndGathersRows) {
  const plan::Target &target = MakeTarget(builder_);
  ASSERT_EQ(Connect(target, DistributedBackend::kNccl), absl::OkStatus());
  constexpr int kRows = 3;
  std::vector<float> sums(kRows * kColumns), logits[2];
  absl::Status statuses[2];
  auto run = [&](uint32_t rank) -> absl::Status {
    Device &device = *devices_[rank];
    std::vector<float> own(kRows * kColumns);
    for (size_t i = 0; i < own.size(); ++i)
      own[i] = static_cast<float>(i + 1000 * rank);
    logits[rank].resize(kRows * kVocabulary);
    void *from = *device.Allocate(own.size() * 4, "input"), *to = *device.Allocate(own.size() * 4, "output");
    absl::Status status = device.CopyToDevice(from, own.data(), own.size() * 4);
    void *arguments[] = {from, to};
    status.Update(ranks_->Run(rank, *target.kernels()->Get(0)->body_as_Collective(), arguments, kRows));
    if (rank == 0)
      status.Update(device.CopyToHost(sums.data(), to, sums.size() * 4));
    status.Update(ranks_->Run(rank, *target.kernels()->Get(1)->body_as_Collective(), arguments, kRows));
    status.Update(device.CopyToHost(logits[rank].data(), to, logits[rank].size() * 4));
    return status;
  };
  std::thread other([&] { statuses[1] = run(1); });
  statuses[0] = run(0);
  other.join();
  ASSERT_TRUE(statuses[0].ok() && statuses[1].ok()) << statuses[0] << statuses[1];
  for (size_t i = 0; i < sums.size(); ++i)
    EXPECT_EQ(sums[i], static_cast<float>(2 * i + 1000)) << i;
  EXPECT_EQ(logits[0], logits[1]);
  for (size_t row = 0; row < kRows; ++row)
    for (size_t column = 0; column < kVocabulary; ++column)
      EXPECT_EQ(logits[0][row * kVocabulary + column],
                static_cast<float>(column < kLogits ? row * kLogits + column : 1000 + row * kLogits + column - kLogits))
          << row << ", " << column;
}

// The rows are written late, on the stream of the gather.
TEST_F(CudaRanksTest, NcclGathersOnTheStreamThatIsNamed) {
  const plan::Target &target = MakeTarget(builder_);
  ASSERT_EQ(Connect(target, DistributedBackend::kNccl), absl::OkStatus());
  Set("FAKE_LATE", "rows");
  std::vector<float> logits[2];
  absl::Status statuses[2];
  auto run = [&](uint32_t rank) -> absl::Status {
    Device &device = *devices_[rank];
    void *from = *device.Allocate(kLogits * 4, "input"), *to = *device.Allocate(kVocabulary * 4, "output");
    absl::Status status = device.Clear(from, kLogits * 4);
    const cuda_driver::Api &api = **cuda_driver::LoadDriver();
    cuda_driver::Stream second = nullptr;
    EXPECT_EQ(api.StreamCreate(&second, cuda_driver::kStreamNonBlocking), 0);
    fake::Enqueue([&] { std::fill_n(static_cast<float *>(from), kLogits, static_cast<float>(rank + 1)); }, second,
                  "rows");
    void *arguments[] = {from, to};
    status.Update(ranks_->Run(rank, *target.kernels()->Get(1)->body_as_Collective(), arguments, /*rows=*/1, second));
    EXPECT_EQ(api.StreamSynchronize(second), 0);
    logits[rank].resize(kVocabulary);
    status.Update(device.CopyToHost(logits[rank].data(), to, kVocabulary * 4));
    EXPECT_EQ(api.StreamDestroy(second), 0);
    return status;
  };
  std::thread other([&] { statuses[1] = run(1); });
  statuses[0] = run(0);
  other.join();
  ASSERT_TRUE(statuses[0].ok() && statuses[1].ok()) << statuses[0] << statuses[1];
  std::vector<float> expected(kVocabulary, 2);
  std::fill_n(expected.begin(), kLogits, 1.0f);
  for (const std::vector<float> &found : logits)
    EXPECT_EQ(found, expected);
}

// An epilogue reads the sum where the rows were; its other arguments are not those of the sum.
TEST_F(CudaRanksTest, NcclSumsInPlaceForAnEpilogue) {
  builder_.Clear();
  auto code = plan::CreateCode(builder_), epilogue = plan::CreateCode(builder_);
  auto sum = plan::CreateCollective(builder_, plan::CollectiveOp_AllReduce, plan::Extent_Tokens, kColumns,
                                    plan::DataType_F32, 0, 0, code, 1000, epilogue);
  std::vector kernels{plan::CreateKernelDirect(builder_, "sum", nullptr, plan::KernelBody_Collective, sum.Union())};
  std::vector entries{plan::CreateEntryDirect(builder_, "decode", plan::EntryKind_Decode, 8, 8)};
  builder_.Finish(plan::CreateTargetDirect(builder_, "sm_90a", &kernels, nullptr, &entries));
  const auto &target = *flatbuffers::GetRoot<plan::Target>(builder_.GetBufferPointer());
  ASSERT_EQ(Connect(target, DistributedBackend::kNccl), absl::OkStatus());
  std::vector<float> rows[2], others[2];
  absl::Status statuses[2];
  auto run = [&](uint32_t rank) -> absl::Status {
    Device &device = *devices_[rank];
    rows[rank].assign(kColumns, static_cast<float>(rank + 1));
    others[rank].assign(kColumns, 7);
    void *input = *device.Allocate(kColumns * 4, "input"), *residual = *device.Allocate(kColumns * 4, "residual");
    absl::Status status = device.CopyToDevice(input, rows[rank].data(), kColumns * 4);
    status.Update(device.CopyToDevice(residual, others[rank].data(), kColumns * 4));
    void *arguments[] = {input, residual};
    status.Update(ranks_->Run(rank, *target.kernels()->Get(0)->body_as_Collective(), arguments, /*rows=*/1));
    status.Update(device.CopyToHost(rows[rank].data(), input, kColumns * 4));
    status.Update(device.CopyToHost(others[rank].data(), residual, kColumns * 4));
    return status;
  };
  std::thread other([&] { statuses[1] = run(1); });
  statuses[0] = run(0);
  other.join();
  ASSERT_TRUE(statuses[0].ok() && statuses[1].ok()) << statuses[0] << statuses[1];
  for (int rank : {0, 1}) {
    EXPECT_EQ(rows[rank], std::vector<float>(kColumns, 3));
    EXPECT_EQ(others[rank], std::vector<float>(kColumns, 7));
  }
}

TEST_F(CudaRanksTest, AGpuThatDoesNotAnswerIsNotWaitedForForever) {
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  absl::StatusOr<EventId> event = devices_[1]->RecordEvent({});
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(devices_[1]->WaitForEvent(*event), absl::OkStatus());
  EXPECT_FALSE(ranks_->IsStuck());
  Set("FAKE_STUCK", "1");
  auto begin = std::chrono::steady_clock::now();
  absl::Status status = devices_[1]->WaitForEvent(*event);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(status), HasSubstr("GPU 1 has not finished the step after 0.2 s (--distributed-timeout)"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_TRUE(ranks_->IsStuck());
}

// After the failure of a rank, no other one waits.
TEST_F(CudaRanksTest, AFailureEndsTheWaitForAGpu) {
  ASSERT_EQ(Connect(MakeTarget(builder_)), absl::OkStatus());
  absl::StatusOr<EventId> event = devices_[0]->RecordEvent({});
  ASSERT_TRUE(event.ok());
  Set("FAKE_STUCK", "0");
  group_->Fail(absl::UnavailableError("rank 1: out of luck"));
  EXPECT_EQ(Message(devices_[0]->WaitForEvent(*event)), "rank 1: out of luck");
}

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

// The struct of kernels is declared in a header that the host cannot compile.
TEST(PeerTableTest, HasTheFieldsOfKernels) {
  std::ifstream file("codegen/device/peers.h");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::smatch body;
  ASSERT_TRUE(std::regex_search(text, body, std::regex(R"(struct PeerTable \{([^}]*)\})")));
  std::string found;
  size_t offset = 0;
  const std::string fields = body[1];
  const std::regex declaration(R"((unsigned long long|unsigned) ([^;]*);)");
  for (std::sregex_iterator it(fields.begin(), fields.end(), declaration), end; it != end; ++it) {
    const size_t size = (*it)[1] == "unsigned" ? 4 : 8;
    const std::string names = (*it)[2];
    const std::regex name(R"((\w+)(\[(\d+)\])?)");
    for (std::sregex_iterator at(names.begin(), names.end(), name); at != end; ++at) {
      found += (*at)[1].str() + " " + std::to_string(offset) + "\n";
      offset += size * ((*at)[3].matched ? std::stoul((*at)[3]) : 1);
    }
  }
  EXPECT_EQ(offset, sizeof(PeerTable));
  std::string expected;
#define EXPECT_FIELD(field) (expected += #field " " + std::to_string(offsetof(PeerTable, field)) + "\n")
  EXPECT_FIELD(round);
  EXPECT_FIELD(arrived);
  EXPECT_FIELD(previous_words);
  EXPECT_FIELD(failed);
  EXPECT_FIELD(failed_round);
  EXPECT_FIELD(rank);
  EXPECT_FIELD(exchange);
  EXPECT_FIELD(round_bytes);
  EXPECT_FIELD(timeout_ns);
#undef EXPECT_FIELD
  EXPECT_EQ(found, expected);
}

TEST(PeerRoundsTest, NameTheLaunchOfARound) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector launches{plan::CreateLaunchDirect(b, 0, nullptr, &grid, nullptr, "layers.0.o: all_reduce"),
                       plan::CreateLaunchDirect(b, 0, nullptr, &grid, nullptr, "layers.0.down: all_reduce")};
  b.Finish(plan::CreateEntryDirect(b, "decode", plan::EntryKind_Decode, 1, 1, 1, 0, nullptr, &launches));
  const auto &found = *flatbuffers::GetRoot<plan::Entry>(b.GetBufferPointer())->launches();
  PeerRounds rounds;
  for (int step = 0; step < 3; ++step)
    rounds.Add({found.Get(0), found.Get(1)});
  EXPECT_EQ(rounds.Check({}, std::chrono::seconds(10), 0), absl::OkStatus());
  EXPECT_EQ(rounds.Check({.failed = 2, .failed_round = 5}, std::chrono::seconds(10), 0).message(),
            "rank 1 has not delivered its part of 'layers.0.down: all_reduce' within 10 s (--distributed-timeout), in "
            "round 5 of the exchange");
  EXPECT_THAT(std::string(rounds.Check({.failed = 1, .failed_round = 4}, std::chrono::seconds(1), 2).message()),
              HasSubstr("rank 2 has not delivered its part of 'layers.0.o: all_reduce'"));
  EXPECT_THAT(std::string(rounds.Check({.failed = 1, .failed_round = 6}, std::chrono::seconds(1), 0).message()),
              HasSubstr("its part of a collective operation"));
}

} // namespace
} // namespace inlay

// Ranks on GPUs, with the fake driver and the fake NCCL: which GPU a rank has, how ranks reach each other, and what
// happens when they do not.
#include "runtime/device/peer_table.h"
#include "test/e2e/cuda_ranks_testing.h"
#include "test/e2e/fake_driver.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
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

} // namespace
} // namespace inlay

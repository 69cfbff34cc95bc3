// Ranks on GPUs in processes of their own, with the fake driver and the fake NCCL. Here each process is a thread with
// its own CudaRanks, since nothing but sockets and files connects them.
#include "runtime/device/cuda_ranks.h"
#include "runtime/device/device.h"
#include "runtime/device/peer_table.h"
#include "test/e2e/fake_driver.h"
#include "test/e2e/fake_gpu_test.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>

namespace inlay {
namespace {

using ::testing::HasSubstr;

class CudaProcessesTest : public FakeGpuTest {
protected:
  static constexpr uint32_t kWidth = 64;
  static constexpr uint64_t kRowBytes = 400, kRows = 8;

  // What a process has.
  struct Process {
    std::unique_ptr<RankProcesses> processes;
    std::shared_ptr<RankGroup> group;
    std::unique_ptr<CudaRanks> ranks;
    std::unique_ptr<Device> device;
    absl::Status status;
  };

  CudaProcessesTest() : FakeGpuTest("4") {}
  ~CudaProcessesTest() override { Close(); }

  // A sum of [tokens][64] by the ranks of a stage, and rows of 100 columns of F32 that go from stage 0 to stage 1.
  const plan::Target &MakeTargetOf(uint32_t stages) {
    flatbuffers::FlatBufferBuilder &b = builder_;
    b.Clear();
    auto sum = plan::CreateCollective(b, plan::CollectiveOp_AllReduce, plan::Extent_Tokens, kWidth, plan::DataType_F32,
                                      0, 0, plan::CreateCode(b), 1000);
    std::vector kernels{plan::CreateKernelDirect(b, "sum", nullptr, plan::KernelBody_Collective, sum.Union())};
    const std::vector rows{plan::Transfer(0, kRowBytes)};
    std::vector<flatbuffers::Offset<plan::Entry>> entries;
    for (uint32_t stage = 0; stage < stages; ++stage)
      entries.push_back(plan::CreateEntryDirect(b, "mixed", plan::EntryKind_Mixed, kRows, 4, 1, kRows * kRowBytes,
                                                nullptr, nullptr, nullptr, nullptr, stage, stage > 0 ? &rows : nullptr,
                                                stage + 1 < stages ? &rows : nullptr));
    b.Finish(plan::CreateTargetDirect(b, "sm_90a", &kernels, nullptr, &entries));
    return *flatbuffers::GetRoot<plan::Target>(b.GetBufferPointer());
  }

  // Calls run(rank, its process) in all processes at once. Returns the status that all of them have.
  absl::Status All(const std::function<absl::Status(uint32_t, Process &)> &run) {
    std::vector<std::thread> threads;
    for (uint32_t rank = 0; rank < all_.size(); ++rank)
      threads.emplace_back([&, rank] { all_[rank].status = run(rank, all_[rank]); });
    for (std::thread &thread : threads)
      thread.join();
    for (const Process &process : all_)
      EXPECT_EQ(process.status, all_[0].status);
    return all_.empty() ? absl::OkStatus() : all_[0].status;
  }

  // Starts the processes and opens their devices.
  absl::Status Open(uint32_t count, uint32_t stages, DistributedBackend backend) {
    Close();
    all_ = std::vector<Process>(count);
    static int names = 0;
    const std::string name = "inlay-cuda-processes-" + std::to_string(getpid()) + "-" + std::to_string(++names);
    return All([&](uint32_t rank, Process &process) {
      absl::StatusOr<std::unique_ptr<RankProcesses>> connected =
          RankProcesses::Connect({rank, count, name, timeout_}, "a test", sizeof(RankBoard));
      if (!connected.ok())
        return connected.status();
      process.processes = *std::move(connected);
      const std::shared_ptr<std::byte> &memory = process.processes->memory();
      process.group = std::make_shared<RankGroup>(
          count, timeout_, std::shared_ptr<RankBoard>(memory, reinterpret_cast<RankBoard *>(memory.get())), rank);
      process.ranks =
          std::make_unique<CudaRanks>(process.group, stages, backend, INLAY_FAKE_NCCL, process.processes.get());
      absl::StatusOr<std::unique_ptr<Device>> device =
          OpenDevice("sm_90a", 1, "", {.index = rank, .count = count, .gpus = process.ranks.get(), .devices = named_});
      if (!device.ok())
        return device.status();
      process.device = *std::move(device);
      return absl::OkStatus();
    });
  }

  absl::Status Connect(uint32_t count, uint32_t stages, DistributedBackend backend = DistributedBackend::kAuto) {
    if (absl::Status status = Open(count, stages, backend); !status.ok())
      return status;
    const plan::Target &target = MakeTargetOf(stages);
    return All([&](uint32_t, Process &process) {
      if (absl::Status status = process.ranks->Choose(target); !status.ok())
        return status;
      return process.ranks->Connect();
    });
  }

  // NCCL ends in all processes at once.
  void Close() {
    All([](uint32_t, Process &process) {
      process.device.reset();
      return absl::OkStatus();
    }).IgnoreError();
    all_.clear();
  }

  flatbuffers::FlatBufferBuilder builder_;
  std::vector<Process> all_;
  std::vector<int32_t> named_; // DeviceRank::devices
  RankGroup::Clock::duration timeout_ = std::chrono::milliseconds(200);
};

// The memory of a rank is the same, but each process has its own address of it.
TEST_F(CudaProcessesTest, EachMapsTheMemoryOfTheOthers) {
  ASSERT_EQ(Connect(3, 1), absl::OkStatus());
  EXPECT_EQ(all_[1].ranks->Describe(), "GPUs 0, 1, 2 through peer memory");
  PeerTable tables[3];
  for (uint32_t rank = 0; rank < 3; ++rank)
    std::memcpy(&tables[rank], reinterpret_cast<const void *>(all_[rank].ranks->table(rank)), sizeof(PeerTable));
  for (uint32_t of = 0; of < 3; ++of)
    for (uint32_t rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(tables[rank].rank, rank);
      auto *words = reinterpret_cast<uint32_t *>(tables[rank].exchange[of]);
      auto *same = reinterpret_cast<const uint32_t *>(tables[(rank + 1) % 3].exchange[of]);
      ASSERT_NE(words, same);
      const auto count = static_cast<ptrdiff_t>(kExchangeRounds * tables[rank].round_bytes / 4);
      EXPECT_EQ(std::count(words, words + count, kPeerPoison), count);
      words[5] = 17 + rank;
      EXPECT_EQ(same[5], 17 + rank);
      words[5] = kPeerPoison;
    }
}

// Three processes on two GPUs: each has memory of its own.
TEST_F(CudaProcessesTest, ProcessesCanShareAGpu) {
  named_ = {1, 0, 1};
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(Connect(3, 1, DistributedBackend::kPeer), absl::OkStatus());
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "inlay: ranks 0 and 2 share GPU 1: this is for checking, not for speed\n");
  for (const Process &process : all_)
    EXPECT_EQ(process.ranks->Describe(), "GPUs 1, 0, 1 through peer memory");
  EXPECT_EQ(all_[2].ranks->RanksOnGpuOf(2), 2u);
  EXPECT_FALSE(all_[2].ranks->SharesContext(2)); // each process has a context of its own
  PeerTable tables[3];
  for (uint32_t rank = 0; rank < 3; ++rank)
    std::memcpy(&tables[rank], reinterpret_cast<const void *>(all_[rank].ranks->table(rank)), sizeof(PeerTable));
  EXPECT_NE(tables[0].exchange[0], tables[0].exchange[2]);
  for (uint32_t of = 0; of < 3; ++of) {
    reinterpret_cast<uint32_t *>(tables[0].exchange[of])[5] = 17 + of;
    for (uint32_t rank = 1; rank < 3; ++rank)
      EXPECT_EQ(reinterpret_cast<const uint32_t *>(tables[rank].exchange[of])[5], 17 + of);
  }
}

TEST_F(CudaProcessesTest, AllFindTheSamePairBroken) {
  Set("FAKE_BROKEN", "2:1");
  const absl::Status status = Connect(3, 1, DistributedBackend::kPeer);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("GPU 2 writes to the memory of GPU 1: byte 0 of"));
  // Only rank 0 says that all use NCCL instead.
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(Connect(3, 1), absl::OkStatus());
  const std::string errors = ::testing::internal::GetCapturedStderr(),
                    expected = "The ranks exchange with NCCL instead";
  EXPECT_THAT(errors, HasSubstr(expected));
  EXPECT_EQ(errors.find(expected), errors.rfind(expected));
  for (const Process &process : all_)
    EXPECT_EQ(process.ranks->Describe(), "GPUs 0, 1, 2 through NCCL 2.28.9");
}

// Nor is the error of one process that of wrong bytes in another one.
TEST_F(CudaProcessesTest, ErrorsOfTheDriverAreThoseOfAll) {
  for (uint32_t stages : {1, 3}) {
    Set("FAKE_FAULT", stages == 1 ? "2:1" : "1:2");
    const absl::Status status = Connect(3, stages);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(status.message()), HasSubstr("(error 700) while checking whether GPU"));
  }
}

TEST_F(CudaProcessesTest, NcclSumsTheRanksOfAStage) {
  ASSERT_EQ(Connect(4, 2, DistributedBackend::kNccl), absl::OkStatus());
  const plan::Target &target = *flatbuffers::GetRoot<plan::Target>(builder_.GetBufferPointer());
  std::vector<float> sums(4);
  EXPECT_EQ(All([&](uint32_t rank, Process &process) {
              const std::vector<float> own(kWidth, static_cast<float>(1 << rank));
              void *from = *process.device->Allocate(kWidth * 4, "input");
              void *to = *process.device->Allocate(kWidth * 4, "output");
              absl::Status status = process.device->CopyToDevice(from, own.data(), kWidth * 4);
              void *arguments[] = {from, to};
              status.Update(process.ranks->Run(rank, *target.kernels()->Get(0)->body_as_Collective(), arguments, 1));
              status.Update(process.device->CopyToHost(&sums[rank], to, sizeof(float)));
              return status;
            }),
            absl::OkStatus());
  EXPECT_EQ(sums, (std::vector<float>{3, 3, 12, 12}));
}

// Each step has rows of its own number. The sender may be ahead by as many steps as there are stages.
TEST_F(CudaProcessesTest, StagesPassRowsOn) {
  timeout_ = std::chrono::seconds(30); // no thread is late on a busy machine
  struct Transport {
    DistributedBackend backend;
    const char *no_peer, *broken, *described;
  };
  for (const Transport &way : {Transport{DistributedBackend::kAuto, "", "", "peer memory"},
                               {DistributedBackend::kAuto, "0:1", "", "host memory"},
                               {DistributedBackend::kAuto, "", "1:2", "peer memory and host memory"},
                               {DistributedBackend::kNccl, "", "", "NCCL 2.28.9"}}) {
    SCOPED_TRACE(way.described);
    Close();
    Set("FAKE_NO_PEER", way.no_peer);
    Set("FAKE_BROKEN", way.broken);
    ASSERT_EQ(Connect(3, 3, way.backend), absl::OkStatus());
    EXPECT_THAT(all_[2].ranks->Describe(), HasSubstr(way.described));
    std::atomic<int64_t> wrong{0};
    EXPECT_EQ(All([&](uint32_t rank, Process &process) -> absl::Status {
                auto *rows = static_cast<std::byte *>(*process.device->Allocate(kRows * kRowBytes, "rows"));
                std::vector<uint8_t> bytes(kRows * kRowBytes);
                const StageRows parts[] = {{rows, bytes.size()}};
                for (int64_t step = 1; step <= 50; ++step) {
                  process.group->SetStep(rank, step);
                  absl::Status status;
                  if (rank > 0) {
                    status = process.ranks->link(rank)->Receive(parts);
                    status.Update(process.device->CopyToHost(bytes.data(), rows, bytes.size()));
                    wrong += std::ranges::count_if(bytes, [&](uint8_t byte) { return byte != step; });
                  } else {
                    std::ranges::fill(bytes, static_cast<uint8_t>(step));
                    status = process.device->CopyToDevice(rows, bytes.data(), bytes.size());
                  }
                  if (rank < 2)
                    status.Update(process.ranks->link(rank)->Send(parts));
                  if (!status.ok())
                    return status;
                }
                return absl::OkStatus();
              }),
              absl::OkStatus());
    EXPECT_EQ(wrong, 0);
  }
}

// A stage that does not launch a step fails all processes.
TEST_F(CudaProcessesTest, AStageThatDoesNotSendIsNamed) {
  ASSERT_EQ(Connect(2, 2), absl::OkStatus());
  auto *rows = static_cast<std::byte *>(*all_[1].device->Allocate(kRows * kRowBytes, "rows"));
  const StageRows parts[] = {{rows, kRows * kRowBytes}};
  all_[1].group->SetStep(1, 3);
  EXPECT_THAT(std::string(all_[1].ranks->link(1)->Receive(parts).message()),
              HasSubstr("until rank 0 (step 0, call 0: idle, for "));
  EXPECT_TRUE(all_[0].group->has_failed());
}

TEST_F(CudaProcessesTest, EventsAreThereUntilNoProcessHasThemOpen) {
  const int before = fake::SharedEvents(), too_early = fake::EventsDestroyedTooEarly();
  ASSERT_EQ(Connect(3, 3), absl::OkStatus());
  EXPECT_GT(fake::SharedEvents(), before);
  Close();
  EXPECT_EQ(fake::SharedEvents(), before);
  // After a failure none waits for the others: the first one keeps its events, and the last one destroys its own.
  for (uint32_t first : {0, 1}) {
    const int others = fake::SharedEvents();
    ASSERT_EQ(Connect(2, 2), absl::OkStatus());
    const int of_each = (fake::SharedEvents() - others) / 4; // both processes have those of both
    all_[first].group->Fail(absl::UnavailableError("out of luck"));
    all_[first].device.reset();
    EXPECT_EQ(fake::SharedEvents() - others, 3 * of_each);
    all_[1 - first].device.reset();
    EXPECT_EQ(fake::SharedEvents() - others, of_each);
  }
  EXPECT_EQ(fake::EventsDestroyedTooEarly(), too_early);
}

TEST_F(CudaProcessesTest, AProcessThatEndsWhileTheyConnectIsAnError) {
  ASSERT_EQ(Open(2, 1, DistributedBackend::kAuto), absl::OkStatus());
  const plan::Target &target = MakeTargetOf(1);
  ASSERT_TRUE(all_[0].ranks->Choose(target).ok());
  all_[1].processes.reset();
  EXPECT_THAT(std::string(all_[0].ranks->Connect().message()), HasSubstr("the process of rank 1 (id "));
}

} // namespace
} // namespace inlay

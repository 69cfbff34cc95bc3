// Ranks on the GPUs of the fake driver: the tests of CudaRanks open them, connect them and pass rows between them.
#ifndef INLAY_TEST_E2E_CUDA_RANKS_TESTING_H_
#define INLAY_TEST_E2E_CUDA_RANKS_TESTING_H_

#include "runtime/device/cuda_ranks.h"
#include "runtime/device/device.h"
#include "test/e2e/fake_gpu_test.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace inlay {

inline constexpr uint32_t kColumns = 64, kLogits = 20, kVocabulary = 36;

// Two kernels of two ranks: the sum of [tokens][64] and the logits of a vocabulary of 36, of which each rank has 20.
inline const plan::Target &MakeTarget(flatbuffers::FlatBufferBuilder &b, bool sums_have_code = true,
                                      bool logits_have_code = true) {
  b.Clear();
  auto code = [&](bool has) { return has ? plan::CreateCode(b) : flatbuffers::Offset<plan::Code>(); };
  auto sum_code = code(sums_have_code), logits_code = code(logits_have_code);
  auto sum = plan::CreateCollective(b, plan::CollectiveOp_AllReduce, plan::Extent_Tokens, kColumns, plan::DataType_F32,
                                    0, 0, sum_code, sums_have_code ? 1000 : 0);
  auto logits = plan::CreateCollective(b, plan::CollectiveOp_AllGather, plan::Extent_LogitRows, kLogits,
                                       plan::DataType_F32, 0, kVocabulary, logits_code, logits_have_code ? 300 : 0);
  std::vector kernels{plan::CreateKernelDirect(b, "sum", nullptr, plan::KernelBody_Collective, sum.Union()),
                      plan::CreateKernelDirect(b, "logits", nullptr, plan::KernelBody_Collective, logits.Union())};
  std::vector entries{
      plan::CreateEntryDirect(b, "mixed", plan::EntryKind_Mixed, /*max_tokens=*/8, /*max_sequences=*/4)};
  b.Finish(plan::CreateTargetDirect(b, "sm_90a", &kernels, nullptr, &entries));
  return *flatbuffers::GetRoot<plan::Target>(b.GetBufferPointer());
}

class CudaRanksTest : public FakeGpuTest {
protected:
  CudaRanksTest() : FakeGpuTest("2") {}

  // Opens the devices of `count` ranks.
  absl::Status Open(DistributedBackend backend = DistributedBackend::kAuto, const std::string &nccl = INLAY_FAKE_NCCL,
                    uint32_t count = 2, uint32_t stages = 1) {
    devices_.clear();
    group_ = std::make_shared<RankGroup>(count, timeout_);
    ranks_ = std::make_unique<CudaRanks>(group_, stages, backend, nccl);
    for (uint32_t rank = 0; rank < count; ++rank) {
      absl::StatusOr<std::unique_ptr<Device>> device =
          OpenDevice("sm_90a", 1, "", {.index = rank, .count = count, .gpus = ranks_.get(), .devices = named_});
      if (!device.ok())
        return device.status();
      devices_.push_back(*std::move(device));
    }
    return absl::OkStatus();
  }

  // Opens the devices and lets the ranks reach each other.
  absl::Status Connect(const plan::Target &target, DistributedBackend backend = DistributedBackend::kAuto,
                       const std::string &nccl = INLAY_FAKE_NCCL) {
    if (absl::Status status = Open(backend, nccl); !status.ok())
      return status;
    if (absl::Status status = ranks_->Choose(target); !status.ok())
      return status;
    return ranks_->Connect();
  }

  static std::string Message(const absl::Status &status) { return std::string(status.message()); }

  flatbuffers::FlatBufferBuilder builder_;
  std::vector<int32_t> named_; // DeviceRank::devices
  std::shared_ptr<RankGroup> group_;
  RankGroup::Clock::duration timeout_ = std::chrono::milliseconds(200);
  std::unique_ptr<CudaRanks> ranks_;
  std::vector<std::unique_ptr<Device>> devices_;
};

// Two stages of one rank or of two, which pass 100 columns of F32 to the next one.
class CudaStagesTest : public CudaRanksTest {
protected:
  static constexpr uint64_t kRowBytes = 400, kRows = 8;

  CudaStagesTest() { Set("FAKE_GPUS", "4"); }

  // A step of at most 8 rows. `divided`: the ranks of a stage also sum.
  const plan::Target &MakeStages(bool divided) {
    flatbuffers::FlatBufferBuilder &b = builder_;
    b.Clear();
    std::vector<flatbuffers::Offset<plan::Kernel>> kernels;
    if (divided)
      kernels.push_back(
          plan::CreateKernelDirect(b, "sum", nullptr, plan::KernelBody_Collective,
                                   plan::CreateCollective(b, plan::CollectiveOp_AllReduce, plan::Extent_Tokens,
                                                          kColumns, plan::DataType_F32, 0, 0, plan::CreateCode(b), 1000)
                                       .Union()));
    const std::vector rows{plan::Transfer(0, kRowBytes)};
    auto entry = [&](uint32_t stage) {
      return plan::CreateEntryDirect(b, "mixed", plan::EntryKind_Mixed, kRows, 4, 1, kRows * kRowBytes, nullptr,
                                     nullptr, nullptr, nullptr, stage, stage > 0 ? &rows : nullptr,
                                     stage == 0 ? &rows : nullptr);
    };
    std::vector entries{entry(0), entry(1)};
    b.Finish(plan::CreateTargetDirect(b, "sm_90a", &kernels, nullptr, &entries));
    return *flatbuffers::GetRoot<plan::Target>(b.GetBufferPointer());
  }

  absl::Status ConnectStages(uint32_t of_stage = 1, DistributedBackend backend = DistributedBackend::kAuto,
                             const std::string &nccl = INLAY_FAKE_NCCL) {
    if (absl::Status status = Open(backend, nccl, 2 * of_stage, 2); !status.ok())
      return status;
    if (absl::Status status = ranks_->Choose(MakeStages(of_stage > 1)); !status.ok())
      return status;
    return ranks_->Connect();
  }

  // A rank's rows of a step, on its device.
  std::byte *Rows(uint32_t rank, uint8_t value = 0) {
    auto *memory = static_cast<std::byte *>(*devices_[rank]->Allocate(kRows * kRowBytes, "rows"));
    const std::vector<uint8_t> bytes(kRows * kRowBytes, value);
    EXPECT_TRUE(devices_[rank]->CopyToDevice(memory, bytes.data(), bytes.size()).ok());
    return memory;
  }
  absl::Status Send(uint32_t rank, int64_t step, std::byte *rows, uint64_t count = kRows) {
    group_->SetStep(rank, step);
    const StageRows sent{rows, count * kRowBytes};
    return ranks_->link(rank)->Send({&sent, 1});
  }
  absl::Status Receive(uint32_t rank, int64_t step, std::byte *rows, uint64_t count = kRows) {
    group_->SetStep(rank, step);
    const StageRows received{rows, count * kRowBytes};
    return ranks_->link(rank)->Receive({&received, 1});
  }
};

} // namespace inlay

#endif // INLAY_TEST_E2E_CUDA_RANKS_TESTING_H_

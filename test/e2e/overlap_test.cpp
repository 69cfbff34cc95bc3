// Steps that overlap as much as the device interface allows give the same tokens as steps that run one after the other.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include <cstring>

namespace inlay {
namespace {

// Does everything as early or as late as the interface allows. Launches and copies that are ordered with launches run
// only when the host waits, and then all of them run. The copy of an event is made after that. Row copies are made at
// once.
class LateDevice : public FaultyDevice {
public:
  using FaultyDevice::FaultyDevice;

  absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) override {
    std::vector<std::byte> kept(static_cast<const std::byte *>(from), static_cast<const std::byte *>(from) + bytes);
    return Later([=, this, kept = std::move(kept)] { return FaultyDevice::CopyToDevice(to, kept.data(), bytes); });
  }
  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override {
    if (absl::Status status = Synchronize(); !status.ok())
      return status;
    return FaultyDevice::CopyToHost(to, from, bytes);
  }
  absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) override {
    return Later([=, this] { return FaultyDevice::CopyOnDevice(to, from, bytes); });
  }
  absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) override {
    return Later([=, this] { return FaultyDevice::CopyToHostAsync(to, from, bytes); });
  }
  absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) override {
    return Later([=, this] { return FaultyDevice::CopyToDeviceAsync(to, from, bytes); });
  }
  absl::Status Clear(void *memory, uint64_t bytes) override {
    return Later([=, this] { return FaultyDevice::Clear(memory, bytes); });
  }
  absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) override {
    return Later([=, this] { return FaultyDevice::Run(list, sizes, reuse); });
  }
  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
    absl::StatusOr<EventId> event = FaultyDevice::RecordEvent({});
    if (event.ok())
      copies_[*event] = copy;
    return event;
  }
  absl::Status WaitForEvent(EventId event) override {
    absl::Status status = Synchronize();
    if (auto found = copies_.extract(event); status.ok() && !found.empty())
      std::memcpy(found.mapped().to, found.mapped().from, found.mapped().bytes);
    return status;
  }
  absl::Status Synchronize() override {
    absl::Status status;
    for (auto &one : std::exchange(later_, {}))
      status.Update(one());
    return status;
  }

private:
  absl::Status Later(std::function<absl::Status()> one) {
    later_.push_back(std::move(one));
    return absl::OkStatus();
  }

  std::vector<std::function<absl::Status()>> later_;
  std::map<EventId, AsyncCopy> copies_;
};

class OverlapTest : public ::testing::TestWithParam<SamplingParams> {};

TEST_P(OverlapTest, StepsThatOverlapGiveTheSameTokens) {
  auto answers_of = [](Engine &engine) {
    std::vector<Answer> answers;
    std::vector<std::unique_ptr<RequestHandle>> handles;
    for (int32_t i = 0; i < 12; ++i) {
      SamplingParams sampling = GetParam();
      sampling.max_tokens = 6 + 5 * i;
      handles.push_back(Submit(engine, kPrompts[static_cast<size_t>(i) % kPrompts.size()], sampling));
    }
    for (auto &handle : handles)
      answers.push_back(Finish(*handle));
    return answers;
  };
  EngineOptions options;
  options.max_num_seqs = 5; // so that sequences are admitted, end and change their index in the step
  options.max_num_batched_tokens = 64;
  std::vector<Answer> expected = answers_of(*Load(options));
  options.async_scheduling = true;
  // With few pages, sequences are preempted and their pages are copied to the host and back.
  for (uint64_t pages : {1024, 24}) {
    Faults faults;
    options.preemption_mode = "swap";
    options.kv_cache_bytes =
        pages * Load()->Stats().kv_cache_bytes / static_cast<uint64_t>(Load()->Stats().total_pages);
    std::unique_ptr<Engine> engine = Load(
        options, [&](std::unique_ptr<Device> real) { return std::make_unique<LateDevice>(std::move(real), faults); });
    std::vector<Answer> found = answers_of(*engine);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_TRUE(found[i] == expected[i]) << "request " << i << ", " << pages << " pages";
  }
}

SamplingParams With(auto change) {
  SamplingParams sampling = Greedy(1);
  change(sampling);
  return sampling;
}

INSTANTIATE_TEST_SUITE_P(Samplings, OverlapTest,
                         ::testing::Values(Greedy(1), With([](SamplingParams &sampling) {
                                             sampling.temperature = 1;
                                             sampling.seed = 3;
                                           }),
                                           With([](SamplingParams &sampling) { sampling.frequency_penalty = 1; }),
                                           With([](SamplingParams &sampling) { sampling.logit_bias = {{5, 20.0f}}; })));

} // namespace
} // namespace inlay

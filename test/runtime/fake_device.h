// A device without memory and kernels, whose launches take as long as a test says by a clock of its own.
#ifndef INLAY_TEST_RUNTIME_FAKE_DEVICE_H_
#define INLAY_TEST_RUNTIME_FAKE_DEVICE_H_

#include "runtime/device/device.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <string>
#include <vector>

namespace inlay {

// What a test sees of a fake device, and decides about it.
struct FakeGpu {
  std::function<double(std::string_view kernel)> microseconds; // of one launch
  std::function<absl::Status(std::string_view kernel)> run = [](std::string_view) { return absl::OkStatus(); };
  // Each number of the results of a kernel; of bfloat16, its upper 16 bits.
  std::function<float(std::string_view kernel)> result = [](std::string_view) { return 1.0f; };
  uint64_t free_memory = uint64_t{64} << 30;

  double seconds = 0;                // now
  std::vector<std::string> runs;     // kernel of each list that ran to be timed
  std::vector<uint64_t> allocations; // bytes
  std::vector<std::vector<BoundLaunch>> lists;
  std::vector<StepSizes> sizes; // of each run
};

class FakeDevice : public Device {
public:
  explicit FakeDevice(FakeGpu &gpu) : gpu_(gpu), pool_(1) {}

  std::string Name() const override { return "Fake GPU (sm_90a)"; }
  uint64_t FreeMemory() const override { return gpu_.free_memory; }
  // Addresses that are never accessed.
  absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) override {
    if (bytes > gpu_.free_memory)
      return absl::ResourceExhaustedError("fake: no memory for " + std::string(what));
    gpu_.allocations.push_back(bytes);
    void *memory = reinterpret_cast<void *>(next_);
    next_ += (bytes + 255) / 256 * 256;
    return memory;
  }
  void Free(void *memory) override {}
  absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override {
    auto half = static_cast<uint16_t>(std::bit_cast<uint32_t>(gpu_.result(last_)) >> 16);
    std::fill_n(static_cast<uint16_t *>(to), bytes / sizeof half, half);
    return absl::OkStatus();
  }
  absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) override {
    return absl::OkStatus();
  }
  absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) override {
    return ::operator new(bytes, std::align_val_t(256));
  }
  void FreeHost(void *memory) override { ::operator delete(memory, std::align_val_t(256)); }
  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override { return 0; }
  absl::Status WaitForEvent(EventId event) override { return absl::OkStatus(); }
  absl::Status Clear(void *memory, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status Synchronize() override { return absl::OkStatus(); }
  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override {
    for (const plan::Kernel *kernel : *target.kernels())
      kernels_.push_back(kernel->name()->str());
    return absl::OkStatus();
  }
  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override {
    gpu_.lists.emplace_back(launches.begin(), launches.end());
    return static_cast<LaunchList>(gpu_.lists.size() - 1);
  }
  absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) override {
    for (const BoundLaunch &bound : gpu_.lists[static_cast<size_t>(list)]) {
      const std::string &kernel = kernels_[bound.launch->kernel()];
      if (absl::Status status = gpu_.run(kernel); !status.ok())
        return status;
      gpu_.seconds += gpu_.microseconds(kernel) * 1e-6;
    }
    last_ = kernels_[gpu_.lists[static_cast<size_t>(list)].front().launch->kernel()];
    if (reuse) {
      gpu_.runs.push_back(last_);
      gpu_.sizes.push_back(sizes);
    }
    return absl::OkStatus();
  }
  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override { return absl::OkStatus(); }
  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override {
    return absl::OkStatus();
  }
  ThreadPool &host_pool() override { return pool_; }

private:
  FakeGpu &gpu_;
  ThreadPool pool_;
  uint64_t next_ = uint64_t{1} << 40;
  std::vector<std::string> kernels_;
  std::string last_; // that ran
};

} // namespace inlay

#endif // INLAY_TEST_RUNTIME_FAKE_DEVICE_H_

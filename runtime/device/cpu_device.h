// Runs kernels that are functions of a shared library. A thread pool executes the grid.
#ifndef INLAY_RUNTIME_DEVICE_CPU_DEVICE_H_
#define INLAY_RUNTIME_DEVICE_CPU_DEVICE_H_

#include "runtime/device/device.h"

namespace inlay {

// Returns an error if the kernels of the target use features that this machine's processor does not have. It names
// them.
absl::Status CheckCpuFeatures(const plan::Target &target);

class CpuDevice : public Device {
public:
  // See OpenDevice().
  explicit CpuDevice(int threads, const DeviceRank &rank = {});
  ~CpuDevice() override;

  std::string Name() const override;
  uint64_t FreeMemory() const override;
  absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) override;
  void Free(void *memory) override;
  absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) override;
  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override;
  absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) override {
    return CopyToDevice(to, from, bytes);
  }
  absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) override {
    return CopyToHost(to, from, bytes);
  }
  absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) override {
    return CopyToDevice(to, from, bytes);
  }
  absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) override;
  absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) override { return Allocate(bytes, what); }
  void FreeHost(void *memory) override { Free(memory); }
  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override;
  absl::Status WaitForEvent(EventId event) override { return absl::OkStatus(); }
  absl::Status Clear(void *memory, uint64_t bytes) override;
  absl::Status Synchronize() override { return absl::OkStatus(); }
  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override;
  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override;
  absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) override;
  absl::Status Write(std::span<const WeightSink::Range> ranges, const FillRange &fill) override {
    return HostSink(pool_).Write(ranges, fill);
  }
  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override {
    return HostSink(pool_).Repeat(parts, pattern);
  }
  ThreadPool &host_pool() override { return pool_; }

private:
  // Runs one block of a kernel: addresses of the views, sizes of the step, index of the block in the grid.
  using KernelFunction = void (*)(void *const *arguments, const int32_t *sizes, int64_t x, int64_t y, int64_t z);

  struct Prepared {
    KernelFunction function = nullptr;            // or null
    const plan::Collective *collective = nullptr; // or null
    std::string_view name;
    BoundLaunch bound;
  };
  absl::Status RunCollective(const Prepared &prepared, const StepSizes &sizes);

  ThreadPool pool_;
  Communicator *const communicator_;
  const uint32_t rank_;
  void *library_ = nullptr;
  std::vector<Prepared> kernels_; // without arguments; the bundle owns the names
  std::vector<std::vector<Prepared>> lists_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CPU_DEVICE_H_

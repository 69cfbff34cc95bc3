// The interface between the engine and a device: memory, and kernels that run in order. The cpu and the cuda
// implementation are interchangeable; code above this interface does not know which one runs.
#ifndef INLAY_RUNTIME_DEVICE_DEVICE_H_
#define INLAY_RUNTIME_DEVICE_DEVICE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/step_sizes.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/weight_loader.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// The sizes of a step that every kernel receives, in the order of plan::Extent.
using StepSizes = std::array<int32_t, kStepSizeCount>;

// A launch of the plan with its arguments as addresses on the device.
struct BoundLaunch {
  const plan::Launch *launch = nullptr;
  std::vector<void *> arguments;
  uint64_t cache_bytes = 0; // of a layer's keys, and of its values
};

// A list of launches that a device has made ready: kernels found, tensor maps encoded.
using LaunchList = int;

// Rows of a block of memory.
struct CopyRows {
  uint64_t offset = 0; // of the first row, from the beginning of the block
  uint64_t bytes = 0;  // of a row
  uint64_t rows = 1;
  uint64_t pitch = 0; // from row to row
};

// An event in the order of launches.
using EventId = int64_t;

// A copy to the host, to memory from AllocateHost(), that is done when its event is.
struct AsyncCopy {
  void *to = nullptr;
  const void *from = nullptr;
  uint64_t bytes = 0;
};

// Its memory is a sink for weights: Write() and Repeat() return when all has arrived.
class Device : public WeightSink {
public:
  // "cpu" or "NVIDIA H200 (sm_90a)": for people.
  virtual std::string Name() const = 0;

  // Bytes that can still be allocated.
  virtual uint64_t FreeMemory() const = 0;
  // Memory aligned to 256 bytes. An error says what was needed and what was free.
  virtual absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) = 0;
  virtual void Free(void *memory) = 0;

  // Copies in the order of launches. The host's memory may be reused when the call returns.
  virtual absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) = 0;
  // Waits for what was launched before.
  virtual absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) = 0;
  // From one place on the device to another, in the order of launches.
  virtual absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) = 0;
  // Like CopyToHost, but does not wait: `to`, from AllocateHost(), is written before a later event completes.
  virtual absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) = 0;
  // Like CopyToDevice, but `from`, from AllocateHost(), is read when the copy's turn comes.
  virtual absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) = 0;
  // Copies these rows of `from`, a block from AllocateHost(), to the same places of `to` on a stream of its own, while
  // earlier launches still run; these must not use `to`. Later launches wait for the copy. `from` must not change
  // before a later event completes.
  virtual absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) = 0;
  // Memory of the host that the device can read and write while the host goes on.
  virtual absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) = 0;
  virtual void FreeHost(void *memory) = 0;
  // Records an event that completes when all earlier launches and `copy` are done. Later launches do not wait for the
  // copy and must not write to its source. At most kMaxEvents are pending at a time.
  static constexpr EventId kMaxEvents = 4;
  virtual absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) = 0;
  virtual absl::Status WaitForEvent(EventId mark) = 0;
  virtual absl::Status Clear(void *memory, uint64_t bytes) = 0;
  virtual absl::Status Synchronize() = 0;

  // Loads the kernels of a target of the bundle.
  virtual absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) = 0;
  virtual absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) = 0;
  // Runs a list in order. With `reuse`, steps of these sizes come again and again: a GPU captures a graph once.
  virtual absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) = 0;
};

// A device for a target of a bundle: "cpu" or "sm_90a". `threads` of the host, 0 for one a core. `cublaslt`: see
// OpenCudaDevice().
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(std::string_view target, int threads,
                                                   const std::string &cublaslt = {});

// Blocks of a launch in each dimension for a step.
std::array<uint32_t, 3> GridOf(const plan::Launch &launch, const StepSizes &sizes);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_DEVICE_H_

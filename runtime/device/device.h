// The interface between the engine and a device: memory, and kernels that run in order. The cpu and the cuda
// implementation are interchangeable; code above this interface does not know which one runs.
#ifndef INLAY_RUNTIME_DEVICE_DEVICE_H_
#define INLAY_RUNTIME_DEVICE_DEVICE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/halves.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/step_capacity.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/distributed/communicator.h"
#include "runtime/support/copy_rows.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// A launch of the plan with its arguments as addresses on the device.
struct BoundLaunch {
  const plan::Launch *launch = nullptr;
  std::vector<void *> arguments;
  uint64_t cache_bytes = 0;  // of a layer's keys, and of its values
  HalvesOfSteps halves = {}; // steps in which it runs in halves on a GPU, if launch->halves() says so
};

// Identifies a list of launches that the device has prepared: kernels were found and tensor maps encoded.
using LaunchList = int;

// Identifies an event that was recorded in the order of launches.
using EventId = int64_t;

// A copy from the device to host memory from AllocateHost(). It is done when its event completes.
struct AsyncCopy {
  void *to = nullptr;
  const void *from = nullptr;
  uint64_t bytes = 0;
};

// A device. Weights are written through WeightSink, whose Write() and Repeat() return when all bytes are in device
// memory.
class Device : public WeightSink {
public:
  // A name for output: "cpu (8 threads)" or "NVIDIA H200 (sm_90a)".
  virtual std::string Name() const = 0;

  // Bytes that can still be allocated.
  virtual uint64_t FreeMemory() const = 0;
  // Allocates memory aligned to 256 bytes. `what` names its use in errors, which give the bytes needed and free.
  virtual absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) = 0;
  virtual void Free(void *memory) = 0;

  // Copies in the order of launches. The host's memory may be reused when the call returns.
  virtual absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) = 0;
  // Waits for all earlier launches and copies.
  virtual absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) = 0;
  // Copies device memory to device memory, in the order of launches.
  virtual absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) = 0;
  // Like CopyToHost, but does not wait. `to` is memory from AllocateHost(). It is written when a later event completes.
  virtual absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) = 0;
  // Like CopyToDevice, but `from` is memory from AllocateHost() and must not change before a later event completes.
  virtual absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) = 0;
  // Copies rows of `from`, a block from AllocateHost(), to the same offsets of `to`. The copy runs on a separate stream
  // while earlier launches still run; these must not use `to`. Later launches wait for the copy. `from` must not change
  // before a later event completes.
  virtual absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) = 0;
  // Allocates host memory for asynchronous copies. On a GPU it is pinned memory.
  virtual absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) = 0;
  virtual void FreeHost(void *memory) = 0;
  // Records an event that completes when all earlier launches and `copy` are done. Later launches do not wait for the
  // copy and must not write to its source. At most kMaxEvents are pending at a time.
  static constexpr EventId kMaxEvents = 64; // each stage of a pipeline can have a step in flight
  virtual absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) = 0;
  virtual absl::Status WaitForEvent(EventId event) = 0;
  virtual absl::Status Clear(void *memory, uint64_t bytes) = 0;
  virtual absl::Status Synchronize() = 0;

  // Loads the kernels of a target of the bundle.
  virtual absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) = 0;
  virtual absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) = 0;
  // Runs a list in order. `reuse` says that steps with these sizes are frequent, so a GPU captures a graph and keeps
  // it.
  virtual absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) = 0;
};

class CudaRanks;

// The rank that a device is for, and what runs the collective operations of a plan. By default there is one rank, and
// it has the first GPU that can run the target.
struct DeviceRank {
  uint32_t index = 0, count = 1;        // among the ranks of all stages
  Communicator *communicator = nullptr; // of the ranks of its stage on the cpu; it outlives the device
  CudaRanks *gpus = nullptr;            // of ranks on GPUs; it outlives the device
  std::vector<int32_t> devices = {};    // EngineOptions::devices: empty, or at least one for each rank
};

// Opens a device for a target of a bundle: "cpu" or "sm_90a". `threads` is the number of host threads; 0: one per core.
// `cublaslt`: see OpenCudaDevice().
absl::StatusOr<std::unique_ptr<Device>> OpenDevice(std::string_view target, int threads,
                                                   const std::string &cublaslt = {}, const DeviceRank &rank = {});

// Returns the number of blocks of a launch in each dimension, for a step of these sizes, or for a half of it.
std::array<uint32_t, 3> GridOf(const plan::Launch &launch, const StepSizes &sizes, bool is_half = false);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_DEVICE_H_

// Memory of one GPU and copies to and from it: the part of CudaDevice that knows no kernels.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_MEMORY_H_
#define INLAY_RUNTIME_DEVICE_CUDA_MEMORY_H_

#include "runtime/device/cuda_driver.h"
#include "runtime/device/cuda_guarded_memory.h"
#include "runtime/device/cuda_ranks.h"
#include "runtime/device/device.h"
#include "runtime/support/debug_options.h"

#include <array>
#include <optional>
#include <string>

namespace inlay {

// CudaDevice opens and closes the context, the streams and the events.
class CudaMemory : public Device {
public:
  std::string Name() const override;
  uint64_t FreeMemory() const override;
  absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) override;
  void Free(void *memory) override;
  absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) override;
  absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) override;
  absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) override;
  absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) override;
  absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) override;
  absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) override;
  void FreeHost(void *memory) override;
  absl::Status Clear(void *memory, uint64_t bytes) override;

protected:
  CudaMemory(const cuda_driver::Api &api, const DeviceRank &rank) : api_(api), rank_(rank) {}

  static constexpr uint64_t kStagingBytes = uint64_t{4} << 20;

  // There are two staging buffers, so that one is filled while the other is copied.
  struct Staging {
    void *memory = nullptr;
    cuda_driver::Event copied = nullptr;
  };

  absl::Status Check(cuda_driver::Result result, const std::string &doing) const;
  bool IsStuck() const { return rank_.gpus && rank_.gpus->IsStuck(); }

  const cuda_driver::Api &api_;
  const DeviceRank rank_;
  DebugOptions debug_;
  std::optional<CudaGuardedMemory> guarded_; // if allocations have guard pages
  std::string name_;
  cuda_driver::Context context_ = nullptr;
  cuda_driver::Stream stream_ = nullptr;  // for launches
  cuda_driver::Stream uploads_ = nullptr; // metadata of a step is uploaded while the step before runs
  cuda_driver::Event arrived_ = nullptr;
  std::array<Staging, 2> staging_;
  size_t next_staging_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_MEMORY_H_

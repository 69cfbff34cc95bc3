// Device buffers with unmapped address space on both sides, so that an out-of-bounds access faults at once instead of
// reading a neighbouring buffer (INLAY_DEBUG=guard-end, guard-begin).
#ifndef INLAY_RUNTIME_DEVICE_CUDA_GUARDED_MEMORY_H_
#define INLAY_RUNTIME_DEVICE_CUDA_GUARDED_MEMORY_H_

#include "runtime/device/cuda_driver.h"

#include <cstdint>
#include <map>

namespace inlay {

class CudaGuardedMemory {
public:
  CudaGuardedMemory(const cuda_driver::Api &api, cuda_driver::DeviceHandle device, bool at_end)
      : api_(api), device_(device), at_end_(at_end) {}
  ~CudaGuardedMemory();

  // Allocates a buffer aligned to 256 bytes. With `at_end`, unmapped memory begins at most 255 bytes after its end.
  // Otherwise, unmapped memory ends where the buffer begins.
  cuda_driver::Result Allocate(uint64_t bytes, cuda_driver::Pointer &memory);
  void Free(cuda_driver::Pointer memory);

private:
  struct Mapping {
    cuda_driver::Pointer reserved = 0;
    uint64_t reserved_bytes = 0, granularity = 0;
    uint64_t handle = 0;
    bool is_mapped = false;
  };
  void Release(const Mapping &mapping);

  const cuda_driver::Api &api_;
  cuda_driver::DeviceHandle device_;
  bool at_end_;
  std::map<cuda_driver::Pointer, Mapping> mappings_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_GUARDED_MEMORY_H_

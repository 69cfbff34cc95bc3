// Memory of one GPU that other GPUs read and write, and the check that they can.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_PEER_MEMORY_H_
#define INLAY_RUNTIME_DEVICE_CUDA_PEER_MEMORY_H_

#include "absl/status/status.h"
#include "runtime/device/cuda_driver.h"

#include <span>
#include <string>
#include <string_view>

namespace inlay {

// A GPU of a rank, as its device opened it.
struct RankGpu {
  cuda_driver::DeviceHandle device = 0;
  int ordinal = 0; // among the visible GPUs
  cuda_driver::Context context = nullptr;
  cuda_driver::Stream stream = nullptr; // for launches
};

// Returns the status of a call for the GPU of a rank, whose error says what it was `doing`.
absl::Status CheckOfRank(const cuda_driver::Api &api, const RankGpu &gpu, uint32_t rank, cuda_driver::Result result,
                         std::string_view doing);

// Returns why the GPUs cannot access each other's memory; empty if all can.
std::string WhyNoPeerAccess(const cuda_driver::Api &api, std::span<const RankGpu> gpus);

// The memory is mapped at one address for all GPUs with virtual memory management. cuCtxEnablePeerAccess() would map
// every later allocation on all of them, which waits for their kernels and slows each allocation.
class CudaPeerMemory {
public:
  explicit CudaPeerMemory(const cuda_driver::Api &api) : api_(api) {}
  ~CudaPeerMemory() { Free(); }
  CudaPeerMemory(const CudaPeerMemory &) = delete;
  CudaPeerMemory &operator=(const CudaPeerMemory &) = delete;

  // Allocates `bytes` on `owner`, which all of `gpus` can read and write.
  cuda_driver::Result Allocate(const RankGpu &owner, std::span<const RankGpu> gpus, uint64_t bytes);
  // No GPU may use the memory.
  void Free();
  cuda_driver::Pointer address() const { return is_mapped_ ? address_ : 0; }
  // Does not free the memory: a GPU that does not answer may still use it.
  void Leak() {
    address_ = 0;
    is_mapped_ = false;
  }

private:
  const cuda_driver::Api &api_;
  cuda_driver::Pointer address_ = 0;
  uint64_t bytes_ = 0;
  bool is_mapped_ = false;
};

// `from` writes a pattern to the memory of `to`, and reads one of it. `first` and `second` are peer memory of the two
// of at least 2 * kPeerCheckBytes, which it overwrites. DataLoss: a byte was wrong; the error says what can be done.
inline constexpr uint64_t kPeerCheckBytes = uint64_t{64} << 10;
absl::Status CheckPeerAccess(const cuda_driver::Api &api, const RankGpu &from, const RankGpu &to,
                             cuda_driver::Pointer from_memory, cuda_driver::Pointer to_memory);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_PEER_MEMORY_H_

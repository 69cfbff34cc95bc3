// Memory of one GPU that other GPUs read and write, in this process or in others, and the check that they can.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_PEER_MEMORY_H_
#define INLAY_RUNTIME_DEVICE_CUDA_PEER_MEMORY_H_

#include "absl/status/status.h"
#include "runtime/device/cuda_driver.h"
#include "runtime/distributed/rank_processes.h"

#include <span>
#include <string>
#include <string_view>

namespace inlay {

// A GPU of a rank, as its device opened it. That of a rank in another process has no context and no stream here.
struct RankGpu {
  cuda_driver::DeviceHandle device = 0;
  int ordinal = 0; // among the visible GPUs
  cuda_driver::Context context = nullptr;
  cuda_driver::Stream stream = nullptr; // for launches
  bool is_here() const { return context != nullptr; }
};

// Returns the status of a call for the GPU of a rank, whose error says what it was `doing`.
absl::Status CheckOfRank(const cuda_driver::Api &api, const RankGpu &gpu, uint32_t rank, cuda_driver::Result result,
                         std::string_view doing);

// Returns why the GPUs cannot access each other's memory; empty if all can. A GPU may be there several times, for ranks
// that share it.
std::string WhyNoPeerAccess(const cuda_driver::Api &api, std::span<const RankGpu> gpus);

// The memory is mapped with virtual memory management, at one address for all GPUs of a process. Each process has an
// address of its own, also on the same GPU. cuCtxEnablePeerAccess() would map every later allocation on all GPUs, which
// waits for their kernels and slows each allocation.
class CudaPeerMemory {
public:
  explicit CudaPeerMemory(const cuda_driver::Api &api) : api_(api) {}
  ~CudaPeerMemory() { Free(); }
  CudaPeerMemory(const CudaPeerMemory &) = delete;
  CudaPeerMemory &operator=(const CudaPeerMemory &) = delete;

  // Allocates `bytes` on `owner`, which those of `gpus` that are in this process can read and write. If `file` is not
  // null, sets it to a file descriptor of the memory, with which other processes map it.
  cuda_driver::Result Allocate(const RankGpu &owner, std::span<const RankGpu> gpus, uint64_t bytes,
                               OwnedFile *file = nullptr);
  // Maps what the process of `owner` has allocated with the same `bytes`. It stays valid if that process ends.
  cuda_driver::Result Import(const RankGpu &owner, std::span<const RankGpu> gpus, uint64_t bytes,
                             const OwnedFile &file);
  // No GPU may use the memory.
  void Free();
  cuda_driver::Pointer address() const { return is_mapped_ ? address_ : 0; }
  // Does not free the memory: a GPU that does not answer may still use it.
  void Leak() {
    address_ = 0;
    is_mapped_ = false;
  }

private:
  template <class MakeHandle>
  cuda_driver::Result Map(const cuda_driver::AllocationProperties &properties, std::span<const RankGpu> gpus,
                          uint64_t bytes, const MakeHandle &make_handle);

  const cuda_driver::Api &api_;
  cuda_driver::Pointer address_ = 0;
  uint64_t bytes_ = 0;
  bool is_mapped_ = false;
};

// `from` writes a pattern to the memory of `to`, and reads one of it. `from_memory` and `to_memory` are addresses of
// this process in memory of the two of at least 2 * kPeerCheckBytes, which it overwrites. DataLoss: a byte was wrong;
// the error says what can be done. Internal: the driver returned an error. If the ranks are `processes`, all of them
// call it, and get the same status. Ranks on one GPU need no check.
inline constexpr uint64_t kPeerCheckBytes = uint64_t{64} << 10;
absl::Status CheckPeerAccess(const cuda_driver::Api &api, const RankGpu &from, const RankGpu &to,
                             cuda_driver::Pointer from_memory, cuda_driver::Pointer to_memory,
                             RankProcesses *processes);

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_PEER_MEMORY_H_

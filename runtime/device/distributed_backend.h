// How ranks on GPUs exchange values: --distributed-backend.
#ifndef INLAY_RUNTIME_DEVICE_DISTRIBUTED_BACKEND_H_
#define INLAY_RUNTIME_DEVICE_DISTRIBUTED_BACKEND_H_

#include <optional>
#include <string_view>

namespace inlay {

// kPeer: GPUs read and write each other's memory. kAuto: they do where all GPUs can and a kernel has code for it. NCCL
// runs the other collective operations, and rows between stages go through host memory.
enum class DistributedBackend { kAuto, kPeer, kNccl };

// "auto" (or nothing), "peer" or "nccl".
inline std::optional<DistributedBackend> ParseDistributedBackend(std::string_view name) {
  if (name.empty() || name == "auto")
    return DistributedBackend::kAuto;
  if (name == "peer")
    return DistributedBackend::kPeer;
  if (name == "nccl")
    return DistributedBackend::kNccl;
  return std::nullopt;
}

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_DISTRIBUTED_BACKEND_H_

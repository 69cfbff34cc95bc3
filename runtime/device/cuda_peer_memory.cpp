#include "runtime/device/cuda_peer_memory.h"

#include "fmt/format.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace inlay {

using namespace cuda_driver;

namespace {

constexpr uint64_t kSegments = 16; // of the pattern, each of one byte value
constexpr uint64_t kSegmentBytes = kPeerCheckBytes / kSegments;

// The byte of a segment. Different pairs, directions and segments have different ones.
std::byte PatternOf(const RankGpu &from, const RankGpu &to, bool is_read, uint64_t segment) {
  return static_cast<std::byte>(1 + 97 * from.ordinal + 41 * to.ordinal + (is_read ? 128 : 0) +
                                7 * static_cast<int>(segment));
}

} // namespace

absl::Status CheckOfRank(const Api &api, const RankGpu &gpu, uint32_t rank, Result result, std::string_view doing) {
  if (result == 0)
    return absl::OkStatus();
  const char *text = nullptr;
  api.GetErrorString(result, &text);
  return absl::InternalError(fmt::format("GPU {} of rank {}: {} (error {}) while {}", gpu.ordinal, rank,
                                         text ? text : "unknown", result, doing));
}

std::string WhyNoPeerAccess(const Api &api, std::span<const RankGpu> gpus) {
  if (!api.MemSetAccess)
    return "the driver has no virtual memory management";
  // All processes find the same.
  const bool is_shared = std::ranges::any_of(gpus, [](const RankGpu &gpu) { return !gpu.is_here(); });
  for (const RankGpu &gpu : gpus) {
    int shares = 0;
    if (is_shared && (!api.MemImport || !api.MemExport ||
                      api.DeviceGetAttribute(&shares, kSharesMemoryFiles, gpu.device) != 0 || !shares))
      return fmt::format("the memory of GPU {} cannot be shared with other processes", gpu.ordinal);
  }
  for (const RankGpu &from : gpus)
    for (const RankGpu &to : gpus) {
      int can = 0;
      if (from.device != to.device && (api.CanAccessPeer(&can, from.device, to.device) != 0 || !can))
        return fmt::format("GPU {} cannot access the memory of GPU {}", from.ordinal, to.ordinal);
    }
  return "";
}

template <class MakeHandle>
Result CudaPeerMemory::Map(const AllocationProperties &properties, std::span<const RankGpu> gpus, uint64_t bytes,
                           const MakeHandle &make_handle) {
  size_t granularity = 0;
  if (Result result = api_.MemGetAllocationGranularity(&granularity, &properties, /*recommended=*/1))
    return result;
  bytes_ = (bytes + granularity - 1) / granularity * granularity;
  if (Result result = api_.MemAddressReserve(&address_, bytes_, 0, 0, 0))
    return result;
  uint64_t handle = 0;
  Result result = make_handle(handle);
  if (result == 0) {
    result = api_.MemMap(address_, bytes_, 0, handle, 0);
    is_mapped_ = result == 0;
    api_.MemRelease(handle); // the mapping keeps the memory
  }
  std::vector<AccessDescription> access;
  for (const RankGpu &gpu : gpus) {
    auto is_same = [&](const AccessDescription &other) { return other.location.id == gpu.device; };
    if (gpu.is_here() && std::ranges::none_of(access, is_same))
      access.push_back({{kDeviceLocation, gpu.device}, kReadWriteAccess});
  }
  if (result == 0)
    result = api_.MemSetAccess(address_, bytes_, access.data(), access.size());
  if (result != 0)
    Free();
  return result;
}

Result CudaPeerMemory::Allocate(const RankGpu &owner, std::span<const RankGpu> gpus, uint64_t bytes, OwnedFile *file) {
  AllocationProperties properties{};
  properties.type = kPinnedAllocation;
  properties.handle_types = file ? kFileHandle : 0;
  properties.location = {kDeviceLocation, owner.device};
  return Map(properties, gpus, bytes, [&](uint64_t &handle) {
    Result result = api_.MemCreate(&handle, bytes_, &properties, 0);
    int exported = -1;
    if (result != 0 || !file)
      return result;
    result = api_.MemExport(&exported, handle, kFileHandle, 0);
    *file = OwnedFile(exported);
    if (result != 0)
      api_.MemRelease(handle);
    return result;
  });
}

Result CudaPeerMemory::Import(const RankGpu &owner, std::span<const RankGpu> gpus, uint64_t bytes,
                              const OwnedFile &file) {
  AllocationProperties properties{};
  properties.type = kPinnedAllocation;
  properties.handle_types = kFileHandle;
  properties.location = {kDeviceLocation, owner.device};
  return Map(properties, gpus, bytes, [&](uint64_t &handle) {
    return api_.MemImport(&handle, reinterpret_cast<void *>(static_cast<intptr_t>(file.get())), kFileHandle);
  });
}

void CudaPeerMemory::Free() {
  if (is_mapped_)
    api_.MemUnmap(address_, bytes_);
  if (address_)
    api_.MemAddressFree(address_, bytes_);
  is_mapped_ = false;
  address_ = 0;
}

absl::Status CheckPeerAccess(const Api &api, const RankGpu &from, const RankGpu &to, Pointer from_memory,
                             Pointer to_memory, RankProcesses *processes) {
  if (from.device == to.device)
    return absl::OkStatus();
  Result failed = 0;
  auto call = [&](Result result) { failed = failed ? failed : result; };
  // An error of the driver says nothing of the bytes, so it is no reason to exchange in another way.
  auto status_of_calls = [&](const RankGpu &caller) {
    const char *text = nullptr;
    if (failed == 0)
      return absl::OkStatus();
    api.GetErrorString(failed, &text);
    return absl::InternalError(
        fmt::format("GPU {}: {} (error {}) while checking whether GPU {} reaches the memory of GPU {}; look for errors "
                    "of the GPUs in the log of the kernel (dmesg), or use --distributed-backend nccl",
                    caller.ordinal, text ? text : "unknown", failed, from.ordinal, to.ordinal));
  };
  auto check = [&](bool is_read, const RankGpu &reader, Pointer memory) {
    std::vector<std::byte> found(kPeerCheckBytes);
    call(api.MemcpyToHostAsync(found.data(), memory, found.size(), reader.stream));
    call(api.StreamSynchronize(reader.stream));
    if (absl::Status status = status_of_calls(reader); !status.ok())
      return status;
    for (uint64_t i = 0; i < found.size(); ++i)
      if (std::byte expected = PatternOf(from, to, is_read, i / kSegmentBytes); found[i] != expected)
        return absl::DataLossError(fmt::format(
            "GPU {} {} the memory of GPU {}: byte {} of {} is {:#04x}, expected {:#04x}. PCI access control (ACS) or "
            "an IOMMU usually is the cause: turn them off in the BIOS or with iommu=pt, or use --distributed-backend "
            "nccl with NCCL_P2P_DISABLE=1 in the environment",
            from.ordinal, is_read ? "reads" : "writes to", to.ordinal, i, found.size(), static_cast<int>(found[i]),
            static_cast<int>(expected)));
    return absl::OkStatus();
  };
  auto fill = [&](const RankGpu &writer, Pointer memory, bool is_read) {
    for (uint64_t i = 0; i < kSegments; ++i)
      call(api.MemsetAsync(memory + i * kSegmentBytes, static_cast<unsigned char>(PatternOf(from, to, is_read, i)),
                           kSegmentBytes, writer.stream));
    call(api.StreamSynchronize(writer.stream));
    return status_of_calls(writer);
  };
  const std::pair<const RankGpu &, std::function<absl::Status()>> steps[] = {
      // The owner clears its memory, so that what it holds afterwards was written by the peer.
      {to,
       [&] {
         call(api.MemsetAsync(to_memory, 0, kPeerCheckBytes, to.stream));
         return fill(to, to_memory + kPeerCheckBytes, /*is_read=*/true);
       }},
      {from, [&] { return fill(from, to_memory, /*is_read=*/false); }},
      {to, [&] { return check(/*is_read=*/false, to, to_memory); }},
      {from, [&] {
         call(api.MemsetAsync(from_memory, 0, kPeerCheckBytes, from.stream));
         call(api.MemcpyOnDeviceAsync(from_memory, to_memory + kPeerCheckBytes, kPeerCheckBytes, from.stream));
         return check(/*is_read=*/true, from, from_memory);
       }}};
  for (const auto &[gpu, run] : steps) {
    absl::Status status;
    if (gpu.is_here()) {
      call(api.ContextSetCurrent(gpu.context));
      status = run();
    }
    if (processes)
      status = processes->Agree(status);
    if (!status.ok())
      return status;
  }
  return absl::OkStatus();
}

} // namespace inlay

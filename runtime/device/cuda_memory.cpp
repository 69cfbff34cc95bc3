#include "runtime/device/cuda_memory.h"

#include "fmt/format.h"

#include <algorithm>
#include <cstring>

namespace inlay {

using namespace cuda_driver;

std::string CudaMemory::Name() const { return name_; }

uint64_t CudaMemory::FreeMemory() const {
  api_.ContextSetCurrent(context_);
  size_t free = 0, total = 0;
  api_.MemGetInfo(&free, &total);
  return free;
}

absl::StatusOr<void *> CudaMemory::Allocate(uint64_t bytes, std::string_view what) {
  uint64_t free = FreeMemory();
  Pointer memory = 0;
  bytes = std::max<uint64_t>(bytes, 256);
  Result result = guarded_ ? guarded_->Allocate(bytes, memory) : api_.MemAlloc(&memory, bytes);
  if (result == kOutOfMemory)
    return absl::ResourceExhaustedError(
        fmt::format("{} need {} MiB, but only {} MiB of GPU memory are free", what, bytes >> 20, free >> 20));
  if (absl::Status status = Check(result, "allocating memory"); !status.ok())
    return status;
  if (debug_.poison) { // wait for it, because another stream may write to the memory next
    if (absl::Status status = Check(api_.MemsetAsync(memory, 0xff, bytes, stream_), "poisoning memory"); !status.ok())
      return status;
    if (absl::Status status = Check(api_.StreamSynchronize(stream_), "poisoning memory"); !status.ok())
      return status;
  }
  return reinterpret_cast<void *>(memory);
}

void CudaMemory::Free(void *memory) {
  if (IsStuck())
    return;
  (void)Synchronize();
  if (guarded_)
    guarded_->Free(reinterpret_cast<Pointer>(memory));
  else
    api_.MemFree(reinterpret_cast<Pointer>(memory));
}

absl::Status CudaMemory::CopyToDevice(void *to, const void *from, uint64_t bytes) {
  api_.ContextSetCurrent(context_);
  // Copy through pinned memory, so that the host does not wait for the device.
  for (uint64_t at = 0; at < bytes; at += kStagingBytes) {
    uint64_t size = std::min<uint64_t>(kStagingBytes, bytes - at);
    Staging &staging = staging_[next_staging_++ % staging_.size()];
    // Before its first use, the event was not recorded; synchronizing with it returns at once.
    if (absl::Status status = rank_.gpus ? rank_.gpus->Wait(rank_.index, staging.copied, rank_.gpus->step(rank_.index))
                                         : Check(api_.EventSynchronize(staging.copied), "copying");
        !status.ok())
      return status;
    std::memcpy(staging.memory, static_cast<const std::byte *>(from) + at, size);
    if (absl::Status status = Check(
            api_.MemcpyToDeviceAsync(reinterpret_cast<Pointer>(to) + at, staging.memory, size, stream_), "copying");
        !status.ok())
      return status;
    if (absl::Status status = Check(api_.EventRecord(staging.copied, stream_), "copying"); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::Status CudaMemory::CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) {
  api_.ContextSetCurrent(context_);
  for (const CopyRows &part : rows) {
    if (part.bytes == 0 || part.rows == 0)
      continue;
    RowsCopy copy{};
    copy.from_type = kHostMemory;
    copy.from_host = static_cast<const std::byte *>(from) + part.offset;
    copy.to_type = kDeviceMemory;
    copy.to_device = reinterpret_cast<Pointer>(to) + part.offset;
    copy.from_pitch = copy.to_pitch = part.pitch;
    copy.bytes = part.bytes;
    copy.rows = part.rows;
    if (absl::Status status = Check(api_.MemcpyRowsAsync(&copy, uploads_), "copying"); !status.ok())
      return status;
  }
  if (absl::Status status = Check(api_.EventRecord(arrived_, uploads_), "copying"); !status.ok())
    return status;
  return Check(api_.StreamWaitEvent(stream_, arrived_, 0), "copying");
}

absl::Status CudaMemory::CopyOnDevice(void *to, const void *from, uint64_t bytes) {
  api_.ContextSetCurrent(context_);
  return Check(api_.MemcpyOnDeviceAsync(reinterpret_cast<Pointer>(to), reinterpret_cast<Pointer>(from), bytes, stream_),
               "copying");
}

absl::Status CudaMemory::CopyToHostAsync(void *to, const void *from, uint64_t bytes) {
  api_.ContextSetCurrent(context_);
  return Check(api_.MemcpyToHostAsync(to, reinterpret_cast<Pointer>(from), bytes, stream_), "copying");
}

absl::Status CudaMemory::CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) {
  api_.ContextSetCurrent(context_);
  return Check(api_.MemcpyToDeviceAsync(reinterpret_cast<Pointer>(to), from, bytes, stream_), "copying");
}

absl::StatusOr<void *> CudaMemory::AllocateHost(uint64_t bytes, std::string_view what) {
  api_.ContextSetCurrent(context_);
  void *memory = nullptr;
  Result result = api_.MemAllocHost(&memory, std::max<uint64_t>(bytes, 256));
  if (result == kOutOfMemory)
    return absl::ResourceExhaustedError(fmt::format("{} need {} MiB of pinned host memory", what, bytes >> 20));
  if (absl::Status status = Check(result, "pinning host memory"); !status.ok())
    return status;
  return memory;
}

void CudaMemory::FreeHost(void *memory) {
  if (IsStuck())
    return;
  (void)Synchronize();
  api_.MemFreeHost(memory);
}

absl::Status CudaMemory::Clear(void *memory, uint64_t bytes) {
  api_.ContextSetCurrent(context_);
  return Check(api_.MemsetAsync(reinterpret_cast<Pointer>(memory), 0, bytes, stream_), "clearing memory");
}

absl::Status CudaMemory::Check(Result result, const std::string &doing) const {
  if (result == 0)
    return absl::OkStatus();
  const char *text = nullptr;
  api_.GetErrorString(result, &text);
  return absl::InternalError(fmt::format("{}: {} (error {}) while {}", name_.empty() ? "cuda" : name_,
                                         text ? text : "unknown", result, doing));
}

} // namespace inlay

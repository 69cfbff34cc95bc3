#include "runtime/device/cuda_guarded_memory.h"

namespace inlay {

using namespace cuda_driver;

CudaGuardedMemory::~CudaGuardedMemory() {
  for (const auto &[memory, mapping] : mappings_)
    Release(mapping);
}

Result CudaGuardedMemory::Allocate(uint64_t bytes, Pointer &memory) {
  AllocationProperties properties{};
  properties.type = kPinnedAllocation;
  properties.location = {kDeviceLocation, device_};
  Mapping mapping;
  if (Result result = api_.MemGetAllocationGranularity(&mapping.granularity, &properties, /*minimum=*/0))
    return result;
  uint64_t aligned = (bytes + 255) / 256 * 256;
  uint64_t mapped = (aligned + mapping.granularity - 1) / mapping.granularity * mapping.granularity;
  mapping.reserved_bytes = mapped + 2 * mapping.granularity;
  Result result = api_.MemAddressReserve(&mapping.reserved, mapping.reserved_bytes, 0, 0, 0);
  if (!result)
    result = api_.MemCreate(&mapping.handle, mapped, &properties, 0);
  Pointer begin = mapping.reserved + mapping.granularity;
  if (!result) {
    result = api_.MemMap(begin, mapped, 0, mapping.handle, 0);
    mapping.is_mapped = !result;
  }
  AccessDescription access{{kDeviceLocation, device_}, kReadWriteAccess};
  if (!result)
    result = api_.MemSetAccess(begin, mapped, &access, 1);
  if (result) {
    Release(mapping);
    return result;
  }
  memory = at_end_ ? begin + mapped - aligned : begin;
  mappings_[memory] = mapping;
  return 0;
}

void CudaGuardedMemory::Free(Pointer memory) {
  auto found = mappings_.find(memory);
  if (found == mappings_.end())
    return;
  Release(found->second);
  mappings_.erase(found);
}

void CudaGuardedMemory::Release(const Mapping &mapping) {
  if (mapping.is_mapped)
    api_.MemUnmap(mapping.reserved + mapping.granularity, mapping.reserved_bytes - 2 * mapping.granularity);
  if (mapping.handle)
    api_.MemRelease(mapping.handle);
  if (mapping.reserved)
    api_.MemAddressFree(mapping.reserved, mapping.reserved_bytes);
}

} // namespace inlay

// Addresses for instructions that access shared memory, and the fence between ordinary and async accesses.
#pragma once

__device__ __forceinline__ unsigned shared_address(const void *p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
// Orders ordinary accesses to shared memory before those of TMA and the tensor cores.
__device__ __forceinline__ void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

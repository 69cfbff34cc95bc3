// Asynchronous copies of 16 bytes from global to shared memory.
#pragma once
#include "shared_address.h"

// Copies 16 bytes. If `present` is false, writes zeros and reads nothing.
template <typename T> __device__ __forceinline__ void cp_async_16(T *shared, const T *global, bool present) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(present ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` of this thread's groups are in flight.
template <int pending> __device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

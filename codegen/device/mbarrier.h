// Barriers in shared memory that threads and asynchronous copies arrive at.
//
// A phase ends when `count` threads have arrived and all expected bytes have been
// copied. `parity` is the number of the phase modulo 2, starting at 0.
#pragma once
#include "shared_address.h"

using mbarrier = long long;

__device__ __forceinline__ void mbarrier_init(mbarrier *bar, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}
// Makes initialised barriers visible to TMA and to other blocks of the cluster. (A proxy fence for all
// memory would wait for the whole GPU: MEMBAR.ALL.GPU.)
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(mbarrier *bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}
// The same for a warp that has written the memory behind the first argument, and fenced it.
template <typename T> __device__ __forceinline__ void mbarrier_arrive_written(T *, mbarrier *bar) {
  mbarrier_arrive(bar);
}
__device__ __forceinline__ void mbarrier_arrive_expect(mbarrier *bar, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void mbarrier_wait(mbarrier *bar, int parity) {
  asm volatile("{\n.reg .pred done;\n"
               "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@!done bra again;\n}" ::"r"(shared_address(bar)),
               "r"(parity)
               : "memory");
}

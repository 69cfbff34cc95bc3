// Asynchronous bulk copies of contiguous bytes (cp.async.bulk), completed on an mbarrier.
#pragma once
#include "mbarrier.h"

// An L2 policy for data that is read once per step, so that it does not evict data that is read again.
__device__ __forceinline__ long long evict_first_policy() {
  long long policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
// Addresses and `bytes` are multiples of 16.
template <typename D, typename S>
__device__ __forceinline__ void bulk_copy(D *shared, const S *global, int bytes, mbarrier *bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(global), "r"(bytes), "r"(shared_address(bar))
               : "memory");
}
template <typename D, typename S>
__device__ __forceinline__ void bulk_copy(D *shared, const S *global, int bytes, mbarrier *bar, long long policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(bar)), "l"(policy)
      : "memory");
}

// TMA copies of boxes of tensor maps, completed on an mbarrier. Coordinates are innermost first. Out of bounds reads 0.
#pragma once
#include "base.h"
#include "mbarrier.h"

__device__ __forceinline__ void prefetch_tensor_map(const CUtensorMap &map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
template <typename T>
__device__ __forceinline__ void tma_load_2d(T *shared, const CUtensorMap &map, mbarrier *bar, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
               "[%2];" ::"r"(shared_address(shared)),
               "l"(&map), "r"(shared_address(bar)), "r"(x), "r"(y)
               : "memory");
}
template <typename T>
__device__ __forceinline__ void tma_load_4d(T *shared, const CUtensorMap &map, mbarrier *bar, int x, int y, int z,
                                            int w, long long policy) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
               "[%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(shared_address(shared)),
               "l"(&map), "r"(shared_address(bar)), "r"(x), "r"(y), "r"(z), "r"(w), "l"(policy)
               : "memory");
}
template <typename T>
__device__ __forceinline__ void tma_load_4d(T *shared, const CUtensorMap &map, mbarrier *bar, int x, int y, int z,
                                            int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
               "[%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(shared)),
               "l"(&map), "r"(shared_address(bar)), "r"(x), "r"(y), "r"(z), "r"(w)
               : "memory");
}

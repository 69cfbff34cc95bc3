// A program without Inlay in which each block sends one number to each block of its cluster: thread 0 arms an mbarrier,
// every block of the cluster sends with st.async, and all threads wait. `gpu-check --only fault` runs it under
// compute-sanitizer's synccheck with clusters of 2 to 16 blocks, to distinguish a fault of the tool from a fault of
// Inlay's decode attention.
//
//   nvcc -gencode=arch=compute_90a,code=sm_90a -o cluster_probe cluster_probe.cu
//   cluster_probe CLUSTER BLOCKS SHARED_BYTES       128 blocks and 100,000 bytes are those of decode attention
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <vector>

#define CHECK(call)                                                                                                    \
  do {                                                                                                                 \
    cudaError_t status = (call);                                                                                       \
    if (status != cudaSuccess) {                                                                                       \
      std::fprintf(stderr, "%s:%d: %s (error %d)\n", __FILE__, __LINE__, cudaGetErrorString(status), status);          \
      std::exit(1);                                                                                                    \
    }                                                                                                                  \
  } while (0)

constexpr int kThreads = 256, kLaunches = 16;

__device__ uint32_t shared_address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__global__ void exchange(int *out, int cluster) {
  extern __shared__ __align__(16) int inbox[];
  uint64_t *received = reinterpret_cast<uint64_t *>(inbox + 64);
  int rank = blockIdx.x % cluster;
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(received)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(received)),
                 "r"(4 * cluster)
                 : "memory");
  }
  asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
  if (threadIdx.x < cluster) {
    uint32_t to, barrier;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(shared_address(inbox + rank)), "r"(threadIdx.x));
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(barrier) : "r"(shared_address(received)), "r"(threadIdx.x));
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(to),
                 "r"(rank + 1), "r"(barrier)
                 : "memory");
  }
  asm volatile("{\n.reg .pred p;\nwait:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0;\n@p bra done;\nbra "
               "wait;\ndone:\n}" ::"r"(shared_address(received))
               : "memory");
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int i = 0; i < cluster; ++i)
      sum += inbox[i];
    out[blockIdx.x] = sum;
  }
  // No block may exit before the other blocks of its cluster have finished: st.async writes to their shared memory.
  asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: cluster_probe CLUSTER BLOCKS SHARED_BYTES\n");
    return 1;
  }
  int cluster = std::atoi(argv[1]), blocks = std::atoi(argv[2]), shared = std::atoi(argv[3]);
  int *out = nullptr;
  CHECK(cudaMalloc(&out, blocks * sizeof(int)));
  CHECK(cudaFuncSetAttribute(exchange, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  CHECK(cudaFuncSetAttribute(exchange, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  for (int launch = 0; launch < kLaunches; ++launch) {
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = shared;
    config.attrs = &attribute;
    config.numAttrs = 1;
    CHECK(cudaMemset(out, 0, blocks * sizeof(int)));
    CHECK(cudaLaunchKernelEx(&config, exchange, out, cluster));
    std::vector<int> found(blocks);
    CHECK(cudaMemcpy(found.data(), out, blocks * sizeof(int), cudaMemcpyDeviceToHost));
    for (int i = 0; i < blocks; ++i)
      if (found[i] != cluster * (cluster + 1) / 2) {
        std::fprintf(stderr, "block %d: %d, expected %d\n", i, found[i], cluster * (cluster + 1) / 2);
        return 2;
      }
  }
  return 0;
}

// A program without Inlay that launches kernels in the same way as Inlay's runtime: graphs of kernels with clusters,
// dependent launch, mbarriers and bulk copies, with concurrent copies in two other streams. `gpu-check --only fault`
// runs it under compute-sanitizer to distinguish a fault of the tool from a fault of Inlay's kernels.
//
//   nvcc -gencode=arch=compute_90a,code=sm_90a -o fault_probe fault_probe.cu
//   fault_probe [WORD...]      words: cluster dependent mbarrier bulk graph        without words: all of them
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

constexpr int kThreads = 128, kBlocks = 64, kKernels = 24, kSteps = 12, kGraphs = 4;
constexpr int kCluster = 1, kDependent = 2, kMbarrier = 4, kBulk = 8, kGraph = 16;

__device__ uint32_t shared_address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void wait(uint64_t *barrier, int phase) {
  asm volatile("{\n.reg .pred p;\nwait:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra done;\nbra "
               "wait;\ndone:\n}" ::"r"(shared_address(barrier)),
               "r"(phase)
               : "memory");
}

// out = in + 1 for kThreads values per block, copied through shared memory.
__global__ void add_one(const int *in, int *out, int words) {
  __shared__ alignas(128) int values[kThreads];
  __shared__ uint64_t full, all;
  int at = blockIdx.x * kThreads;
  if (threadIdx.x == 0 && (words & kMbarrier)) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&full)));
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&all)), "r"(kThreads));
    asm volatile("fence.mbarrier_init.release.cluster;");
  }
  __syncthreads();
  if (words & kDependent)
    asm volatile("griddepcontrol.wait;" ::: "memory");
  if (words & kBulk) {
    if (threadIdx.x == 0) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&full)),
                   "r"(static_cast<int>(sizeof values)));
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                       shared_address(values)),
                   "l"(in + at), "r"(static_cast<int>(sizeof values)), "r"(shared_address(&full))
                   : "memory");
    }
    wait(&full, 0);
  } else {
    values[threadIdx.x] = in[at + threadIdx.x];
  }
  if (words & kMbarrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&all)) : "memory");
    wait(&all, 0);
  }
  __syncthreads();
  if (words & kCluster) {
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
  }
  if (words & kDependent)
    asm volatile("griddepcontrol.launch_dependents;");
  out[at + threadIdx.x] = values[threadIdx.x ^ 1] + 1;
}

int main(int argc, char **argv) {
  const char *names[] = {"cluster", "dependent", "mbarrier", "bulk", "graph"};
  int words = argc > 1 ? 0 : 31;
  for (int i = 1; i < argc; ++i)
    for (int word = 0; word < 5; ++word)
      if (!std::strcmp(argv[i], names[word]))
        words |= 1 << word;
  if (words & kBulk)
    words |= kMbarrier;
  constexpr int kValues = kBlocks * kThreads;
  int *buffers[2], *host_in, *host_out;
  for (int *&buffer : buffers)
    CHECK(cudaMalloc(&buffer, kValues * sizeof(int)));
  CHECK(cudaMallocHost(&host_in, kValues * sizeof(int)));
  CHECK(cudaMallocHost(&host_out, kValues * sizeof(int)));
  cudaStream_t stream, ahead, results;
  cudaEvent_t arrived, launched, done;
  for (cudaStream_t *one : {&stream, &ahead, &results})
    CHECK(cudaStreamCreateWithFlags(one, cudaStreamNonBlocking));
  for (cudaEvent_t *one : {&arrived, &launched, &done})
    CHECK(cudaEventCreateWithFlags(one, cudaEventDisableTiming));
  auto enqueue = [&](int kernels) {
    for (int i = 0; i < kernels; ++i) {
      cudaLaunchAttribute attributes[2];
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(kBlocks);
      config.blockDim = dim3(kThreads);
      config.stream = stream;
      config.attrs = attributes;
      if (words & kCluster) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs].val.clusterDim.x = 4;
        attributes[config.numAttrs].val.clusterDim.y = attributes[config.numAttrs].val.clusterDim.z = 1;
        ++config.numAttrs;
      }
      if (i > 0 && (words & kDependent)) {
        attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[config.numAttrs].val.programmaticStreamSerializationAllowed = 1;
        ++config.numAttrs;
      }
      CHECK(
          cudaLaunchKernelEx(&config, add_one, static_cast<const int *>(buffers[i % 2]), buffers[(i + 1) % 2], words));
    }
  };
  std::vector<cudaGraphExec_t> graphs(kGraphs, nullptr);
  for (int step = 0; step < kSteps; ++step) {
    int kernels = kKernels - 2 * (step % kGraphs);
    for (int i = 0; i < kValues; ++i)
      host_in[i] = step + i;
    CHECK(cudaMemcpyAsync(buffers[0], host_in, kValues * sizeof(int), cudaMemcpyHostToDevice, ahead));
    CHECK(cudaEventRecord(arrived, ahead));
    CHECK(cudaStreamWaitEvent(stream, arrived, 0));
    if (words & kGraph) {
      cudaGraphExec_t &graph = graphs[step % kGraphs];
      if (!graph) {
        cudaGraph_t captured;
        CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        enqueue(kernels);
        CHECK(cudaStreamEndCapture(stream, &captured));
        CHECK(cudaGraphInstantiate(&graph, captured, 0));
        CHECK(cudaGraphDestroy(captured));
      }
      CHECK(cudaGraphLaunch(graph, stream));
    } else {
      enqueue(kernels);
    }
    CHECK(cudaEventRecord(launched, stream));
    CHECK(cudaStreamWaitEvent(results, launched, 0));
    CHECK(cudaMemcpyAsync(host_out, buffers[0], kValues * sizeof(int), cudaMemcpyDeviceToHost, results));
    CHECK(cudaEventRecord(done, results));
    CHECK(cudaEventSynchronize(done));
    for (int i = 0; i < kValues; ++i)
      if (host_out[i] != step + i + kernels) {
        std::fprintf(stderr, "step %d: value %d is %d, expected %d\n", step, i, host_out[i], step + i + kernels);
        return 2;
      }
  }
  return 0;
}

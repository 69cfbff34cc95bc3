// Structures to launch a kernel that was compiled for the CPU (emulation.h). The kernels, the fake driver of test/e2e
// and, as ctypes structures, emulation.py use them.
#ifndef INLAY_TEST_CODEGEN_GPU_EMULATED_LAUNCH_H_
#define INLAY_TEST_CODEGEN_GPU_EMULATED_LAUNCH_H_

/// Memory that earlier launches write. It holds NaNs until the kernel waits for these launches.
struct LateWrite {
  unsigned char *to;
  long long bytes;
};

struct EmulatedLaunch {
  unsigned grid[3];
  int threads, cluster, sharedBytes;
  const LateWrite *late;
  int lateCount;
};

/// What the emulated cuTensorMapEncodeTiled writes, for elements of 1 or 2 bytes. Dimensions are innermost first,
/// strides in bytes, the first of which is an element's.
struct alignas(64) CUtensorMap {
  const unsigned char *memory;
  long long dims[4], strides[4];
  int box[4], rank, swizzle;
};
static_assert(sizeof(CUtensorMap) == 128);

#endif // INLAY_TEST_CODEGEN_GPU_EMULATED_LAUNCH_H_

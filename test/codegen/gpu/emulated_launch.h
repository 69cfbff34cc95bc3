// How a kernel that was compiled from its text for the CPU (emulation.h) is launched. Shared by the kernels, the driver
// of test/e2e and, as ctypes structures, emulation.py.
#ifndef INLAY_TEST_CODEGEN_GPU_EMULATED_LAUNCH_H_
#define INLAY_TEST_CODEGEN_GPU_EMULATED_LAUNCH_H_

/// Memory that the launches before this one wrote. It holds NaNs until the kernel waits for them.
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

/// What cuTensorMapEncodeTiled writes: a box of 16-bit elements. Innermost first; strides in bytes.
struct alignas(64) CUtensorMap {
  const unsigned char *memory;
  long long dims[4], strides[4];
  int box[4], rank, swizzle;
};
static_assert(sizeof(CUtensorMap) == 128);

#endif // INLAY_TEST_CODEGEN_GPU_EMULATED_LAUNCH_H_

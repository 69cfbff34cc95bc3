// Kernels for the fake driver: the CUDA source of the kernels, compiled for the CPU by test/codegen/gpu/emulation.py.
#ifndef INLAY_TEST_E2E_FAKE_KERNELS_H_
#define INLAY_TEST_E2E_FAKE_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace inlay::fake {

struct Kernel;

// A launch with the values of its parameters.
struct Launch {
  int device = 0;
  const Kernel *kernel = nullptr;
  unsigned grid[3] = {1, 1, 1};
  int threads = 1, cluster = 1, shared_bytes = 0;
  bool may_start_early = false; // dependent launch: it may start before earlier launches have ended
  std::vector<std::vector<std::byte>> parameters;
};

// Whether FAKE_KERNELS names a library of kernels. Without one, launches do nothing.
bool HasKernels();

// Returns the kernel with this name in the library, or null. Each device has its own copy of the library, whose
// kernels run at the same time as those of the others. If two threads launch on one device, it gets another copy.
const Kernel *FindKernel(const std::string &name, int device);

const std::string &NameOf(const Kernel &kernel);

// Copies the values that `parameters` point to.
void SetParameters(Launch &launch, void **parameters);

// Runs the kernel to its end and adds a line to the file FAKE_LOG: name, grid, the step's sizes and microseconds.
void Run(const Launch &launch);

// Allocates memory of a device. It is filled with NaNs, and the pages before and after it cannot be accessed. Null if
// the host has no memory. If it `is_shared`, other devices write to it, too, so it does not read as NaN before a kernel
// waits for earlier launches.
void *Allocate(size_t bytes, int device, bool is_shared = false);
void Free(void *memory);

} // namespace inlay::fake

#endif // INLAY_TEST_E2E_FAKE_KERNELS_H_

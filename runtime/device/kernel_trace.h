// Records when each kernel ran: with CUPTI on a GPU, with a clock around each launch on the cpu.
#ifndef INLAY_RUNTIME_DEVICE_KERNEL_TRACE_H_
#define INLAY_RUNTIME_DEVICE_KERNEL_TRACE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace inlay {

// One launch that has ended. Kernels may overlap: with dependent launch, a kernel starts before its predecessor has
// ended.
struct KernelRecord {
  std::string name;
  uint64_t start_ns = 0, end_ns = 0; // times of KernelTrace::Now()
  std::array<uint32_t, 3> grid{}, block{};
  uint32_t device = 0; // number of the GPU among those that the driver shows; on the cpu the rank
};

// Records the kernels of this process. There may be one trace at a time. Create it before the engine, so that it also
// sees the creation of CUDA graphs.
class KernelTrace {
public:
  virtual ~KernelTrace() = default;

  // `library` is libcupti.so or its directory; empty: the usual directories of CUDA's libraries are searched.
  static absl::StatusOr<std::unique_ptr<KernelTrace>> Open(std::string_view target, const std::string &library);

  virtual absl::Status Start() = 0;
  // Returns the records of all kernels that ran since Start() on any device, in the order of their start times.
  virtual absl::StatusOr<std::vector<KernelRecord>> Stop() = 0;
  // The current time of the clock of the records, in nanoseconds.
  virtual uint64_t Now() const = 0;
  // How the times are measured, for output: "CUPTI, version 130000".
  virtual std::string Method() const = 0;
};

void SortByStart(std::vector<KernelRecord> &records);

// The two implementations of KernelTrace, for Open().
std::unique_ptr<KernelTrace> MakeCpuKernelTrace();
absl::StatusOr<std::unique_ptr<KernelTrace>> OpenCuptiTrace(const std::string &library);

// The cpu device has one of these during each launch. It costs one load if there is no trace.
class CpuLaunchTimer {
public:
  CpuLaunchTimer(std::string_view name, const std::array<uint32_t, 3> &grid, uint32_t rank);
  ~CpuLaunchTimer();
  CpuLaunchTimer(const CpuLaunchTimer &) = delete;
  CpuLaunchTimer &operator=(const CpuLaunchTimer &) = delete;

private:
  std::string_view name_;
  std::array<uint32_t, 3> grid_;
  uint32_t rank_;
  uint64_t start_ns_ = 0; // 0: there is no trace
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_KERNEL_TRACE_H_

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

// One launch that has ended. Kernels may overlap: with dependent launch one begins while the one before still runs.
struct KernelRecord {
  std::string name;
  uint64_t start_ns = 0, end_ns = 0; // of the trace's clock
  std::array<uint32_t, 3> grid{}, block{};
};

// Records the kernels of this process. One trace at a time; make it before the engine, so that graphs are made under
// it.
class KernelTrace {
public:
  virtual ~KernelTrace() = default;

  // `library`: libcupti.so or a folder that holds it; empty: where CUDA's libraries are usually found.
  static absl::StatusOr<std::unique_ptr<KernelTrace>> Open(std::string_view target, const std::string &library);

  virtual absl::Status Start() = 0;
  // Waits for the records of what has run. In the order of their starts.
  virtual absl::StatusOr<std::vector<KernelRecord>> Stop() = 0;
  // The clock of the records, now.
  virtual uint64_t Now() const = 0;
  // How the times were taken, for people: "CUPTI 13.0".
  virtual std::string Method() const = 0;
};

// The two implementations, for Open.
std::unique_ptr<KernelTrace> MakeCpuKernelTrace();
absl::StatusOr<std::unique_ptr<KernelTrace>> OpenCuptiTrace(const std::string &library);

// What the cpu device calls around a launch; it costs one load where nothing is traced.
class CpuLaunchTimer {
public:
  CpuLaunchTimer(std::string_view name, const std::array<uint32_t, 3> &grid);
  ~CpuLaunchTimer();
  CpuLaunchTimer(const CpuLaunchTimer &) = delete;
  CpuLaunchTimer &operator=(const CpuLaunchTimer &) = delete;

private:
  std::string_view name_;
  std::array<uint32_t, 3> grid_;
  uint64_t start_ns_ = 0; // 0: nothing is traced
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_KERNEL_TRACE_H_

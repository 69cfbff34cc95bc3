#include "runtime/device/kernel_trace.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

namespace inlay {
namespace {

uint64_t SteadyNanoseconds() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

// The launches of a rank come from one thread, but a process may have several ranks and engines, so there is a mutex.
std::atomic<bool> cpu_tracing{false};
std::mutex cpu_mutex;
std::vector<KernelRecord> cpu_records;

class CpuKernelTrace : public KernelTrace {
public:
  ~CpuKernelTrace() override { cpu_tracing = false; }

  absl::Status Start() override {
    std::lock_guard lock(cpu_mutex);
    cpu_records.clear();
    cpu_tracing = true;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<KernelRecord>> Stop() override {
    cpu_tracing = false;
    std::lock_guard lock(cpu_mutex);
    SortByStart(cpu_records);
    return std::move(cpu_records);
  }
  uint64_t Now() const override { return SteadyNanoseconds(); }
  std::string Method() const override { return "a clock around each launch"; }
};

} // namespace

CpuLaunchTimer::CpuLaunchTimer(std::string_view name, const std::array<uint32_t, 3> &grid, uint32_t rank)
    : name_(name), grid_(grid), rank_(rank) {
  if (cpu_tracing.load(std::memory_order_relaxed))
    start_ns_ = SteadyNanoseconds();
}

CpuLaunchTimer::~CpuLaunchTimer() {
  if (start_ns_ == 0)
    return;
  uint64_t end = SteadyNanoseconds();
  std::lock_guard lock(cpu_mutex);
  cpu_records.push_back({std::string(name_), start_ns_, end, grid_, {1, 1, 1}, rank_});
}

void SortByStart(std::vector<KernelRecord> &records) {
  std::sort(records.begin(), records.end(), [](const KernelRecord &a, const KernelRecord &b) {
    return std::pair(a.start_ns, a.end_ns) < std::pair(b.start_ns, b.end_ns);
  });
}

std::unique_ptr<KernelTrace> MakeCpuKernelTrace() { return std::make_unique<CpuKernelTrace>(); }

absl::StatusOr<std::unique_ptr<KernelTrace>> KernelTrace::Open(std::string_view target, const std::string &library) {
  if (target == "cpu")
    return MakeCpuKernelTrace();
  return OpenCuptiTrace(library);
}

} // namespace inlay

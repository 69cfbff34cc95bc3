// Traces the kernels of a test of bench-model (--profile).
#ifndef INLAY_RUNTIME_TOOLS_BENCH_PROFILER_H_
#define INLAY_RUNTIME_TOOLS_BENCH_PROFILER_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/bundle.h"
#include "runtime/device/kernel_trace.h"
#include "runtime/tools/bench_flags.h"
#include "runtime/tools/bench_runs.h"

#include <memory>
#include <string>

namespace inlay::tools {

// The kernel trace and read bandwidth for --profile. It is created before the engine.
struct Profiler {
  std::unique_ptr<KernelTrace> trace;
  double read = 0; // read bandwidth in bytes per second
};

// Creates the profiler of the rank that is profiled. Sets `engine.target` to the target that the engine would choose:
// the GPU's if this machine can run it, else cpu.
absl::StatusOr<Profiler> OpenProfiler(const BenchFlags &flags, const Bundle &bundle, EngineOptions &engine);

// Runs a test once more with the trace on. Fills `report` and returns the table.
absl::StatusOr<std::string> Profile(const BenchFlags &flags, const Bundle &bundle, const EngineStats &stats,
                                    Bench &bench, Profiler &profiler, const Test &test, double untraced_ms,
                                    nlohmann::ordered_json &report);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_PROFILER_H_

// Summarizes a kernel trace: for each kernel of a step its time, the bytes it must move and its bandwidth.
//
// Kernels may overlap: with dependent launch a kernel starts while its predecessor still runs. The time of a kernel is
// therefore counted from the end of all earlier kernels (or from its own start, if that is later) to its own end. Time
// in which nothing runs is a gap. So the times of kernels and gaps add up to the time of the step.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_PROFILE_H_
#define INLAY_RUNTIME_TOOLS_BENCH_PROFILE_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/device/kernel_trace.h"

#include <map>
#include <span>
#include <string>
#include <vector>

namespace inlay::tools {

// A launch of a step, from the plan.
struct PlannedLaunch {
  std::string kernel;
  std::string origin;      // "layers.3.mlp: rms_norm, gate_up, silu"
  bool is_library = false; // launched by cuBLASLt or NCCL: the traced name is the library's
  double rows = 1;         // share of the step's rows; less for a step in halves
};

// The records of the rank, of all that the `ranks` ranks of this process have made. Each rank has a device of its own:
// rank r has gpus[r], or where `gpus` is empty, the r-th of those that ran kernels. Another number of devices is an
// error.
absl::StatusOr<std::vector<KernelRecord>> RecordsOfRank(std::vector<KernelRecord> records, uint32_t rank,
                                                        uint32_t ranks, std::span<const int32_t> gpus = {});

// Replaces the names of library kernels in the records by the names of the plan's kernels.
std::vector<KernelRecord> NameByPlan(std::vector<KernelRecord> records, std::span<const PlannedLaunch> planned);

// Bytes and operations of a kernel, from the manifest. The keys name the factor of each amount ("fixed", "tokens",
// "logit_rows", "context", "pairs"); see compiler/pipelines/Traffic.h.
struct KernelTraffic {
  std::map<std::string, double> reads, writes, flops;
  double window = 0; // size of the attention window in positions; 0: no window
};

// The traffic of each kernel of a target, by name. Kernels without traffic are left out.
std::map<std::string, KernelTraffic> TrafficOf(const nlohmann::json &manifest, const std::string &target);

// The sizes of the profiled steps. All sequences have the same size.
struct StepShape {
  double tokens = 0;
  double sequences = 0;
  double logit_rows = 0;
  double context = 0;     // positions of a sequence after a step, mean over the steps
  bool is_prompt = false; // each row attends to the positions before it, on average half of the context
};

double BytesOf(const KernelTraffic &traffic, const StepShape &shape);
double FlopsOf(const KernelTraffic &traffic, const StepShape &shape);

// The records of one step: [first, end). They include kernels that the runtime launches itself.
struct StepRange {
  size_t first = 0, end = 0;
};

// Finds the complete steps in records sorted by start. A step begins with the first planned launch and contains all of
// them.
std::vector<StepRange> FindSteps(std::span<const KernelRecord> records, std::span<const PlannedLaunch> planned);

// One kernel, summed over its launches in a step. Times are in microseconds, mean over the steps.
struct KernelRow {
  std::string kernel, origin;
  double launches = 0;
  double us = 0;         // after all earlier kernels have ended
  double gap_us = 0;     // time before it in which nothing ran
  double overlap_us = 0; // time at which earlier kernels ran too
  double bytes = 0, flops = 0;
};

struct StepProfile {
  std::vector<KernelRow> rows; // in the order of their first launch
  int steps = 0;
  double kernels_us = 0, gaps_us = 0;
  double between_us = 0; // from the end of a step to the start of the next one, mean over consecutive steps
  double bytes = 0;
  double step_us() const { return kernels_us + gaps_us + between_us; }
};

StepProfile Summarize(std::span<const KernelRecord> records, std::span<const StepRange> steps,
                      std::span<const PlannedLaunch> planned, const std::map<std::string, KernelTraffic> &traffic,
                      const StepShape &shape);

// `read`: read bandwidth of the machine in bytes per second; `untraced_ms`: time of a step without the trace.
std::string ProfileTable(const StepProfile &profile, double read, double untraced_ms);
nlohmann::ordered_json ProfileJson(const StepProfile &profile, double read, double untraced_ms);

// The steps as a trace for chrome://tracing and Perfetto. Overlapping kernels are on separate tracks.
nlohmann::ordered_json ChromeTrace(std::span<const KernelRecord> records, std::span<const StepRange> steps,
                                   std::span<const PlannedLaunch> planned, const std::string &device);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_PROFILE_H_

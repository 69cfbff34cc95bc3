// What a trace of steps says: for each kernel of a step its time, the bytes it must move and how fast it moves them.
//
// Kernels may overlap: with dependent launch one starts while the one before drains. A kernel's time is therefore
// counted from the end of all before it (or its own start, if that is later) to its own end, and what is left is a gap:
// kernels and gaps add up to the step.
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

// A launch that the plan says a step has.
struct PlannedLaunch {
  std::string kernel;
  std::string origin;      // "layers.3.mlp: rms_norm, gate_up, silu"
  bool is_library = false; // its kernel has a name of the library's
};

// The records, of which those that a library launched have the names of the plan's kernels.
std::vector<KernelRecord> NameByPlan(std::vector<KernelRecord> records, std::span<const PlannedLaunch> planned);

// What the manifest says that a kernel must move and compute, by what it is multiplied with ("fixed", "tokens",
// "logit_rows", "context", "pairs"); see compiler/pipelines/Traffic.h.
struct KernelTraffic {
  std::map<std::string, double> reads, writes, flops;
  double window = 0; // positions of a sequence that attention sees; 0: all
};

// The traffic of each kernel in a manifest, by target and name. Kernels without any are left out.
std::map<std::string, KernelTraffic> TrafficOf(const nlohmann::json &manifest, const std::string &target);

// The sizes of the steps that are profiled. Sequences are alike.
struct StepShape {
  double tokens = 0;
  double sequences = 0;
  double logit_rows = 0;
  double context = 0;     // positions of one sequence after the step, on average over the steps
  bool is_prompt = false; // rows attend to what stands before them, on average half of the context
};

double BytesOf(const KernelTraffic &traffic, const StepShape &shape);
double FlopsOf(const KernelTraffic &traffic, const StepShape &shape);

// Where one step lies in a list of records: [first, end), kernels of the runtime's own among them.
struct StepRange {
  size_t first = 0, end = 0;
};

// The whole steps in records (sorted by start): each begins with the first planned launch and holds all of them.
std::vector<StepRange> FindSteps(std::span<const KernelRecord> records, std::span<const PlannedLaunch> planned);

// One kernel, summed over its launches in a step; microseconds, on average over the steps.
struct KernelRow {
  std::string kernel, origin;
  double launches = 0;
  double us = 0;         // after all before it had ended: adds up with the gaps to the step
  double gap_us = 0;     // nothing ran before it
  double overlap_us = 0; // it ran beside those before it
  double bytes = 0, flops = 0;
};

struct StepProfile {
  std::vector<KernelRow> rows; // in the order of their first launch
  int steps = 0;
  double kernels_us = 0, gaps_us = 0;
  double between_us = 0; // from a step's last end to the next one's start, where both were found
  double bytes = 0;
  double step_us() const { return kernels_us + gaps_us + between_us; }
};

StepProfile Summarize(std::span<const KernelRecord> records, std::span<const StepRange> steps,
                      std::span<const PlannedLaunch> planned, const std::map<std::string, KernelTraffic> &traffic,
                      const StepShape &shape);

// `read`: bytes a second that the machine reads; `untraced_ms`: the step without the trace.
std::string ProfileTable(const StepProfile &profile, double read, double untraced_ms);
nlohmann::ordered_json ProfileJson(const StepProfile &profile, double read, double untraced_ms);

// The steps for chrome://tracing and Perfetto; kernels that overlap stand in rows below each other.
nlohmann::ordered_json ChromeTrace(std::span<const KernelRecord> records, std::span<const StepRange> steps,
                                   std::span<const PlannedLaunch> planned, const std::string &device);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_PROFILE_H_

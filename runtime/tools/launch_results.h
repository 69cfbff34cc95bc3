// Compares what alternatives of a kernel compute, for launch_timer.h.
#ifndef INLAY_RUNTIME_TOOLS_LAUNCH_RESULTS_H_
#define INLAY_RUNTIME_TOOLS_LAUNCH_RESULTS_H_

#include "runtime/device/device.h"
#include "runtime/support/thread_pool.h"

#include <span>
#include <vector>

namespace inlay::tools {

// Memory that a launch may write, and the type of its elements.
struct ResultRange {
  void *address = nullptr;
  uint64_t bytes = 0;
  plan::DataType type = plan::DataType_F32;
};

// The activations and logits behind the arguments of a launch in a step of `sizes`. `types` has that of the elements
// behind each argument.
std::vector<ResultRange> ResultsOf(const BoundLaunch &bound, const plan::Kernel &kernel, const StepSizes &sizes,
                                   std::span<const plan::DataType> types);

// The elements of each range.
using Results = std::vector<std::vector<float>>;

// Copies the ranges to the host.
absl::StatusOr<Results> ReadResults(Device &device, const std::vector<ResultRange> &ranges);

// The squared difference of a range as a part of the squared reference, the most of all ranges: what a launch only
// reads must not hide what it writes. Elements that are no numbers in both are equal; those that are no numbers in one
// make it infinite.
double RelativeSquaredError(const Results &results, const Results &reference, ThreadPool &pool);

// Sums in another order, rounded to bfloat16, differ by about 4e-6.
inline constexpr double kSameResults = 1e-3;

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_LAUNCH_RESULTS_H_

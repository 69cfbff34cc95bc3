// Measures how long single launches of a plan take, and compares what they compute, for compile-model --tune.
#ifndef INLAY_RUNTIME_TOOLS_LAUNCH_TIMER_H_
#define INLAY_RUNTIME_TOOLS_LAUNCH_TIMER_H_

#include "absl/status/statusor.h"
#include "runtime/device/device.h"
#include "runtime/schedule/step.h"
#include "runtime/tools/launch_results.h"

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace inlay::tools {

struct LaunchTimerOptions {
  // Launches of a chain read weights and caches of so many bytes in turn, so that a GPU's L2 does not hold them.
  uint64_t cold_bytes = uint64_t{512} << 20;
  int32_t context = 512;            // positions of each sequence of a decode step
  int rounds = 9;                   // in each, every launch of an entry point is timed once
  double sample_seconds = 3e-3;     // of each launch in each round, at least
  std::function<bool()> stop = {};  // true: return Cancelled as soon as possible; may be empty
  std::function<double()> now = {}; // seconds; empty: a steady clock
};

struct LaunchTime {
  double microseconds = 0; // of one launch in its chain, the median of the rounds
  double spread = 0;       // half of the distance between the quartiles, in microseconds
  bool differs = false;    // its results are not those of the reference; then it has no time
};

// The launches of a plan on a device, with random weights, activations and caches. Memory is allocated once and shared
// by all entry points, which are measured one after the other.
class LaunchTimer {
public:
  // Loads the kernels of `target` and allocates the memory that its entry points need. All arguments outlive the timer.
  static absl::StatusOr<std::unique_ptr<LaunchTimer>>
  Open(Device &device, const Bundle &bundle, const plan::Target &target, const LaunchTimerOptions &options = {});
  ~LaunchTimer();

  // The times of the launches of `entry`, which are alternatives to each other, in steps with as many rows as the entry
  // point takes. First, what they compute from the same memory is compared with that of launch `reference`. Then each
  // is timed in a chain of launches of its own that start early, as in a step. The rounds interleave the alternatives,
  // so that clocks that change affect all of them alike. Alternatives that are far slower than the fastest have fewer
  // rounds. `types` has the type of the elements behind each argument of the launches. Errors name the kernel.
  absl::StatusOr<std::vector<LaunchTime>> Time(const plan::Entry &entry, std::span<const plan::DataType> types,
                                               size_t reference = 0);

private:
  LaunchTimer(Device &device, const Bundle &bundle, const plan::Target &target, const LaunchTimerOptions &options);

  // A step with as many rows as an entry point takes.
  struct Step {
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<ScheduledRows> rows;
    int32_t tokens = 0;
    int32_t pages = 0; // of all sequences and groups
  };
  Step MakeStep(const plan::Entry &entry) const;
  absl::Status Allocate();
  absl::StatusOr<std::byte *> AllocateNoise(plan::DataType type, uint64_t bytes, std::string_view what);
  const std::vector<std::byte> &NoiseOf(plan::DataType type);
  uint64_t CacheBytes(int32_t pages) const;
  absl::Status WriteStep(const plan::Entry &entry, StepSizes &sizes);
  uint64_t ColdBytes(const plan::Launch &launch) const;
  BoundLaunch Bind(const plan::Launch &launch, uint64_t copy) const;
  absl::StatusOr<Results> Compute(const plan::Launch &launch, std::span<const plan::DataType> types,
                                  const StepSizes &sizes);
  absl::StatusOr<LaunchList> PrepareChain(const plan::Launch &launch, int &length);
  absl::StatusOr<double> Sample(LaunchList chain, const StepSizes &sizes, int runs);
  const plan::Model &model() const { return *bundle_.plan().model(); }

  Device &device_;
  const Bundle &bundle_;
  const plan::Target &target_;
  LaunchTimerOptions options_;
  MetadataLayout layout_;
  std::vector<void *> allocated_;
  void *host_block_ = nullptr;
  std::unique_ptr<StepMetadata> metadata_;
  std::byte *workspace_ = nullptr, *caches_ = nullptr, *block_ = nullptr, *logits_ = nullptr, *tokens_ = nullptr,
            *rank_ = nullptr;
  struct Weights {
    std::byte *memory = nullptr;
    uint64_t bytes = 0; // room for several copies
  };
  std::map<plan::DataType, Weights> weights_;
  uint64_t caches_bytes_ = 0; // in all
  uint64_t cache_bytes_ = 0;  // of the keys of a layer in the step that was written last
  std::map<plan::DataType, std::vector<std::byte>> noise_;
  const std::vector<float> ones_ = std::vector<float>(size_t{1} << 20, 1.0f);
};

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_LAUNCH_TIMER_H_

// Launches kernels: one after the other on a stream or in halves on two, or as a CUDA graph.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_LAUNCHES_H_
#define INLAY_RUNTIME_DEVICE_CUDA_LAUNCHES_H_

#include "runtime/device/cuda_kernels.h"
#include "runtime/device/cuda_rounds.h"
#include "runtime/device/cuda_side_stream.h"

#include <functional>
#include <map>
#include <span>
#include <vector>

namespace inlay {

// The part of CudaDevice that runs steps.
class CudaLaunches : public CudaKernels {
public:
  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override;
  absl::Status Run(LaunchList index, const StepSizes &sizes, bool reuse) override;

protected:
  CudaLaunches(const cuda_driver::Api &api, const DeviceRank &rank, std::string cublaslt)
      : CudaKernels(api, rank, std::move(cublaslt)), side_(api) {}

  // Enqueues a launch that takes no tensor maps.
  absl::Status Enqueue(const BoundLaunch &launch, const StepSizes &sizes, cuda_driver::Stream stream) {
    return Enqueue({launch, {}}, sizes, stream, /*may_start_early=*/false);
  }
  const PeerRounds &rounds() const { return rounds_; }
  cuda_driver::Stream side_stream() const { return side_.stream(); } // null: no step runs in halves
  void DestroyGraphs();
  // The work of the streams has ended.
  void CloseSideStream() { side_.Close(); }

private:
  struct Prepared {
    BoundLaunch bound;
    std::vector<cuda_driver::TensorMap> maps;
  };
  struct List {
    std::vector<Prepared> launches;
    std::vector<LaunchPart> whole, in_halves; // the order of the launches
    HalvesOfSteps halves;                     // steps of the second order
    std::map<StepSizes, cuda_driver::GraphExec> graphs;

    std::span<const LaunchPart> PartsOf(const StepSizes &sizes) const {
      return halves.Has(sizes[plan::Extent_Tokens]) ? in_halves : whole;
    }
    StepSizes SizesOf(const LaunchPart &part, StepSizes sizes) const {
      const int32_t rows = sizes[plan::Extent_Tokens], first = halves.FirstRows(rows);
      if (part.rows != LaunchPart::kAll)
        sizes[plan::Extent_Tokens] = part.rows == LaunchPart::kFirst ? first : rows - first;
      return sizes;
    }
  };

  bool SharesContext() const { return rank_.gpus && rank_.gpus->SharesContext(rank_.index); }
  // Before a launch that waits for other ranks, which may have to start at the same time.
  absl::Status Meet(const Prepared &prepared, const StepSizes &sizes);
  // Records which rounds the kernels of a list that exchange with peers have, as they count them. A launch may have
  // several.
  void CountRounds(const List &list, const StepSizes &sizes);
  // Prepares a launch for the rows of the step from `first_row` on.
  absl::StatusOr<Prepared> PrepareRows(const BoundLaunch &bound, int32_t first_row) const;
  // Encodes a map of an argument, of which the launch has left out the first `before` bytes: rows of the last
  // dimension.
  absl::StatusOr<cuda_driver::TensorMap> Encode(const plan::TensorMap &map, const BoundLaunch &bound,
                                                uint64_t before) const;
  // Enqueues a list of launches. The first launch starts when all earlier work on the stream has ended, because kernels
  // may read the step's metadata, which was copied just before, without waiting for their predecessor. The other
  // launches may start early. If another rank of this process has the same GPU, none does: while a kernel waits for
  // that rank, the launch after it would hold the multiprocessors that the other rank needs.
  absl::Status Enqueue(const List &list, const StepSizes &sizes);
  absl::Status EnqueueParts(const List &list, const StepSizes &sizes);
  // Enqueues a launch for all rows or for a half of them.
  absl::Status Enqueue(const List &list, const LaunchPart &part, const StepSizes &sizes, cuda_driver::Stream stream,
                       bool may_start_early);
  // Captures the launches that `enqueue` makes on stream_ as a graph.
  absl::StatusOr<cuda_driver::GraphExec> Capture(const std::function<absl::Status()> &enqueue);
  // Implements INLAY_DEBUG=sync-launches and graph-launches: waits for each kernel, so that an error names the kernel
  // that caused it.
  absl::Status RunOneByOne(const List &list, const StepSizes &sizes);
  absl::Status Enqueue(const Prepared &prepared, const StepSizes &sizes, cuda_driver::Stream stream,
                       bool may_start_early, bool is_half = false);

  CudaSideStream side_; // for sums beside launches of the other half of a step
  PeerRounds rounds_;
  std::vector<List> lists_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_LAUNCHES_H_

// Loads the weights of a bundle into device memory on many threads: packed files, linked checkpoints or dummy weights.
// Each part is verified while it is loaded.
#ifndef INLAY_RUNTIME_BUNDLE_WEIGHT_LOADER_H_
#define INLAY_RUNTIME_BUNDLE_WEIGHT_LOADER_H_

#include "absl/status/status.h"
#include "runtime/bundle/bundle.h"
#include "runtime/support/thread_pool.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace inlay {

// Where weights go. A device knows best how many bytes at a time it takes and from which host memory.
class WeightSink {
public:
  virtual ~WeightSink() = default;

  // Bytes at `to`, filled from its beginning to its end.
  struct Range {
    void *to = nullptr;
    uint64_t bytes = 0;
  };
  // Writes bytes [first, first + out.size()) of range `index`. The parts of one range are asked for in order and from
  // one thread, those of different ranges from several threads at once; `first` is a multiple of 1 MiB.
  using FillRange = std::function<absl::Status(size_t index, uint64_t first, std::span<std::byte> out)>;

  // Fills all ranges. Returns the first error, after which the memory's contents are undefined.
  virtual absl::Status Write(std::span<const Range> ranges, const FillRange &fill) = 0;

  // Bytes from byte `start` of a pattern on, which begins anew wherever it ends.
  struct Repetition {
    void *to = nullptr;
    uint64_t bytes = 0;
    uint64_t start = 0;
  };
  virtual absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) = 0;

  // A range that a kernel of the bundle writes: `launch` packs `rows` rows of sources, `bytes` in all, to `to`.
  struct PackedRange {
    void *to = nullptr;
    const plan::Launch *launch = nullptr;
    uint32_t rows = 0;
    uint64_t bytes = 0;
  };
  // The most bytes of sources in a packed range; 0 where kernels cannot be used for it.
  virtual uint64_t MaxPackedBytes() const { return 0; }
  // Like Write(), but `fill` gives the sources' rows, all of a range at once.
  virtual absl::Status Pack(std::span<const PackedRange> ranges, const FillRange &fill) {
    return absl::UnimplementedError("this memory has no kernels to pack with");
  }

  // Threads of the host that may be used.
  virtual ThreadPool &host_pool() = 0;
};

// Bytes that the weights of a stage take, side by side at the offsets that the plan gives them.
uint64_t WeightsBytes(const plan::Target &target, uint32_t stage = 0);

// Loads all weights of a rank for a target of `bundle` to `memory`, which has WeightsBytes and belongs to the sink's
// device. Only the rank's parts of the files are read.
absl::Status LoadWeights(const Bundle &bundle, const plan::Target &target, std::byte *memory, WeightSink &sink,
                         uint32_t rank = 0);

// Host memory as a sink.
class HostSink : public WeightSink {
public:
  explicit HostSink(ThreadPool &pool) : pool_(pool) {}
  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override;
  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override;
  ThreadPool &host_pool() override { return pool_; }

private:
  ThreadPool &pool_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_WEIGHT_LOADER_H_

// Measures how fast the host reads, checks and packs the weights of a bundle, without a device: the contents of buffers
// are discarded. `load_bench BUNDLE [TARGET] [THREADS]`
#include "fmt/format.h"
#include "runtime/bundle/weight_loader.h"

#include <chrono>
#include <cstdlib>
#include <memory>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Fills buffers like the upload to a GPU, but does not copy them.
class DiscardingSink : public WeightSink {
public:
  explicit DiscardingSink(int threads) : pool_(threads) {}

  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override {
    constexpr uint64_t kBufferBytes = uint64_t{2} << 20;
    std::atomic<bool> failed = false;
    pool_.Run(static_cast<int64_t>(ranges.size()), [&](int64_t i) {
      thread_local std::vector<std::byte> buffer(kBufferBytes);
      auto index = static_cast<size_t>(i);
      for (uint64_t at = 0; at < ranges[index].bytes; at += kBufferBytes)
        if (!fill(index, at, std::span(buffer).first(std::min(kBufferBytes, ranges[index].bytes - at))).ok())
          failed = true;
    });
    return failed ? absl::DataLossError("weights cannot be read") : absl::OkStatus();
  }
  // On a GPU, this is a copy within device memory, without work for the host.
  absl::Status Repeat(std::span<const Repetition>, std::span<const std::byte>) override { return absl::OkStatus(); }
  ThreadPool &host_pool() override { return pool_; }

private:
  ThreadPool pool_;
};

int Main(int argc, char **argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: load_bench BUNDLE [TARGET] [THREADS]\n");
    return 1;
  }
  auto start = Clock::now();
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(argv[1]);
  if (!bundle.ok()) {
    fmt::print(stderr, "load_bench: {}\n", std::string(bundle.status().message()));
    return 1;
  }
  double open = SecondsSince(start);
  const plan::Target *target = argc > 2 ? (*bundle)->target(argv[2]) : (*bundle)->plan().targets()->Get(0);
  if (!target) {
    fmt::print(stderr, "load_bench: no target '{}', only {}\n", argv[2], (*bundle)->TargetNames());
    return 1;
  }
  DiscardingSink sink(argc > 3 ? static_cast<int>(std::strtol(argv[3], nullptr, 10)) : 0);
  // The destination is null, because the sink does not write to it.
  start = Clock::now();
  absl::Status status = LoadWeights(**bundle, *target, nullptr, sink);
  double load = SecondsSince(start);
  if (!status.ok()) {
    fmt::print(stderr, "load_bench: {}\n", std::string(status.message()));
    return 1;
  }
  auto bytes = static_cast<double>(WeightsBytes(*target));
  fmt::print("{} weights, {:.2f} GB, {} threads: open {:.3f} s, load {:.3f} s, {:.2f} GB/s\n",
             (*bundle)->weights_mode(), bytes * 1e-9, sink.host_pool().threads(), open, load, bytes * 1e-9 / load);
  return 0;
}

} // namespace
} // namespace inlay

int main(int argc, char **argv) { return inlay::Main(argc, argv); }

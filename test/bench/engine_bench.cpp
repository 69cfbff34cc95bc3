// Measures the host's work per step: runs the engine on a device that does nothing.
//   build/bin/engine_bench BUNDLE [SEQUENCES]    # a bundle for the cpu, compiled with --max-num-seqs SEQUENCES
#include "runtime/api/engine_internal.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

namespace inlay {
namespace {

// Allocates real memory but runs no kernels: each sampled token is 7. No step ends before `starts` is set.
class IdleDevice : public Device {
public:
  IdleDevice(std::unique_ptr<Device> real, const std::atomic<bool> &starts) : real_(std::move(real)), starts_(starts) {}

  std::string Name() const override { return "nothing"; }
  uint64_t FreeMemory() const override { return real_->FreeMemory(); }
  absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) override {
    return real_->Allocate(bytes, what);
  }
  void Free(void *memory) override { real_->Free(memory); }
  absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) override {
    return real_->CopyToDevice(to, from, bytes);
  }
  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) override {
    return real_->CopyRowsAsync(to, from, rows);
  }
  absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) override { return absl::OkStatus(); }
  absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) override {
    return real_->AllocateHost(bytes, what);
  }
  void FreeHost(void *memory) override { real_->FreeHost(memory); }
  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
    std::fill_n(static_cast<int32_t *>(copy.to), copy.bytes / sizeof(int32_t), 7);
    return 0;
  }
  absl::Status WaitForEvent(EventId event) override {
    starts_.wait(false);
    return absl::OkStatus();
  }
  absl::Status Clear(void *memory, uint64_t bytes) override { return absl::OkStatus(); }
  absl::Status Synchronize() override { return absl::OkStatus(); }
  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override { return absl::OkStatus(); }
  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override { return 0; }
  absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) override { return absl::OkStatus(); }
  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override { return absl::OkStatus(); }
  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override {
    return absl::OkStatus();
  }
  ThreadPool &host_pool() override { return real_->host_pool(); }

private:
  std::unique_ptr<Device> real_;
  const std::atomic<bool> &starts_;
};

double SecondsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double SecondsOfTheEngine() { return SecondsOf(CLOCK_PROCESS_CPUTIME_ID) - SecondsOf(CLOCK_THREAD_CPUTIME_ID); }

int Run(const char *bundle, int sequences) {
  EngineOptions options;
  options.target = "cpu";
  options.async_scheduling = true;
  std::atomic<bool> starts = false;
  absl::StatusOr<std::unique_ptr<Engine>> engine = LoadEngine(
      bundle, options,
      [&](std::unique_ptr<Device> real) { return std::make_unique<IdleDevice>(std::move(real), starts); },
      /*checks_invariants=*/false);
  if (!engine.ok()) {
    std::fprintf(stderr, "engine_bench: %s\n", std::string(engine.status().message()).c_str());
    return 1;
  }
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (int i = 0; i < sequences; ++i) {
    Request request;
    request.prompt_token_ids.assign(8, 1 + i);
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = 1000;
    handles.push_back(*(*engine)->Submit(request));
  }
  starts = true;
  starts.notify_all();
  // Prompts may take several steps. Sequences may already have finished when this thread reads the statistics.
  while ((*engine)->Stats().running + (*engine)->Stats().finished_length < sequences)
    std::this_thread::yield();
  // Measure while all sequences run: the CPU time of the process without that of this thread, which fetches the tokens.
  EngineStats before = (*engine)->Stats(), after = before;
  double begin = SecondsOfTheEngine(), seconds = 0;
  while (true) {
    for (auto &handle : handles)
      for (bool has_more = true; has_more;) {
        absl::StatusOr<std::optional<Piece>> piece = handle->Next(std::chrono::steady_clock::time_point::min());
        has_more = piece.ok() && piece->has_value();
      }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EngineStats now = (*engine)->Stats();
    if (now.running < sequences)
      break;
    after = now;
    seconds = SecondsOfTheEngine() - begin;
  }
  if (after.steps == before.steps) {
    std::fprintf(stderr, "engine_bench: the requests ended too soon; run it again\n");
    return 1;
  }
  auto steps = static_cast<double>(after.steps - before.steps);
  std::printf("%d sequences, %.0f steps: %.1f us a step, %.0f ns a token\n", sequences, steps, seconds / steps * 1e6,
              seconds / static_cast<double>(after.generation_tokens - before.generation_tokens) * 1e9);
  return 0;
}

} // namespace
} // namespace inlay

int main(int argc, char **argv) {
  int sequences = argc > 2 ? static_cast<int>(std::strtol(argv[2], nullptr, 10)) : 256;
  if (argc < 2 || sequences < 1) {
    std::fprintf(stderr, "usage: engine_bench BUNDLE [SEQUENCES]\n");
    return 1;
  }
  return inlay::Run(argv[1], sequences);
}

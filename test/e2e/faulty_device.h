// A device that wraps a real one, fails when a test wants it to, and records which buffers launches use.
#ifndef INLAY_TEST_E2E_FAULTY_DEVICE_H_
#define INLAY_TEST_E2E_FAULTY_DEVICE_H_

#include "runtime/device/device.h"

#include <atomic>
#include <functional>
#include <map>
#include <set>

namespace inlay {

// Decides which calls fail. Shared by the test and the device. The functions are called on the engine's thread.
struct Faults {
  std::atomic<int64_t> steps{0}, events{0};
  std::function<bool(int64_t step, const StepSizes &sizes)> run = {}; // whether this call of Run() fails
  std::function<bool(int64_t event)> wait = {};                       // whether waiting for this event fails
  std::function<bool(uint64_t bytes)> allocate = {};                  // whether this allocation fails
  std::set<plan::BufferKind> used = {};                               // by launches that have run
};

class FaultyDevice : public Device {
public:
  FaultyDevice(std::unique_ptr<Device> real, Faults &faults) : real_(std::move(real)), faults_(faults) {}

  std::string Name() const override { return real_->Name(); }
  uint64_t FreeMemory() const override { return real_->FreeMemory(); }
  absl::StatusOr<void *> Allocate(uint64_t bytes, std::string_view what) override {
    if (faults_.allocate && faults_.allocate(bytes))
      return absl::ResourceExhaustedError("injected: no memory for " + std::string(what));
    return real_->Allocate(bytes, what);
  }
  void Free(void *memory) override { real_->Free(memory); }
  absl::Status CopyToDevice(void *to, const void *from, uint64_t bytes) override {
    return real_->CopyToDevice(to, from, bytes);
  }
  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override {
    return real_->CopyToHost(to, from, bytes);
  }
  absl::Status CopyOnDevice(void *to, const void *from, uint64_t bytes) override {
    return real_->CopyOnDevice(to, from, bytes);
  }
  absl::Status CopyToHostAsync(void *to, const void *from, uint64_t bytes) override {
    return real_->CopyToHostAsync(to, from, bytes);
  }
  absl::Status CopyToDeviceAsync(void *to, const void *from, uint64_t bytes) override {
    return real_->CopyToDeviceAsync(to, from, bytes);
  }
  absl::Status CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) override {
    return real_->CopyRowsAsync(to, from, rows);
  }
  absl::StatusOr<void *> AllocateHost(uint64_t bytes, std::string_view what) override {
    if (faults_.allocate && faults_.allocate(bytes))
      return absl::ResourceExhaustedError("injected: no memory for " + std::string(what));
    return real_->AllocateHost(bytes, what);
  }
  void FreeHost(void *memory) override { real_->FreeHost(memory); }
  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
    if (absl::StatusOr<EventId> event = real_->RecordEvent(copy); !event.ok())
      return event;
    return ++faults_.events;
  }
  absl::Status WaitForEvent(EventId event) override {
    if (faults_.wait && faults_.wait(event))
      return absl::InternalError("injected: the step failed while it ran");
    return absl::OkStatus();
  }
  absl::Status Clear(void *memory, uint64_t bytes) override { return real_->Clear(memory, bytes); }
  absl::Status Synchronize() override { return real_->Synchronize(); }
  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override {
    return real_->LoadKernels(bundle, target);
  }
  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override {
    absl::StatusOr<LaunchList> list = real_->Prepare(launches);
    if (list.ok())
      for (const BoundLaunch &bound : launches)
        for (const plan::Argument *argument : *bound.launch->arguments())
          uses_[*list].insert(argument->kind());
    return list;
  }
  absl::Status Run(LaunchList list, const StepSizes &sizes, bool reuse) override {
    if (faults_.run && faults_.run(++faults_.steps, sizes))
      return absl::InternalError("injected: a kernel failed");
    faults_.used.insert(uses_[list].begin(), uses_[list].end());
    return real_->Run(list, sizes, reuse);
  }
  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override {
    return real_->Write(ranges, fill);
  }
  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override {
    return real_->Repeat(parts, pattern);
  }
  ThreadPool &host_pool() override { return real_->host_pool(); }

private:
  std::unique_ptr<Device> real_;
  Faults &faults_;
  std::map<LaunchList, std::set<plan::BufferKind>> uses_;
};

} // namespace inlay

#endif // INLAY_TEST_E2E_FAULTY_DEVICE_H_

#include "runtime/device/cuda_device.h"

#include "fmt/format.h"
#include "runtime/device/cuda_driver.h"
#include "runtime/device/cuda_gpus.h"
#include "runtime/device/cuda_launches.h"
#include "runtime/device/cuda_ranks.h"
#include "runtime/device/cuda_upload.h"

#include <array>

namespace inlay {

namespace {

using namespace cuda_driver;

class CudaDevice : public CudaLaunches {
public:
  CudaDevice(const Api &api, int threads, const std::string &cublaslt, const DeviceRank &rank)
      : CudaLaunches(api, rank, cublaslt), pool_(threads) {}

  ~CudaDevice() override {
    if (!context_ || IsStuck())
      return;
    api_.ContextSetCurrent(context_);
    (void)Synchronize();
    DestroyGraphs();
    if (rank_.gpus)
      rank_.gpus->Close(rank_.index);
    api_.ContextSetCurrent(context_);
    if (failures_)
      api_.MemFreeHost(failures_);
    UnloadKernels();
    guarded_.reset();
    for (Staging &staging : staging_) {
      if (staging.memory)
        api_.MemFreeHost(staging.memory);
      if (staging.copied)
        api_.EventDestroy(staging.copied);
    }
    for (Event event : events_)
      if (event)
        api_.EventDestroy(event);
    for (Event event : {arrived_, launched_})
      if (event)
        api_.EventDestroy(event);
    CloseSideStream();
    for (Stream stream : {stream_, uploads_, downloads_})
      if (stream)
        api_.StreamDestroy(stream);
    api_.PrimaryContextRelease(device_);
  }

  absl::Status Start(std::string_view target) {
    absl::StatusOr<DebugOptions> debug = ReadDebugOptions();
    if (!debug.ok())
      return debug.status();
    debug_ = *debug;
    if (absl::Status status = Check(api_.Init(0), "starting the driver"); !status.ok())
      return status;
    absl::StatusOr<std::vector<FoundGpu>> found = FindGpus(api_, target, rank_.count, rank_.devices);
    if (!found.ok())
      return found.status();
    device_ = (*found)[rank_.index].device;
    name_ = fmt::format("{} ({})", (*found)[rank_.index].name, target);
    if (absl::Status status = Check(api_.PrimaryContextRetain(&context_, device_), "opening the GPU"); !status.ok())
      return status;
    api_.ContextSetCurrent(context_);
    if (debug_.guard_begin || debug_.guard_end)
      guarded_.emplace(api_, device_, debug_.guard_end);
    if (guarded_ && !api_.MemSetAccess)
      return absl::UnavailableError(
          "INLAY_DEBUG: guard pages need virtual memory management, which this driver does not support");
    for (Staging &staging : staging_) {
      if (absl::Status status = Check(api_.MemAllocHost(&staging.memory, kStagingBytes), "pinning host memory");
          !status.ok())
        return status;
      if (absl::Status status = Check(api_.EventCreate(&staging.copied, kEventDisableTiming), "making an event");
          !status.ok())
        return status;
    }
    std::vector<Event *> events{&arrived_, &launched_};
    for (Event &event : events_)
      events.push_back(&event);
    for (Event *event : events)
      if (absl::Status status = Check(api_.EventCreate(event, kEventDisableTiming), "making an event"); !status.ok())
        return status;
    for (Stream *stream : {&stream_, &uploads_, &downloads_})
      if (absl::Status status = Check(api_.StreamCreate(stream, kStreamNonBlocking), "making a stream"); !status.ok())
        return status;
    if (!rank_.gpus)
      return absl::OkStatus();
    rank_.gpus->Open(rank_.index, api_, *found, context_, stream_);
    void *memory = nullptr;
    if (absl::Status status =
            Check(api_.MemAllocHost(&memory, kMaxEvents * sizeof(PeerFailure)), "pinning host memory");
        !status.ok())
      return status;
    failures_ = new (memory) PeerFailure[kMaxEvents]();
    return absl::OkStatus();
  }

  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
    api_.ContextSetCurrent(context_);
    EventId event = next_event_++;
    Stream stream = stream_;
    if (copy.bytes > 0 || table()) {
      stream = downloads_;
      if (absl::Status status = Check(api_.EventRecord(launched_, stream_), "recording an event"); !status.ok())
        return status;
      if (absl::Status status = Check(api_.StreamWaitEvent(stream, launched_, 0), "recording an event"); !status.ok())
        return status;
      if (copy.bytes > 0)
        if (absl::Status status = Check(
                api_.MemcpyToHostAsync(copy.to, reinterpret_cast<Pointer>(copy.from), copy.bytes, stream), "copying");
            !status.ok())
          return status;
      if (table())
        if (absl::Status status =
                Check(api_.MemcpyToHostAsync(&failures_[event % kMaxEvents], table() + offsetof(PeerTable, failed),
                                             sizeof(PeerFailure), stream),
                      "copying");
            !status.ok())
          return status;
    }
    if (absl::Status status = Check(api_.EventRecord(events_[event % kMaxEvents], stream), "recording an event");
        !status.ok())
      return status;
    if (rank_.gpus)
      steps_[static_cast<size_t>(event % kMaxEvents)] = rank_.gpus->step(rank_.index);
    return event;
  }

  absl::Status WaitForEvent(EventId event) override {
    api_.ContextSetCurrent(context_);
    if (!rank_.gpus)
      return Check(api_.EventSynchronize(events_[event % kMaxEvents]), "running kernels");
    const auto index = static_cast<size_t>(event % kMaxEvents);
    if (absl::Status status = rank_.gpus->Wait(rank_.index, events_[index], steps_[index]); !status.ok())
      return status;
    return table() ? rounds().Check(failures_[index], rank_.gpus->timeout(), rank_.gpus->first_of_stage(rank_.index))
                   : absl::OkStatus();
  }

  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override {
    api_.ContextSetCurrent(context_);
    // Launches wait for what other ranks send. A copy to memory that is not pinned would wait for that without a limit.
    if (rank_.gpus)
      if (absl::Status status = rank_.gpus->WaitForStream(rank_.index, stream_); !status.ok())
        return status;
    if (absl::Status status =
            Check(api_.MemcpyToHostAsync(to, reinterpret_cast<Pointer>(from), bytes, stream_), "copying");
        !status.ok())
      return status;
    return Synchronize();
  }

  absl::Status Synchronize() override {
    api_.ContextSetCurrent(context_);
    for (Stream stream : {stream_, side_stream(), uploads_, downloads_})
      if (stream)
        if (absl::Status status = Check(api_.StreamSynchronize(stream), "running kernels"); !status.ok())
          return status;
    return absl::OkStatus();
  }

  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override {
    api_.ContextSetCurrent(context_);
    return UploadRanges(api_, context_, ranges, fill, pool_);
  }

  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override {
    api_.ContextSetCurrent(context_);
    return UploadRepetitions(api_, context_, parts, pattern, pool_);
  }

  uint64_t MaxPackedBytes() const override { return kMaxPackedBytes; }

  absl::Status Pack(std::span<const PackedRange> ranges, const FillRange &fill) override {
    api_.ContextSetCurrent(context_);
    return UploadPacked(
        api_, context_, ranges, fill,
        [&](Stream stream, const PackedRange &range, Pointer sources) {
          StepSizes sizes{};
          sizes[plan::Extent_Tokens] = static_cast<int32_t>(range.rows);
          return Enqueue({range.launch, {reinterpret_cast<void *>(sources), range.to}}, sizes, stream);
        },
        pool_);
  }

  ThreadPool &host_pool() override { return pool_; }

private:
  ThreadPool pool_;
  cuda_driver::DeviceHandle device_ = 0;
  Stream downloads_ = nullptr; // its results are downloaded while the next step runs
  Event launched_ = nullptr;
  std::array<Event, kMaxEvents> events_{};
  std::array<int64_t, kMaxEvents> steps_{}; // of several ranks, by event: the step that it ends
  EventId next_event_ = 0;
  PeerFailure *failures_ = nullptr; // by event, in pinned memory
};

} // namespace

absl::StatusOr<std::unique_ptr<inlay::Device>> OpenCudaDevice(std::string_view target, int threads,
                                                              const std::string &cublaslt, const DeviceRank &rank) {
  // Before the device starts its threads.
  if (SharesGpus(rank.devices))
    PrepareSharedGpus();
  absl::StatusOr<const Api *> api = LoadDriver();
  if (!api.ok())
    return api.status();
  auto device = std::make_unique<CudaDevice>(**api, threads, cublaslt, rank);
  if (absl::Status status = device->Start(target); !status.ok())
    return status;
  return std::unique_ptr<inlay::Device>(std::move(device));
}

} // namespace inlay

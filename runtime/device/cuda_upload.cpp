#include "runtime/device/cuda_upload.h"

#include "fmt/format.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <vector>

namespace inlay {
namespace {

using namespace cuda_driver;

// Large enough for the full bandwidth of the bus, small enough to stay in a core's cache until it is hashed.
constexpr uint64_t kBufferBytes = kMaxPackedBytes;
// A lane reads and hashes a few GB/s; the bus transfers up to 64 GB/s.
constexpr int kMaxLanes = 16;

absl::Status Check(const Api &api, Result result, const char *doing) {
  if (result == 0)
    return absl::OkStatus();
  const char *text = nullptr;
  api.GetErrorString(result, &text);
  return absl::InternalError(fmt::format("cuda: {} (error {}) while {}", text ? text : "unknown", result, doing));
}

// A stream and two pinned buffers for one thread. One buffer is filled while the other is copied.
class Lane {
public:
  Lane(const Api &api, std::byte *memory) : api_(api) {
    for (int i : {0, 1})
      buffers_[i].memory = memory + static_cast<uint64_t>(i) * kBufferBytes;
  }
  Lane(const Lane &) = delete;
  Lane &operator=(const Lane &) = delete;
  ~Lane() {
    if (stream_)
      api_.StreamSynchronize(stream_);
    for (Buffer &buffer : buffers_)
      if (buffer.copied)
        api_.EventDestroy(buffer.copied);
    if (stream_)
      api_.StreamDestroy(stream_);
  }

  absl::Status Start() {
    Result result = api_.StreamCreate(&stream_, kStreamNonBlocking);
    for (Buffer &buffer : buffers_)
      if (result == 0)
        result = api_.EventCreate(&buffer.copied, kEventBlockingSync | kEventDisableTiming);
    return Check(api_, result, "making a stream for the weights");
  }

  // Returns a host buffer of kBufferBytes bytes, after earlier copies from it have completed.
  absl::StatusOr<std::byte *> Take() {
    current_ ^= 1;
    Buffer &buffer = buffers_[current_];
    if (buffer.in_use)
      if (absl::Status status = Check(api_, api_.EventSynchronize(buffer.copied), "copying weights"); !status.ok())
        return status;
    buffer.in_use = false;
    return buffer.memory;
  }

  // Enqueues a copy of the buffer of the last Take() to `sources` on the device, and then the packing kernel.
  absl::Status Pack(const WeightSink::PackedRange &range, Pointer sources, const LaunchPack &launch) {
    Buffer &buffer = buffers_[current_];
    buffer.in_use = true;
    Result result = api_.MemcpyToDeviceAsync(sources, buffer.memory, range.bytes, stream_);
    if (absl::Status status = Check(api_, result, "copying weights"); !status.ok())
      return status;
    if (absl::Status status = launch(stream_, range, sources); !status.ok())
      return status;
    return Check(api_, api_.EventRecord(buffer.copied, stream_), "packing weights");
  }

  // The index of the buffer that Take() returned last: 0 or 1.
  int current() const { return current_; }

  // Enqueues a copy of the buffer of the last Take() to `to` on the device.
  absl::Status Send(Pointer to, uint64_t bytes) {
    Buffer &buffer = buffers_[current_];
    buffer.in_use = true;
    Result result = api_.MemcpyToDeviceAsync(to, buffer.memory, bytes, stream_);
    if (result == 0)
      result = api_.EventRecord(buffer.copied, stream_);
    return Check(api_, result, "copying weights");
  }

  absl::Status Finish() { return Check(api_, api_.StreamSynchronize(stream_), "copying weights"); }

private:
  struct Buffer {
    std::byte *memory = nullptr;
    Event copied = nullptr;
    bool in_use = false;
  };
  const Api &api_;
  Stream stream_ = nullptr;
  Buffer buffers_[2];
  int current_ = 0;
};

// A pool of lanes. Each is used by one thread at a time.
class Lanes {
public:
  Lanes(const Api &api, int count) : api_(api), count_(count) {}
  Lanes(const Lanes &) = delete;
  Lanes &operator=(const Lanes &) = delete;
  ~Lanes() {
    lanes_.clear();
    if (pinned_)
      api_.MemFreeHost(pinned_);
  }

  absl::Status Start() {
    if (absl::Status status = Check(api_, api_.MemAllocHost(&pinned_, static_cast<uint64_t>(count_) * 2 * kBufferBytes),
                                    "pinning host memory for the weights");
        !status.ok())
      return status;
    for (int i = 0; i < count_; ++i) {
      lanes_.push_back(std::make_unique<Lane>(api_, static_cast<std::byte *>(pinned_) +
                                                        static_cast<uint64_t>(i) * 2 * kBufferBytes));
      if (absl::Status status = lanes_.back()->Start(); !status.ok())
        return status;
      free_.push_back(lanes_.back().get());
    }
    return absl::OkStatus();
  }

  Lane *Take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return !free_.empty(); });
    Lane *lane = free_.back();
    free_.pop_back();
    return lane;
  }

  void Return(Lane *lane) {
    {
      std::lock_guard lock(mutex_);
      free_.push_back(lane);
    }
    returned_.notify_one();
  }

  // The index of a lane, in [0, count).
  size_t IndexOf(const Lane *lane) const {
    size_t i = 0;
    while (lanes_[i].get() != lane)
      ++i;
    return i;
  }

  absl::Status Finish() {
    absl::Status status;
    for (const std::unique_ptr<Lane> &lane : lanes_)
      status.Update(lane->Finish());
    return status;
  }

private:
  const Api &api_;
  int count_;
  void *pinned_ = nullptr;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::mutex mutex_; // guards the members below
  std::condition_variable returned_;
  std::vector<Lane *> free_;
};

// Fills and copies one range. Stops early if another range failed.
absl::Status UploadRange(Lane &lane, const WeightSink::Range &range, size_t index, const WeightSink::FillRange &fill,
                         const std::atomic<bool> &failed) {
  for (uint64_t at = 0; at < range.bytes && !failed; at += kBufferBytes) {
    uint64_t bytes = std::min(kBufferBytes, range.bytes - at);
    absl::StatusOr<std::byte *> buffer = lane.Take();
    if (!buffer.ok())
      return buffer.status();
    if (absl::Status status = fill(index, at, std::span(*buffer, bytes)); !status.ok())
      return status;
    if (absl::Status status = lane.Send(reinterpret_cast<Pointer>(range.to) + at, bytes); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

// Runs upload(lane, i, failed) for each i below `count` on the pool's threads; returns the first error.
absl::Status OnLanes(const Api &api, Context context, Lanes &lanes, size_t count,
                     const std::function<absl::Status(Lane &, size_t, const std::atomic<bool> &)> &upload,
                     ThreadPool &pool) {
  std::mutex mutex;
  absl::Status first_error;
  std::atomic<bool> failed = false;
  pool.Run(static_cast<int64_t>(count), [&](int64_t i) {
    if (failed)
      return;
    api.ContextSetCurrent(context);
    Lane *lane = lanes.Take();
    absl::Status status = upload(*lane, static_cast<size_t>(i), failed);
    lanes.Return(lane);
    if (status.ok())
      return;
    failed = true;
    std::lock_guard lock(mutex);
    first_error.Update(status);
  });
  first_error.Update(lanes.Finish());
  return first_error;
}

} // namespace

absl::Status UploadRanges(const Api &api, Context context, std::span<const WeightSink::Range> ranges,
                          const WeightSink::FillRange &fill, ThreadPool &pool) {
  if (ranges.empty())
    return absl::OkStatus();
  Lanes lanes(api, std::min(pool.threads(), kMaxLanes));
  if (absl::Status status = lanes.Start(); !status.ok())
    return status;
  return OnLanes(
      api, context, lanes, ranges.size(),
      [&](Lane &lane, size_t i, const std::atomic<bool> &failed) {
        return UploadRange(lane, ranges[i], i, fill, failed);
      },
      pool);
}

absl::Status UploadPacked(const Api &api, Context context, std::span<const WeightSink::PackedRange> ranges,
                          const WeightSink::FillRange &fill, const LaunchPack &launch, ThreadPool &pool) {
  if (ranges.empty())
    return absl::OkStatus();
  int count = std::min(pool.threads(), kMaxLanes);
  Lanes lanes(api, count);
  if (absl::Status status = lanes.Start(); !status.ok())
    return status;
  // Two buffers on the device for each lane, as on the host.
  Pointer buffers = 0;
  if (absl::Status status = Check(api, api.MemAlloc(&buffers, static_cast<uint64_t>(count) * 2 * kBufferBytes),
                                  "allocating memory for packing weights");
      !status.ok())
    return status;
  absl::Status status = OnLanes(
      api, context, lanes, ranges.size(),
      [&](Lane &lane, size_t i, const std::atomic<bool> &) -> absl::Status {
        absl::StatusOr<std::byte *> buffer = lane.Take();
        if (!buffer.ok())
          return buffer.status();
        if (absl::Status filled = fill(i, 0, std::span(*buffer, ranges[i].bytes)); !filled.ok())
          return filled;
        uint64_t index = static_cast<uint64_t>(lanes.IndexOf(&lane)) * 2 + static_cast<uint64_t>(lane.current());
        return lane.Pack(ranges[i], buffers + index * kBufferBytes, launch);
      },
      pool);
  api.MemFree(buffers);
  return status;
}

absl::Status UploadRepetitions(const Api &api, Context context, std::span<const WeightSink::Repetition> parts,
                               std::span<const std::byte> pattern, ThreadPool &pool) {
  Pointer on_device = 0;
  Result allocated = api.MemAlloc(&on_device, pattern.size());
  if (absl::Status status = Check(api, allocated, "allocating memory for dummy weights"); !status.ok())
    return status;
  std::vector<WeightSink::Range> ranges;
  for (uint64_t at = 0; at < pattern.size(); at += kBufferBytes)
    ranges.push_back({reinterpret_cast<void *>(on_device + at), std::min(kBufferBytes, pattern.size() - at)});
  absl::Status status = UploadRanges(
      api, context, ranges,
      [&](size_t i, uint64_t first, std::span<std::byte> out) {
        std::memcpy(out.data(), pattern.data() + i * kBufferBytes + first, out.size());
        return absl::OkStatus();
      },
      pool);
  Stream stream = nullptr;
  if (status.ok())
    status = Check(api, api.StreamCreate(&stream, kStreamNonBlocking), "making a stream for the weights");
  for (const WeightSink::Repetition &part : parts)
    for (uint64_t at = 0; at < part.bytes && status.ok();) {
      uint64_t from = (part.start + at) % pattern.size(), bytes = std::min(part.bytes - at, pattern.size() - from);
      status =
          Check(api, api.MemcpyOnDeviceAsync(reinterpret_cast<Pointer>(part.to) + at, on_device + from, bytes, stream),
                "writing dummy weights");
      at += bytes;
    }
  if (stream) {
    status.Update(Check(api, api.StreamSynchronize(stream), "writing dummy weights"));
    api.StreamDestroy(stream);
  }
  api.MemFree(on_device);
  return status;
}

} // namespace inlay

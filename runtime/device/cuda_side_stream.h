// The second stream of a GPU, on which sums over ranks run beside the launches of the other half of a step's rows.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_SIDE_STREAM_H_
#define INLAY_RUNTIME_DEVICE_CUDA_SIDE_STREAM_H_

#include "runtime/bundle/halves.h"
#include "runtime/device/cuda_driver.h"

#include <array>

namespace inlay {

// Orders launches on two streams with events: a half of a launch runs after the same half of the launches before it.
// All functions return the first error of the driver. While the main stream is captured, so is the second one.
class CudaSideStream {
public:
  explicit CudaSideStream(const cuda_driver::Api &api) : api_(api) {}
  CudaSideStream(const CudaSideStream &) = delete;
  CudaSideStream &operator=(const CudaSideStream &) = delete;

  // Makes the stream and the events, beside `main`. Does nothing if they are there.
  cuda_driver::Result Open(cuda_driver::Stream main) {
    main_ = main;
    // Its few blocks start before the next blocks of the main stream, so that sums begin as soon as they can.
    constexpr int kPriority = -1;
    cuda_driver::Result result =
        stream_ ? 0 : api_.StreamCreateWithPriority(&stream_, cuda_driver::kStreamNonBlocking, kPriority);
    for (cuda_driver::Event *event : {&computed_, &done_[0], &done_[1]})
      if (result == 0 && !*event)
        result = api_.EventCreate(event, cuda_driver::kEventDisableTiming);
    return result;
  }

  // The work of the streams has ended.
  void Close() {
    for (cuda_driver::Event event : {computed_, done_[0], done_[1]})
      if (event)
        api_.EventDestroy(event);
    if (stream_)
      api_.StreamDestroy(stream_);
  }

  cuda_driver::Stream stream() const { return stream_; } // null: it was not opened

  // Lets the stream of `part`, which is enqueued next, wait for what the other stream has of its rows. `is_ordered`
  // becomes whether something was enqueued on the main stream for that.
  cuda_driver::Result Before(const LaunchPart &part, bool &is_ordered) {
    if (part.is_beside) {
      is_ordered = true;
      const cuda_driver::Result result = api_.EventRecord(computed_, main_);
      return result ? result : api_.StreamWaitEvent(stream_, computed_, 0);
    }
    is_ordered = false;
    cuda_driver::Result result = 0;
    for (size_t half : {kFirst, kSecond}) {
      const bool has_half = part.rows == LaunchPart::kAll || HalfOf(part) == half;
      if (!has_half || !is_pending_[half] || result != 0)
        continue;
      is_ordered = true;
      is_pending_[half] = false;
      result = api_.StreamWaitEvent(main_, done_[half], 0);
    }
    return result;
  }

  // `part` was enqueued.
  cuda_driver::Result After(const LaunchPart &part) {
    if (!part.is_beside)
      return 0;
    is_pending_[HalfOf(part)] = true;
    return api_.EventRecord(done_[HalfOf(part)], stream_);
  }

  // Lets the main stream wait for all of the second one.
  cuda_driver::Result Join() {
    bool is_ordered = false;
    return Before({}, is_ordered);
  }

private:
  static constexpr size_t kFirst = 0, kSecond = 1;

  static size_t HalfOf(const LaunchPart &part) { return part.rows == LaunchPart::kFirst ? kFirst : kSecond; }

  const cuda_driver::Api &api_;
  cuda_driver::Stream main_ = nullptr, stream_ = nullptr;
  cuda_driver::Event computed_ = nullptr;    // on the main stream: what a part beside it reads
  std::array<cuda_driver::Event, 2> done_{}; // by half, on the second stream
  std::array<bool, 2> is_pending_{};         // by half: the main stream has not waited for it
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_SIDE_STREAM_H_

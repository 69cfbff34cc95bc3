// What the files of the fake driver share.
#ifndef INLAY_TEST_E2E_FAKE_DRIVER_STATE_H_
#define INLAY_TEST_E2E_FAKE_DRIVER_STATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

namespace inlay::fake {

using Result = int;
using Pointer = uint64_t;
using Handle = void *;
inline constexpr int kMaxGpus = 8;
inline constexpr Result kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kInvalidImage = 200, kInvalidContext = 201,
                        kInvalidHandle = 400, kNotFound = 500, kNotReady = 600, kIllegalAddress = 700;

// Handles of streams and events are those of the GPU whose context was current.
struct Handles {
  explicit Handles(int gpu) : gpu(gpu) {}
  const int gpu;
  // GPU i is bit i: those that never ended when a stream waited for them, or the stream of an event.
  std::atomic<unsigned> waits_for{0};
  std::atomic<bool> is_recorded{false}; // an event
  std::atomic<bool> is_shared{false};   // an event: made for other processes, or by one of them
  std::atomic<int> opened{0};           // an event: how often cuIpcOpenEventHandle() has opened it
  Handles *original = nullptr;          // an event that was opened: the event itself, if it is of this process
  // Of a stream: its work that runs late.
  std::mutex running; // guards the two below
  std::deque<std::function<void()>> late;
  size_t has_run = 0; // of all its late work
  // Of an event: the stream that it was recorded on, and the late work before it.
  Handles *stream = nullptr;
  size_t before = 0;
};

// Whether the environment variable names this pair of GPUs.
bool Names(const char *variable, int from, int to);
// Whether what the GPU is given never ends (FAKE_STUCK).
bool IsStuck(int gpu);

// The context of this thread.
extern thread_local const Handles *current;

inline Handles &Get(Handle handle) { return *static_cast<Handles *>(handle); }
inline int GpuOf(Handle handle) { return Get(handle).gpu; }

// Work of a stream needs its context.
inline Result CheckStream(Handle stream) {
  return !current ? kInvalidContext : stream && GpuOf(stream) != current->gpu ? kInvalidHandle : kOk;
}

// Runs the late work of a stream that is before `end`.
inline void RunLate(Handles &stream, size_t end = SIZE_MAX) {
  std::lock_guard lock(stream.running);
  while (!stream.late.empty() && stream.has_run < end) {
    const std::function<void()> work = std::move(stream.late.front());
    stream.late.pop_front();
    ++stream.has_run;
    work();
  }
}

// CheckStream() for work that runs when it is enqueued.
inline Result CheckWork(Handle stream) {
  const Result result = CheckStream(stream);
  if (!result && stream)
    RunLate(Get(stream));
  return result;
}

// The current GPU runs a kernel (FAKE_STUCK=1:kernel).
void NoteLaunch();

} // namespace inlay::fake

#endif // INLAY_TEST_E2E_FAKE_DRIVER_STATE_H_

// A thread pool for the blocks of a grid. It is made for many short jobs that follow each other.
#ifndef INLAY_RUNTIME_SUPPORT_THREAD_POOL_H_
#define INLAY_RUNTIME_SUPPORT_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace inlay {

// Runs one job at a time on its threads and the caller's. Between jobs, workers spin for a short time, since the next
// kernel of a step follows within microseconds. Then they sleep.
class ThreadPool {
public:
  // `threads` is the number of threads including the caller's; 0: one per core.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) once for each i in [0, count), in any order. Returns when all calls have returned.
  void Run(int64_t count, const std::function<void(int64_t)> &body);

private:
  void Work();
  void TakeAll();

  std::vector<std::thread> workers_;
  // The current job. Bits 32 to 63: its number. Bit 31: whether workers may still join it. Bits 0 to 30: the number of
  // workers that have joined it. A worker that the operating system does not schedule in time does not join, so Run()
  // does not wait for it.
  std::atomic<uint64_t> state_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<int> sleeping_{0};
  int64_t count_ = 0;
  int64_t chunk_ = 1;
  const std::function<void(int64_t)> *body_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_THREAD_POOL_H_

// A pool for the blocks of a grid: many short jobs one after another.
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

// Runs one job at a time on its threads and the caller's. Workers spin a little between jobs, since the next kernel
// of a step follows within microseconds, and sleep after that.
class ThreadPool {
public:
  // `threads` in all, the caller's included; 0: one for each core.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) for i in [0, count), each once, in no order; returns when all have returned.
  void Run(int64_t count, const std::function<void(int64_t)> &body);

private:
  void Work();
  void TakeAll();

  std::vector<std::thread> workers_;
  // The job: its number from bit 32 up, whether workers may still join it in bit 31, how many are at it below. A worker
  // that the system keeps off its core never joins, and nobody waits for it.
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

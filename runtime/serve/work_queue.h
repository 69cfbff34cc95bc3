// A thread pool for slow work before a request reaches the engine: parsing bodies, rendering templates, tokenizing and
// checking schemas. I/O threads never do this work.
#ifndef INLAY_RUNTIME_SERVE_WORK_QUEUE_H_
#define INLAY_RUNTIME_SERVE_WORK_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace inlay::serve {

// Thread-safe.
class WorkQueue {
public:
  // `threads`: 0 means a quarter of the cores, but 2 to 4. `max_jobs` and `max_bytes` limit the waiting jobs.
  WorkQueue(int threads, size_t max_jobs, uint64_t max_bytes);
  ~WorkQueue() { Stop(); }

  // Queues a job that holds `bytes` of memory. The order is first in, first out, but if there are several threads, one
  // of them takes only jobs of at most kSmall bytes, so that small jobs do not wait behind large ones. Returns false if
  // the queue is full or stopped.
  bool Push(std::function<void()> job, uint64_t bytes);
  // Drops the waiting jobs and waits for the running ones.
  void Stop();

private:
  struct Job {
    std::function<void()> run;
    uint64_t bytes = 0;
  };
  void Work(bool only_small);
  // The next job that a thread may take, or jobs_.end().
  std::deque<Job>::iterator Next(bool only_small);

  static constexpr uint64_t kSmall = 64 << 10;

  const size_t max_jobs_;
  const uint64_t max_bytes_;
  std::mutex mutex_; // guards the members below, except threads_
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  uint64_t bytes_ = 0; // total of jobs_
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_WORK_QUEUE_H_

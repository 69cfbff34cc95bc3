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

// May be called from several threads.
class WorkQueue {
public:
  // `threads`: 0 is a quarter of the cores, 2 to 4. `max_jobs` and `max_bytes` bound what waits.
  WorkQueue(int threads, size_t max_jobs, uint64_t max_bytes);
  ~WorkQueue() { Stop(); }

  // Queues a job, which holds `bytes` of memory. First in, first out, but one thread of several takes only jobs of at
  // most kSmall bytes, so that those do not wait behind large ones. False: the queue is full or has stopped.
  bool Push(std::function<void()> job, uint64_t bytes);
  // Waits for the jobs that run and drops those that wait.
  void Stop();

private:
  struct Job {
    std::function<void()> run;
    uint64_t bytes = 0;
  };
  void Work(bool only_small);
  // The next job for a thread, or the end.
  std::deque<Job>::iterator Next(bool only_small);

  static constexpr uint64_t kSmall = 64 << 10;

  const size_t max_jobs_;
  const uint64_t max_bytes_;
  std::mutex mutex_; // of what follows
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  uint64_t bytes_ = 0; // of jobs_
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_WORK_QUEUE_H_

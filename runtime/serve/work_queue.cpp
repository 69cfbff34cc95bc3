#include "runtime/serve/work_queue.h"

#include <algorithm>
#include <utility>

namespace inlay::serve {

WorkQueue::WorkQueue(int threads, size_t max_jobs, uint64_t max_bytes) : max_jobs_(max_jobs), max_bytes_(max_bytes) {
  if (threads <= 0)
    threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 1, 4);
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this] { Work(); });
}

bool WorkQueue::Push(std::function<void()> job, uint64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (is_stopping_ || jobs_.size() >= max_jobs_ || bytes > max_bytes_ - bytes_)
      return false;
    bytes_ += bytes;
    jobs_.push_back({std::move(job), bytes});
  }
  changed_.notify_one();
  return true;
}

void WorkQueue::Stop() {
  std::deque<Job> dropped;
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    dropped.swap(jobs_);
    bytes_ = 0;
  }
  changed_.notify_all();
  for (std::thread &thread : threads_)
    if (thread.joinable())
      thread.join();
}

void WorkQueue::Work() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_stopping_ || !jobs_.empty(); });
      if (is_stopping_)
        return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
      bytes_ -= job.bytes;
    }
    job.run();
  }
}

} // namespace inlay::serve

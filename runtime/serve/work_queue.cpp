#include "runtime/serve/work_queue.h"

#include <algorithm>
#include <utility>

namespace inlay::serve {

WorkQueue::WorkQueue(int threads, size_t max_jobs, uint64_t max_bytes) : max_jobs_(max_jobs), max_bytes_(max_bytes) {
  if (threads <= 0)
    threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 2, 4);
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this, only_small = i > 0 && i + 1 == threads] { Work(only_small); });
}

bool WorkQueue::Push(std::function<void()> job, uint64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (is_stopping_ || jobs_.size() >= max_jobs_ || bytes > max_bytes_ - bytes_)
      return false;
    bytes_ += bytes;
    jobs_.push_back({std::move(job), bytes});
  }
  changed_.notify_all(); // the woken thread might accept only small jobs
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

std::deque<WorkQueue::Job>::iterator WorkQueue::Next(bool only_small) {
  return std::find_if(jobs_.begin(), jobs_.end(), [&](const Job &job) { return !only_small || job.bytes <= kSmall; });
}

void WorkQueue::Work(bool only_small) {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      auto next = jobs_.end();
      changed_.wait(lock, [&] { return is_stopping_ || (next = Next(only_small)) != jobs_.end(); });
      if (is_stopping_)
        return;
      job = std::move(*next);
      jobs_.erase(next);
      bytes_ -= job.bytes;
    }
    job.run();
  }
}

} // namespace inlay::serve

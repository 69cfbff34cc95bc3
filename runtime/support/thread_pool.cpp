#include "runtime/support/thread_pool.h"

#include <algorithm>

namespace inlay {
namespace {

// Looks for a new job before a worker goes to sleep: some tens of microseconds.
constexpr int kSpins = 4000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

} // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0)
    threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (int i = 1; i < threads; ++i)
    workers_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    ++generation_;
  }
  wake_.notify_all();
  for (std::thread &worker : workers_)
    worker.join();
}

void ThreadPool::TakeAll() {
  while (true) {
    int64_t first = next_.fetch_add(chunk_, std::memory_order_relaxed);
    if (first >= count_)
      return;
    for (int64_t i = first, last = std::min(count_, first + chunk_); i < last; ++i)
      (*body_)(i);
  }
}

void ThreadPool::Run(int64_t count, const std::function<void(int64_t)> &body) {
  if (count <= 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i)
      body(i);
    return;
  }
  body_ = &body;
  count_ = count;
  // Several chunks a thread even out blocks that differ; few enough to keep the counter cheap.
  chunk_ = std::max<int64_t>(1, count / (threads() * 8));
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1); // publishes the job
  if (sleeping_.load() > 0) {
    std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  TakeAll();
  // Not forever: a worker that the system took off its core needs this one.
  for (int spins = 0; busy_.load(std::memory_order_acquire) > 0;) {
    if (++spins < kSpins)
      Pause();
    else
      std::this_thread::yield();
  }
}

void ThreadPool::Work() {
  uint64_t seen = 0;
  while (true) {
    int spins = 0;
    while (generation_.load() == seen && ++spins < kSpins)
      Pause();
    if (generation_.load() == seen) {
      std::unique_lock lock(mutex_);
      ++sleeping_;
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      --sleeping_;
    }
    if (stopping_)
      return;
    ++seen;
    TakeAll();
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

} // namespace inlay

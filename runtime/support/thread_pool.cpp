#include "runtime/support/thread_pool.h"

#include <algorithm>

namespace inlay {
namespace {

// How often a worker checks for a new job before it goes to sleep. This takes some tens of microseconds.
constexpr int kSpins = 4000;

// The parts of ThreadPool::state_.
constexpr uint64_t kNextJob = uint64_t{1} << 32, kOpen = uint64_t{1} << 31, kWorkers = kOpen - 1;

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
    state_.fetch_add(kNextJob);
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
  // Several chunks per thread balance blocks of different cost. More chunks would make the counter a bottleneck.
  chunk_ = std::max<int64_t>(1, count / (threads() * 8));
  next_.store(0, std::memory_order_relaxed);
  // No worker is at the previous job any more. Publish this one.
  state_.store((state_.load() & ~(kNextJob - 1)) + kNextJob + kOpen);
  if (sleeping_.load() > 0) {
    std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  TakeAll();
  // All blocks are taken. Close the job, then wait for the workers that have joined it.
  state_.fetch_and(~kOpen);
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kWorkers) > 0;) {
    if (++spins < kSpins)
      Pause();
    else
      std::this_thread::yield();
  }
}

void ThreadPool::Work() {
  uint64_t seen = 0;
  while (true) {
    auto current = [&] { return state_.load() / kNextJob; };
    for (int spins = 0; current() == seen && spins < kSpins; ++spins)
      Pause();
    if (current() == seen) {
      std::unique_lock lock(mutex_);
      ++sleeping_;
      wake_.wait(lock, [&] { return current() != seen; });
      --sleeping_;
    }
    if (stopping_)
      return;
    uint64_t state = state_.load();
    seen = state / kNextJob;
    while ((state & kOpen) && state / kNextJob == seen)
      if (state_.compare_exchange_weak(state, state + 1)) {
        TakeAll();
        state_.fetch_sub(1, std::memory_order_release);
        break;
      }
  }
}

} // namespace inlay

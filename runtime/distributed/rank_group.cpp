#include "runtime/distributed/rank_group.h"

#include "fmt/format.h"

#include <cstdio>
#include <thread>

namespace inlay {
namespace {

// How often a rank checks for its peers before it sleeps. Peers usually arrive within microseconds.
constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

} // namespace

void RankGroup::Fail(const absl::Status &status) {
  {
    std::unique_lock lock(mutex_);
    if (is_failing_) {
      changed_.wait(lock, [&] { return has_failed_.load(); });
      return;
    }
    is_failing_ = true;
    failure_ = status;
  }
  std::string text = fmt::format("inlay: {}\n", std::string(status.message()));
  for (uint32_t rank = 0; rank < size(); ++rank)
    text += fmt::format("inlay: {}\n", Describe(rank));
  std::fputs(text.c_str(), stderr);
  if (listener_)
    listener_(status);
  {
    std::lock_guard lock(mutex_);
    has_failed_ = true;
  }
  changed_.notify_all();
}

absl::Status RankGroup::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void RankGroup::SetStep(uint32_t rank, int64_t step) {
  State &state = ranks_[rank];
  state.step.store(step, std::memory_order_relaxed);
  std::lock_guard lock(state.mutex);
  state.calls = 0;
}

void RankGroup::BeginCall(uint32_t rank, const char *what, uint64_t bytes) {
  State &state = ranks_[rank];
  std::lock_guard lock(state.mutex);
  ++state.calls;
  state.what = what;
  state.bytes = bytes;
  state.is_call = true;
  state.since = Clock::now();
}

void RankGroup::SetWork(uint32_t rank, const char *what) {
  State &state = ranks_[rank];
  std::lock_guard lock(state.mutex);
  state.what = what;
  state.is_call = false;
  state.since = Clock::now();
}

RankActivity RankGroup::activity(uint32_t rank) const {
  const State &state = ranks_[rank];
  std::lock_guard lock(state.mutex);
  return {state.step.load(std::memory_order_relaxed), state.calls,
          state.is_call ? fmt::format("{} of {} bytes", state.what, state.bytes) : state.what,
          std::chrono::duration<double>(Clock::now() - state.since).count()};
}

std::string RankGroup::Describe(uint32_t rank) const {
  RankActivity found = activity(rank);
  return fmt::format("rank {} (step {}, call {}: {}, for {:.3g} s)", rank, found.step, found.calls, found.what,
                     found.seconds);
}

absl::Status RankGroup::Wait(const std::function<bool()> &is_ready, const std::function<std::string()> &late) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (is_ready())
      return absl::OkStatus();
    if (has_failed())
      return failure();
    Pause();
  }
  bool is_late = false;
  {
    std::unique_lock lock(mutex_);
    ++sleeping_;
    is_late = !changed_.wait_for(lock, timeout_, [&] { return is_ready() || has_failed_; });
    --sleeping_;
  }
  if (is_late)
    Fail(absl::DeadlineExceededError(late()));
  // A group that failed while this rank waited does not go on, whether its peers arrived or not.
  return has_failed() ? failure() : absl::OkStatus();
}

void RankGroup::WaitForever(const std::function<bool()> &is_ready) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (is_ready())
      return;
    Pause();
  }
  std::unique_lock lock(mutex_);
  ++sleeping_;
  changed_.wait(lock, is_ready);
  --sleeping_;
}

void RankGroup::Notify() {
  if (sleeping_.load() == 0)
    return;
  // A rank that found its condition false holds the lock until it sleeps, so it does not miss this.
  {
    std::lock_guard lock(mutex_);
  }
  changed_.notify_all();
}

} // namespace inlay

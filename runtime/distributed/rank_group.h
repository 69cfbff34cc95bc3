// What the ranks of one engine share on the host: whether the group has failed, and what each rank does.
#ifndef INLAY_RUNTIME_DISTRIBUTED_RANK_GROUP_H_
#define INLAY_RUNTIME_DISTRIBUTED_RANK_GROUP_H_

#include "absl/status/status.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace inlay {

// What a rank does, for messages and for the log.
struct RankActivity {
  int64_t step = 0;   // 0: before the first step
  int64_t calls = 0;  // operations that it began in this step
  std::string what;   // "all_reduce of 1024 bytes", "computing", "idle"
  double seconds = 0; // for how long
};

class RankGroup {
public:
  using Clock = std::chrono::steady_clock;

  // `timeout`: how long a rank waits for another one (--distributed-timeout).
  RankGroup(uint32_t ranks, Clock::duration timeout) : timeout_(timeout), ranks_(ranks) {}
  RankGroup(const RankGroup &) = delete;
  RankGroup &operator=(const RankGroup &) = delete;

  uint32_t size() const { return static_cast<uint32_t>(ranks_.size()); }
  Clock::duration timeout() const { return timeout_; }

  // Fails the group. The first status is kept: logs it with what each rank does, calls the listener on this thread and
  // then wakes all waiting ranks. Later calls wait for the first one and have no other effect.
  void Fail(const absl::Status &status);
  bool has_failed() const { return has_failed_.load(std::memory_order_acquire); }
  absl::Status failure() const;
  // Sets the function that is called once when the group fails. Call it while no rank runs.
  void SetListener(std::function<void(const absl::Status &)> listener) { listener_ = std::move(listener); }

  // Each rank calls these three for itself. `what` of a call is "all_reduce", of other work "computing" or "idle".
  void SetStep(uint32_t rank, int64_t step);
  void BeginCall(uint32_t rank, const char *what, uint64_t bytes);
  void SetWork(uint32_t rank, const char *what);
  int64_t step(uint32_t rank) const { return ranks_[rank].step.load(std::memory_order_relaxed); }

  RankActivity activity(uint32_t rank) const;
  // "rank 1 (step 12, computing after 3 calls, for 0.25 s)".
  std::string Describe(uint32_t rank) const;

  // Waits until `is_ready()` or the group has failed. After the timeout, fails the group with the message of `late`.
  // Returns the failure.
  absl::Status Wait(const std::function<bool()> &is_ready, const std::function<std::string()> &late);
  // Waits without a timeout.
  void WaitForever(const std::function<bool()> &is_ready);
  // Call it after a change that others may wait for.
  void Notify();

private:
  struct alignas(64) State {
    std::atomic<int64_t> step{0};
    mutable std::mutex mutex; // guards the members below
    int64_t calls = 0;
    const char *what = "idle";
    uint64_t bytes = 0;
    bool is_call = false;
    Clock::time_point since = Clock::now();
  };

  const Clock::duration timeout_;
  std::vector<State> ranks_;
  std::function<void(const absl::Status &)> listener_;
  std::atomic<bool> has_failed_{false};
  std::atomic<int> sleeping_{0};
  mutable std::mutex mutex_; // guards is_failing_ and failure_, and the sleep of waiting ranks
  bool is_failing_ = false;
  std::condition_variable changed_;
  absl::Status failure_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_RANK_GROUP_H_

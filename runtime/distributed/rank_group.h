// What the ranks of one engine share on the host: whether the group has failed, and what each rank does. The ranks are
// threads of this process, or processes that share a RankBoard.
#ifndef INLAY_RUNTIME_DISTRIBUTED_RANK_GROUP_H_
#define INLAY_RUNTIME_DISTRIBUTED_RANK_GROUP_H_

#include "absl/status/status.h"
#include "runtime/distributed/rank_board.h"

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

  // `timeout`: how long a rank waits while no rank does anything (--distributed-timeout).
  RankGroup(uint32_t ranks, Clock::duration timeout);
  // Of ranks in several processes. This one runs rank `own`.
  RankGroup(uint32_t ranks, Clock::duration timeout, std::shared_ptr<RankBoard> board, uint32_t own);
  RankGroup(const RankGroup &) = delete;
  RankGroup &operator=(const RankGroup &) = delete;

  uint32_t size() const { return size_; }
  Clock::duration timeout() const { return timeout_; }

  // Fails the group. The first status is kept: logs it with what each rank does, calls the listener on this thread and
  // then wakes all waiting ranks. Later calls wait for the first one and have no other effect. When another process has
  // failed the group, the first thread that notices calls the listener, and nothing is logged again.
  void Fail(const absl::Status &status);
  bool has_failed();
  absl::Status failure() const;
  // Sets the function that is called once when the group fails. If it has failed, calls it now.
  void SetListener(std::function<void(const absl::Status &)> listener);

  // Each rank calls these three for itself. `what` of a call is "all_reduce", of other work "computing" or "idle".
  void SetStep(uint32_t rank, int64_t step);
  void BeginCall(uint32_t rank, const char *what, uint64_t bytes);
  void SetWork(uint32_t rank, const char *what);
  int64_t step(uint32_t rank) const { return board_->ranks[rank].step.load(std::memory_order_relaxed); }

  RankActivity activity(uint32_t rank) const;
  // "rank 1 (step 12, computing after 3 calls, for 0.25 s)".
  std::string Describe(uint32_t rank) const;

  // Waits until `is_ready()` or the group has failed. When no rank has begun a call or other work for the timeout,
  // fails the group with the message of `late`. So ranks that wait for a stage that computes are not late while those
  // before them go on. Returns the failure.
  absl::Status Wait(const std::function<bool()> &is_ready, const std::function<std::string()> &late);
  // Waits without a timeout.
  void WaitForever(const std::function<bool()> &is_ready);
  // Call it after a change that others may wait for.
  void Notify();

private:
  void SetActivity(uint32_t rank, const char *what, uint64_t bytes, bool is_call);
  Clock::time_point last_activity() const;
  void Sleep(uint32_t changes, Clock::duration limit);
  void WakeAll();

  const uint32_t size_;
  const uint32_t own_; // the rank whose place on the board has the failure of this process
  const Clock::duration timeout_;
  const std::shared_ptr<RankBoard> board_;
  std::atomic<bool> has_failed_{false}; // set when the listener has returned
  mutable std::mutex mutex_;            // guards listener_, is_failing_ and failure_
  std::function<void(const absl::Status &)> listener_;
  bool is_failing_ = false;
  std::condition_variable failed_;
  absl::Status failure_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_RANK_GROUP_H_

// Host threads of the ranks of an engine.
#ifndef INLAY_RUNTIME_DISTRIBUTED_RANK_THREADS_H_
#define INLAY_RUNTIME_DISTRIBUTED_RANK_THREADS_H_

#include "runtime/distributed/rank_group.h"

#include <thread>

namespace inlay {

// Each rank has a thread. That of rank 0 is the thread that calls Run().
class RankThreads {
public:
  using Body = std::function<absl::Status(uint32_t rank)>;

  explicit RankThreads(std::shared_ptr<RankGroup> group);
  ~RankThreads();
  RankThreads(const RankThreads &) = delete;
  RankThreads &operator=(const RankThreads &) = delete;

  RankGroup &group() const { return *group_; }

  // Whether ranks that have ended wait for the others without a limit, as while they read weights, or fail the group
  // after its timeout.
  enum class Limit { kNone, kTimeout };
  // Calls body(rank) on the threads of all ranks at once, and returns when all calls have returned, even after a
  // failure: so `body` may refer to the caller's variables. An error, an exception or the end of a thread fails the
  // group; then later calls do nothing. Returns the failure of the group.
  absl::Status Run(const Body &body, Limit limit);

private:
  class Ending;
  void Work(uint32_t rank);
  void RunOne(uint32_t rank);
  bool AllDone(int64_t job) const;

  const std::shared_ptr<RankGroup> group_;
  const Body *body_ = nullptr;
  Limit limit_ = Limit::kNone;
  std::atomic<int64_t> job_{0}; // number of calls of Run()
  std::atomic<bool> stopping_{false};
  std::vector<std::atomic<int64_t>> done_; // by rank: the last job that it has done
  std::vector<std::thread> threads_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_RANK_THREADS_H_

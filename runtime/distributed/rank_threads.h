// Host threads of the ranks of an engine.
#ifndef INLAY_RUNTIME_DISTRIBUTED_RANK_THREADS_H_
#define INLAY_RUNTIME_DISTRIBUTED_RANK_THREADS_H_

#include "runtime/distributed/rank_group.h"

#include <map>
#include <thread>

namespace inlay {

// Each rank of this process has a thread. That of the first one is the thread that calls Post().
class RankThreads {
public:
  using Body = std::function<absl::Status(uint32_t rank)>;

  // Of all ranks of the group.
  explicit RankThreads(const std::shared_ptr<RankGroup> &group) : RankThreads(group, 0, group->size()) {}
  // Of ranks [first, first + count). The others are in other processes.
  RankThreads(std::shared_ptr<RankGroup> group, uint32_t first, uint32_t count);
  ~RankThreads();
  RankThreads(const RankThreads &) = delete;
  RankThreads &operator=(const RankThreads &) = delete;

  RankGroup &group() const { return *group_; }

  // Whether ranks that have ended wait for the others without a limit, as while they read weights, or fail the group
  // after its timeout.
  enum class Limit { kNone, kTimeout };
  // Lets each rank call body(rank) on its thread, after the jobs before. Calls that of the first rank on this thread
  // and then returns, while the others may still run. So a rank can begin the next job while another one still has this
  // one. An error, an exception or the end of a thread fails the group; jobs that are posted later do nothing. Returns
  // the job's number for Wait().
  int64_t Post(Body body, Limit limit);
  // Waits until all ranks have done the job, and after a failure all jobs: then no rank uses what their bodies refer
  // to. Returns the failure of the group. Jobs are waited for in their order.
  absl::Status Wait(int64_t job);
  // Both.
  absl::Status Run(Body body, Limit limit) { return Wait(Post(std::move(body), limit)); }

private:
  class Ending;
  struct Job {
    Body body;
    Limit limit = Limit::kNone;
  };
  void Work(uint32_t rank);
  Limit RunOne(uint32_t rank, int64_t job);
  std::string WaitedForEnd(uint32_t rank, int64_t job) const;
  bool AllDone(int64_t job) const;

  std::atomic<int64_t> &done(uint32_t rank) { return done_[rank - first_]; }

  const std::shared_ptr<RankGroup> group_;
  const uint32_t first_;
  std::mutex jobs_mutex_; // guards jobs_
  std::map<int64_t, std::shared_ptr<const Job>> jobs_;
  std::atomic<int64_t> job_{0}; // number of calls of Post()
  std::atomic<bool> stopping_{false};
  std::vector<std::atomic<int64_t>> done_; // by rank: the last job that it has done
  std::vector<std::thread> threads_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_RANK_THREADS_H_

#include "runtime/distributed/rank_threads.h"

#include "fmt/format.h"

#include <algorithm>
#include <exception>
#include <limits>

namespace inlay {
namespace {

constexpr int64_t kNeverAgain = std::numeric_limits<int64_t>::max();

} // namespace

// Records that a rank has done its job, also when its thread ends within it.
class RankThreads::Ending {
public:
  Ending(RankThreads &threads, uint32_t rank, int64_t job) : threads_(threads), rank_(rank), job_(job) {}
  Ending(const Ending &) = delete;
  Ending &operator=(const Ending &) = delete;
  ~Ending() {
    if (!has_returned)
      threads_.group_->Fail(absl::UnavailableError(
          fmt::format("the thread of {} has ended; the engine cannot continue", threads_.group_->Describe(rank_))));
    threads_.done(rank_) = has_returned ? job_ : kNeverAgain;
    threads_.group_->Notify();
  }

  bool has_returned = false;

private:
  RankThreads &threads_;
  const uint32_t rank_;
  const int64_t job_;
};

RankThreads::RankThreads(std::shared_ptr<RankGroup> group, uint32_t first, uint32_t count)
    : group_(std::move(group)), first_(first), done_(count) {
  for (uint32_t rank = first + 1; rank < first + count; ++rank)
    threads_.emplace_back([this, rank] { Work(rank); });
}

RankThreads::~RankThreads() {
  stopping_ = true;
  group_->Notify();
  for (std::thread &thread : threads_)
    thread.join();
}

bool RankThreads::AllDone(int64_t job) const {
  return std::ranges::all_of(done_, [&](const std::atomic<int64_t> &done) { return done.load() >= job; });
}

int64_t RankThreads::Post(Body body, Limit limit) {
  if (group_->has_failed())
    return job_;
  const int64_t job = job_ + 1;
  {
    std::lock_guard lock(jobs_mutex_);
    jobs_[job] = std::make_shared<const Job>(Job{std::move(body), limit});
  }
  job_ = job;
  group_->Notify();
  RunOne(first_, job);
  return job;
}

absl::Status RankThreads::Wait(int64_t job) {
  Limit limit = Limit::kNone;
  {
    std::lock_guard lock(jobs_mutex_);
    if (auto it = jobs_.find(job); it != jobs_.end())
      limit = it->second->limit;
  }
  if (limit == Limit::kTimeout)
    (void)group_->Wait([&] { return AllDone(job); }, [&] { return WaitedForEnd(first_, job); });
  group_->WaitForever([&] { return AllDone(group_->has_failed() ? job_.load() : job); });
  {
    std::lock_guard lock(jobs_mutex_);
    jobs_.erase(jobs_.begin(), jobs_.upper_bound(job));
  }
  return group_->has_failed() ? group_->failure() : absl::OkStatus();
}

std::string RankThreads::WaitedForEnd(uint32_t rank, int64_t job) const {
  std::string missing;
  for (uint32_t i = 0; i < done_.size(); ++i)
    if (done_[i] < job)
      missing += (missing.empty() ? "" : " and ") + group_->Describe(first_ + i);
  return fmt::format(
      "rank {} has waited {:.3g} s (--distributed-timeout) for the end of {}; the engine cannot continue", rank,
      std::chrono::duration<double>(group_->timeout()).count(), missing);
}

// Returns how the rank waits for the others now.
RankThreads::Limit RankThreads::RunOne(uint32_t rank, int64_t job) {
  std::shared_ptr<const Job> posted;
  {
    std::lock_guard lock(jobs_mutex_);
    posted = jobs_.at(job);
  }
  Ending ending(*this, rank, job);
  absl::Status status;
  group_->SetWork(rank, "computing");
  try {
    status = posted->body(rank);
  } catch (const std::exception &error) {
    status = absl::InternalError(fmt::format("has thrown an exception: {}", error.what()));
  }
  ending.has_returned = true;
  if (!status.ok())
    group_->Fail(absl::Status(
        status.code(), fmt::format("rank {}: {}; the engine cannot continue", rank, std::string(status.message()))));
  group_->SetWork(rank, "idle");
  return posted->limit;
}

void RankThreads::Work(uint32_t rank) {
  for (int64_t job = 1;; ++job) {
    group_->WaitForever([&] { return stopping_ || job_ >= job; });
    if (job_ < job)
      return;
    // A rank that has nothing to do waits for the others, so that one that stalls is found.
    if (RunOne(rank, job) == Limit::kTimeout)
      (void)group_->Wait([&] { return AllDone(job) || job_ > job || stopping_; },
                         [&] { return WaitedForEnd(rank, job); });
  }
}

} // namespace inlay

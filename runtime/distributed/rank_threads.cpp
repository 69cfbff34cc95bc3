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
  Ending(RankThreads &threads, uint32_t rank) : threads_(threads), rank_(rank) {}
  Ending(const Ending &) = delete;
  Ending &operator=(const Ending &) = delete;
  ~Ending() {
    if (!has_returned)
      threads_.group_->Fail(absl::UnavailableError(
          fmt::format("the thread of {} has ended; the engine cannot continue", threads_.group_->Describe(rank_))));
    threads_.done_[rank_] = has_returned ? threads_.job_.load() : kNeverAgain;
    threads_.group_->Notify();
  }

  bool has_returned = false;

private:
  RankThreads &threads_;
  const uint32_t rank_;
};

RankThreads::RankThreads(std::shared_ptr<RankGroup> group) : group_(std::move(group)), done_(group_->size()) {
  for (uint32_t rank = 1; rank < group_->size(); ++rank)
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

absl::Status RankThreads::Run(const Body &body, Limit limit) {
  if (group_->has_failed())
    return group_->failure();
  body_ = &body;
  limit_ = limit;
  const int64_t job = ++job_;
  group_->Notify();
  RunOne(0);
  group_->WaitForever([&] { return AllDone(job); });
  return group_->has_failed() ? group_->failure() : absl::OkStatus();
}

void RankThreads::RunOne(uint32_t rank) {
  const int64_t job = job_;
  const Limit limit = limit_; // after this rank has ended, Run() may be called again
  {
    Ending ending(*this, rank);
    group_->SetWork(rank, "computing");
    absl::Status status;
    try {
      status = (*body_)(rank);
    } catch (const std::exception &error) {
      status = absl::InternalError(fmt::format("has thrown an exception: {}", error.what()));
    }
    ending.has_returned = true;
    if (!status.ok())
      group_->Fail(absl::Status(
          status.code(), fmt::format("rank {}: {}; the engine cannot continue", rank, std::string(status.message()))));
    group_->SetWork(rank, "idle");
  }
  if (limit == Limit::kNone)
    return;
  (void)group_->Wait([&] { return AllDone(job); },
                     [&] {
                       std::string missing;
                       for (uint32_t other = 0; other < group_->size(); ++other)
                         if (done_[other] < job)
                           missing += (missing.empty() ? "" : " and ") + group_->Describe(other);
                       return fmt::format("rank {} has waited {:.3g} s (--distributed-timeout) for the end of {}; the "
                                          "engine cannot continue",
                                          rank, std::chrono::duration<double>(group_->timeout()).count(), missing);
                     });
}

void RankThreads::Work(uint32_t rank) {
  for (int64_t seen = 0;; ++seen) {
    group_->WaitForever([&] { return stopping_ || job_ > seen; });
    if (job_ == seen)
      return;
    RunOne(rank);
  }
}

} // namespace inlay

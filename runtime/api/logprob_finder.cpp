#include "runtime/api/logprob_finder.h"

#include "runtime/api/active_request.h"
#include "runtime/sample/logprobs.h"

#include <algorithm>
#include <thread>

namespace inlay {
namespace {

// Logits that a thread processes in 2 ms: LogprobOf() takes 0.25 ms for 128,256 logits on one core of a server.
constexpr int64_t kLogitsOfThread = int64_t{1} << 20;
// Up to this many logits are processed on the calling thread, because waking other threads would take longer.
constexpr size_t kLogitsOfOneThread = size_t{1} << 18;
// More threads would be limited by memory bandwidth.
constexpr unsigned kMostThreads = 8;

int Threads() { return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kMostThreads)); }

} // namespace

int32_t LogprobFinder::PromptRowsOfStep(int64_t vocabulary) {
  return static_cast<int32_t>(std::max<int64_t>(Threads() * kLogitsOfThread / vocabulary, 1));
}

std::span<const PromptLogprob> LogprobFinder::Find(const LaunchedStep &step, const StepResult &result) {
  found_.assign(static_cast<size_t>(step.logits_rows), {});
  rows_.clear();
  if (!step.has_logits)
    return found_;
  size_t row = 0;
  for (size_t i = 0; i < step.plan.rows.size(); ++i) {
    const ScheduledRows &part = step.plan.rows[i];
    const ActiveRequest &request = *part.sequence->active->request;
    for (int32_t position = part.prompt_first(); position < part.prompt_end(); ++position, ++row)
      if (!request.is_done())
        rows_.push_back({row, request.prompt()[static_cast<size_t>(position) + 1], request.sampling().prompt_logprobs});
    size_t tokens = step.wants_token[i] ? 1 + static_cast<size_t>(part.drafts) : 0;
    for (size_t end = row + tokens; row < end; ++row)
      if (!request.is_done() && request.needs_logits())
        rows_.push_back({row, result.tokens[row], request.sampling().logprobs});
  }
  auto find = [&](int64_t i) {
    const Row &one = rows_[static_cast<size_t>(i)];
    found_[one.index] = LogprobOf(result.logits.subspan(one.index * vocabulary_, vocabulary_), one.token, one.count);
  };
  auto count = static_cast<int64_t>(rows_.size());
  if (rows_.size() < 2 || rows_.size() * vocabulary_ <= kLogitsOfOneThread) {
    for (int64_t i = 0; i < count; ++i)
      find(i);
    return found_;
  }
  if (!pool_)
    pool_ = std::make_unique<ThreadPool>(Threads());
  pool_->Run(count, find);
  return found_;
}

} // namespace inlay

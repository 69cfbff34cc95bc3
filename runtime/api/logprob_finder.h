// Computes the log-probabilities of the rows of a step.
#ifndef INLAY_RUNTIME_API_LOGPROB_FINDER_H_
#define INLAY_RUNTIME_API_LOGPROB_FINDER_H_

#include "runtime/api/inlay.h"
#include "runtime/api/step_runner.h"
#include "runtime/support/thread_pool.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace inlay {

// Splits the rows among threads, since all sequences of a step wait for the search. The engine's thread alone calls it.
class LogprobFinder {
public:
  explicit LogprobFinder(size_t vocabulary) : vocabulary_(vocabulary) {}

  // Rows of prompts that are searched in about 2 ms, which a step may have at most.
  static int32_t PromptRowsOfStep(int64_t vocabulary);

  // One for each row of the step's logits, empty where nobody asked; valid until the next call. Requests that have
  // ended get none.
  std::span<const PromptLogprob> Find(const LaunchedStep &step, const StepResult &result);

private:
  struct Row {
    size_t index;
    int32_t token, count;
  };

  const size_t vocabulary_;
  std::vector<Row> rows_;
  std::vector<PromptLogprob> found_;
  std::unique_ptr<ThreadPool> pool_; // once there is enough to do
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_LOGPROB_FINDER_H_

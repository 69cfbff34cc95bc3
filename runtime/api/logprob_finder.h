// Computes the log-probabilities that requests ask for from the logits of a step.
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

// Splits the rows among threads, since all sequences of a step wait for the result. Only the engine's thread calls it.
class LogprobFinder {
public:
  explicit LogprobFinder(size_t vocabulary) : vocabulary_(vocabulary) {}

  // The maximum number of prompt rows with logits in a step. Their log-probabilities take about 2 ms.
  static int32_t PromptRowsOfStep(int64_t vocabulary);

  // Returns one element for each row of the step's logits. It is empty if the request did not ask for log-probabilities
  // or has ended. The result is valid until the next call.
  std::span<const PromptLogprob> Find(const LaunchedStep &step, const StepResult &result);

private:
  struct Row {
    size_t index;
    int32_t token, count;
  };

  const size_t vocabulary_;
  std::vector<Row> rows_;
  std::vector<PromptLogprob> found_;
  std::unique_ptr<ThreadPool> pool_; // created at the first step that has enough logits for several threads
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_LOGPROB_FINDER_H_

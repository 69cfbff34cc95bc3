// Sequences and steps of tests of the scheduler.
#ifndef INLAY_TEST_RUNTIME_SCHEDULER_TESTING_H_
#define INLAY_TEST_RUNTIME_SCHEDULER_TESTING_H_

#include "runtime/schedule/scheduler.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace inlay {

inline const SchedulerLimits kLimits{.sequences = 4, .tokens = 16, .pages = 8, .cache = {.page_size = 4}};

inline std::unique_ptr<Sequence> MakeSequence(std::vector<int32_t> prompt, double priority_key,
                                              int32_t max_tokens = 100) {
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens = std::move(prompt);
  sequence->prompt_size = static_cast<int32_t>(sequence->tokens.size());
  sequence->max_tokens = max_tokens;
  sequence->priority_key = priority_key;
  return sequence;
}

// Runs a plan like a device: `token` is sampled for each sequence that samples one.
inline void RunStep(Scheduler &scheduler, const StepPlan &plan, int32_t token = 1) {
  std::vector<Sequence *> sampled;
  for (const ScheduledRows &part : plan.rows)
    if (part.wants_token())
      sampled.push_back(part.sequence);
  scheduler.Launched(plan.rows);
  scheduler.Done(plan.rows);
  for (Sequence *sequence : sampled) {
    sequence->tokens.push_back(token);
    --sequence->pending;
  }
  EXPECT_TRUE(scheduler.CheckInvariants().ok()) << scheduler.CheckInvariants();
}

inline std::vector<int32_t> Counts(const StepPlan &plan) {
  std::vector<int32_t> counts;
  for (const ScheduledRows &part : plan.rows)
    counts.push_back(part.count);
  return counts;
}

} // namespace inlay

#endif // INLAY_TEST_RUNTIME_SCHEDULER_TESTING_H_

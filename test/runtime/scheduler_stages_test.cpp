// Steps of stages, several of which are in flight.
#include "test/runtime/scheduler_testing.h"

#include <gmock/gmock.h>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Each stage runs a step with its share of the sequences. A step in flight samples the next token of its own.
TEST(SchedulerStages, RunStepsOfDifferentSequences) {
  SchedulerLimits limits = kLimits;
  limits.stages = 2;
  Scheduler scheduler(limits);
  auto a = MakeSequence({1}, 0), b = MakeSequence({2}, 1), c = MakeSequence({3}, 2);
  for (auto *sequence : {&a, &b, &c})
    scheduler.Add(sequence->get());
  StepPlan prompts = scheduler.Plan(false);
  EXPECT_THAT(Counts(prompts), ElementsAre(1, 1, 1));
  scheduler.Launched(prompts.rows);
  EXPECT_THAT(scheduler.Plan(true).rows, IsEmpty());
  scheduler.Done(prompts.rows);
  for (auto *sequence : {&a, &b, &c}) {
    (*sequence)->tokens.push_back(7);
    --(*sequence)->pending;
  }
  StepPlan first = scheduler.Plan(false);
  ASSERT_THAT(Counts(first), ElementsAre(1, 1));
  EXPECT_EQ(first.rows[0].sequence, a.get());
  EXPECT_EQ(first.rows[1].sequence, b.get());
  scheduler.Launched(first.rows);
  StepPlan second = scheduler.Plan(true);
  ASSERT_THAT(Counts(second), ElementsAre(1));
  EXPECT_EQ(second.rows[0].sequence, c.get());
}

// The next part of a prompt needs no token, so it follows the part in flight.
TEST(SchedulerStages, RunPartsOfAPromptAtOnce) {
  SchedulerLimits limits = kLimits;
  limits.stages = 2;
  Scheduler scheduler(limits);
  auto prompt = MakeSequence(std::vector<int32_t>(20, 5), 0);
  scheduler.Add(prompt.get());
  StepPlan first = scheduler.Plan(false);
  EXPECT_THAT(Counts(first), ElementsAre(16));
  scheduler.Launched(first.rows);
  StepPlan second = scheduler.Plan(true);
  ASSERT_THAT(Counts(second), ElementsAre(4));
  EXPECT_EQ(second.rows[0].first, 16);
  scheduler.Launched(second.rows);
  EXPECT_THAT(scheduler.Plan(true).rows, IsEmpty());
}

} // namespace
} // namespace inlay

// Scheduling of rows, allocation of pages, preemption, and the prefix cache.
#include "test/runtime/scheduler_testing.h"

#include <gmock/gmock.h>

#include <random>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Scheduler, PromptsGetWhatGeneratingSequencesLeaveOfTheStep) {
  Scheduler scheduler(kLimits);
  auto a = MakeSequence({1, 2, 3}, 0), b = MakeSequence(std::vector<int32_t>(20, 5), 1);
  scheduler.Add(a.get());
  RunStep(scheduler, scheduler.Plan(false));
  scheduler.Add(b.get());
  StepPlan plan = scheduler.Plan(false);
  EXPECT_THAT(Counts(plan), ElementsAre(1, 15));
  RunStep(scheduler, plan);
  EXPECT_THAT(Counts(scheduler.Plan(false)), ElementsAre(1, 5));
}

TEST(Scheduler, SequencesWhoseMasksAreNotReadyAreLeftOut) {
  Scheduler scheduler(kLimits);
  auto guided = MakeSequence({1, 2, 3}, 0), free = MakeSequence({4, 5}, 1);
  guided->edits.mask = std::make_shared<TokenMask>();
  guided->edits.mask->is_ready = true;
  scheduler.Add(guided.get());
  scheduler.Add(free.get());
  StepPlan plan = scheduler.Plan(false);
  EXPECT_THAT(Counts(plan), ElementsAre(3, 2));
  EXPECT_FALSE(plan.lacks_masks);
  // The next mask depends on the token that the step in flight samples.
  scheduler.Launched(plan.rows);
  StepPlan ahead = scheduler.Plan(true);
  ASSERT_THAT(Counts(ahead), ElementsAre(1));
  EXPECT_EQ(ahead.rows[0].sequence, free.get());
  EXPECT_TRUE(ahead.lacks_masks);
  scheduler.RollBack(plan);
  EXPECT_THAT(Counts(scheduler.Plan(false)), ElementsAre(3, 2));
  EXPECT_THAT(Counts(scheduler.PlanAlone(guided.get())), ElementsAre(3));

  RunStep(scheduler, scheduler.Plan(false));
  guided->edits.mask->is_ready = false;
  EXPECT_TRUE(scheduler.PlanAlone(guided.get()).rows.empty());
  scheduler.Remove(free.get());
  plan = scheduler.Plan(false);
  EXPECT_TRUE(plan.rows.empty() && plan.lacks_masks);
  guided->edits.mask->is_ready = true;
  EXPECT_THAT(Counts(scheduler.Plan(false)), ElementsAre(1));
}

TEST(Scheduler, TheLastOfAllLosesItsPagesAndGetsThemBack) {
  Scheduler scheduler(kLimits);
  auto a = MakeSequence(std::vector<int32_t>(15, 1), 0), b = MakeSequence(std::vector<int32_t>(16, 2), 1, 9);
  a->cache.reuses_pages = b->cache.reuses_pages = false;
  scheduler.Add(a.get());
  RunStep(scheduler, scheduler.Plan(false));
  scheduler.Add(b.get());
  for (int i = 0; i < 3; ++i)
    RunStep(scheduler, scheduler.Plan(false));
  EXPECT_EQ(scheduler.preemptions(), 1);
  EXPECT_THAT(scheduler.running(), ElementsAre(a.get()));
  EXPECT_THAT(scheduler.waiting(), ElementsAre(b.get()));
  scheduler.Remove(a.get());
  StepPlan plan = scheduler.Plan(false);
  EXPECT_THAT(plan.admitted, ElementsAre(b.get()));
}

TEST(Scheduler, NobodyIsPreemptedWhileAStepIsOnItsWay) {
  Scheduler scheduler(kLimits);
  auto a = MakeSequence(std::vector<int32_t>(15, 1), 0), b = MakeSequence(std::vector<int32_t>(16, 2), 1);
  a->cache.reuses_pages = b->cache.reuses_pages = false;
  scheduler.Add(a.get());
  RunStep(scheduler, scheduler.Plan(false));
  scheduler.Add(b.get());
  RunStep(scheduler, scheduler.Plan(true));
  StepPlan plan = scheduler.Plan(true);
  while (!plan.must_wait && a->length() < 30) {
    RunStep(scheduler, plan);
    plan = scheduler.Plan(true);
  }
  EXPECT_TRUE(plan.must_wait);
  EXPECT_EQ(scheduler.preemptions(), 0);
}

const SchedulerLimits kTwoPartRope{
    .sequences = 4, .tokens = 16, .pages = 16, .cache = {.page_size = 4}, .short_rope_len = 6};

TEST(Scheduler, SequencesThatOutgrowTheShortRopeAreComputedAgain) {
  Scheduler scheduler(kTwoPartRope);
  auto a = MakeSequence({1, 2, 3, 4, 5}, 0, 3);
  scheduler.Add(a.get());
  RunStep(scheduler, scheduler.Plan(false));
  StepPlan sixth = scheduler.Plan(false);
  EXPECT_THAT(Counts(sixth), ElementsAre(1));
  scheduler.Launched(sixth.rows);
  EXPECT_TRUE(scheduler.Plan(true).must_wait) << "its seventh token has not arrived";
  scheduler.Done(sixth.rows);
  a->tokens.push_back(1);
  --a->pending;

  StepPlan again = scheduler.Plan(false);
  EXPECT_THAT(Counts(again), ElementsAre(7));
  EXPECT_EQ(again.rows[0].first, 0);
  EXPECT_THAT(again.preempted, ElementsAre(a.get()));
  EXPECT_EQ(a->cache.first_rope_row, 6);
  RunStep(scheduler, again);
  EXPECT_EQ(scheduler.preemptions(), 0);
}

TEST(Scheduler, SequencesThatEndAtTheShortRopeAreNotComputedAgain) {
  Scheduler scheduler(kTwoPartRope);
  auto a = MakeSequence({1, 2, 3, 4, 5}, 0, 2);
  scheduler.Add(a.get());
  RunStep(scheduler, scheduler.Plan(false));
  StepPlan last = scheduler.Plan(false);
  scheduler.Launched(last.rows);
  StepPlan ahead = scheduler.Plan(true);
  EXPECT_FALSE(ahead.must_wait);
  EXPECT_TRUE(ahead.rows.empty());
}

TEST(Scheduler, ShortAndLongSequencesShareNoPages) {
  Scheduler scheduler(kTwoPartRope);
  auto is_short = MakeSequence({1, 2, 3, 4, 5}, 0), is_long = MakeSequence({1, 2, 3, 4, 5, 6, 7}, 1),
       other_long = MakeSequence({1, 2, 3, 4, 5, 6, 8}, 2);
  scheduler.Add(is_short.get());
  RunStep(scheduler, scheduler.Plan(false));
  scheduler.Add(is_long.get());
  RunStep(scheduler, scheduler.Plan(false));
  EXPECT_EQ(is_long->cache.found, 0);
  scheduler.Add(other_long.get());
  EXPECT_FALSE(scheduler.Plan(false).rows.empty());
  EXPECT_EQ(other_long->cache.found, 4);
}

TEST(Scheduler, DraftsEndAtTheShortRope) {
  SchedulerLimits limits = kTwoPartRope;
  limits.drafts = 4;
  Scheduler scheduler(limits);
  auto a = MakeSequence({1, 1, 1, 1}, 0);
  scheduler.Add(a.get());
  RunStep(scheduler, scheduler.Plan(false));
  StepPlan plan = scheduler.Plan(false);
  ASSERT_EQ(plan.rows.size(), 1u);
  EXPECT_EQ(plan.rows[0].drafts, 1) << "position 5 is the last one of a short sequence";
}

TEST(Scheduler, TheOrderIsThatOfPlaces) {
  Scheduler scheduler({.sequences = 1, .tokens = 16, .pages = 8, .cache = {.page_size = 4}});
  auto late = MakeSequence({1}, 2), early = MakeSequence({2}, 1);
  scheduler.Add(late.get());
  scheduler.Add(early.get());
  EXPECT_THAT(scheduler.Plan(false).admitted, ElementsAre(early.get()));
}

TEST(Scheduler, WhatWasRolledBackRunsAgain) {
  Scheduler scheduler(kLimits);
  auto a = MakeSequence({1, 2, 3, 4, 5}, 0);
  scheduler.Add(a.get());
  StepPlan plan = scheduler.Plan(false);
  scheduler.Launched(plan.rows);
  StepPlan next = scheduler.Plan(true);
  scheduler.Launched(next.rows);
  EXPECT_EQ(a->length(), 7);
  scheduler.RollBack(next);
  scheduler.RollBack(plan);
  EXPECT_EQ(a->length(), 5);
  EXPECT_THAT(Counts(scheduler.PlanAlone(a.get())), ElementsAre(5));
}

TEST(Scheduler, ASequenceOfTheSamePromptCopiesThePartlyFilledPage) {
  Scheduler scheduler(kLimits);
  auto a = MakeSequence({1, 2, 3, 4, 5, 6, 7}, 0), b = MakeSequence({1, 2, 3, 4, 5, 6, 7}, 0);
  b->cache.leader = a.get();
  scheduler.Add(a.get());
  scheduler.Add(b.get());
  StepPlan first = scheduler.Plan(false);
  EXPECT_THAT(first.admitted, ElementsAre(a.get()));
  RunStep(scheduler, first);
  StepPlan second = scheduler.Plan(false);
  EXPECT_THAT(second.admitted, ElementsAre(b.get()));
  EXPECT_THAT(Counts(second), ElementsAre(1, 1));
  ASSERT_EQ(second.copies.size(), 1u);
  EXPECT_EQ(second.copies[0].from, a->cache.pages[1]);
  EXPECT_EQ(second.copies[0].to, b->cache.pages[1]);
  EXPECT_EQ(a->cache.pages[0], b->cache.pages[0]);
  EXPECT_NE(a->cache.pages[1], b->cache.pages[1]);
}

// Sequences are added, removed and run in random order: no page is lost, and every waiting sequence runs eventually.
TEST(Scheduler, NoPageIsLostAndNobodyStarves) {
  std::mt19937 random(1);
  Scheduler scheduler({.sequences = 5, .tokens = 24, .pages = 12, .cache = {.page_size = 4}});
  std::vector<std::unique_ptr<Sequence>> sequences;
  size_t ended = 0;
  for (int step = 0; step < 4000; ++step) {
    if (sequences.size() < 300 && random() % 3 == 0) {
      // Prompts that often have common prefixes.
      std::vector<int32_t> prompt(1 + random() % 30, static_cast<int32_t>(random() % 2));
      sequences.push_back(MakeSequence(std::move(prompt), step, 1 + static_cast<int32_t>(random() % 18)));
      scheduler.Add(sequences.back().get());
    }
    StepPlan plan = scheduler.Plan(false);
    ASSERT_TRUE(!plan.rows.empty() || scheduler.running().size() + scheduler.waiting().size() == 0);
    RunStep(scheduler, plan, static_cast<int32_t>(random() % 2));
    for (const ScheduledRows &part : plan.rows)
      if (part.sequence->is_full() || random() % 50 == 0) {
        scheduler.Remove(part.sequence);
        ++ended;
      }
    ASSERT_TRUE(scheduler.CheckInvariants().ok()) << scheduler.CheckInvariants();
  }
  EXPECT_EQ(ended, sequences.size());
  EXPECT_GT(scheduler.preemptions(), 0);
  EXPECT_GT(scheduler.cache_hits(), 0);
  EXPECT_EQ(scheduler.pool().free(), scheduler.pool().total());
}

TEST(CacheGroups, PagesOutsideTheWindowAreFreed) {
  // The window of the second group is shorter than that of the third, and both are shorter than the sequence.
  const CacheShape shape{.page_size = 4, .windows = {0, 6, 17}};
  Scheduler scheduler({.sequences = 4, .tokens = 16, .pages = 60, .cache = shape});
  auto sequence = MakeSequence(std::vector<int32_t>(40, 1), 0);
  sequence->cache.reuses_pages = false;
  scheduler.Add(sequence.get());
  std::vector<int32_t> held;
  while (sequence->length() < 100) {
    RunStep(scheduler, scheduler.Plan(false));
    held.clear();
    for (size_t group = 0; group < shape.groups(); ++group)
      held.push_back(0);
    for (size_t at = 0; at < sequence->cache.pages.size(); ++at)
      held[at % shape.groups()] += sequence->cache.pages[at] >= 0;
    for (size_t group = 0; group < shape.groups(); ++group)
      EXPECT_LE(held[group], shape.PagesHeld(group, sequence->length(), 1)) << sequence->length();
  }
  // 99 positions are computed: 25 pages, those of positions 94 to 98, and those of 83 to 98.
  EXPECT_THAT(held, ElementsAre(25, 2, 5));
  EXPECT_EQ(scheduler.pool().free(), 60 - 32);
  scheduler.Remove(sequence.get());
  EXPECT_EQ(scheduler.pool().free(), 60);
}

TEST(CacheGroups, APrefixIsFoundIfTheWindowBeforeItsEndIs) {
  const CacheShape shape{.page_size = 4, .windows = {0, 6}};
  Scheduler scheduler({.sequences = 4, .tokens = 64, .pages = 32, .cache = shape});
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 33; ++i)
    prompt.push_back(i);
  auto first = MakeSequence(prompt, 0);
  scheduler.Add(first.get());
  RunStep(scheduler, scheduler.Plan(false));
  EXPECT_EQ(first->cache.pages[6 * 2 + 1], -1);
  EXPECT_GE(first->cache.pages[7 * 2 + 1], 0);
  // The freed pages are cached. The row at 32 sees the positions from 27 on: two pages of the second group.
  auto second = MakeSequence(prompt, 1);
  scheduler.Add(second.get());
  StepPlan plan = scheduler.Plan(false);
  EXPECT_EQ(second->cache.found, 32);
  EXPECT_EQ(second->cache.pages[5 * 2 + 1], -1);
  for (int32_t at : {5, 6, 7})
    EXPECT_EQ(second->cache.pages[static_cast<size_t>(at) * 2], first->cache.pages[static_cast<size_t>(at) * 2]);
  EXPECT_GE(second->cache.pages[6 * 2 + 1], 0);
  EXPECT_EQ(second->cache.pages[7 * 2 + 1], first->cache.pages[7 * 2 + 1]);
  RunStep(scheduler, plan);
  // A shorter prefix sees freed pages, which are still cached.
  auto shorter = MakeSequence({prompt.begin(), prompt.begin() + 18}, 2);
  shorter->tokens.back() = 99;
  scheduler.Add(shorter.get());
  RunStep(scheduler, scheduler.Plan(false));
  EXPECT_EQ(shorter->cache.found, 16);
}

TEST(PrefixPages, AreFoundByTokensParentAndSaltUntilTheirRoomIsNeeded) {
  PagePool pool(3);
  std::vector<int32_t> first{1, 2}, second{3, 4};
  std::vector<int32_t> pages = *pool.Take(2);
  PagePrefix one = pool.Publish({&pages[0], 1}, pool.Root("a"), first), two = pool.Publish({&pages[1], 1}, one, second);
  EXPECT_NE(one.serial, two.serial);
  pool.Release(pages);
  EXPECT_EQ(pool.free(), 3);
  EXPECT_EQ(pool.cached(), 2);
  PagePrefix other = pool.Root("b"), place = pool.Root("a");
  EXPECT_THAT(pool.Find(first, other), IsEmpty()) << "another salt";
  EXPECT_THAT(pool.Find(second, place), IsEmpty()) << "another parent";
  EXPECT_THAT(pool.Find(first, place), ElementsAre(pages[0]));
  EXPECT_THAT(pool.Find(second, place), ElementsAre(pages[1]));
  for (int32_t page : pages)
    pool.Share(page);
  EXPECT_EQ(pool.cached(), 0);
  pool.Release(pages);
  // The end of the chain is evicted first.
  pool.Take(2);
  place = pool.Root("a");
  EXPECT_THAT(pool.Find(first, place), ElementsAre(pages[0]));
  EXPECT_THAT(pool.Find(second, place), IsEmpty());
}

TEST(PrefixPages, ThoseOfEachGroupAreEvictedAndPublishedAgainAlone) {
  PagePool pool(4, /*groups=*/2);
  std::vector<int32_t> tokens{1, 2}, pages = *pool.Take(2);
  PagePrefix root = pool.Root(""), place = pool.Publish(pages, root, tokens), found = root;
  EXPECT_THAT(pool.Find(tokens, found), ElementsAre(pages[0], pages[1]));
  pool.Release({&pages[1], 1});
  std::vector<int32_t> others = *pool.Take(3); // the last one evicts the page of the second group
  found = root;
  EXPECT_THAT(pool.Find(tokens, found), ElementsAre(pages[0], -1));
  EXPECT_EQ(found.serial, place.serial);
  // A page of the first group is published already, so only that of the second is added.
  EXPECT_EQ(pool.Publish({others.data(), 2}, root, tokens).serial, place.serial);
  EXPECT_THAT(pool.Find(tokens, found = root), ElementsAre(pages[0], others[1]));
  std::vector<std::span<const int32_t>> owners{{&pages[0], 1}, others};
  EXPECT_TRUE(pool.CheckInvariants(owners).ok()) << pool.CheckInvariants(owners);
  // Nothing is left of it when the last page is evicted.
  pool.Release(std::vector<int32_t>{pages[0], others[1]});
  pool.Take(2);
  EXPECT_THAT(pool.Find(tokens, found = root), IsEmpty());
}

TEST(PrefixPages, WrongAccountsAreFound) {
  PagePool pool(2);
  std::vector<int32_t> page = *pool.Take(1);
  std::vector<std::span<const int32_t>> owners{page, page};
  EXPECT_FALSE(pool.CheckInvariants(owners).ok());
  owners.pop_back();
  EXPECT_TRUE(pool.CheckInvariants(owners).ok());
}

} // namespace
} // namespace inlay

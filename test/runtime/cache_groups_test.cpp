// Whatever the scheduler does to the pages of cache groups, each row finds the keys of all positions that it sees.
#include "runtime/schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

namespace inlay {
namespace {

// What keys depend on: the tokens up to their position.
using Tag = uint64_t;

// A sequence with the tokens that the device knows: those of Sequence::tokens, and those that steps in flight sampled.
struct TestSequence {
  Sequence sequence;
  std::vector<int32_t> tokens;
};

struct Options {
  std::vector<int32_t> windows;
  int32_t host_pages = 0, drafts = 0;
  bool plans_ahead = false;
};

// A scheduler and a device whose pages hold tags instead of keys.
class Simulation {
public:
  explicit Simulation(const Options &options)
      : options_(options), shape_{.page_size = 4, .windows = options.windows},
        limits_{.sequences = 5,
                .tokens = 16,
                .pages = static_cast<int32_t>(shape_.PagesHeld(kLongest, 2 * 16)),
                .host_pages = options.host_pages,
                .cache = shape_,
                .drafts = options.drafts},
        scheduler_(limits_), device_(static_cast<size_t>(limits_.pages) * 4),
        host_(static_cast<size_t>(limits_.host_pages) * 4) {}

  void Run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFatalFailure(); ++step) {
      if (sequences_.size() < 150 && random_() % 3 == 0)
        AddSequences();
      RunStep();
    }
    while (scheduler_.running().size() + scheduler_.waiting().size() > 0 && !::testing::Test::HasFatalFailure())
      RunStep();
    EXPECT_EQ(scheduler_.pool().free(), scheduler_.pool().total());
  }
  const Scheduler &scheduler() const { return scheduler_; }
  int failures() const { return failures_; }
  int accepted() const { return accepted_; }

private:
  static constexpr int32_t kLongest = 60;

  struct Launched {
    StepPlan plan;
    std::vector<std::vector<int32_t>> sampled; // of each part
  };

  TestSequence &Of(const Sequence *sequence) {
    for (auto &one : sequences_)
      if (&one->sequence == sequence)
        return *one;
    std::abort();
  }

  // Often with a common prefix; sometimes two sequences that share a prompt.
  void AddSequences() {
    size_t first = sequences_.size();
    std::vector<int32_t> prompt(1 + random_() % 40, static_cast<int32_t>(random_() % 2));
    auto max_tokens = static_cast<int32_t>(1 + random_() % static_cast<size_t>(kLongest - std::ssize(prompt)));
    for (size_t i = 0, count = 1 + random_() % 2; i < count; ++i) {
      auto &added = *sequences_.emplace_back(std::make_unique<TestSequence>());
      added.tokens = added.sequence.tokens = prompt;
      added.sequence.prompt_size = static_cast<int32_t>(prompt.size());
      added.sequence.max_tokens = max_tokens;
      added.sequence.priority_key = static_cast<double>(first);
      added.sequence.cache.reuses_pages = random_() % 4 > 0;
      if (i > 0)
        added.sequence.cache.leader = &sequences_[first]->sequence;
      scheduler_.Add(&added.sequence);
    }
  }

  Tag &Slot(std::vector<Tag> &memory, int32_t page, int32_t position) {
    return memory[static_cast<size_t>(page) * 4 + static_cast<size_t>(position % 4)];
  }
  void Copy(const std::vector<Tag> &from_memory, int32_t from, std::vector<Tag> &to_memory, int32_t to) {
    std::copy_n(from_memory.begin() + from * 4, 4, to_memory.begin() + to * 4);
  }

  // Makes the copies of the plan, writes the keys of its rows and checks what they see.
  void RunRows(const StepPlan &plan) {
    for (const PageCopy &copy : plan.swap_out)
      Copy(device_, copy.from, host_, copy.to);
    for (const PageCopy &copy : plan.swap_in)
      Copy(host_, copy.from, device_, copy.to);
    for (const PageCopy &copy : plan.copies)
      Copy(device_, copy.from, device_, copy.to);
    for (const ScheduledRows &part : plan.rows) {
      std::vector<int32_t> tokens = Of(part.sequence).tokens;
      tokens.resize(static_cast<size_t>(part.certain_end()));
      tokens.insert(tokens.end(), part.sequence->drafts.begin(), part.sequence->drafts.begin() + part.drafts);
      std::vector<Tag> tags;
      for (Tag tag = 1; int32_t token : tokens)
        tags.push_back(tag = (tag + static_cast<Tag>(token) + 1) * 0x9e3779b97f4a7c15);
      for (size_t group = 0; group < shape_.groups(); ++group) {
        auto page = [&](int32_t position) {
          return part.sequence->cache.pages.at(static_cast<size_t>(position / 4) * shape_.groups() + group);
        };
        for (int32_t position = part.first; position < part.first + part.count; ++position) {
          ASSERT_GE(page(position), 0);
          Slot(device_, page(position), position) = tags[static_cast<size_t>(position)] + group;
        }
        int32_t window = shape_.windows[group];
        for (int32_t row = part.first; row < part.first + part.count; ++row)
          for (int32_t seen = window ? std::max(0, row - window + 1) : 0; seen <= row; ++seen) {
            ASSERT_GE(page(seen), 0) << "row " << row << " sees no position " << seen << " in group " << group;
            ASSERT_EQ(Slot(device_, page(seen), seen), tags[static_cast<size_t>(seen)] + group)
                << "row " << row << " sees other keys at position " << seen << " in group " << group;
          }
      }
    }
  }

  void RunStep() {
    StepPlan plan = scheduler_.Plan(!in_flight_.empty());
    if (plan.must_wait) {
      Finish();
      plan = scheduler_.Plan(false);
    }
    if (plan.rows.empty()) {
      ASSERT_TRUE(!in_flight_.empty() || scheduler_.running().size() + scheduler_.waiting().size() == 0)
          << "no step for " << scheduler_.running().size() << " running and " << scheduler_.waiting().size()
          << " waiting sequences";
      if (!in_flight_.empty())
        Finish();
      return;
    }
    if (in_flight_.empty() && random_() % 30 == 0) { // the launch fails: nothing of the plan is done
      ++failures_;
      scheduler_.RollBack(plan);
      ASSERT_TRUE(scheduler_.CheckInvariants().ok()) << scheduler_.CheckInvariants();
      return;
    }
    RunRows(plan);
    if (::testing::Test::HasFatalFailure())
      return;
    Launched launched{plan, {}};
    for (const ScheduledRows &part : plan.rows) {
      std::vector<int32_t> &sampled = launched.sampled.emplace_back();
      if (!part.wants_token())
        continue;
      // Draft tokens are accepted up to the first one that differs.
      for (int32_t i = 0;; ++i) {
        bool accepts = i < part.drafts && random_() % 3 > 0;
        sampled.push_back(accepts ? part.sequence->drafts[static_cast<size_t>(i)]
                                  : static_cast<int32_t>(random_() % 2));
        if (i == part.drafts || sampled.back() != part.sequence->drafts[static_cast<size_t>(i)])
          break;
      }
      std::vector<int32_t> &tokens = Of(part.sequence).tokens;
      tokens.insert(tokens.end(), sampled.begin(), sampled.end());
    }
    scheduler_.Launched(plan.rows);
    in_flight_.push_back(std::move(launched));
    if (!options_.plans_ahead || in_flight_.size() > 1)
      Finish();
    ASSERT_TRUE(scheduler_.CheckInvariants().ok()) << scheduler_.CheckInvariants();
  }

  // Takes the tokens of the first step in flight, as EngineLoop::TakeTokens does.
  void Finish() {
    Launched step = std::move(in_flight_.front());
    in_flight_.pop_front();
    scheduler_.Done(step.plan.rows);
    for (size_t i = 0; i < step.plan.rows.size(); ++i) {
      Sequence &sequence = *step.plan.rows[i].sequence;
      bool has_ended = std::ranges::find(scheduler_.running(), &sequence) == scheduler_.running().end();
      if (step.sampled[i].empty() || has_ended)
        continue;
      --sequence.pending;
      auto accepted = static_cast<int32_t>(step.sampled[i].size()) - 1;
      accepted_ += accepted;
      sequence.cache.computed += accepted;
      sequence.tokens.insert(sequence.tokens.end(), step.sampled[i].begin(), step.sampled[i].end());
      auto generated = static_cast<int32_t>(sequence.tokens.size()) - sequence.prompt_size;
      if (generated >= sequence.max_tokens || random_() % 60 == 0)
        scheduler_.Remove(&sequence);
    }
  }

  const Options options_;
  const CacheShape shape_;
  const SchedulerLimits limits_;
  Scheduler scheduler_;
  std::vector<Tag> device_, host_;
  std::vector<std::unique_ptr<TestSequence>> sequences_;
  std::deque<Launched> in_flight_;
  std::mt19937 random_{1};
  int failures_ = 0, accepted_ = 0;
};

TEST(CacheGroupsSimulation, EachRowFindsTheKeysThatItSees) {
  for (const std::vector<int32_t> &windows :
       {std::vector{0}, {0, 6}, {5}, {0, 0}, {0, 9, 3}, {1, 4}, {0, 12, 12, 12}, {50, 2}})
    for (int32_t host_pages : {0, 30})
      for (bool ahead : {false, true}) {
        SCOPED_TRACE(::testing::PrintToString(windows) + " host pages " + std::to_string(host_pages) +
                     (ahead ? ", ahead" : ""));
        Simulation simulation({windows, host_pages, ahead ? 0 : 3, ahead});
        simulation.Run(500);
        if (::testing::Test::HasFatalFailure())
          return;
        EXPECT_GT(simulation.scheduler().preemptions(), 0);
        EXPECT_GT(simulation.scheduler().cache_hits(), 0);
        EXPECT_GT(simulation.failures(), 0);
        EXPECT_EQ(simulation.scheduler().swapped_out() > 0, host_pages > 0);
        EXPECT_EQ(simulation.accepted() > 0, !ahead);
      }
}

} // namespace
} // namespace inlay

// Decides which rows of which sequences run in the next step, and which sequences hold pages. Independent of devices,
// threads and clocks.
#ifndef INLAY_RUNTIME_SCHEDULE_SCHEDULER_H_
#define INLAY_RUNTIME_SCHEDULE_SCHEDULER_H_

#include "runtime/kv/page_pool.h"
#include "runtime/schedule/drafter.h"
#include "runtime/schedule/step.h"

#include <memory>
#include <vector>

namespace inlay {

struct SchedulerLimits {
  int32_t sequences = 1; // of a step
  int32_t tokens = 1;    // of a step
  int32_t pages = 1;
  int32_t host_pages = 0; // of preempted sequences; beyond them what they had is computed again
  int32_t page_size = 1;
  int32_t drafts = 0; // of a sequence in a step
  // Rows of prompts in a step whose logits are wanted: the engine's thread searches each, so they delay all of the
  // step.
  int32_t prompt_logits = 32;
};

// A page to copy before the step runs.
struct PageCopy {
  int32_t from = 0;
  int32_t to = 0;
};

struct StepPlan {
  std::vector<ScheduledRows> rows = {};
  // Done in this order.
  std::vector<PageCopy> swap_out = {}; // from the device to the host
  std::vector<PageCopy> swap_in = {};  // and back
  std::vector<PageCopy> copies = {};   // two sequences go on from the same partly filled page
  std::vector<Sequence *> admitted = {};
  std::vector<Sequence *> preempted = {};
  // Nothing was planned: pages have to be taken from sequences of a step on its way. Ask again when it is done.
  bool must_wait = false;
  bool lacks_masks = false; // sequences were left out whose masks were not ready
};

// Sequences run in the order of their priority keys and are preempted in the reverse order. A key is a time in seconds:
// the time of arrival plus a constant for each level of lower priority. So no sequence starves. The first sequence may
// take the pages of all others, and each sequence fits alone (the caller of Add() checks that), so one can always run.
class Scheduler {
public:
  explicit Scheduler(const SchedulerLimits &limits,
                     std::unique_ptr<Drafter> drafter = std::make_unique<NgramDrafter>());

  void Add(Sequence *sequence);
  // Forgets a sequence that ended, waiting or running; its pages go back.
  void Remove(Sequence *sequence);

  // Sequences that generate come first, what is left of the tokens goes to prompts, running ones before waiting ones.
  // Those whose masks are not ready are left out, as if they were not there.
  // `in_flight`: a step is on its way, so nobody can be preempted.
  StepPlan Plan(bool in_flight);
  // The rows of one sequence that runs, by themselves: to find out whose rows fail.
  StepPlan PlanAlone(Sequence *sequence);

  // The step of `rows` was launched.
  void Launched(std::span<const ScheduledRows> rows);
  // It is done, and its tokens were appended: full pages become findable.
  void Done(std::span<const ScheduledRows> rows);
  // It failed, and so did those after it: the rows have to run again.
  void RollBack(const StepPlan &plan);

  const std::vector<Sequence *> &running() const { return running_; } // by priority key
  const std::vector<Sequence *> &waiting() const { return waiting_; } // by priority key
  const PagePool &pool() const { return pool_; }
  int64_t preemptions() const { return preemptions_; }
  int64_t swapped_out() const { return swapped_out_; } // pages
  int64_t swapped_in() const { return swapped_in_; }
  int64_t cache_queries() const { return cache_queries_; } // tokens
  int64_t cache_hits() const { return cache_hits_; }
  absl::Status CheckInvariants() const;

private:
  int32_t PagesFor(int32_t positions) const { return (positions + limits_.page_size - 1) / limits_.page_size; }
  bool MakeRoom(Sequence &sequence, int32_t positions, StepPlan &plan, bool in_flight, bool *must_wait);
  void AddDrafts(StepPlan &plan, int32_t budget);
  void AddPromptLogits(StepPlan &plan) const;
  void Preempt(Sequence *sequence, StepPlan &plan);
  void SwapOut(Sequence &sequence, StepPlan &plan);
  void SwapIn(Sequence &sequence, StepPlan &plan);
  void GiveUpHostPages(Sequence &sequence);
  absl::Status CheckHostPages() const;
  bool Admit(Sequence &sequence, StepPlan &plan);
  void FindPages(Sequence &sequence);
  bool SharePages(Sequence &sequence);
  void PutBack(Sequence *sequence);
  void GiveUpPages(Sequence &sequence);

  SchedulerLimits limits_;
  std::unique_ptr<Drafter> drafter_;
  PagePool pool_;
  std::vector<int32_t> free_host_pages_;
  std::vector<Sequence *> waiting_, running_;
  int64_t preemptions_ = 0, swapped_out_ = 0, swapped_in_ = 0, cache_queries_ = 0, cache_hits_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_SCHEDULER_H_

// Decides which rows of which sequences run in the next step, and which sequences hold pages. Independent of devices,
// threads and clocks.
#ifndef INLAY_RUNTIME_SCHEDULE_SCHEDULER_H_
#define INLAY_RUNTIME_SCHEDULE_SCHEDULER_H_

#include "runtime/kv/page_pool.h"
#include "runtime/kv/sequence_pages.h"
#include "runtime/schedule/drafter.h"
#include "runtime/schedule/step.h"

#include <memory>
#include <vector>

namespace inlay {

struct SchedulerLimits {
  int32_t sequences = 1;  // per step
  int32_t tokens = 1;     // rows per step
  int32_t pages = 1;      // on the device
  int32_t host_pages = 0; // for preempted sequences; if they do not suffice, keys and values are computed again
  CacheShape cache = {};  // how the pages of a sequence are divided among cache groups
  int32_t drafts = 0;     // draft tokens per sequence in a step
  // Prompt rows per step whose logits are requested. The engine computes log-probabilities from each of them, which
  // delays all sequences of the step.
  int32_t prompt_logits = 32;
  // Sequences of at most so many tokens use the first part of the rope tables, longer ones the second part (longrope).
  // When a sequence becomes longer, all its keys and values are computed again. 0: the tables have one part.
  int32_t short_rope_len = 0;
  // Stages of a pipeline, each of which runs a step of its own at the same time. Sequences whose next token a step in
  // flight samples are left out, and a step takes only its share of those that generate, so that the others have rows
  // as well.
  int32_t stages = 1;
};

// A page to copy before the step runs.
struct PageCopy {
  int32_t from = 0;
  int32_t to = 0;
};

struct StepPlan {
  std::vector<ScheduledRows> rows = {};
  // Copies to make before the step runs, in this order.
  std::vector<PageCopy> swap_out = {}; // from the device to the host
  std::vector<PageCopy> swap_in = {};  // from the host to the device
  std::vector<PageCopy> copies = {};   // on the device, where two sequences continue from one partly filled page
  std::vector<Sequence *> admitted = {};
  std::vector<Sequence *> preempted = {};
  // Nothing was planned: a sequence has to be preempted or computed again, which is not possible while a step is in
  // flight. Call Plan() again when the step is done.
  bool must_wait = false;
  bool lacks_masks = false; // sequences were left out because their token masks were not ready
};

// Sequences run in the order of their priority keys and are preempted in the reverse order. A key is a time in seconds:
// the time of arrival plus a constant for each level of lower priority. So no sequence starves. The first sequence can
// always run: it may take the pages of all others, and the caller of Add() checks that each sequence fits alone:
// CacheShape::PagesHeld() of its length and the rows of all steps in flight are at most all pages, since the pages that
// a step no longer needs are freed when later ones are already planned.
class Scheduler {
public:
  explicit Scheduler(const SchedulerLimits &limits,
                     std::unique_ptr<Drafter> drafter = std::make_unique<NgramDrafter>());

  void Add(Sequence *sequence);
  // Removes a waiting or running sequence that ended and releases its pages.
  void Remove(Sequence *sequence);

  // Plans the next step. Sequences with a single row left to compute come first. The remaining rows go to prompts,
  // those of running sequences before those of waiting ones. Sequences whose token masks are not ready are left out.
  // `in_flight` says that a step is in flight; then no sequence can be preempted.
  StepPlan Plan(bool in_flight);
  // Plans a step with the rows of one running sequence only, to find out which sequence makes a step fail.
  StepPlan PlanAlone(Sequence *sequence);

  // Call after the step of `rows` was launched.
  void Launched(std::span<const ScheduledRows> rows);
  // Call when the step is done. The input tokens of its rows must have been appended to the sequences. Publishes full
  // pages to the prefix cache, then releases those that no later row sees.
  void Done(std::span<const ScheduledRows> rows);
  // Call if the step failed; all later steps have failed too. The rows will be scheduled again.
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
  int32_t FirstRopeRow(const Sequence &sequence) const {
    return limits_.short_rope_len > 0 && sequence.length() > limits_.short_rope_len ? limits_.short_rope_len : 0;
  }
  PagePrefix RootOf(const Sequence &sequence) const;
  bool PutBackOutgrown(StepPlan &plan, bool in_flight);
  bool MakeRoom(Sequence &sequence, int32_t positions, StepPlan &plan, bool in_flight, bool *must_wait);
  void AddDrafts(StepPlan &plan, int32_t budget);
  void AddPromptLogits(StepPlan &plan) const;
  bool Admit(Sequence &sequence, StepPlan &plan, int32_t budget);
  void Preempt(Sequence *sequence, StepPlan &plan);
  void PutBack(Sequence *sequence);

  // These are in scheduler_pages.cpp.
  bool HasRoom(const CachedTokens &cache, int32_t start, int32_t chunk_end, int32_t length) const;
  bool SharePages(Sequence &sequence);
  void FindPages(Sequence &sequence);
  void SwapOut(Sequence &sequence, StepPlan &plan);
  void SwapIn(Sequence &sequence, StepPlan &plan);
  void GiveUpHostPages(Sequence &sequence);
  void GiveUpPages(Sequence &sequence);
  absl::Status CheckHostPages() const;

  SchedulerLimits limits_;
  std::unique_ptr<Drafter> drafter_;
  PagePool pool_;
  std::vector<int32_t> free_host_pages_;
  std::vector<Sequence *> waiting_, running_;
  int64_t preemptions_ = 0, swapped_out_ = 0, swapped_in_ = 0, cache_queries_ = 0, cache_hits_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_SCHEDULER_H_

#include "runtime/schedule/scheduler.h"

#include <algorithm>
#include <ranges>

namespace inlay {
namespace {

void InsertByPlace(std::vector<Sequence *> &sequences, Sequence *sequence) {
  auto at = std::ranges::upper_bound(sequences, sequence->priority_key, {},
                                     [](const Sequence *one) { return one->priority_key; });
  sequences.insert(at, sequence);
}

bool IsIn(const StepPlan &plan, const Sequence *sequence) {
  return std::ranges::find(plan.rows, sequence, &ScheduledRows::sequence) != plan.rows.end();
}

} // namespace

Scheduler::Scheduler(const SchedulerLimits &limits, std::unique_ptr<Drafter> drafter)
    : limits_(limits), drafter_(std::move(drafter)), pool_(limits.pages, limits.cache.groups()) {
  for (int32_t page = limits.host_pages; page-- > 0;)
    free_host_pages_.push_back(page);
}

void Scheduler::Add(Sequence *sequence) { InsertByPlace(waiting_, sequence); }

void Scheduler::Remove(Sequence *sequence) {
  ReleaseAll(pool_, sequence->cache.pages);
  GiveUpHostPages(*sequence);
  drafter_->Forget(sequence);
  std::erase(running_, sequence);
  std::erase(waiting_, sequence);
  for (std::vector<Sequence *> *sequences : {&running_, &waiting_})
    for (Sequence *other : *sequences)
      if (other->cache.leader == sequence)
        other->cache.leader = nullptr;
}

void Scheduler::Preempt(Sequence *sequence, StepPlan &plan) {
  SwapOut(*sequence, plan);
  PutBack(sequence);
  plan.preempted.push_back(sequence);
  ++preemptions_;
}

void Scheduler::PutBack(Sequence *sequence) {
  GiveUpPages(*sequence);
  std::erase(running_, sequence);
  InsertByPlace(waiting_, sequence);
}

// Allocates pages of a running sequence for its rows up to `positions`. If there are too few, preempts sequences after
// it that are not in the plan, the last first. Returns false if there are still too few. Then the sequence itself was
// preempted, or, if it is the first of all, keeps the pages that it has.
bool Scheduler::MakeRoom(Sequence &sequence, int32_t positions, StepPlan &plan, bool in_flight, bool *must_wait) {
  while (!TakePages(pool_, limits_.cache, sequence.cache.pages, sequence.cache.computed, positions)) {
    if (in_flight) {
      *must_wait = true;
      return false;
    }
    Sequence *victim = nullptr;
    for (Sequence *other : running_ | std::views::reverse) {
      if (other == &sequence)
        break;
      if (!IsIn(plan, other)) {
        victim = other;
        break;
      }
    }
    if (!victim && &sequence != running_.front())
      victim = &sequence;
    if (!victim)
      return false;
    Preempt(victim, plan);
    if (victim == &sequence)
      return false;
  }
  return true;
}

// Puts back the running sequences that have become longer than the first part of the rope tables allows. Returns false
// if that is not possible because a step is in flight.
bool Scheduler::PutBackOutgrown(StepPlan &plan, bool in_flight) {
  for (Sequence *sequence : std::vector<Sequence *>(running_)) {
    if (sequence->is_full() || sequence->cache.first_rope_row == FirstRopeRow(*sequence))
      continue;
    if (in_flight)
      return false;
    PutBack(sequence);
    plan.preempted.push_back(sequence);
  }
  return true;
}

StepPlan Scheduler::Plan(bool in_flight) {
  StepPlan plan;
  if (!PutBackOutgrown(plan, in_flight))
    return {.must_wait = true};
  int32_t budget = limits_.tokens;
  int64_t preempted = preemptions_;
  const int32_t running = static_cast<int32_t>(running_.size());
  int32_t share = limits_.stages == 1 ? running : (running + limits_.stages - 1) / limits_.stages;
  for (bool decoding : {true, false})
    for (Sequence *sequence : std::vector<Sequence *>(running_)) {
      int32_t left = sequence->length() - sequence->cache.computed;
      bool was_preempted = sequence->cache.pages.empty(); // in this loop
      if ((left == 1) != decoding || budget == 0 || was_preempted || sequence->is_full())
        continue;
      if (limits_.stages > 1 && (sequence->pending > 0 || (decoding && share == 0)))
        continue;
      if (sequence->waits_for_mask()) {
        plan.lacks_masks = true;
        continue;
      }
      int32_t count = std::min(left, budget);
      bool must_wait = false;
      if (!MakeRoom(*sequence, sequence->cache.computed + count, plan, in_flight, &must_wait)) {
        if (must_wait)
          return {.must_wait = true};
        // There are no more pages for the first sequence. Schedule the rows for which it has pages.
        count = std::min(count, EndOfPages(limits_.cache, sequence->cache.pages, sequence->cache.computed) -
                                    sequence->cache.computed);
        if (sequence->cache.pages.empty() || count <= 0)
          continue;
      }
      plan.rows.push_back({sequence, sequence->cache.computed, count});
      budget -= count;
      share -= decoding;
    }
  // After a preemption no waiting sequence is admitted in this step: pages are short, and preempted sequences come
  // first.
  if (preemptions_ > preempted) {
    // A plan without rows does not run, so its copies to the host are not made.
    if (plan.rows.empty())
      for (Sequence *sequence : plan.preempted)
        GiveUpHostPages(*sequence);
    return plan;
  }
  for (Sequence *sequence : std::vector<Sequence *>(waiting_)) {
    if (budget == 0 || static_cast<int32_t>(running_.size()) >= limits_.sequences)
      break;
    // Sequences that share a prompt wait until their leader has computed it.
    if (sequence->cache.leader && sequence->cache.leader->cache.computed < sequence->prompt_size)
      continue;
    if (sequence->waits_for_mask()) {
      plan.lacks_masks = true;
      continue;
    }
    if (!Admit(*sequence, plan, budget))
      break;
    int32_t count = std::min(sequence->length() - sequence->cache.computed, budget);
    plan.rows.push_back({sequence, sequence->cache.computed, count});
    plan.admitted.push_back(sequence);
    budget -= count;
  }
  AddPromptLogits(plan);
  // Drafts need the tokens of all earlier steps on the host. With stages, no sequence of the plan waits for one.
  if ((!in_flight || limits_.stages > 1) && limits_.drafts > 0)
    AddDrafts(plan, budget);
  return plan;
}

// Adds the prompt rows whose logits are requested, as many as there are unused rows of logits. If not all of a
// sequence's prompt rows fit, its part of the step ends earlier. Then it samples no token, and the row of logits of
// that token is used for a prompt row, so that the sequence makes progress.
void Scheduler::AddPromptLogits(StepPlan &plan) const {
  int32_t left = limits_.sequences;
  for (const ScheduledRows &part : plan.rows)
    left -= part.logits_rows();
  left = std::min(left, limits_.prompt_logits);
  for (ScheduledRows &part : plan.rows) {
    const Sequence &sequence = *part.sequence;
    int32_t from = std::max(part.first, sequence.prompt_logits);
    if (!sequence.wants_prompt_logits || part.prompt_end() <= from)
      continue;
    if (part.prompt_end() - from > left) {
      left += part.wants_token();
      part.count = from + std::max(left, 0) - part.first;
    }
    part.prompt_rows = std::max(part.prompt_end() - from, 0);
    left -= part.prompt_rows;
  }
  std::erase_if(plan.rows, [](const ScheduledRows &part) { return part.count == 0; });
}

// Adds draft tokens. They use the rows, rows of logits and pages that are left.
void Scheduler::AddDrafts(StepPlan &plan, int32_t budget) {
  budget = std::min(budget, limits_.sequences - static_cast<int32_t>(plan.rows.size()));
  for (const ScheduledRows &part : plan.rows)
    budget -= part.prompt_rows;
  std::vector<DraftRequest> requests;
  for (const ScheduledRows &part : plan.rows) {
    Sequence &sequence = *part.sequence;
    sequence.drafts.clear();
    int32_t to_generate = sequence.max_tokens - (sequence.length() - sequence.prompt_size);
    int32_t most = std::min({limits_.drafts, budget, to_generate - 1});
    if (limits_.short_rope_len > 0 && sequence.cache.first_rope_row == 0)
      most = std::min(most, limits_.short_rope_len - sequence.length());
    if (part.wants_token() && part.prompt_rows == 0 && sequence.pending == 0 && sequence.takes_drafts() && most > 0)
      requests.push_back({&sequence, most});
  }
  if (requests.empty())
    return;
  drafter_->Propose(requests, budget);
  for (ScheduledRows &part : plan.rows) {
    Sequence &sequence = *part.sequence;
    std::vector<int32_t> &drafts = sequence.drafts;
    drafts.resize(std::min(drafts.size(), static_cast<size_t>(budget)));
    std::vector<int32_t> &pages = sequence.cache.pages;
    int32_t first = sequence.cache.computed, length = sequence.length();
    if (!drafts.empty() && !TakePages(pool_, limits_.cache, pages, first, length + static_cast<int32_t>(drafts.size())))
      drafts.resize(static_cast<size_t>(EndOfPages(limits_.cache, pages, first) - length));
    part.drafts = static_cast<int32_t>(drafts.size());
    part.count += part.drafts;
    budget -= part.drafts;
  }
}

StepPlan Scheduler::PlanAlone(Sequence *sequence) {
  StepPlan plan;
  if (sequence->waits_for_mask())
    return plan;
  int32_t first = sequence->cache.computed, end = EndOfPages(limits_.cache, sequence->cache.pages, first);
  int32_t count = std::min({sequence->length() - first, limits_.tokens, end - first});
  if (count > 0)
    plan.rows.push_back({sequence, sequence->cache.computed, count});
  AddPromptLogits(plan);
  return plan;
}

// Moves a waiting sequence to the running ones. Allocates the pages of its next `budget` rows, and in groups without a
// window those of all its tokens, so that it is not preempted while its prompt is computed. Returns false if there are
// too few pages.
bool Scheduler::Admit(Sequence &sequence, StepPlan &plan, int32_t budget) {
  if (int32_t row = FirstRopeRow(sequence); sequence.cache.first_rope_row != row) {
    GiveUpHostPages(sequence); // Their keys were rotated by the other part of the table.
    sequence.cache.first_rope_row = row;
  }
  if (!SharePages(sequence))
    FindPages(sequence);
  CachedTokens &cache = sequence.cache;
  int32_t length = sequence.length(), start = std::max(cache.computed, cache.host_computed);
  int32_t chunk_end = start + std::min(length - start, budget);
  if (!HasRoom(cache, start, chunk_end, length)) {
    GiveUpPages(sequence);
    return false;
  }
  if (cache.reuses_pages && !cache.leader)
    cache_queries_ += sequence.prompt_size;
  if (length == sequence.prompt_size) {
    cache.found = cache.computed;
    if (!cache.leader)
      cache_hits_ += cache.computed;
  }
  size_t groups = limits_.cache.groups();
  int32_t shared = cache.computed;
  SwapIn(sequence, plan);
  TakePages(pool_, limits_.cache, cache.pages, cache.computed, chunk_end);
  cache.pages.resize(static_cast<size_t>(limits_.cache.PagesFor(length)) * groups, -1);
  for (size_t at = 0; at < cache.pages.size(); ++at)
    if (limits_.cache.windows[at % groups] == 0 && cache.pages[at] < 0)
      cache.pages[at] = *pool_.Take();
  // Only a part of the last shared pages belongs to the common prompt, so the sequence continues in copies of them.
  if (cache.leader && shared % limits_.cache.page_size != 0)
    for (size_t group = 0; group < groups; ++group) {
      size_t at = static_cast<size_t>(shared / limits_.cache.page_size) * groups + group;
      plan.copies.push_back({cache.leader->cache.pages[at], cache.pages[at]});
    }
  cache.leader = nullptr;
  std::erase(waiting_, &sequence);
  InsertByPlace(running_, &sequence);
  return true;
}

// Where the chain of the sequence's pages begins. Keys depend on the part of the rope tables. No token is -1.
PagePrefix Scheduler::RootOf(const Sequence &sequence) const {
  static constexpr int32_t kSecondPart[] = {-1};
  PagePrefix root = pool_.Root(sequence.cache.salt);
  return sequence.cache.first_rope_row == 0 ? root : pool_.Next(root, kSecondPart);
}

void Scheduler::Launched(std::span<const ScheduledRows> rows) {
  for (const ScheduledRows &part : rows) {
    bool wants = part.wants_token();
    part.sequence->cache.computed = part.certain_end();
    part.sequence->pending += wants;
  }
}

void Scheduler::Done(std::span<const ScheduledRows> rows) {
  size_t groups = limits_.cache.groups(), size = static_cast<size_t>(limits_.cache.page_size);
  for (const ScheduledRows &part : rows) {
    CachedTokens &cache = part.sequence->cache;
    if (cache.pages.empty())
      continue;
    std::vector<PagePrefix> &prefixes = cache.prefixes;
    std::span<const int32_t> tokens(part.sequence->tokens), pages(cache.pages);
    while (cache.reuses_pages && (prefixes.size() + 1) * size <= static_cast<size_t>(part.certain_end())) {
      PagePrefix parent = prefixes.empty() ? RootOf(*part.sequence) : prefixes.back();
      prefixes.push_back(pool_.Publish(pages.subspan(prefixes.size() * groups, groups), parent,
                                       tokens.subspan(prefixes.size() * size, size)));
    }
    // The rows of a step in flight come after those of this one.
    FreeInvisible(pool_, limits_.cache, cache.pages, part.certain_end());
  }
}

void Scheduler::RollBack(const StepPlan &plan) {
  for (const ScheduledRows &part : plan.rows) {
    part.sequence->cache.computed = std::min(part.sequence->cache.computed, part.first);
    part.sequence->pending = 0;
  }
  // The copies of pages may not have been made, so their contents are not valid.
  for (Sequence *sequence : plan.preempted)
    GiveUpHostPages(*sequence);
  if (!plan.copies.empty() || !plan.swap_in.empty())
    for (Sequence *sequence : plan.admitted)
      if (std::ranges::find(running_, sequence) != running_.end())
        PutBack(sequence);
}

} // namespace inlay

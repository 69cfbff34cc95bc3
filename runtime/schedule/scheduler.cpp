#include "runtime/schedule/scheduler.h"

#include "fmt/format.h"

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
    : limits_(limits), drafter_(std::move(drafter)), pool_(limits.pages) {
  for (int32_t page = limits.host_pages; page-- > 0;)
    free_host_pages_.push_back(page);
}

void Scheduler::Add(Sequence *sequence) { InsertByPlace(waiting_, sequence); }

void Scheduler::Remove(Sequence *sequence) {
  pool_.Release(sequence->cache.pages);
  sequence->cache.pages.clear();
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

// Plans copies of the sequence's computed pages to host memory, if there are enough host pages for all of them.
void Scheduler::SwapOut(Sequence &sequence, StepPlan &plan) {
  auto pages = static_cast<size_t>(PagesFor(sequence.cache.computed));
  if (pages == 0 || pages > free_host_pages_.size())
    return;
  for (size_t i = 0; i < pages; ++i) {
    sequence.cache.host_pages.push_back(free_host_pages_.back());
    free_host_pages_.pop_back();
    plan.swap_out.push_back({sequence.cache.pages[i], sequence.cache.host_pages.back()});
  }
  sequence.cache.host_computed = sequence.cache.computed;
  swapped_out_ += static_cast<int64_t>(pages);
}

// Plans copies of the sequence's host pages back to the device, except of pages that were found in the prefix cache.
void Scheduler::SwapIn(Sequence &sequence, StepPlan &plan) {
  if (sequence.cache.host_computed > sequence.cache.computed) {
    auto found = static_cast<size_t>(sequence.cache.computed / limits_.page_size);
    for (size_t i = found; i < sequence.cache.host_pages.size(); ++i)
      plan.swap_in.push_back({sequence.cache.host_pages[i], sequence.cache.pages[i]});
    swapped_in_ += static_cast<int64_t>(sequence.cache.host_pages.size() - found);
    sequence.cache.computed = sequence.cache.host_computed;
  }
  GiveUpHostPages(sequence);
}

void Scheduler::GiveUpHostPages(Sequence &sequence) {
  free_host_pages_.insert(free_host_pages_.end(), sequence.cache.host_pages.begin(), sequence.cache.host_pages.end());
  sequence.cache.host_pages.clear();
  sequence.cache.host_computed = 0;
}

void Scheduler::PutBack(Sequence *sequence) {
  GiveUpPages(*sequence);
  std::erase(running_, sequence);
  InsertByPlace(waiting_, sequence);
}

void Scheduler::GiveUpPages(Sequence &sequence) {
  pool_.Release(sequence.cache.pages);
  sequence.cache.pages.clear();
  sequence.cache.prefixes.clear();
  sequence.cache.computed = 0;
}

// Allocates pages of a running sequence for `positions`. If there are too few, preempts sequences after it that are not
// in the plan, the last first. Returns false if there are still too few. Then the sequence itself was preempted, or,
// if it is the first of all, keeps the pages that it has.
bool Scheduler::MakeRoom(Sequence &sequence, int32_t positions, StepPlan &plan, bool in_flight, bool *must_wait) {
  while (static_cast<int32_t>(sequence.cache.pages.size()) < PagesFor(positions)) {
    if (std::optional<int32_t> page = pool_.Take()) {
      sequence.cache.pages.push_back(*page);
      continue;
    }
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
  for (bool decoding : {true, false})
    for (Sequence *sequence : std::vector<Sequence *>(running_)) {
      int32_t left = sequence->length() - sequence->cache.computed;
      bool was_preempted = sequence->cache.pages.empty(); // in this loop
      if ((left == 1) != decoding || budget == 0 || was_preempted || sequence->is_full())
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
        count = std::min<int32_t>(count, static_cast<int32_t>(sequence->cache.pages.size()) * limits_.page_size -
                                             sequence->cache.computed);
        if (sequence->cache.pages.empty() || count <= 0)
          continue;
      }
      plan.rows.push_back({sequence, sequence->cache.computed, count});
      budget -= count;
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
    if (!Admit(*sequence, plan))
      break;
    int32_t count = std::min(sequence->length() - sequence->cache.computed, budget);
    plan.rows.push_back({sequence, sequence->cache.computed, count});
    plan.admitted.push_back(sequence);
    budget -= count;
  }
  AddPromptLogits(plan);
  if (!in_flight && limits_.drafts > 0)
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
    while (!drafts.empty() && static_cast<int32_t>(sequence.cache.pages.size()) <
                                  PagesFor(sequence.length() + static_cast<int32_t>(drafts.size()))) {
      std::optional<int32_t> page = pool_.Take();
      if (page)
        sequence.cache.pages.push_back(*page);
      else
        drafts.resize(sequence.cache.pages.size() * static_cast<size_t>(limits_.page_size) - sequence.tokens.size());
    }
    part.drafts = static_cast<int32_t>(drafts.size());
    part.count += part.drafts;
    budget -= part.drafts;
  }
}

StepPlan Scheduler::PlanAlone(Sequence *sequence) {
  StepPlan plan;
  if (sequence->waits_for_mask())
    return plan;
  int32_t count =
      std::min({sequence->length() - sequence->cache.computed, limits_.tokens,
                static_cast<int32_t>(sequence->cache.pages.size()) * limits_.page_size - sequence->cache.computed});
  if (count > 0)
    plan.rows.push_back({sequence, sequence->cache.computed, count});
  AddPromptLogits(plan);
  return plan;
}

// Allocates pages for all known tokens of a waiting sequence and moves it to the running ones. Returns false if there
// are too few pages.
bool Scheduler::Admit(Sequence &sequence, StepPlan &plan) {
  if (int32_t row = FirstRopeRow(sequence); sequence.cache.first_rope_row != row) {
    GiveUpHostPages(sequence); // Their keys were rotated by the other part of the table.
    sequence.cache.first_rope_row = row;
  }
  if (!SharePages(sequence))
    FindPages(sequence);
  std::optional<std::vector<int32_t>> pages =
      pool_.Take(PagesFor(sequence.length()) - static_cast<int32_t>(sequence.cache.pages.size()));
  if (!pages) {
    GiveUpPages(sequence);
    return false;
  }
  // Only a part of the last shared page belongs to the common prompt, so the sequence continues in a copy of it.
  if (sequence.cache.computed % limits_.page_size != 0)
    plan.copies.push_back({sequence.cache.leader->cache.pages[sequence.cache.pages.size()], pages->front()});
  sequence.cache.pages.insert(sequence.cache.pages.end(), pages->begin(), pages->end());
  if (sequence.cache.reuses_pages && !sequence.cache.leader)
    cache_queries_ += sequence.prompt_size;
  if (sequence.length() == sequence.prompt_size) {
    sequence.cache.found = sequence.cache.computed;
    if (!sequence.cache.leader)
      cache_hits_ += sequence.cache.computed;
  }
  SwapIn(sequence, plan);
  sequence.cache.leader = nullptr;
  std::erase(waiting_, &sequence);
  InsertByPlace(running_, &sequence);
  return true;
}

// Shares the pages of the leader, which has computed the same prompt. The last token of the prompt is computed again,
// since its logits are needed. Returns false if there is no leader with pages.
bool Scheduler::SharePages(Sequence &sequence) {
  const Sequence *leader = sequence.cache.leader;
  if (!leader || leader->cache.pages.empty() || sequence.length() != sequence.prompt_size ||
      leader->cache.first_rope_row != sequence.cache.first_rope_row)
    return false;
  sequence.cache.computed = sequence.prompt_size - 1;
  int32_t full = sequence.cache.computed / limits_.page_size;
  sequence.cache.pages.assign(leader->cache.pages.begin(), leader->cache.pages.begin() + full);
  for (int32_t page : sequence.cache.pages)
    pool_.Share(page);
  sequence.cache.prefixes.assign(leader->cache.prefixes.begin(),
                                 leader->cache.prefixes.begin() +
                                     std::min<int64_t>(full, std::ssize(leader->cache.prefixes)));
  return true;
}

// Where the chain of the sequence's pages begins. Keys depend on the part of the rope tables. No token is -1.
PagePrefix Scheduler::RootOf(const Sequence &sequence) const {
  static constexpr int32_t kSecondPart[] = {-1};
  PagePrefix root = pool_.Root(sequence.cache.salt);
  return sequence.cache.first_rope_row == 0 ? root : pool_.Next(root, kSecondPart);
}

void Scheduler::FindPages(Sequence &sequence) {
  sequence.cache.leader = nullptr;
  // Tokens found in the prefix cache are not computed, so there would be no logits for them.
  if (!sequence.cache.reuses_pages || sequence.wants_prompt_logits)
    return;
  PagePrefix prefix = RootOf(sequence);
  std::span<const int32_t> tokens(sequence.tokens);
  auto size = static_cast<size_t>(limits_.page_size);
  // At least one token must be left to compute, since its logits are needed.
  for (size_t at = 0; at + size < tokens.size(); at += size) {
    std::optional<int32_t> page = pool_.Find(tokens.subspan(at, size), prefix);
    if (!page)
      break;
    sequence.cache.pages.push_back(*page);
    sequence.cache.prefixes.push_back(prefix);
  }
  sequence.cache.computed = static_cast<int32_t>(sequence.cache.pages.size()) * limits_.page_size;
}

void Scheduler::Launched(std::span<const ScheduledRows> rows) {
  for (const ScheduledRows &part : rows) {
    bool wants = part.wants_token();
    part.sequence->cache.computed = part.certain_end();
    part.sequence->pending += wants;
  }
}

void Scheduler::Done(std::span<const ScheduledRows> rows) {
  for (const ScheduledRows &part : rows) {
    Sequence &sequence = *part.sequence;
    if (!sequence.cache.reuses_pages || sequence.cache.pages.empty())
      continue;
    std::vector<PagePrefix> &prefixes = sequence.cache.prefixes;
    auto size = static_cast<size_t>(limits_.page_size);
    std::span<const int32_t> tokens(sequence.tokens);
    while ((prefixes.size() + 1) * size <= static_cast<size_t>(part.certain_end())) {
      PagePrefix parent = prefixes.empty() ? RootOf(sequence) : prefixes.back();
      prefixes.push_back(
          pool_.Publish(sequence.cache.pages[prefixes.size()], parent, tokens.subspan(prefixes.size() * size, size)));
    }
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

// Checks that each host page is free or belongs to exactly one sequence, and that this sequence is waiting.
absl::Status Scheduler::CheckHostPages() const {
  std::vector<int32_t> uses(static_cast<size_t>(limits_.host_pages));
  for (int32_t page : free_host_pages_)
    ++uses[static_cast<size_t>(page)];
  for (const Sequence *sequence : waiting_) {
    for (int32_t page : sequence->cache.host_pages)
      ++uses[static_cast<size_t>(page)];
    if (PagesFor(sequence->cache.host_computed) != static_cast<int32_t>(sequence->cache.host_pages.size()))
      return absl::InternalError(fmt::format("a waiting sequence has {} tokens in {} host pages",
                                             sequence->cache.host_computed, sequence->cache.host_pages.size()));
  }
  for (const Sequence *sequence : running_)
    if (!sequence->cache.host_pages.empty())
      return absl::InternalError(
          fmt::format("a running sequence has {} host pages, expected none", sequence->cache.host_pages.size()));
  for (size_t page = 0; page < uses.size(); ++page)
    if (uses[page] != 1)
      return absl::InternalError(fmt::format("host page {} has {} owners, expected 1", page, uses[page]));
  return absl::OkStatus();
}

absl::Status Scheduler::CheckInvariants() const {
  if (absl::Status status = CheckHostPages(); !status.ok())
    return status;
  std::vector<std::span<const int32_t>> owners;
  for (const std::vector<Sequence *> *sequences : {&running_, &waiting_})
    for (const Sequence *sequence : *sequences)
      owners.emplace_back(sequence->cache.pages);
  if (absl::Status status = pool_.CheckInvariants(owners); !status.ok())
    return status;
  for (const Sequence *sequence : waiting_)
    if (!sequence->cache.pages.empty())
      return absl::InternalError(
          fmt::format("a waiting sequence has {} pages, expected none", sequence->cache.pages.size()));
  for (const Sequence *sequence : running_)
    if (static_cast<int32_t>(sequence->cache.pages.size()) < PagesFor(sequence->cache.computed) ||
        sequence->cache.computed > sequence->length())
      return absl::InternalError(fmt::format("a sequence of {} tokens, {} computed, has {} pages", sequence->length(),
                                             sequence->cache.computed, sequence->cache.pages.size()));
  return absl::OkStatus();
}

} // namespace inlay

#include "runtime/schedule/scheduler.h"

#include "fmt/format.h"

#include <algorithm>
#include <iterator>
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

// Plans copies of the pages that the sequence's next row sees to host memory, if there are enough host pages for all of
// them.
void Scheduler::SwapOut(Sequence &sequence, StepPlan &plan) {
  CachedTokens &cache = sequence.cache;
  size_t groups = limits_.cache.groups(), end = static_cast<size_t>(limits_.cache.PagesFor(cache.computed));
  std::vector<size_t> seen; // indices into cache.pages
  for (size_t at = 0; at < end * groups; ++at)
    if (static_cast<int32_t>(at / groups) >= limits_.cache.FirstVisible(at % groups, cache.computed))
      seen.push_back(at);
  if (seen.empty() || seen.size() > free_host_pages_.size())
    return;
  cache.host_pages.assign(end * groups, -1);
  for (size_t at : seen) {
    cache.host_pages[at] = free_host_pages_.back();
    free_host_pages_.pop_back();
    plan.swap_out.push_back({cache.pages[at], cache.host_pages[at]});
  }
  cache.host_computed = cache.computed;
  swapped_out_ += static_cast<int64_t>(seen.size());
}

// Allocates pages for the sequence's host pages and plans copies back to the device, except of pages that were found in
// the prefix cache. There must be enough pages.
void Scheduler::SwapIn(Sequence &sequence, StepPlan &plan) {
  CachedTokens &cache = sequence.cache;
  if (cache.host_computed > cache.computed) {
    FreeInvisible(pool_, limits_.cache, cache.pages, cache.host_computed);
    cache.pages.resize(std::max(cache.pages.size(), cache.host_pages.size()), -1);
    for (size_t at = 0; at < cache.host_pages.size(); ++at)
      if (cache.host_pages[at] >= 0 && cache.pages[at] < 0) {
        cache.pages[at] = *pool_.Take();
        plan.swap_in.push_back({cache.host_pages[at], cache.pages[at]});
        ++swapped_in_;
      }
    cache.computed = cache.host_computed;
  }
  GiveUpHostPages(sequence);
}

void Scheduler::GiveUpHostPages(Sequence &sequence) {
  std::ranges::copy_if(sequence.cache.host_pages, std::back_inserter(free_host_pages_),
                       [](int32_t page) { return page >= 0; });
  sequence.cache.host_pages.clear();
  sequence.cache.host_computed = 0;
}

void Scheduler::PutBack(Sequence *sequence) {
  GiveUpPages(*sequence);
  std::erase(running_, sequence);
  InsertByPlace(waiting_, sequence);
}

void Scheduler::GiveUpPages(Sequence &sequence) {
  ReleaseAll(pool_, sequence.cache.pages);
  sequence.cache.prefixes.clear();
  sequence.cache.computed = 0;
}

// Allocates pages of a running sequence for its rows up to `positions`. If there are too few, preempts sequences after it that are not
// in the plan, the last first. Returns false if there are still too few. Then the sequence itself was preempted, or,
// if it is the first of all, keeps the pages that it has.
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

StepPlan Scheduler::Plan(bool in_flight) {
  StepPlan plan;
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
        count = std::min(count, EndOfPages(limits_.cache, sequence->cache.pages, sequence->cache.computed) -
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
    if (!Admit(*sequence, plan, budget))
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
    if (!drafts.empty() &&
        !TakePages(pool_, limits_.cache, pages, first, length + static_cast<int32_t>(drafts.size())))
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

// Whether there are enough pages for a sequence whose next row is at `start`: those of its first step, which ends at
// `chunk_end`, and those that it holds later.
bool Scheduler::HasRoom(const CachedTokens &cache, int32_t start, int32_t chunk_end, int32_t length) const {
  const CacheShape &shape = limits_.cache;
  size_t groups = shape.groups();
  int64_t needed = 0;
  for (size_t group = 0; group < groups; ++group) {
    int64_t first = shape.FirstVisible(group, start);
    int64_t end = std::min<int64_t>(shape.PagesFor(length), first + shape.PagesHeld(group, length, 1));
    end = std::max<int64_t>(end, shape.PagesFor(chunk_end));
    for (int64_t at = first; at < end; ++at) {
      size_t index = static_cast<size_t>(at) * groups + group;
      needed += index >= cache.pages.size() || cache.pages[index] < 0;
    }
  }
  return needed <= pool_.free();
}

// Shares the pages of the leader, which has computed the same prompt. The last token of the prompt is computed again,
// since its logits are needed. Returns false if there is no leader that still has all of the pages.
bool Scheduler::SharePages(Sequence &sequence) {
  const CacheShape &shape = limits_.cache;
  const Sequence *leader = sequence.cache.leader;
  int32_t computed = sequence.prompt_size - 1;
  if (!leader || leader->cache.pages.empty() || sequence.length() != sequence.prompt_size ||
      !HasVisible(shape, leader->cache.pages, computed))
    return false;
  sequence.cache.computed = computed;
  size_t groups = shape.groups(), full = static_cast<size_t>(computed / shape.page_size);
  sequence.cache.pages.assign(full * groups, -1);
  for (size_t at = 0; at < full * groups; ++at)
    if (static_cast<int32_t>(at / groups) >= shape.FirstVisible(at % groups, computed)) {
      sequence.cache.pages[at] = leader->cache.pages[at];
      pool_.Share(leader->cache.pages[at]);
    }
  sequence.cache.prefixes.assign(
      leader->cache.prefixes.begin(),
      leader->cache.prefixes.begin() +
          std::min<int64_t>(static_cast<int64_t>(full), std::ssize(leader->cache.prefixes)));
  return true;
}

// Finds the longest prefix of the sequence's tokens with all pages in the prefix cache that the row after it sees.
void Scheduler::FindPages(Sequence &sequence) {
  CachedTokens &cache = sequence.cache;
  cache.leader = nullptr;
  // Tokens found in the prefix cache are not computed, so there would be no logits for them.
  if (!cache.reuses_pages || sequence.wants_prompt_logits)
    return;
  const CacheShape &shape = limits_.cache;
  size_t groups = shape.groups();
  PagePrefix prefix = pool_.Root(cache.salt);
  std::span<const int32_t> tokens(sequence.tokens);
  auto size = static_cast<size_t>(shape.page_size);
  std::vector<int32_t> runs(groups); // of each group: the last pages without a gap
  std::vector<int32_t> found;        // pages in the order of CachedTokens::pages
  int32_t longest = 0;               // pages of the longest prefix
  // At least one token must be left to compute, since its logits are needed.
  for (size_t at = 0; at + size < tokens.size(); at += size) {
    std::span<const int32_t> pages = pool_.Find(tokens.subspan(at, size), prefix);
    if (pages.empty())
      break;
    found.insert(found.end(), pages.begin(), pages.end());
    cache.prefixes.push_back(prefix);
    auto end = static_cast<int32_t>(at / size + 1);
    bool sees_all = true;
    for (size_t group = 0; group < groups; ++group) {
      runs[group] = pages[group] < 0 ? 0 : runs[group] + 1;
      sees_all &= runs[group] >= end - shape.FirstVisible(group, end * shape.page_size);
    }
    if (sees_all)
      longest = end;
  }
  cache.computed = longest * shape.page_size;
  cache.prefixes.resize(static_cast<size_t>(longest));
  cache.pages.assign(static_cast<size_t>(longest) * groups, -1);
  for (size_t at = 0; at < cache.pages.size(); ++at)
    if (static_cast<int32_t>(at / groups) >= shape.FirstVisible(at % groups, cache.computed)) {
      cache.pages[at] = found[at];
      pool_.Share(found[at]);
    }
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
      PagePrefix parent = prefixes.empty() ? pool_.Root(cache.salt) : prefixes.back();
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

// Checks that each host page is free or belongs to exactly one sequence, and that this sequence is waiting.
absl::Status Scheduler::CheckHostPages() const {
  std::vector<int32_t> uses(static_cast<size_t>(limits_.host_pages));
  for (int32_t page : free_host_pages_)
    ++uses[static_cast<size_t>(page)];
  for (const Sequence *sequence : waiting_) {
    const CachedTokens &cache = sequence->cache;
    for (int32_t page : cache.host_pages)
      if (page >= 0)
        ++uses[static_cast<size_t>(page)];
    if (static_cast<size_t>(limits_.cache.PagesFor(cache.host_computed)) * limits_.cache.groups() !=
            cache.host_pages.size() ||
        !HasVisible(limits_.cache, cache.host_pages, cache.host_computed))
      return absl::InternalError(fmt::format("a waiting sequence has {} tokens in {} host pages", cache.host_computed,
                                             cache.host_pages.size()));
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
    if (!HasVisible(limits_.cache, sequence->cache.pages, sequence->cache.computed) ||
        sequence->cache.computed > sequence->length())
      return absl::InternalError(
          fmt::format("a sequence of {} tokens, {} computed, lacks some of the pages that its next row sees; it has {} "
                      "of {} cache groups",
                      sequence->length(), sequence->cache.computed, sequence->cache.pages.size(),
                      limits_.cache.groups()));
  return absl::OkStatus();
}

} // namespace inlay

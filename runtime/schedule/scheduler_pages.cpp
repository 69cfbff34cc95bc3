// Which pages a sequence gets from others, from the prefix cache or from host memory when it is admitted, and which it
// gives up.
#include "runtime/schedule/scheduler.h"

#include "fmt/format.h"

#include <algorithm>
#include <iterator>

namespace inlay {

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

void Scheduler::GiveUpPages(Sequence &sequence) {
  ReleaseAll(pool_, sequence.cache.pages);
  sequence.cache.prefixes.clear();
  sequence.cache.computed = 0;
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
      leader->cache.first_rope_row != sequence.cache.first_rope_row ||
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
  sequence.cache.prefixes.assign(leader->cache.prefixes.begin(),
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
  PagePrefix prefix = RootOf(sequence);
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
      return absl::InternalError(fmt::format(
          "a sequence of {} tokens, {} computed, lacks some of the pages that its next row sees; it has {} "
          "of {} cache groups",
          sequence->length(), sequence->cache.computed, sequence->cache.pages.size(), limits_.cache.groups()));
  return absl::OkStatus();
}

} // namespace inlay

#include "runtime/kv/page_pool.h"

#include "fmt/format.h"
#include "xxhash.h"

#include <algorithm>
#include <random>
#include <ranges>
#include <utility>

namespace inlay {

PagePool::PagePool(int32_t pages, size_t groups)
    : groups_(groups), references_(static_cast<size_t>(pages)), unused_places_(static_cast<size_t>(pages)),
      published_(static_cast<size_t>(pages)) {
  for (int32_t page = pages; page-- > 0;)
    empty_.push_back(page);
  index_.reserve(static_cast<size_t>(pages)); // so that it is not rehashed while steps run
  std::random_device random;
  for (uint64_t &seed : seeds_)
    seed = uint64_t{random()} << 32 | random();
}

std::optional<int32_t> PagePool::Take() {
  int32_t page = 0;
  if (!empty_.empty()) {
    page = empty_.back();
    empty_.pop_back();
  } else if (!unused_.empty()) {
    page = unused_.front();
    unused_.pop_front();
    Published &published = *std::exchange(published_[static_cast<size_t>(page)], nullptr);
    *std::ranges::find(published.pages, page) = -1;
    if (std::ranges::all_of(published.pages, [](int32_t other) { return other < 0; }))
      index_.erase(index_.find(published.place.hash));
  } else {
    return std::nullopt;
  }
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

std::optional<std::vector<int32_t>> PagePool::Take(int32_t count) {
  if (count > free())
    return std::nullopt;
  std::vector<int32_t> pages;
  for (int32_t i = 0; i < count; ++i)
    pages.push_back(*Take());
  return pages;
}

void PagePool::Share(int32_t page) {
  auto at = static_cast<size_t>(page);
  if (references_[at]++ == 0)
    unused_.erase(unused_places_[at]);
}

void PagePool::Release(std::span<const int32_t> pages) {
  for (int32_t page : pages | std::views::reverse) {
    auto at = static_cast<size_t>(page);
    if (page < 0 || --references_[at] > 0)
      continue;
    if (published_[at])
      unused_places_[at] = unused_.insert(unused_.end(), page);
    else
      empty_.push_back(page);
  }
}

PagePrefix PagePool::Root(std::string_view salt) const {
  PagePrefix root;
  for (size_t half = 0; half < 2; ++half) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(salt.data(), salt.size(), seeds_[half]);
    root.hash[2 * half] = hash.low64;
    root.hash[2 * half + 1] = hash.high64;
  }
  return root;
}

PagePrefix PagePool::Next(const PagePrefix &parent, std::span<const int32_t> tokens) const {
  hashed_.resize(sizeof parent.hash + tokens.size_bytes());
  std::ranges::copy(std::as_bytes(std::span(parent.hash)), hashed_.begin());
  std::ranges::copy(std::as_bytes(tokens), hashed_.begin() + sizeof parent.hash);
  return Root({reinterpret_cast<const char *>(hashed_.data()), hashed_.size()});
}

std::span<const int32_t> PagePool::Find(std::span<const int32_t> tokens, PagePrefix &prefix) const {
  auto found = index_.find(Next(prefix, tokens).hash);
  if (found == index_.end() || !found->second.Is(prefix, tokens))
    return {};
  prefix = found->second.place;
  return found->second.pages;
}

PagePrefix PagePool::Publish(std::span<const int32_t> pages, const PagePrefix &parent,
                             std::span<const int32_t> tokens) {
  PagePrefix place = Next(parent, tokens);
  auto [found, is_new] = index_.try_emplace(place.hash);
  Published &published = found->second;
  if (is_new || !published.Is(parent, tokens)) {
    // Pages that have this hash already hold the same tokens, but their parent was evicted, so they can no longer be
    // found.
    Withdraw(published);
    place.serial = next_serial_++;
    published = {place, parent.serial, {tokens.begin(), tokens.end()}, std::vector<int32_t>(groups_, -1)};
  }
  place = published.place;
  bool has_page = false;
  for (size_t group = 0; group < groups_; ++group) {
    int32_t &own = published.pages[group];
    if (int32_t page = pages[group]; own < 0 && page >= 0 && !published_[static_cast<size_t>(page)]) {
      own = page;
      published_[static_cast<size_t>(page)] = &published;
    }
    has_page |= own >= 0;
  }
  if (!has_page)
    index_.erase(found);
  return place;
}

// Makes the pages unpublished ones.
void PagePool::Withdraw(Published &published) {
  for (int32_t page : published.pages) {
    if (page < 0)
      continue;
    auto at = static_cast<size_t>(page);
    published_[at] = nullptr;
    if (references_[at] == 0) {
      unused_.erase(unused_places_[at]);
      empty_.push_back(page);
    }
  }
}

absl::Status PagePool::CheckInvariants(std::span<const std::span<const int32_t>> owners) const {
  std::vector<int32_t> expected(references_.size());
  for (std::span<const int32_t> pages : owners)
    for (int32_t page : pages)
      if (page >= 0)
        ++expected[static_cast<size_t>(page)];
  std::vector<int32_t> places(references_.size());
  for (int32_t page : empty_)
    ++places[static_cast<size_t>(page)];
  for (int32_t page : unused_)
    ++places[static_cast<size_t>(page)];
  for (size_t page = 0; page < references_.size(); ++page) {
    if (references_[page] != expected[page])
      return absl::InternalError(
          fmt::format("page {} has {} references, but its owners hold {}", page, references_[page], expected[page]));
    if (places[page] != (references_[page] == 0 ? 1 : 0))
      return absl::InternalError(fmt::format("page {} with {} references is in {} lists of free pages", page,
                                             references_[page], places[page]));
  }
  size_t published = 0;
  for (const auto &[hash, entry] : index_)
    for (int32_t page : entry.pages) {
      if (page < 0)
        continue;
      ++published;
      if (published_[static_cast<size_t>(page)] != &entry || entry.place.hash != hash)
        return absl::InternalError(
            fmt::format("the prefix index maps a hash to page {}, which holds other tokens", page));
    }
  if (auto all = published_.size() - static_cast<size_t>(std::ranges::count(published_, nullptr)); all != published)
    return absl::InternalError(fmt::format("{} pages are published, but the prefix index has {}", all, published));
  return absl::OkStatus();
}

} // namespace inlay

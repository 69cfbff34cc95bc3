#include "runtime/kv/page_pool.h"

#include "fmt/format.h"
#include "xxhash.h"

#include <algorithm>
#include <random>
#include <ranges>
#include <utility>

namespace inlay {

PagePool::PagePool(int32_t pages)
    : references_(static_cast<size_t>(pages)), unused_places_(static_cast<size_t>(pages)),
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
    std::optional<Published> &published = published_[static_cast<size_t>(page)];
    index_.erase(published->place.hash);
    published.reset();
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

void PagePool::Release(std::span<const int32_t> pages) {
  for (int32_t page : pages | std::views::reverse) {
    auto at = static_cast<size_t>(page);
    if (--references_[at] > 0)
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

std::optional<int32_t> PagePool::Find(std::span<const int32_t> tokens, PagePrefix &prefix) {
  auto found = index_.find(Next(prefix, tokens).hash);
  if (found == index_.end())
    return std::nullopt;
  auto page = static_cast<size_t>(found->second);
  if (!published_[page]->Is(prefix, tokens))
    return std::nullopt;
  prefix = published_[page]->place;
  if (references_[page]++ == 0)
    unused_.erase(unused_places_[page]);
  return found->second;
}

PagePrefix PagePool::Publish(int32_t page, const PagePrefix &parent, std::span<const int32_t> tokens) {
  PagePrefix place = Next(parent, tokens);
  auto [found, is_new] = index_.try_emplace(place.hash, page);
  if (!is_new)
    if (const Published &equal = *published_[static_cast<size_t>(found->second)]; equal.Is(parent, tokens))
      return equal.place;
  place.serial = next_serial_++;
  if (published_[static_cast<size_t>(page)]) {
    if (is_new)
      index_.erase(found);
    return place;
  }
  // The page that has this hash already holds the same tokens, but its parent was evicted, so it can no longer be
  // found.
  if (!is_new) {
    auto stale = static_cast<size_t>(std::exchange(found->second, page));
    published_[stale].reset();
    if (references_[stale] == 0) {
      unused_.erase(unused_places_[stale]);
      empty_.push_back(static_cast<int32_t>(stale));
    }
  }
  published_[static_cast<size_t>(page)] = Published{place, parent.serial, {tokens.begin(), tokens.end()}};
  return place;
}

absl::Status PagePool::CheckInvariants(std::span<const std::span<const int32_t>> owners) const {
  std::vector<int32_t> expected(references_.size());
  for (std::span<const int32_t> pages : owners)
    for (int32_t page : pages)
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
  for (const auto &[hash, page] : index_)
    if (!published_[static_cast<size_t>(page)] || published_[static_cast<size_t>(page)]->place.hash != hash)
      return absl::InternalError(
          fmt::format("the prefix index maps a hash to page {}, which holds other tokens", page));
  return absl::OkStatus();
}

} // namespace inlay

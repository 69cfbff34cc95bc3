// The pages of the KV cache: which sequences hold each page, and which pages hold a prefix that another request can
// reuse.
#ifndef INLAY_RUNTIME_KV_PAGE_POOL_H_
#define INLAY_RUNTIME_KV_PAGE_POOL_H_

#include "absl/status/status.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace inlay {

// Identifies the tokens of a full page and of all pages before it: a position in a chain of full pages.
struct PagePrefix {
  std::array<uint64_t, 4> hash{}; // of the parent's hash and the page's tokens; of the salt if there is no parent
  uint64_t serial = 0;            // of the published page; never reused; 0 if the page is not published
};

// Reference-counted pages of all cache groups. A published page without references can be found until it is evicted.
// The page that was released first is evicted first. The same tokens have a page in each group; these are evicted one
// by one.
//
// The index of published pages does not rely on hashes being unique: a page is found only if its tokens are equal and
// its parent is the page that was found before. The 256 bits of a hash are two XXH3-128 hashes with secret seeds, so
// that a client cannot choose prompts that collide.
class PagePool {
public:
  explicit PagePool(int32_t pages, size_t groups = 1);

  int32_t total() const { return static_cast<int32_t>(references_.size()); }
  // Pages that Take() can allocate: empty ones, and cached ones without references.
  int32_t free() const { return static_cast<int32_t>(empty_.size() + unused_.size()); }
  int32_t cached() const { return static_cast<int32_t>(unused_.size()); }

  // Allocates a page with one reference. Evicts a cached page if no page is empty. Returns nothing if all pages have
  // references.
  std::optional<int32_t> Take();
  // Allocates `count` pages, or none if there are too few.
  std::optional<std::vector<int32_t>> Take(int32_t count);
  // Adds a reference to a page that has references or is published.
  void Share(int32_t page);
  // Removes one reference from each of a sequence's pages, the last page first, so that it is evicted first: the
  // beginning of a prompt is found more often than its end. Elements of -1 are no pages.
  void Release(std::span<const int32_t> pages);

  PagePrefix Root(std::string_view salt) const;
  // The position in the chain after a full page with `tokens`. Its serial is 0.
  PagePrefix Next(const PagePrefix &parent, std::span<const int32_t> tokens) const;
  // Finds the published pages that hold `tokens` after `prefix`: one of each group, or -1 where that of a group was
  // evicted. Sets `prefix` to their position in the chain. Returns nothing if no page is found. The result is valid
  // until the next call of Take() or Publish(); Share() the pages that are used.
  std::span<const int32_t> Find(std::span<const int32_t> tokens, PagePrefix &prefix) const;
  // Publishes full pages with the same tokens: one of each group, or -1. Those to which an equal page is published
  // already are not published. Returns their position in the chain.
  PagePrefix Publish(std::span<const int32_t> pages, const PagePrefix &parent, std::span<const int32_t> tokens);

  // Checks that each page has as many references as owners, and that it is empty or cached if it has none.
  absl::Status CheckInvariants(std::span<const std::span<const int32_t>> owners) const;

private:
  struct Published {
    PagePrefix place;
    uint64_t parent = 0; // serial
    std::vector<int32_t> tokens;
    std::vector<int32_t> pages; // of each group, or -1; at least one page

    bool Is(const PagePrefix &after, std::span<const int32_t> content) const {
      return parent == after.serial && std::ranges::equal(tokens, content);
    }
  };

  struct FirstWord {
    size_t operator()(const std::array<uint64_t, 4> &hash) const { return hash[0]; }
  };

  void Withdraw(Published &published);

  size_t groups_;
  std::array<uint64_t, 2> seeds_;
  mutable std::vector<std::byte> hashed_; // input of the last hash; a member, so that its memory is reused
  uint64_t next_serial_ = 1;
  std::vector<int32_t> references_;                         // by page
  std::vector<int32_t> empty_;                              // neither referenced nor published
  std::list<int32_t> unused_;                               // published, not referenced; least recently released first
  std::vector<std::list<int32_t>::iterator> unused_places_; // by page, for pages in unused_
  std::vector<Published *> published_;                      // by page: its element of index_, or null
  std::unordered_map<std::array<uint64_t, 4>, Published, FirstWord> index_; // by hash
};

} // namespace inlay

#endif // INLAY_RUNTIME_KV_PAGE_POOL_H_

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

// What stands in a page and in all pages before it: the place in a chain of full pages.
struct PagePrefix {
  std::array<uint64_t, 4> hash{}; // of the parent's hash and the page's tokens; of the salt where there is no parent
  uint64_t serial = 0;            // of the published page; unique for ever, 0 where there is none
};

// Reference-counted pages. A page that nobody refers to but that was published stays findable until its room is needed;
// the one that was let go first is taken first.
//
// Hashes index the published pages, they are not trusted: a page is found only if its tokens are equal and its parent
// is the very page found before. The 256 bits are two XXH3-128 with secret seeds, so that nobody can aim at one bucket.
class PagePool {
public:
  explicit PagePool(int32_t pages);

  int32_t total() const { return static_cast<int32_t>(references_.size()); }
  // Pages that Take() can give: those without content and those that are only findable.
  int32_t free() const { return static_cast<int32_t>(empty_.size() + unused_.size()); }
  int32_t cached() const { return static_cast<int32_t>(unused_.size()); }

  // A page of one reference, or nothing.
  std::optional<int32_t> Take();
  // `count` pages, or none of them.
  std::optional<std::vector<int32_t>> Take(int32_t count);
  void Share(int32_t page) { ++references_[static_cast<size_t>(page)]; }
  // Lets go of a sequence's pages, the last first: beginnings are found more often than ends.
  void Release(std::span<const int32_t> pages);

  PagePrefix Root(std::string_view salt) const;
  // Where the chain goes after a full page of tokens; serial 0: not published yet.
  PagePrefix Next(const PagePrefix &parent, std::span<const int32_t> tokens) const;
  // The page that holds `tokens` after `parent`, with one more reference; `prefix` becomes its place.
  std::optional<int32_t> Find(std::span<const int32_t> tokens, PagePrefix &prefix);
  // Makes a full page findable, unless an equal one is. Returns its place in the chain.
  PagePrefix Publish(int32_t page, const PagePrefix &parent, std::span<const int32_t> tokens);

  // Each page is empty, only findable, or referred to as often as the owners do.
  absl::Status CheckInvariants(std::span<const std::span<const int32_t>> owners) const;

private:
  struct Published {
    PagePrefix place;
    uint64_t parent = 0; // serial
    std::vector<int32_t> tokens;

    bool Is(const PagePrefix &after, std::span<const int32_t> content) const {
      return parent == after.serial && std::ranges::equal(tokens, content);
    }
  };

  std::array<uint64_t, 2> seeds_;
  mutable std::vector<std::byte> hashed_; // what was hashed last; kept for its memory
  uint64_t next_serial_ = 1;
  std::vector<int32_t> references_;                         // by page
  std::vector<int32_t> empty_;                              // neither referred to nor findable
  std::list<int32_t> unused_;                               // findable, referred to by nobody; the longest first
  std::vector<std::list<int32_t>::iterator> unused_places_; // by page, of those in unused_
  std::vector<std::optional<Published>> published_;         // by page
  struct FirstWord {
    size_t operator()(const std::array<uint64_t, 4> &hash) const { return hash[0]; }
  };
  std::unordered_map<std::array<uint64_t, 4>, int32_t, FirstWord> index_; // of published_
};

} // namespace inlay

#endif // INLAY_RUNTIME_KV_PAGE_POOL_H_

// The pages of the key/value cache: who has which.
#ifndef INLAY_RUNTIME_KV_PAGE_POOL_H_
#define INLAY_RUNTIME_KV_PAGE_POOL_H_

#include <cstdint>
#include <optional>
#include <vector>

namespace inlay {

// A free list of page numbers. A page holds `page_size` positions of one sequence, in every layer.
class PagePool {
public:
  explicit PagePool(int32_t pages) {
    for (int32_t page = pages; page-- > 0;)
      free_.push_back(page);
    total_ = pages;
  }

  int32_t total() const { return total_; }
  int32_t free() const { return static_cast<int32_t>(free_.size()); }

  // `count` pages, or nothing if fewer are free.
  std::optional<std::vector<int32_t>> Take(int32_t count) {
    if (count > free())
      return std::nullopt;
    std::vector<int32_t> pages(free_.end() - count, free_.end());
    free_.resize(free_.size() - static_cast<size_t>(count));
    return pages;
  }

  void Return(const std::vector<int32_t> &pages) { free_.insert(free_.end(), pages.begin(), pages.end()); }

private:
  std::vector<int32_t> free_;
  int32_t total_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_KV_PAGE_POOL_H_

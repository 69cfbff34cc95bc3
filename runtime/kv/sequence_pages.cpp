#include "runtime/kv/sequence_pages.h"

#include <algorithm>
#include <optional>

namespace inlay {

bool TakePages(PagePool &pool, const CacheShape &shape, std::vector<int32_t> &pages, int32_t from, int32_t end) {
  size_t groups = shape.groups(), last = static_cast<size_t>(shape.PagesFor(end)) * groups;
  for (size_t at = static_cast<size_t>(from / shape.page_size) * groups; at < last; ++at) {
    if (at < pages.size() && pages[at] >= 0)
      continue;
    std::optional<int32_t> page = pool.Take();
    if (!page)
      return false;
    if (at >= pages.size())
      pages.resize((at / groups + 1) * groups, -1);
    pages[at] = *page;
  }
  return true;
}

void FreeInvisible(PagePool &pool, const CacheShape &shape, std::vector<int32_t> &pages, int32_t position) {
  size_t groups = shape.groups();
  for (size_t group = 0; group < groups; ++group) {
    size_t end = std::min(static_cast<size_t>(shape.FirstVisible(group, position)), pages.size() / groups);
    // Pages are freed in the order of positions, so all pages before a freed one are freed.
    for (; end > 0 && pages[(end - 1) * groups + group] >= 0; --end) {
      int32_t &page = pages[(end - 1) * groups + group];
      pool.Release({&page, 1});
      page = -1;
    }
  }
}

void ReleaseAll(PagePool &pool, std::vector<int32_t> &pages) {
  pool.Release(pages);
  pages.clear();
}

int32_t EndOfPages(const CacheShape &shape, std::span<const int32_t> pages, int32_t from) {
  size_t groups = shape.groups(), first = static_cast<size_t>(from / shape.page_size), end = first;
  auto has_page = [](int32_t page) { return page >= 0; };
  while ((end + 1) * groups <= pages.size() && std::ranges::all_of(pages.subspan(end * groups, groups), has_page))
    ++end;
  return end == first ? from : static_cast<int32_t>(end) * shape.page_size;
}

bool HasVisible(const CacheShape &shape, std::span<const int32_t> pages, int32_t position) {
  size_t groups = shape.groups(), end = static_cast<size_t>(shape.PagesFor(position));
  if (pages.size() < end * groups)
    return false;
  for (size_t group = 0; group < groups; ++group)
    for (size_t at = static_cast<size_t>(shape.FirstVisible(group, position)); at < end; ++at)
      if (pages[at * groups + group] < 0)
        return false;
  return true;
}

} // namespace inlay

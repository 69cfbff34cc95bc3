// How the keys and values of a sequence are divided into pages. Layers with the same page shape and the same window
// form a cache group, and each group has pages of its own. All pages have the same size in bytes, so any group can use
// any page.
#ifndef INLAY_RUNTIME_KV_CACHE_SHAPE_H_
#define INLAY_RUNTIME_KV_CACHE_SHAPE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace inlay {

struct CacheShape {
  int32_t page_size = 1;              // positions per page, equal in all groups
  std::vector<int32_t> windows = {0}; // of each group: positions that a row sees, its own among them; 0: all before it

  size_t groups() const { return windows.size(); }
  // Pages of one group that hold the first `positions` positions.
  int32_t PagesFor(int32_t positions) const { return (positions + page_size - 1) / page_size; }
  // The first page of a group that a row at `position` or later sees.
  int32_t FirstVisible(size_t group, int32_t position) const {
    return windows[group] == 0 ? 0 : std::max(0, position - windows[group] + 1) / page_size;
  }
  // The most pages of a group that a sequence of `positions` positions holds at once, if at most `rows` of its rows are
  // computed before the pages outside the window of the first of them are freed.
  int64_t PagesHeld(size_t group, int32_t positions, int64_t rows) const {
    int64_t all = PagesFor(positions), visible = int64_t{windows[group]} - 1 + rows;
    return windows[group] == 0 ? all : std::min(all, (visible + page_size - 2) / page_size + 1);
  }
  int64_t PagesHeld(int32_t positions, int64_t rows) const {
    int64_t pages = 0;
    for (size_t group = 0; group < groups(); ++group)
      pages += PagesHeld(group, positions, rows);
    return pages;
  }
};

} // namespace inlay

#endif // INLAY_RUNTIME_KV_CACHE_SHAPE_H_

// The pages of one sequence. They are a list in the order of positions. For each page_size positions it has one page of
// each cache group, or -1 where the sequence has none: the page was freed because no later row sees it, or it is not
// needed yet.
#ifndef INLAY_RUNTIME_KV_SEQUENCE_PAGES_H_
#define INLAY_RUNTIME_KV_SEQUENCE_PAGES_H_

#include "runtime/kv/cache_shape.h"
#include "runtime/kv/page_pool.h"

#include <cstdint>
#include <span>
#include <vector>

namespace inlay {

// Allocates the pages of all groups that are missing for the positions [from, end), earlier positions first. Returns
// false if there are too few; then the sequence keeps those that it got.
bool TakePages(PagePool &pool, const CacheShape &shape, std::vector<int32_t> &pages, int32_t from, int32_t end);

// Releases the pages that no row at `position` or later sees.
void FreeInvisible(PagePool &pool, const CacheShape &shape, std::vector<int32_t> &pages, int32_t position);

// Releases all pages.
void ReleaseAll(PagePool &pool, std::vector<int32_t> &pages);

// The end of the positions from `from` on for which the sequence has pages of all groups; `from` if there are none.
int32_t EndOfPages(const CacheShape &shape, std::span<const int32_t> pages, int32_t from);

// Whether the sequence has all pages that a row at `position` sees, of the positions before it.
bool HasVisible(const CacheShape &shape, std::span<const int32_t> pages, int32_t position);

} // namespace inlay

#endif // INLAY_RUNTIME_KV_SEQUENCE_PAGES_H_

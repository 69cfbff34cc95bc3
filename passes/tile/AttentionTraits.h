//===- AttentionTraits.h - what decides which family runs an attention -----===//

#ifndef INLAY_PASSES_TILE_ATTENTIONTRAITS_H
#define INLAY_PASSES_TILE_ATTENTIONTRAITS_H

#include "passes/tile/AttentionLoop.h"

namespace inlay {
struct AttentionTraits {
  int64_t heads = 0; // query heads of a group: rows of the matrices for each row of a query tile
  int64_t headDim = 0;
  int64_t elementBits = 0; // of keys and values, as the cache stores them
  int64_t queryBits = 0;
  int64_t pageSize = 0; // positions of a page, which lie next to each other; 0: unknown
};

/// Of an attention that no cluster shares. `heads` is the caller's to set.
AttentionTraits traitsOf(const AttentionLoop &loop);

/// Positions of a page of the cache that `loop` gathers from, by its arithmetic on rows; 0: they are not paged.
int64_t pageSizeOf(const AttentionLoop &loop);
} // namespace inlay

#endif // INLAY_PASSES_TILE_ATTENTIONTRAITS_H

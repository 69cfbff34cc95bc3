//===- Divisors.h - what the scalars and indices of a program are multiples of ===//
//
// Copies of neighbours in memory need addresses that are multiples of their size, and
// rows that follow each other. Both are read off the arithmetic of a program.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_DIVISORS_H
#define INLAY_PASSES_TILE_DIVISORS_H

#include "dialects/tile/Tile.h"

namespace inlay {
/// A number that divides the scalar `value`, as far as its computation shows; of 0, a large power of two.
int64_t divisorOf(mlir::Value value);

/// Whether the scalar `value` is at least 0, as far as its computation shows. Sizes and positions that the host writes
/// are not known to be.
bool isNonNegative(mlir::Value value);

/// Whether in each `run` elements of `indices`, from the first one on, those that are not negative follow each other,
/// and none comes after a negative one: rows of one page of a cache. (That negative ones come last is the host's part:
/// positions past the end of a sequence.)
bool comeInRuns(mlir::Value indices, int64_t run);
} // namespace inlay

#endif // INLAY_PASSES_TILE_DIVISORS_H

//===- Collective.h - what ranks do together --------------------------------===//

#ifndef INLAY_DIALECTS_TILE_COLLECTIVE_H
#define INLAY_DIALECTS_TILE_COLLECTIVE_H

#include "dialects/tile/Tile.h"

namespace inlay::tile {
/// Fails with a diagnostic if `store` pushes what ranks do not exchange.
mlir::LogicalResult verifyPush(StoreOp store);
} // namespace inlay::tile

#endif // INLAY_DIALECTS_TILE_COLLECTIVE_H

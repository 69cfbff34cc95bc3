//===- Passes.h - on tile programs -----------------------------------------===//

#ifndef INLAY_PASSES_TILE_PASSES_H
#define INLAY_PASSES_TILE_PASSES_H

#include "dialects/tile/Tile.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/tile/Passes.h.inc"
} // namespace inlay

#endif // INLAY_PASSES_TILE_PASSES_H

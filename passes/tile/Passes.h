//===- Passes.h - on tile programs -----------------------------------------===//

#ifndef INLAY_PASSES_TILE_PASSES_H
#define INLAY_PASSES_TILE_PASSES_H

#include "dialects/tile/Tile.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
/// As the name of a tuning file: the measurements that the compiler carries.
inline constexpr llvm::StringLiteral kBuiltinTuning = "builtin";

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/tile/Passes.h.inc"
} // namespace inlay

#endif // INLAY_PASSES_TILE_PASSES_H

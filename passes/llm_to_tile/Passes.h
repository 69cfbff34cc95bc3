//===- Passes.h - from groups of the llm dialect to tile programs ----------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_PASSES_H
#define INLAY_PASSES_LLM_TO_TILE_PASSES_H

#include "dialects/llm/Llm.h"
#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_PASSES_H

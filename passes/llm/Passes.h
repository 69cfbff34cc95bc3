//===- Passes.h - passes on the llm dialect --------------------------------===//

#ifndef INLAY_PASSES_LLM_PASSES_H
#define INLAY_PASSES_LLM_PASSES_H

#include "dialects/llm/Llm.h"
#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/llm/Passes.h.inc"
} // namespace inlay

#endif // INLAY_PASSES_LLM_PASSES_H

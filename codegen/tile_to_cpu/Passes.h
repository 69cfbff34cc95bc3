//===- Passes.h - from tile programs to loops over vectors -----------------===//

#ifndef INLAY_CODEGEN_TILE_TO_CPU_PASSES_H
#define INLAY_CODEGEN_TILE_TO_CPU_PASSES_H

#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "codegen/tile_to_cpu/Passes.h.inc"
/// Patterns that compute conversions between f32 and f8E4M3FN by integers.
void populateExpandFloat8Patterns(mlir::RewritePatternSet &patterns);
} // namespace inlay

#endif // INLAY_CODEGEN_TILE_TO_CPU_PASSES_H

//===- Passes.h - from tile programs to CUDA kernels -----------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_PASSES_H
#define INLAY_PASSES_TILE_TO_CUDA_PASSES_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/tile_to_cuda/Passes.h.inc"
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_PASSES_H

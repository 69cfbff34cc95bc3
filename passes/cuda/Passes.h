//===- Passes.h - passes on CUDA kernels -----------------------------------===//

#ifndef INLAY_PASSES_CUDA_PASSES_H
#define INLAY_PASSES_CUDA_PASSES_H

#include "dialects/cuda/Cuda.h"
#include "dialects/tile/Tile.h"
#include "mlir/Pass/Pass.h"

namespace inlay {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/cuda/Passes.h.inc"
} // namespace inlay

#endif // INLAY_PASSES_CUDA_PASSES_H

//===- Registration.cpp - every dialect and pass, in one place -------------===//

#include "compiler/pipelines/Registration.h"

#include "codegen/tile_to_cpu/Passes.h"
#include "dialects/cuda/Cuda.h"
#include "dialects/llm/Llm.h"
#include "dialects/tile/Tile.h"
#include "mlir/Transforms/Passes.h"
#include "passes/cuda/Passes.h"
#include "passes/llm/Passes.h"
#include "passes/llm_to_tile/Passes.h"
#include "passes/tile/Passes.h"
#include "passes/tile_to_cuda/Passes.h"
#include "passes/tile_to_cuda/Pipelines.h"

void inlay::registerAllDialects(mlir::DialectRegistry &registry) {
  registry
      .insert<cuda::CudaDialect, llm::LlmDialect, tile::TileDialect, mlir::arith::ArithDialect, mlir::func::FuncDialect,
              mlir::math::MathDialect, mlir::scf::SCFDialect, mlir::tensor::TensorDialect>();
}

void inlay::registerAllPasses() {
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  registerInlayCudaPasses();
  registerInlayLlmPasses();
  registerInlayLlmToTilePasses();
  registerInlayTilePasses();
  registerInlayTileToCpuPasses();
  registerInlayTileToCudaPasses();
  registerTilePipelines();
}

//===- Pipelines.cpp - from tile programs to kernels -----------------------===//

#include "passes/tile_to_cuda/Pipelines.h"

#include "dialects/cuda/Cuda.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/cuda/Passes.h"
#include "passes/tile/Passes.h"
#include "passes/tile_to_cuda/Passes.h"

using namespace mlir;
using namespace inlay;

void inlay::addSchedulePasses(OpPassManager &manager) {
  // 1. The program's blocks and tiles become those of the schedule. Still synchronous: the cpu target runs it.
  manager.addPass(createApplySchedulePass());
  OpPassManager &ofPrograms = manager.nest<tile::ProgramOp>();
  ofPrograms.addPass(createCSEPass());
  // 2. Operands of products come through rings.
  ofPrograms.addPass(createAssignStagesPass());
  // 3. Warps that fetch, and warps that multiply.
  ofPrograms.addPass(createSpecializeWarpsPass());
  // 4. Copies and products run ahead.
  ofPrograms.addPass(createPipelineLoopsPass());
  ofPrograms.addPass(createCSEPass());
  // 5. Other loads start as early as they can.
  ofPrograms.addPass(createHoistLoadsPass());
  // 6. Where the elements of each tile lie.
  ofPrograms.addPass(createAssignLayoutsPass());
}

void inlay::addTileToCudaPasses(OpPassManager &manager, bool fillsEarly) {
  addSchedulePasses(manager);
  manager.addPass(createConvertTileToCudaPass());
  OpPassManager &ofKernels = manager.nest<cuda::KernelOp>();
  ofKernels.addPass(createAllocateSharedPass());
  PlaceDependenciesPassOptions placing;
  placing.early = fillsEarly;
  ofKernels.addPass(createPlaceDependenciesPass(placing));
  ofKernels.addPass(createVerifyAsyncPass());
}

void inlay::registerTilePipelines() {
  PassPipelineRegistration<>("tile-schedule", "Puts the schedules of tile programs into the programs.",
                             addSchedulePasses);
  PassPipelineRegistration<>("tile-to-cuda", "Compiles tile programs with schedules to kernels of the cuda dialect.",
                             [](OpPassManager &manager) { addTileToCudaPasses(manager, /*fillsEarly=*/true); });
}

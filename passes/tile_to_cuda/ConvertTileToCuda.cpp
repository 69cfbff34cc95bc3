//===- ConvertTileToCuda.cpp - tile programs to kernels --------------------===//

#include "passes/tile/LibraryProduct.h"
#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_CONVERTTILETOCUDAPASS
#include "passes/tile_to_cuda/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct ConvertTileToCudaPass : inlay::impl::ConvertTileToCudaPassBase<ConvertTileToCudaPass> {
  void runOnOperation() override;
};
} // namespace

void ConvertTileToCudaPass::runOnOperation() {
  for (auto program : llvm::make_early_inc_range(getOperation().getOps<tile::ProgramOp>())) {
    if (!isCompiled(program))
      continue;
    OpBuilder builder(program);
    tile::CollectiveOp collective = tile::CollectiveOp::of(program);
    if (succeeded(collective ? lowerCollective(collective, builder) : lowerGeneric(program, builder)))
      program.erase();
    else
      signalPassFailure(); // the other programs' errors are reported as well
  }
}

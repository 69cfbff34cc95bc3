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

/// The program that follows a sum over ranks which a communicator has computed in place; null for other programs.
static tile::ProgramOp epilogueOf(tile::ProgramOp program, OpBuilder &builder) {
  if (!tile::ReceiveSumOp::of(program))
    return {};
  auto epilogue = cast<tile::ProgramOp>(builder.clone(*program));
  epilogue->setAttr(kEpilogueOfAttr, program.getSymNameAttr());
  epilogue.setSymName((program.getSymName() + kEpilogueSuffix).str());
  tile::ReceiveSumOp sum = tile::ReceiveSumOp::of(epilogue);
  OpBuilder inside(sum);
  sum.replaceAllUsesWith(
      tile::LoadOp::create(inside, sum.getLoc(), sum.getType(), sum.getView(), sum.getOffsets()).getResult());
  sum.erase();
  return epilogue;
}

void ConvertTileToCudaPass::runOnOperation() {
  for (auto program : llvm::make_early_inc_range(getOperation().getOps<tile::ProgramOp>())) {
    if (!isCompiled(program))
      continue;
    OpBuilder builder(program);
    tile::CollectiveOp collective = tile::CollectiveOp::of(program);
    tile::ProgramOp epilogue = epilogueOf(program, builder);
    if (failed(collective ? lowerCollective(collective, builder) : lowerGeneric(program, builder)) ||
        (epilogue && failed(lowerGeneric(epilogue, builder)))) {
      signalPassFailure(); // the other programs' errors are reported as well
      continue;
    }
    program.erase();
    if (epilogue)
      epilogue.erase();
  }
}

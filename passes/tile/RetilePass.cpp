//===- RetilePass.cpp - changes the size of a marked tile ------------------===//

#include "passes/tile/Passes.h"
#include "passes/tile/Retile.h"
#include "passes/tile/TileDimensions.h"

namespace inlay {
#define GEN_PASS_DEF_RETILEPASS
#include "passes/tile/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct RetilePass : inlay::impl::RetilePassBase<RetilePass> {
  using RetilePassBase::RetilePassBase;
  void runOnOperation() override;
};
} // namespace

static constexpr llvm::StringLiteral kMark = "retile";

void RetilePass::runOnOperation() {
  Operation *marked = nullptr;
  getOperation().walk([&](Operation *op) {
    if (op->hasAttr(kMark))
      marked = op;
  });
  if (!marked)
    return;
  marked->removeAttr(kMark);
  auto type =
      marked->getNumResults() == 1 ? dyn_cast<RankedTensorType>(marked->getResult(0).getType()) : RankedTensorType();
  if (!type || dimension >= type.getRank() || isTileGenerator(marked)) {
    marked->emitError("is marked by '") << kMark << "', expected an op that computes one tile with a dimension "
                                        << dimension.getValue();
    return signalPassFailure();
  }
  Retiling retiling{marked->getResult(0), dimension, size, /*loop=*/{}, /*grid=*/{}};
  if (grid >= 0)
    retiling.grid = grid;
  if (loop) {
    retiling.loop = marked->getParentOfType<scf::ForOp>();
    if (!retiling.loop) {
      marked->emitError("stands in no loop");
      return signalPassFailure();
    }
  }
  if (failed(retile(getOperation(), retiling)))
    signalPassFailure();
}

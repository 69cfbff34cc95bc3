//===- PackWeights.cpp - chooses the memory layout of each matrix ----------===//

#include "passes/llm_to_tile/Passes.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

namespace {

struct PackWeightsPass : inlay::impl::PackWeightsPassBase<PackWeightsPass> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    WalkResult walked = getOperation().walk([&](LinearOp linear) {
      auto weight = symbols.lookup<WeightOp>(linear.getWeight());
      if (weight && weight.getQuantized())
        return WalkResult::advance(); // codes stay rows
      if (!weight || weight.getTensorType().getElementTypeBitWidth() != 16)
        return linear.emitError() << "multiplies by '" << linear.getWeight()
                                  << "', whose elements are not 16 bits wide; GPU matrices are bfloat16 or float16 "
                                     "(--dtype bfloat16)",
               WalkResult::interrupt();
      weight.setPacking(Packing::Atom8x64);
      return WalkResult::advance();
    });
    if (walked.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace

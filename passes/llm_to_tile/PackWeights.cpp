//===- PackWeights.cpp - chooses the memory layout of each matrix ----------===//

#include "dialects/tile/Tile.h"
#include "passes/llm_to_tile/Passes.h"
#include "passes/llm_to_tile/QuantizedWeights.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "passes/llm_to_tile/Passes.h.inc"
} // namespace inlay

/// Codes are packed where a thread can take 16 bytes of them at a time; their scales and zero points follow.
static void packCodes(LinearOp linear, WeightOp weight, SymbolTable &symbols) {
  QuantizedAttr quantized = weight.getQuantizedAttr();
  int64_t columns = weight.getTensorType().getDimSize(1), group = quantized.getGroup();
  int64_t piece = tile::codesOfPiece(weight.getTensorType().getElementTypeBitWidth());
  int64_t headDim = weight.getRowOrder() == RowOrder::HalfPairs ? *weight.getHeadDim() : tile::kUnitRows;
  if (quantizedColumns(columns, group) % piece != 0 || headDim % tile::kUnitRows != 0) {
    linear.emitRemark() << "multiplies by '" << linear.getWeight() << "', whose codes stay rows: " << columns
                        << " columns in groups of " << group << " are no multiples of " << piece
                        << ", or heads are no multiples of " << tile::kUnitRows;
    return;
  }
  weight.setPacking(Packing::Codes16x128);
  if (scalesSums(weight))
    return;
  for (FlatSymbolRefAttr ofGroups : {quantized.getScales(), quantized.getZeroPoints()})
    if (ofGroups)
      symbols.lookup<WeightOp>(ofGroups.getValue()).setPacking(Packing::Rows16);
}

namespace {

struct PackWeightsPass : inlay::impl::PackWeightsPassBase<PackWeightsPass> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    WalkResult walked = getOperation().walk([&](LinearOp linear) {
      auto weight = symbols.lookup<WeightOp>(linear.getWeight());
      if (weight && weight.getQuantized()) {
        packCodes(linear, weight, symbols);
        return WalkResult::advance();
      }
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

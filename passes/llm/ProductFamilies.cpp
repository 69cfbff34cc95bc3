//===- ProductFamilies.cpp - which family of kernels computes a product ----===//

#include "passes/llm/ProductFamilies.h"

#include "passes/llm_to_tile/QuantizedWeights.h"
#include "passes/tile/LinearSchedule.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

/// The weight of a linear if it is quantized, or null.
static WeightOp quantizedWeight(LinearOp linear) {
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(linear, linear.getWeightAttr());
  return weight && weight.getQuantized() ? weight : WeightOp();
}

/// Why no family but the generic one reads the codes of `weight`; empty if one may.
static std::string codesRefusal(LinearOp linear, WeightOp weight) {
  if (!cast<RankedTensorType>(linear.getInput().getType()).getElementType().isBF16())
    return "other families read codes for products of bfloat16";
  if (weight.getPacking() != Packing::Codes16x128 || weight.getQuantizedAttr().getCodes() == Codes::Nf4)
    return "its codes are nf4 or not packed";
  return "";
}

/// Why the family swap_ab does not multiply by the codes of `weight`; empty if it does.
static std::string wideRefusal(LinearOp linear, WeightOp weight) {
  QuantizedAttr quantized = weight.getQuantizedAttr();
  int64_t columns = weight.getTensorType().getDimSize(1), group = quantized.getGroup();
  if (std::string reason = codesRefusal(linear, weight); !reason.empty())
    return reason;
  bool isWhole = tile::kUnitColumns % group == 0 || group % tile::kUnitColumns == 0;
  if (group < columns && (group < 32 || !isWhole))
    return ("its groups of " + Twine(group) + " columns are less than 32 or cut units of " + Twine(tile::kUnitColumns))
        .str();
  return "";
}

bool ProductFamilies::hasFewRows() const { return maxRows <= target.costs().getStreamingRows(); }

bool ProductFamilies::scalesShortRows(Operation *anchor) const {
  auto input = cast<RankedTensorType>(anchor->getOperand(0).getType());
  return maxRows > 1 && isScaled(anchor) && input.getShape().back() <= target.costs().getScaledColumns();
}

bool ProductFamilies::isScaled(Operation *anchor) const {
  auto fusion = dyn_cast_or_null<FusionInterface>(anchor->getOperand(0).getDefiningOp());
  if (!fusion || separateNorms || !fusion.canBePrologueOf(anchor))
    return false;
  auto norm = dyn_cast<NormInterface>(*fusion);
  return fusion.getStagedVectors() > 0 || (norm && norm.subtractsMean());
}

std::string ProductFamilies::streamRefusal(Operation *anchor, WeightOp weight) const {
  auto linear = cast<LinearOp>(anchor);
  if (std::string reason = codesRefusal(linear, weight); !reason.empty())
    return reason;
  if (scalesShortRows(anchor))
    return "has short rows, which a norm scales";
  int64_t columns = weight.getTensorType().getDimSize(1), group = weight.getQuantizedAttr().getGroup();
  return whyNotStreamed(weight.getTensorType().getElementTypeBitWidth(), scalesSums(weight) ? 0 : group, columns);
}

bool ProductFamilies::splitsNorms() const { return !hasFewRows() && maxRows <= target.costs().getSplitNormRows(); }

bool ProductFamilies::takesPartsOfNorms(LinearOp linear) const {
  if (linear.getLibrary() || !cast<RankedTensorType>(linear.getInput().getType()).getElementType().isBF16())
    return false;
  WeightOp codes = quantizedWeight(linear);
  return !codes || wideRefusal(linear, codes).empty();
}

StringRef ProductFamilies::familyOf(Operation *anchor) const {
  if (isa<PagedAttentionOp>(anchor))
    return "attention";
  if (cast<LinearOp>(anchor).getLibrary())
    return kCublasLt;
  if (isGpu && cast<LinearOp>(anchor).getScales()) {
    // Each step along K is added to the sums, so that a thread has two tiles of them.
    WeightOp weight = quantizedWeight(cast<LinearOp>(anchor));
    bool isSwapped = maxRows <= kSwapAbRows / 2 && weight && weight.getPacking() == Packing::Codes16x128;
    return isSwapped ? "swap_ab" : "gemm";
  }
  if (WeightOp codes = isGpu ? quantizedWeight(cast<LinearOp>(anchor)) : WeightOp()) {
    std::string fewReason = hasFewRows() ? streamRefusal(anchor, codes) : "";
    if (hasFewRows() && fewReason.empty())
      return "matvec";
    std::string reason = wideRefusal(cast<LinearOp>(anchor), codes);
    if (reason.empty() && hasFewRows())
      anchor->emitRemark() << "takes the family swap_ab of larger steps, not matvec: its weight " << fewReason;
    if (reason.empty())
      return "swap_ab";
    anchor->emitRemark() << "takes the generic lowering: " << reason;
    return "generic";
  }
  auto input = cast<RankedTensorType>(anchor->getOperand(0).getType());
  if (!isGpu || input.getElementTypeBitWidth() != 16)
    return "gemm";
  if (hasFewRows() && !scalesShortRows(anchor))
    return "matvec";
  return maxRows <= kSwapAbRows ? "swap_ab" : "gemm";
}

//===- QuantizeActivations.cpp - rows of codes in front of products --------===//

#include "passes/llm/Passes.h"
#include "passes/tile/LinearSchedule.h"
#include "llvm/Support/FormatVariadic.h"

#include <limits>

using namespace mlir;
using namespace inlay;
using namespace inlay::llm;

namespace inlay {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONSPASS
#include "passes/llm/Passes.h.inc"
} // namespace inlay

namespace {
struct QuantizeActivationsPass : inlay::impl::QuantizeActivationsPassBase<QuantizeActivationsPass> {
  using QuantizeActivationsPassBase::QuantizeActivationsPassBase;
  void runOnOperation() override;
};
} // namespace

/// Whether rows of `value` are those of logits, of which a step has few.
static bool hasLogitRows(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<GatherRowsOp>(op))
    return static_cast<bool>(op);
  return isa<NormInterface, GatherColumnsOp>(op) && hasLogitRows(op->getOperand(0));
}

/// Why products do not take scales of groups of columns, of activations or of `weight`; empty if they do, or if there
/// are none. A GPU sums 128 columns of e4m3 apart, and scales these sums.
static std::string whyGroupsRefused(WeightOp weight, int64_t columns, bool isCpu) {
  QuantizedAttr quantized = weight.getQuantizedAttr();
  int64_t group = quantized.getActivations().getGroup(), ofWeight = quantized.getGroup();
  constexpr int64_t unit = tile::kUnitColumns;
  if (group && group != unit)
    return llvm::formatv("its format has a scale for each {0} columns, expected one for each row or for each {1}",
                         group, unit);
  if (group && quantized.getActivations().getCodes() != Codes::F8E4M3)
    return llvm::formatv("its format has a scale for each {0} columns of {1}, expected f8e4m3", group,
                         stringifyCodes(quantized.getActivations().getCodes()));
  if (group && columns % unit != 0)
    return llvm::formatv("its rows have {0} columns, expected a multiple of {1}", columns, unit);
  if (group && ofWeight < columns && unit % ofWeight != 0 && ofWeight % unit != 0)
    return llvm::formatv("its weight has a scale for each {0} columns and its format one for each {1}, expected "
                         "multiples of each other",
                         ofWeight, group);
  if (isCpu)
    return "";
  bool isScaledApart = ofWeight < columns;
  if (isScaledApart && (ofWeight % unit != 0 || quantized.getCodes() != Codes::F8E4M3))
    return llvm::formatv(
        "its weight has a scale for each {0} columns of {1}, expected one for each row, or f8e4m3 with "
        "multiples of {2}",
        ofWeight, stringifyCodes(quantized.getCodes()), unit);
  if (group && group < columns && !isScaledApart)
    return llvm::formatv(
        "its weight has a scale for each row and its format one for each {0} columns, expected groups in "
        "both",
        group);
  if (isScaledApart && weight.getPacking() != Packing::Codes16x128)
    return llvm::formatv("its weight has a scale for each {0} columns, and is not packed as {1}", ofWeight,
                         stringifyPacking(Packing::Codes16x128));
  return "";
}

/// Why the activations of `linear` stay floats in a wide step; empty if they need not.
static std::string whyRefused(LinearOp linear, WeightOp weight, bool isCpu) {
  int64_t columns = cast<RankedTensorType>(linear.getInput().getType()).getDimSize(1);
  ActivationsAttr activations = weight.getQuantizedAttr().getActivations();
  constexpr int64_t unit = 16; // rows of codes are whole vectors of 16 bytes
  if (hasLogitRows(linear.getInput()))
    return "a step has few rows of logits";
  if (std::string reason = whyGroupsRefused(weight, columns, isCpu); !reason.empty())
    return reason;
  if (columns % unit != 0)
    return "its rows have " + std::to_string(columns) + " columns, expected a multiple of " + std::to_string(unit);
  // Products of codes of i8 are at most 127 * 128, and are summed as i32.
  constexpr int64_t most = std::numeric_limits<int32_t>::max() / (127 * 128);
  if (activations.getCodes() == Codes::I8 && columns > most)
    return "its rows have " + std::to_string(columns) + " columns, expected at most " + std::to_string(most) +
           " of i8, whose products are summed as i32";
  return "";
}

/// Codes of the input of `linear`; those of `made` if they are the same.
static QuantizeOp quantize(LinearOp linear, WeightOp weight, SmallVectorImpl<QuantizeOp> &made) {
  ActivationsAttr activations = weight.getQuantizedAttr().getActivations();
  Value input = linear.getInput();
  for (QuantizeOp op : made)
    if (op.getInput() == input && op.getCodes() == activations.getCodes() &&
        op.getScaleAttr() == activations.getScale() && op.getPacking() == weight.getPacking() &&
        static_cast<int64_t>(op.getGroup().value_or(0)) == activations.getGroup() && op->isBeforeInBlock(linear))
      return op;
  // Right behind what it reads, so that it can join its kernel.
  OpBuilder b(linear);
  if (Operation *source = input.getDefiningOp())
    b.setInsertionPointAfter(source);
  else
    b.setInsertionPointToStart(linear->getBlock());
  auto type = cast<RankedTensorType>(input.getType());
  Type element = activations.getCodes() == Codes::I8 ? Type(b.getI8Type()) : Float8E4M3FNType::get(b.getContext());
  auto name = NameLoc::get(b.getStringAttr((getCheckpointName(linear) + ".quantize").str()));
  int64_t group = activations.getGroup(), scales = group ? type.getDimSize(1) / group : 1;
  auto op = QuantizeOp::create(b, name, type.clone(element), type.clone({type.getDimSize(0), scales}, b.getF32Type()),
                               activations.getCodes(), input, activations.getScale(),
                               group ? b.getI64IntegerAttr(group) : IntegerAttr(), weight.getPacking());
  made.push_back(op);
  return op;
}

void QuantizeActivationsPass::runOnOperation() {
  bool isCpu = target == "cpu";
  SymbolTable symbols(getOperation());
  SmallVector<QuantizeOp> made;
  SmallVector<LinearOp> linears;
  getOperation().walk([&](LinearOp linear) { linears.push_back(linear); });
  for (LinearOp linear : linears) {
    auto weight = symbols.lookup<WeightOp>(linear.getWeight());
    QuantizedAttr quantized = weight ? weight.getQuantizedAttr() : QuantizedAttr();
    if (!quantized || linear.getScales() || linear.getLibrary())
      continue;
    if (StringAttr obstacle = quantized.getActivationObstacle())
      linear.emitRemark() << "activations stay floats: " << obstacle.getValue();
    if (!quantized.getActivations())
      continue;
    // Streams of weights unpack codes in time.
    if (!isCpu && maxRows <= tile::targetOf(linear).costs().getStreamingRows()) {
      linear.emitRemark() << "activations stay floats: steps of up to " << static_cast<int64_t>(maxRows)
                          << " rows are bound by memory";
      continue;
    }
    if (std::string reason = whyRefused(linear, weight, isCpu); !reason.empty()) {
      linear.emitRemark() << "activations stay floats: " << reason;
      continue;
    }
    QuantizeOp op = quantize(linear, weight, made);
    linear.getInputMutable().assign(op.getResult());
    linear.getScalesMutable().assign(op.getScales());
    linear.emitRemark() << "activations are quantized to " << stringifyCodes(op.getCodes()) << ", with "
                        << (op.getScale()   ? "the scale '" + op.getScale()->str() + "' for all rows"
                            : op.getGroup() ? llvm::formatv("a scale for each {0} columns", op.getGroupSize()).str()
                                            : std::string("a scale for each row"));
  }
}

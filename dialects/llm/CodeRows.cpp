//===- CodeRows.cpp - verifiers of rows of codes and their scales ----------===//

#include "dialects/llm/Verify.h"

using namespace mlir;
using namespace inlay::llm;

LogicalResult inlay::llm::verifyRowScale(Operation *op, FlatSymbolRefAttr name, SymbolTableCollection &symbols) {
  if (!name)
    return success();
  if (failed(verifyWeight(op, name, {-1, 1}, symbols)))
    return failure();
  RankedTensorType type = symbols.lookupNearestSymbolFrom<WeightOp>(op, name).getTensorType();
  if (!type.getElementType().isF32())
    return op->emitOpError() << "reads '" << name.getValue() << "' of " << type << ", expected f32";
  return success();
}

LogicalResult QuantizeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyRowScale(*this, getScaleAttr(), symbols);
}

/// Checks that `scales` has an f32 for each row and group of the columns of `rows`.
static LogicalResult verifyScales(Operation *op, Value rows, Value scales) {
  if (!cast<RankedTensorType>(scales.getType()).getElementType().isF32() || columns(rows) % columns(scales) != 0)
    return op->emitOpError() << "has scales of " << scales.getType() << " for rows of " << rows.getType()
                             << "; expected f32, one for each of equal groups of columns";
  return success();
}

LogicalResult inlay::llm::verifyInput(LinearOp op) {
  auto type = cast<RankedTensorType>(op.getInput().getType());
  bool hasCodes = !isa<FloatType>(type.getElementType()) || type.getElementTypeBitWidth() == 8;
  if (hasCodes != static_cast<bool>(op.getScales()))
    return op.emitOpError() << "has " << type << (op.getScales() ? " with" : " without")
                            << " scales; codes have scales, floats have none";
  return op.getScales() ? verifyScales(op, op.getInput(), op.getScales()) : success();
}

LogicalResult inlay::llm::verifyCodesOfWeight(LinearOp op, SymbolTableCollection &symbols) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(op, op.getWeightAttr());
  QuantizedAttr quantized = weight.getQuantizedAttr();
  Type element = cast<RankedTensorType>(op.getInput().getType()).getElementType();
  if (!quantized || weight.getTensorType().getElementType() != element || quantized.getCodes() == Codes::U8 ||
      quantized.getZeroPoints() || quantized.getZeroPoint() != 0)
    return op.emitOpError() << "multiplies codes of " << element << " by '" << op.getWeight() << "' of "
                            << weight.getTensorType() << "; expected codes of the same kind without zero points";
  return success();
}

/// The largest number that a code of `codes` stands for.
static double largestOf(Codes codes) { return codes == Codes::F8E4M3 ? 448 : 127; }

double QuantizeOp::getLargestCode() { return largestOf(getCodes()); }
int64_t QuantizeOp::getGroupSize() { return columns(getInput()) / columns(getScales()); }

double QuantizeOp::getLeastScale() {
  // vLLM's kernels of e4m3 with a scale for each token have this floor, those with groups that magnitude.
  constexpr double leastOfRows = 1.0 / (448 * 512), leastMagnitude = 1e-10;
  return getCodes() == Codes::F8E4M3 && !getGroup() ? leastOfRows : leastMagnitude / getLargestCode();
}

LogicalResult QuantizeOp::verify() {
  if (getCodes() != Codes::F8E4M3 && getCodes() != Codes::I8)
    return emitOpError() << "makes codes of " << stringifyCodes(getCodes()) << ", expected f8e4m3 or i8";
  auto result = cast<RankedTensorType>(getResult().getType());
  if (result.getElementType().isInteger() != (getCodes() == Codes::I8) || result.getDimSize(1) != columns(getInput()))
    return emitOpError() << "makes " << result << " of " << getInput().getType() << " as codes of "
                         << stringifyCodes(getCodes());
  constexpr int64_t piece = 16;
  if (getPacking() != Packing::RowMajor && (getPacking() != Packing::Codes16x128 || columns(getInput()) % piece != 0))
    return emitOpError() << "packs " << columns(getInput()) << " columns as " << stringifyPacking(getPacking())
                         << "; expected row_major, or codes_16x128 of a multiple of " << piece << " columns";
  if (getScale() && getGroup())
    return emitOpError() << "has the scale '" << *getScale() << "' for all rows and one for each " << *getGroup()
                         << " columns, expected one of them";
  if (getGroup() && (static_cast<int64_t>(*getGroup()) < 1 || columns(getInput()) % static_cast<int64_t>(*getGroup())))
    return emitOpError() << "has groups of " << static_cast<int64_t>(*getGroup())
                         << " columns, which do not divide its " << columns(getInput());
  if (failed(verifyScales(*this, getInput(), getScales())))
    return failure();
  if (getGroupSize() != (getGroup() ? static_cast<int64_t>(*getGroup()) : columns(getInput())))
    return emitOpError() << "has " << columns(getScales()) << " scales a row, expected "
                         << (getGroup() ? columns(getInput()) / static_cast<int64_t>(*getGroup()) : 1);
  return success();
}

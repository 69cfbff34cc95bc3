//===- Quantization.cpp - attributes of quantized weights ------------------===//

#include "dialects/llm/Llm.h"

#include "formats/quantization/nf4.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay::llm;

//===----------------------------------------------------------------------===//
// #llm.activations
//===----------------------------------------------------------------------===//

LogicalResult ActivationsAttr::verify(function_ref<InFlightDiagnostic()> emitError, Codes codes, int64_t group,
                                      FlatSymbolRefAttr scale) {
  if (codes != Codes::I8 && codes != Codes::F8E4M3)
    return emitError() << "activations become codes of i8 or f8e4m3, found " << stringifyCodes(codes);
  if (group < 0)
    return emitError() << "activations have groups of " << group
                       << " columns, expected at least 1, or 0 for whole rows";
  if (group > 0 && scale)
    return emitError() << "activations have the scale '" << scale.getValue() << "' or one for each group, found both";
  return success();
}

//===----------------------------------------------------------------------===//
// #llm.quantized
//===----------------------------------------------------------------------===//

LogicalResult QuantizedAttr::verify(function_ref<InFlightDiagnostic()> emitError, Codes codes, FlatSymbolRefAttr,
                                    FlatSymbolRefAttr zeroPoints, int64_t zeroPoint, int64_t group,
                                    ActivationsAttr activations, StringAttr activationObstacle) {
  if (group < 1)
    return emitError() << "a scale is for " << group << " columns, expected at least 1";
  if (zeroPoints && zeroPoint != 0)
    return emitError() << "a weight has zero points in '" << zeroPoints.getValue() << "' or one for all, found both";
  if (activations && (activations.getCodes() != codes || zeroPoints || zeroPoint != 0))
    return emitError() << "activations of " << stringifyCodes(activations.getCodes())
                       << " are multiplied by codes of the same kind without zero points, found a weight of "
                       << stringifyCodes(codes) << (zeroPoints || zeroPoint != 0 ? " with zero points" : "");
  if (activations && activationObstacle)
    return emitError() << "activations are quantized or have the obstacle '" << activationObstacle.getValue()
                       << "', found both";
  return success();
}

FlatSymbolRefAttr QuantizedAttr::getActivationScale() {
  return getActivations() ? getActivations().getScale() : FlatSymbolRefAttr();
}

QuantizedAttr QuantizedAttr::withSymbols(FlatSymbolRefAttr scales, FlatSymbolRefAttr zeroPoints,
                                         FlatSymbolRefAttr activationScale) {
  ActivationsAttr activations = getActivations();
  if (activations)
    activations = ActivationsAttr::get(getContext(), activations.getCodes(), activations.getGroup(), activationScale);
  return get(getContext(), getCodes(), scales, zeroPoints, getZeroPoint(), getGroup(), activations,
             getActivationObstacle());
}

double QuantizedAttr::decode(uint64_t bits) {
  switch (getCodes()) {
  case Codes::U4:
  case Codes::U8:
    return static_cast<double>(bits);
  case Codes::I8:
    return static_cast<int8_t>(bits);
  case Codes::Nf4:
    return kNf4[bits];
  case Codes::F8E4M3:
    return APFloat(APFloat::Float8E4M3FN(), APInt(8, bits)).convertToDouble();
  }
  llvm_unreachable("every meaning of codes is a case");
}

//===----------------------------------------------------------------------===//
// #llm.quantizer
//===----------------------------------------------------------------------===//

LogicalResult QuantizerAttr::verify(function_ref<InFlightDiagnostic()> emitError, Codes codes, int64_t group, bool) {
  if (codes != Codes::U4 && codes != Codes::I8 && codes != Codes::F8E4M3)
    return emitError() << "a quantizer makes codes of u4, i8 or f8e4m3, found " << stringifyCodes(codes);
  if (group < 1)
    return emitError() << "a quantizer has groups of " << group << " columns, expected at least 1";
  return success();
}

//===----------------------------------------------------------------------===//
// #llm.storage
//===----------------------------------------------------------------------===//

LogicalResult StorageAttr::verify(function_ref<InFlightDiagnostic()> emitError, bool flat, int64_t bits, int64_t word,
                                  bool alongRows, FieldOrder order, int64_t addend, int64_t repeat, int64_t rows,
                                  FloatAttr scale, bool allowsZero, NestedAttr nested, QuantizerAttr quantizer,
                                  bool floats, bool exponents, ColumnOrderAttr columnOrder) {
  if (bits != 0 && bits != 4 && bits != 8)
    return emitError() << "fields have " << bits << " bits, expected 4 or 8";
  if (word != 8 && word != 32)
    return emitError() << "words have " << word << " bits, expected 8 or 32";
  if (bits == 0 && (word != 32 || alongRows || order != FieldOrder::Plain || addend != 0))
    return emitError() << "a storage without bits has no fields, and nothing to say of them";
  if (order == FieldOrder::Awq && (bits != 4 || word != 32))
    return emitError() << "the order awq is that of 8 fields of 4 bits, found words of " << word << " and fields of "
                       << bits;
  if (repeat < 0 || rows < 0)
    return emitError() << "a storage has " << repeat << " rows for each of a tensor and " << rows << " in all";
  if (scale ? !scale.getValue().isFinite() || scale.getValue().isZero() : allowsZero)
    return emitError() << "scales are multiplied by a finite number that is not 0";
  if (nested && (bits != 0 || repeat != 0 || !scale))
    return emitError() << "nested scales are stored one by one, found a storage "
                       << (scale ? "of fields or repeated rows" : "without a scale");
  if (quantizer && (bits != 0 || repeat != 0 || scale))
    return emitError() << "a quantizer reads floats one by one, found a storage of fields, repeated rows or scales";
  if (floats && (bits != 4 || addend != 0 || alongRows))
    return emitError() << "floats are fields of 4 bits along rows to which nothing is added, found " << bits << " bits";
  if (exponents && (!scale || nested || bits != 0))
    return emitError() << "exponents stand for scales one by one, found a storage "
                       << (scale ? "of fields or nested scales" : "without a scale");
  if (columnOrder && (scale || quantizer || alongRows))
    return emitError() << "a storage with an order of columns has codes, found scales, floats or fields along rows";
  if (columnOrder && !columnOrder.getGroups() && (bits != 0 || repeat != 0 || !flat))
    return emitError() << "a storage that is an order of columns is flat, and nothing else";
  return success();
}

LogicalResult ColumnOrderAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr, int64_t size) {
  if (size < 1)
    return emitError() << "columns are in groups of " << size << ", expected at least 1";
  return success();
}

LogicalResult NestedAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr table, StringAttr scales,
                                 int64_t block, FloatAttr offset) {
  if (block < 1)
    return emitError() << "nested scales have blocks of " << block << " codes, expected at least 1";
  if (!offset.getValue().isFinite())
    return emitError() << "nested scales have an offset that is not finite";
  return success();
}

int64_t StorageAttr::getShift(int64_t index) const {
  static constexpr int64_t awq[] = {0, 4, 1, 5, 2, 6, 3, 7}; // element i is nibble [i]: nibbles are 0, 2, 4, 6, 1, ...
  switch (getOrder()) {
  case FieldOrder::Plain:
    break;
  case FieldOrder::Awq:
    index = awq[index];
    break;
  case FieldOrder::HighFirst:
    index = getFieldsPerWord() - 1 - index;
    break;
  }
  return index * getBits();
}

int64_t StorageAttr::getWordColumns(int64_t columns) const {
  if (QuantizerAttr quantizer = getQuantizer())
    return quantizer.getMakesScales() ? columns * quantizer.getGroup() : columns;
  return getAlongRows() ? columns : static_cast<int64_t>(llvm::divideCeil(columns, getFieldsPerWord()));
}

int64_t StorageAttr::getMatrixRows(int64_t words, int64_t columns) const {
  if (getRows())
    return getRows();
  int64_t rows = words / getWordColumns(columns) * (getAlongRows() ? getFieldsPerWord() : 1);
  return getRepeat() ? rows * getRepeat() : rows;
}

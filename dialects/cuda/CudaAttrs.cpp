//===- CudaAttrs.cpp - attributes that describe a launch -------------------===//
//
// Syntax and verifiers of #cuda.grid and #cuda.tensor_map.
//
//===----------------------------------------------------------------------===//

#include "dialects/cuda/Cuda.h"

using namespace mlir;
using namespace inlay::cuda;

//===----------------------------------------------------------------------===//
// Grids
//===----------------------------------------------------------------------===//

/// `size N`
static ParseResult parseSize(AsmParser &parser, uint32_t &size) {
  if (parser.parseKeyword("size"))
    return failure();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseInteger(size))
    return failure();
  if (size >= kStepSizeCount)
    return parser.emitError(loc) << "size " << size << " is out of range, expected 0 to " << kStepSizeCount - 1;
  return success();
}

/// `size N` or `size N ceildiv D`
static ParseResult parseQuotient(AsmParser &parser, Count &count) {
  if (parseSize(parser, count.size))
    return failure();
  return failed(parser.parseOptionalKeyword("ceildiv")) ? success() : parser.parseInteger(count.divisor);
}

/// `M`, a quotient, `M * quotient` or `M * (quotient)`
static ParseResult parseCount(AsmParser &parser, Count &count) {
  OptionalParseResult constant = parser.parseOptionalInteger(count.multiplier);
  if (!constant.has_value())
    return parseQuotient(parser, count);
  if (failed(*constant))
    return failure();
  if (failed(parser.parseOptionalStar()))
    return success();
  if (failed(parser.parseOptionalLParen()))
    return parseQuotient(parser, count);
  return failure(parseQuotient(parser, count) || parser.parseRParen());
}

static void printCount(AsmPrinter &printer, const Count &count) {
  if (count.isConstant()) {
    printer << count.multiplier;
    return;
  }
  bool isProduct = count.multiplier != 1, isQuotient = count.divisor != 1;
  if (isProduct)
    printer << count.multiplier << " * ";
  printer << (isProduct && isQuotient ? "(size " : "size ") << count.size;
  if (isQuotient)
    printer << " ceildiv " << count.divisor;
  if (isProduct && isQuotient)
    printer << ")";
}

Attribute GridAttr::parse(AsmParser &parser, Type) {
  SmallVector<Count> dims;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater,
                                     [&] { return parseCount(parser, dims.emplace_back()); }))
    return {};
  return parser.getChecked<GridAttr>(parser.getContext(), ArrayRef(dims));
}

void GridAttr::print(AsmPrinter &printer) const {
  printer << "<";
  llvm::interleaveComma(getDims(), printer, [&](const Count &count) { printCount(printer, count); });
  printer << ">";
}

LogicalResult GridAttr::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<Count> dims) {
  if (dims.empty() || dims.size() > 3)
    return emitError() << "a grid has one to three dimensions, found " << dims.size();
  for (const Count &count : dims) {
    if (count.size > kStepSizeCount)
      return emitError() << "size " << count.size << " is out of range, expected 0 to " << kStepSizeCount - 1;
    if (count.multiplier == 0 || count.divisor == 0)
      return emitError() << "a grid's factors and divisors are positive, found 0";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Tensor maps
//===----------------------------------------------------------------------===//

static ParseResult parseList(AsmParser &parser, StringRef name, SmallVectorImpl<int64_t> &values) {
  auto parseValue = [&] { return parser.parseInteger(values.emplace_back()); };
  return failure(parser.parseComma() || parser.parseKeyword(name) || parser.parseEqual() ||
                 parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseValue));
}

static void printList(AsmPrinter &printer, StringRef name, ArrayRef<int64_t> values) {
  printer << ", " << name << " = [";
  llvm::interleaveComma(values, printer);
  printer << "]";
}

Attribute TensorMapAttr::parse(AsmParser &parser, Type) {
  uint32_t argument = 0, swizzle = 0, l2Promotion = 0;
  std::optional<uint32_t> capacity;
  Type elementType;
  SmallVector<int64_t> dims, strides, box;
  if (parser.parseLess() || parser.parseKeyword("argument") || parser.parseInteger(argument) || parser.parseColon() ||
      parser.parseType(elementType) || parseList(parser, "dims", dims))
    return {};
  if (succeeded(parser.parseOptionalStar()) && parseSize(parser, capacity.emplace()))
    return {};
  if (parseList(parser, "strides", strides) || parseList(parser, "box", box))
    return {};
  // swizzle and l2_promotion are optional, in this order.
  bool more = succeeded(parser.parseOptionalComma());
  if (more && succeeded(parser.parseOptionalKeyword("swizzle"))) {
    if (parser.parseEqual() || parser.parseInteger(swizzle))
      return {};
    more = succeeded(parser.parseOptionalComma());
  }
  if (more && (parser.parseKeyword("l2_promotion") || parser.parseEqual() || parser.parseInteger(l2Promotion)))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<TensorMapAttr>(parser.getContext(), argument, elementType, ArrayRef(dims), capacity,
                                          ArrayRef(strides), ArrayRef(box), swizzle, l2Promotion);
}

void TensorMapAttr::print(AsmPrinter &printer) const {
  printer << "<argument " << getArgument() << " : " << getElementType();
  printList(printer, "dims", getDims());
  if (getCapacity())
    printer << " * size " << *getCapacity();
  printList(printer, "strides", getStrides());
  printList(printer, "box", getBox());
  if (getSwizzle())
    printer << ", swizzle = " << getSwizzle();
  if (getL2Promotion())
    printer << ", l2_promotion = " << getL2Promotion();
  printer << ">";
}

/// Checks the requirements of cuTensorMapEncodeTiled (CUDA Driver API, "Tensor Map Object Management").
LogicalResult TensorMapAttr::verify(function_ref<InFlightDiagnostic()> emitError, uint32_t, Type elementType,
                                    ArrayRef<int64_t> dims, std::optional<uint32_t> capacity, ArrayRef<int64_t> strides,
                                    ArrayRef<int64_t> box, uint32_t swizzle, uint32_t l2Promotion) {
  if (!elementType.isF32() && !elementType.isBF16() && !elementType.isF16() && !isa<Float8E4M3FNType>(elementType))
    return emitError() << "a tensor map has elements of f32, bf16, f16 or f8E4M3FN, found " << elementType;
  if (dims.empty() || dims.size() > 5)
    return emitError() << "a tensor map has one to five dimensions, found " << dims.size();
  if (strides.size() + 1 != dims.size() || box.size() != dims.size())
    return emitError() << "a tensor map of " << dims.size() << " dimensions has " << dims.size() - 1
                       << " strides and a box of " << dims.size() << ", found " << strides.size() << " and "
                       << box.size();
  for (int64_t size : dims)
    if (size <= 0 || size > int64_t(1) << 32)
      return emitError() << "a tensor map's dimensions are 1 to 2^32, found " << size;
  for (int64_t stride : strides)
    if (stride <= 0 || stride % 16 != 0 || stride >= int64_t(1) << 40)
      return emitError() << "a tensor map's strides are multiples of 16 bytes below 2^40, found " << stride;
  for (int64_t size : box)
    if (size <= 0 || size > 256)
      return emitError() << "a tensor map's box has 1 to 256 elements along each dimension, found " << size;
  if (capacity && *capacity >= kStepSizeCount)
    return emitError() << "size " << *capacity << " is out of range, expected 0 to " << kStepSizeCount - 1;
  int64_t rowBytes = box.front() * elementType.getIntOrFloatBitWidth() / 8;
  if (rowBytes % 16 != 0)
    return emitError() << "a tensor map's box has rows of a multiple of 16 bytes, found " << rowBytes;
  if (!llvm::is_contained({0U, 32U, 64U, 128U}, swizzle))
    return emitError() << "a tensor map's swizzle is 0, 32, 64 or 128 bytes, found " << swizzle;
  if (swizzle && rowBytes > swizzle)
    return emitError() << "a box with rows of " << rowBytes << " bytes is too wide for a swizzle of " << swizzle;
  if (!llvm::is_contained({0U, 64U, 128U, 256U}, l2Promotion))
    return emitError() << "a tensor map's l2_promotion is 0, 64, 128 or 256 bytes, found " << l2Promotion;
  return success();
}

//===- Tile.cpp - syntax and verifiers of the tile dialect -----------------===//

#include "dialects/tile/Tile.h"

#include "dialects/tile/Collective.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay::tile;

/// The name of an architecture, as a keyword.
static ParseResult parseArch(AsmParser &parser, std::string &arch) { return parser.parseKeywordOrString(&arch); }
static void printArch(AsmPrinter &printer, StringRef arch) { printer.printKeywordOrString(arch); }

/// The memory of a launch's views, each without the `#tile.memory`.
static ParseResult parseMemories(OpAsmParser &parser, ArrayAttr &memories) {
  SmallVector<Attribute> parsed;
  auto parseOne = [&] {
    FailureOr<MemoryAttr> memory = MemoryAttr::parseBody(parser);
    if (failed(memory))
      return failure();
    parsed.push_back(*memory);
    return success();
  };
  if (parser.parseCommaSeparatedList(parseOne))
    return failure();
  memories = parser.getBuilder().getArrayAttr(parsed);
  return success();
}
static void printMemories(OpAsmPrinter &printer, Operation *, ArrayAttr memories) {
  llvm::interleaveComma(memories.getAsRange<MemoryAttr>(), printer,
                        [&](MemoryAttr memory) { memory.printBody(printer); });
}

/// The type of a staged tile, where it differs from that of the operand.
static ParseResult parseStagedType(OpAsmParser &parser, Type value, Type &result) {
  result = value;
  return succeeded(parser.parseOptionalArrow()) ? parser.parseType(result) : success();
}
static void printStagedType(OpAsmPrinter &printer, Operation *, Type value, Type result) {
  if (value != result)
    printer << "-> " << result;
}
static ParseResult parseStagedTypes(OpAsmParser &parser, TypeRange values, SmallVectorImpl<Type> &results) {
  if (succeeded(parser.parseOptionalArrow()))
    return parser.parseTypeList(results);
  results.assign(values.begin(), values.end());
  return success();
}
static void printStagedTypes(OpAsmPrinter &printer, Operation *, TypeRange values, TypeRange results) {
  if (values != results)
    printer << "-> " << results;
}

#include "dialects/tile/TileDialect.cpp.inc"
#include "dialects/tile/TileEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/tile/TileAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/tile/TileTypes.cpp.inc"

namespace {
/// Names of encodings in printed IR, which would repeat them in each type.
struct EncodingNames : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;
  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    if (!isa<LayoutAttr, SharedAttr>(attr))
      return AliasResult::NoAlias;
    os << (isa<LayoutAttr>(attr) ? "layout" : "shared");
    return AliasResult::OverridableAlias;
  }
};
} // namespace

void TileDialect::initialize() {
  addInterfaces<EncodingNames>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/tile/TileAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/tile/TileTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/tile/TileOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// View type
//===----------------------------------------------------------------------===//

/// Parses a keyword into an enum, with an error that lists nothing but what was found.
template <typename Enum>
static ParseResult parseEnum(AsmParser &parser, std::optional<Enum> (*symbolize)(StringRef), StringRef what,
                             Enum &result) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<Enum> value = symbolize(keyword);
  if (!value)
    return parser.emitError(loc) << "'" << keyword << "' is no " << what;
  result = *value;
  return success();
}

Type ViewType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type elementType;
  Provenance provenance;
  std::optional<Extent> extent;
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/true) || parser.parseType(elementType) ||
      parser.parseComma() || parseEnum<Provenance>(parser, symbolizeProvenance, "provenance", provenance))
    return {};
  if (succeeded(parser.parseOptionalComma())) {
    Extent value;
    if (parseEnum<Extent>(parser, symbolizeExtent, "extent", value))
      return {};
    extent = value;
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<ViewType>(parser.getContext(), shape, elementType, provenance, extent);
}

void ViewType::print(AsmPrinter &printer) const {
  printer << "<";
  for (int64_t size : getShape()) {
    if (ShapedType::isDynamic(size))
      printer << "?x";
    else
      printer << size << "x";
  }
  printer << getElementType() << ", " << stringifyProvenance(getProvenance());
  if (getExtent())
    printer << ", " << stringifyExtent(*getExtent());
  printer << ">";
}

LogicalResult ViewType::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<int64_t> shape, Type elementType,
                               Provenance, std::optional<Extent> extent) {
  if (shape.empty() || shape.size() > 4)
    return emitError() << "a view has rank 1 to 4, this one " << shape.size();
  if (!elementType.isIntOrFloat())
    return emitError() << "a view holds integers or floats, not " << elementType;
  for (auto [i, size] : llvm::enumerate(shape))
    if (i > 0 && ShapedType::isDynamic(size))
      return emitError() << "only the leading dimension of a view may be '?', not dimension " << i;
  if (extent && !ShapedType::isDynamic(shape[0]))
    return emitError() << "a view with an extent has a leading '?', this one " << shape[0];
  return success();
}

//===----------------------------------------------------------------------===//
// Program
//===----------------------------------------------------------------------===//

ParseResult ProgramOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  AffineMapAttr grid;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true, /*allowAttrs=*/true) ||
      parser.parseKeyword("grid") || parser.parseAttribute(grid, "grid", result.attributes))
    return failure();
  Schedule schedule;
  if (succeeded(parser.parseOptionalKeyword("schedule")) &&
      parser.parseAttribute(schedule, "schedule", result.attributes))
    return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  SmallVector<Type> types;
  for (OpAsmParser::Argument &argument : arguments)
    types.push_back(argument.type);
  Builder &builder = parser.getBuilder();
  result.addAttribute(getFunctionTypeAttrName(result.name), TypeAttr::get(builder.getFunctionType(types, {})));
  call_interface_impl::addArgAndResultAttrs(builder, result, arguments, /*resultAttrs=*/{},
                                            getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
  Region *body = result.addRegion();
  if (parser.parseRegion(*body, arguments))
    return failure();
  ensureTerminator(*body, builder, result.location);
  return success();
}

void ProgramOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(llvm::enumerate(getBody().getArguments()), printer, [&](auto it) {
    DictionaryAttr attrs = function_interface_impl::getArgAttrDict(*this, it.index());
    printer.printRegionArgument(it.value(), attrs ? attrs.getValue() : ArrayRef<NamedAttribute>());
  });
  printer << ") grid ";
  printer.printAttribute(getGridAttr());
  if (Schedule schedule = getScheduleAttr())
    printer << " schedule " << schedule;
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {SymbolTable::getSymbolAttrName(), getFunctionTypeAttrName(), "grid",
                                            "schedule", getArgAttrsAttrName(), getResAttrsAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
}

LogicalResult ProgramOp::verify() {
  for (auto [i, type] : llvm::enumerate(getArgumentTypes()))
    if (!isa<ViewType>(type))
      return emitOpError() << "argument " << i << " is a " << type << ", expected a !tile.view";
  AffineMap grid = getGrid();
  if (grid.getNumDims() != 0 || grid.getNumSymbols() != getMaxEnumValForExtent() + 1 || grid.getNumResults() < 1 ||
      grid.getNumResults() > 3)
    return emitOpError() << "the grid maps the " << getMaxEnumValForExtent() + 1
                         << " sizes of a step to one to three dimensions, found " << getGridAttr();
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Checks that a tile of `tile` at one offset for each dimension lies in `view`.
static LogicalResult verifyTileOfView(Operation *op, ViewType view, RankedTensorType tile, size_t offsets) {
  if (offsets != static_cast<size_t>(view.getRank()))
    return op->emitOpError() << "has " << offsets << " offsets for a view of rank " << view.getRank();
  if (tile.getRank() > view.getRank())
    return op->emitOpError() << "has a tile of rank " << tile.getRank() << " for a view of rank " << view.getRank();
  if (tile.getElementType() != view.getElementType())
    return op->emitOpError() << "has a tile of " << tile.getElementType() << " for a view of " << view.getElementType();
  return success();
}

LogicalResult LoadOp::verify() {
  return verifyTileOfView(*this, getView().getType(), cast<RankedTensorType>(getResult().getType()),
                          getOffsets().size());
}

LogicalResult StoreOp::verify() {
  if (failed(verifyTileOfView(*this, getView().getType(), cast<RankedTensorType>(getValue().getType()),
                              getOffsets().size())))
    return failure();
  return verifyPush(*this);
}

/// Checks indices and column of a gather or scatter.
static LogicalResult verifyIndexed(Operation *op, ViewType view, RankedTensorType tile, RankedTensorType indices,
                                   bool hasColumn) {
  if (view.getRank() > 2)
    return op->emitOpError() << "needs a view of rank 1 or 2, found " << view.getRank();
  if (hasColumn != (view.getRank() == 2))
    return op->emitOpError() << "has " << (hasColumn ? "a" : "no") << " column for a view of rank " << view.getRank();
  if (tile.getRank() != view.getRank() || indices.getRank() != 1 || tile.getDimSize(0) != indices.getDimSize(0))
    return op->emitOpError() << "has indices " << indices << " for a tile " << tile;
  if (tile.getElementType() != view.getElementType())
    return op->emitOpError() << "has a tile of " << tile.getElementType() << " for a view of " << view.getElementType();
  return success();
}

LogicalResult GatherOp::verify() {
  return verifyIndexed(*this, getView().getType(), cast<RankedTensorType>(getResult().getType()),
                       getIndices().getType(), static_cast<bool>(getColumn()));
}

LogicalResult ScatterOp::verify() {
  return verifyIndexed(*this, getView().getType(), cast<RankedTensorType>(getValue().getType()), getIndices().getType(),
                       static_cast<bool>(getColumn()));
}

LogicalResult ReadOp::verify() {
  ViewType view = getView().getType();
  if (getOffsets().size() != static_cast<size_t>(view.getRank()))
    return emitOpError() << "has " << getOffsets().size() << " offsets for a view of rank " << view.getRank();
  if (getResult().getType() != view.getElementType())
    return emitOpError() << "reads " << getResult().getType() << " from a view of " << view.getElementType();
  return success();
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

/// Checks accumulator + lhs x rhs, or lhs x rhs^T where `isTransposed`.
static LogicalResult verifyProduct(Operation *op, Value lhsTile, Value rhsTile, Value sums, bool isTransposed) {
  auto lhs = cast<RankedTensorType>(lhsTile.getType()), rhs = cast<RankedTensorType>(rhsTile.getType());
  auto acc = cast<RankedTensorType>(sums.getType());
  if (lhs.getRank() != 2 || rhs.getRank() != 2 || acc.getRank() != 2)
    return op->emitOpError() << "multiplies tiles of rank 2, found " << lhs << " and " << rhs;
  int64_t k = rhs.getDimSize(isTransposed ? 1 : 0), n = rhs.getDimSize(isTransposed ? 0 : 1);
  if (lhs.getDimSize(1) != k || acc.getDimSize(0) != lhs.getDimSize(0) || acc.getDimSize(1) != n)
    return op->emitOpError() << "has shapes that do not fit: " << lhs << ", " << rhs << (isTransposed ? "^T" : "")
                             << " into " << acc;
  bool isInteger = lhs.getElementType().isInteger(8);
  if (lhs.getElementType() != rhs.getElementType() ||
      !(isInteger ? acc.getElementType().isInteger(32) : acc.getElementType().isF32()))
    return op->emitOpError() << "multiplies equal element types into f32, or i8 into i32, found " << lhs << ", " << rhs
                             << " into " << acc;
  return success();
}

LogicalResult DotOp::verify() { return verifyProduct(*this, getLhs(), getRhs(), getAccumulator(), getTransposeRhs()); }

LogicalResult DotAsyncOp::verify() {
  return verifyProduct(*this, getLhs(), getRhs(), getAccumulator(), /*isTransposed=*/!getColumns());
}

LogicalResult ReduceOp::verify() {
  auto in = cast<RankedTensorType>(getValue().getType()), out = cast<RankedTensorType>(getResult().getType());
  int64_t axis = getAxis();
  if (axis < 0 || axis >= in.getRank())
    return emitOpError() << "has axis " << axis << " for a tile of rank " << in.getRank();
  SmallVector<int64_t> shape(in.getShape());
  shape.erase(shape.begin() + axis);
  if (out.getShape() != ArrayRef<int64_t>(shape) || out.getElementType() != in.getElementType())
    return emitOpError() << "reduces " << in << " along axis " << axis << " to " << out;
  return success();
}

LogicalResult ArgMaxOp::verify() {
  auto in = cast<RankedTensorType>(getValue().getType()), max = cast<RankedTensorType>(getMaximum().getType());
  if (in.getRank() != 2 || max.getRank() != 1 || max.getDimSize(0) != in.getDimSize(0) ||
      getIndex().getType().getShape() != max.getShape() || max.getElementType() != in.getElementType())
    return emitOpError() << "finds in " << in << " one " << in.getElementType() << " and one i32 a row, found " << max;
  return success();
}

LogicalResult BroadcastOp::verify() {
  auto in = cast<RankedTensorType>(getValue().getType()), out = cast<RankedTensorType>(getResult().getType());
  int64_t axis = getAxis();
  if (in.getRank() != 1 || out.getRank() != 2 || axis < 0 || axis > 1 || out.getDimSize(1 - axis) != in.getDimSize(0) ||
      in.getElementType() != out.getElementType())
    return emitOpError() << "repeats " << in << " along axis " << axis << " to " << out;
  return success();
}

LogicalResult IotaOp::verify() {
  if (static_cast<int64_t>(getAxis()) >= getResult().getType().getRank())
    return emitOpError() << "has axis " << getAxis() << " for " << getResult().getType();
  return success();
}

LogicalResult TransposeOp::verify() {
  auto in = cast<RankedTensorType>(getValue().getType()), out = cast<RankedTensorType>(getResult().getType());
  if (in.getRank() != 2 || out.getRank() != 2 || in.getDimSize(0) != out.getDimSize(1) ||
      in.getDimSize(1) != out.getDimSize(0) || in.getElementType() != out.getElementType())
    return emitOpError() << "turns " << in << " into " << out;
  return success();
}

LogicalResult DeinterleaveOp::verify() {
  auto in = cast<RankedTensorType>(getValue().getType()), out = cast<RankedTensorType>(getEven().getType());
  if (in.getRank() != 2 || out.getRank() != 2 || in.getDimSize(1) != 2 * out.getDimSize(1) ||
      in.getDimSize(0) != out.getDimSize(0) || in.getElementType() != out.getElementType())
    return emitOpError() << "splits the columns of " << in << " into " << out;
  return success();
}

LogicalResult DequantizeOp::verify() {
  auto bytes = cast<RankedTensorType>(getBytes().getType()), out = cast<RankedTensorType>(getResult().getType());
  Type number = out.getElementType();
  int64_t bits = getCodes() == Codes::U4 || getCodes() == Codes::Nf4 ? 4 : 8, group = getGroup();
  int64_t inElement = bytes.getElementTypeBitWidth() / bits;
  bool isCode = bytes.getElementType().isInteger(8) || bytes.getElementType().isInteger(bits);
  if (bytes.getRank() != 2 || out.getRank() != 2 || !isCode || !(number.isF32() || number.isBF16() || number.isF16()) ||
      bytes.getDimSize(0) != out.getDimSize(0) || bytes.getDimSize(1) * inElement != out.getDimSize(1))
    return emitOpError() << "turns bytes of " << 8 / bits << " codes into f32, bf16 or f16, found " << bytes << " to "
                         << out;
  if ((getScales() || getZeros() ? group < 1 : group != 0) || static_cast<int64_t>(getZeroPoint()) < 0)
    return emitOpError() << "has groups of " << group << " columns and the zero point "
                         << static_cast<int64_t>(getZeroPoint());
  for (Value groups : {getScales(), getZeros()}) {
    if (!groups)
      continue;
    auto type = cast<RankedTensorType>(groups.getType());
    if (type.getRank() != 2 || !type.getElementType().isF32() || type.getDimSize(0) != out.getDimSize(0) ||
        type.getDimSize(1) != (out.getDimSize(1) + group - 1) / group)
      return emitOpError() << "has " << type << " for groups of " << group << " columns of " << out;
  }
  if (getZeros() && getZeroPoint() != 0)
    return emitOpError() << "has zero points of groups, or one for all, found both";
  return success();
}

#define GET_OP_CLASSES
#include "dialects/tile/TileOps.cpp.inc"

//===- KernelOps.cpp - syntax and verifiers of what schedules add ----------===//

#include "dialects/tile/Tile.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace inlay::tile;

//===----------------------------------------------------------------------===//
// Work of warps
//===----------------------------------------------------------------------===//

RankedTensorType ForWarpsOp::partOf(Type type, int64_t count) {
  auto tile = cast<RankedTensorType>(type);
  if (tile.getRank() != 2 || count < 1 || tile.getDimSize(0) % count != 0)
    return {};
  return RankedTensorType::get({tile.getDimSize(0) / count, tile.getDimSize(1)}, tile.getElementType());
}

void ForWarpsOp::build(OpBuilder &builder, OperationState &state, int64_t count, ValueRange divided) {
  state.addAttribute(getCountAttrName(state.name), builder.getI64IntegerAttr(count));
  state.addOperands(divided);
  Region *body = state.addRegion();
  Block &block = body->emplaceBlock();
  block.addArgument(builder.getIndexType(), state.location);
  for (Value tile : divided)
    block.addArgument(partOf(tile.getType(), count), state.location);
  ensureTerminator(*body, builder, state.location);
}

ParseResult ForWarpsOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::Argument> arguments(1);
  SmallVector<OpAsmParser::UnresolvedOperand> divided;
  SmallVector<Type> types;
  IntegerAttr count;
  Builder &builder = parser.getBuilder();
  if (parser.parseArgument(arguments[0]) || parser.parseKeyword("in") ||
      parser.parseAttribute(count, builder.getI64Type(), getCountAttrName(result.name), result.attributes))
    return failure();
  auto parseOne = [&]() -> ParseResult {
    if (parser.parseArgument(arguments.emplace_back()) || parser.parseEqual() ||
        parser.parseOperand(divided.emplace_back()) || parser.parseColonType(types.emplace_back()))
      return failure();
    if (!isa<RankedTensorType>(types.back()))
      return parser.emitError(parser.getCurrentLocation()) << "divides " << types.back() << "; expected a tile";
    arguments.back().type = partOf(types.back(), count.getInt());
    if (!arguments.back().type)
      return parser.emitError(parser.getCurrentLocation())
             << "divides " << types.back() << " among " << count.getInt() << " warps; expected a multiple of rows";
    return success();
  };
  if (succeeded(parser.parseOptionalLParen()) && (parser.parseCommaSeparatedList(parseOne) || parser.parseRParen()))
    return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.resolveOperands(divided, types, parser.getCurrentLocation(), result.operands))
    return failure();
  arguments[0].type = builder.getIndexType();
  Region *body = result.addRegion();
  if (parser.parseRegion(*body, arguments))
    return failure();
  ensureTerminator(*body, builder, result.location);
  return success();
}

void ForWarpsOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getWarp() << " in " << getCount();
  if (!getDivided().empty()) {
    printer << " (";
    llvm::interleaveComma(llvm::zip_equal(getParts(), getDivided()), printer, [&](auto pair) {
      auto [part, tile] = pair;
      printer << part << " = " << tile << " : " << tile.getType();
    });
    printer << ")";
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getCountAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
}

LogicalResult ForWarpsOp::verify() {
  if (getBody().getNumArguments() != 1 + getDivided().size() || !getWarp().getType().isIndex())
    return emitOpError("has a body whose arguments are not the number of the warp and a part of each divided tile");
  for (auto [part, tile] : llvm::zip_equal(getParts(), getDivided()))
    if (part.getType() != partOf(tile.getType(), getCount()))
      return emitOpError() << "divides " << tile.getType() << " among " << getCount() << " warps as " << part.getType();
  if ((*this)->getParentOfType<ForWarpsOp>())
    return emitOpError("stands in another; a warp has no warps");
  return success();
}

LogicalResult WarpReduceOp::verify() {
  if (!(*this)->getParentOfType<ForWarpsOp>())
    return emitOpError("stands in no tile.for_warps; its warps are what it combines over");
  if (getValues().empty())
    return emitOpError("combines no tiles; expected one or more");
  return success();
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

int64_t RingType::tileBytes(unsigned i) const {
  auto tile = cast<RankedTensorType>(getTiles()[i]);
  return tile.getNumElements() * tile.getElementTypeBitWidth() / 8;
}

int64_t RingType::slotBytes() const {
  int64_t bytes = 0;
  for (unsigned i = 0; i < getTiles().size(); ++i)
    bytes += tileBytes(i);
  return bytes;
}

LogicalResult RingType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t stages, ArrayRef<Type> tiles) {
  if (stages < 1)
    return emitError() << "a ring has " << stages << " stages; expected 1 or more";
  if (tiles.empty())
    return emitError() << "a ring has no tiles in a slot";
  for (Type type : tiles) {
    auto tile = dyn_cast<RankedTensorType>(type);
    if (!tile || !tile.hasStaticShape() || tile.getRank() != 2)
      return emitError() << "a ring holds tiles of rank 2, found " << type;
  }
  return success();
}

LogicalResult FetchOp::verify() {
  ArrayRef<Type> tiles = getRing().getType().getTiles();
  if (getTile() >= tiles.size())
    return emitOpError() << "fills tile " << getTile() << " of a slot with " << tiles.size();
  ViewType view = getView().getType();
  auto tile = cast<RankedTensorType>(tiles[getTile()]);
  if (view.getRank() != 2 || getOffsets().size() != 2)
    return emitOpError() << "has " << getOffsets().size() << " offsets for a view of rank " << view.getRank()
                         << "; expected 2 of both";
  if (tile.getElementType() != view.getElementType())
    return emitOpError() << "has a tile of " << tile.getElementType() << " for a view of " << view.getElementType();
  return success();
}

LogicalResult WaitOp::verify() {
  ArrayRef<Type> tiles = getRing().getType().getTiles();
  if (!llvm::equal(tiles, getResultTypes()))
    return emitOpError() << "gives " << getResultTypes() << " of a ring of " << getRing().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Roles
//===----------------------------------------------------------------------===//

LogicalResult WarpRolesOp::verify() {
  for (Region *region : {&getProduce(), &getConsume()})
    if (region->front().empty() || !isa<YieldOp>(region->front().back()))
      return emitOpError("has a region that does not end with tile.yield");
  if (getProduce().front().back().getNumOperands() != 0)
    return emitOpError("has producers that yield tiles; only consumers do");
  auto yield = cast<YieldOp>(getConsume().front().back());
  if (yield.getOperandTypes() != getResultTypes())
    return emitOpError() << "yields " << yield.getOperandTypes() << " as " << getResultTypes();
  for (Value value : yield.getValues())
    if (!value.getDefiningOp<StageOp>())
      return emitOpError("yields a tile that is not staged, which other warps cannot read");
  return success();
}

//===- KernelOps.cpp - syntax and verifiers of what schedules add ----------===//

#include "dialects/tile/Tile.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
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
  int64_t rows = tile.getDimSize(0) / count;
  auto part = RankedTensorType::get({rows, tile.getDimSize(1)}, tile.getElementType());
  std::optional<LinearLayout> layout = layoutOf(type);
  if (!layout)
    return part;
  // The highest bits of the row are those of the warp, and decide nothing else.
  using enum LayoutDim;
  LinearLayout own = layout->restricted({Register, Lane}),
               whole = own * LinearLayout::identity(Warp, layout->bits(Warp), Dim0);
  if (own.extent(Dim0) != rows || layout->size(Warp) != count || whole != *layout)
    return {};
  return withLayout(part, own);
}

void ForWarpsOp::build(OpBuilder &builder, OperationState &state, int64_t count, ValueRange divided,
                       TypeRange results) {
  state.addAttribute(getCountAttrName(state.name), builder.getI64IntegerAttr(count));
  state.addOperands(divided);
  state.addTypes(results);
  Region *body = state.addRegion();
  Block &block = body->emplaceBlock();
  block.addArgument(builder.getIndexType(), state.location);
  for (Value tile : divided)
    block.addArgument(partOf(tile.getType(), count), state.location);
  if (results.empty())
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
  return succeeded(parser.parseOptionalKeyword("merge")) ? parser.parseArrowTypeList(result.types) : success();
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
  bool hasResults = getNumResults() > 0;
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/hasResults);
  if (hasResults) {
    printer << " merge";
    printer.printArrowTypeList(getResultTypes());
  }
}

/// Fails unless `types` are the maxima and sums of rows, and a row of sums for each.
static LogicalResult verifySoftmax(Operation *op, TypeRange types) {
  auto tile = [&](unsigned i) { return cast<RankedTensorType>(types[i]); };
  bool isOne = types.size() == 3 && tile(0).getRank() == 1 && tile(1).getRank() == 1 && tile(2).getRank() == 2 &&
               tile(1).getDimSize(0) == tile(0).getDimSize(0) && tile(2).getDimSize(0) == tile(0).getDimSize(0) &&
               llvm::all_of(types, [](Type type) { return cast<RankedTensorType>(type).getElementType().isF32(); });
  if (isOne)
    return success();
  return op->emitOpError() << "merges " << types
                           << "; expected the maxima and the sums of rows, and a row of sums for each, in f32";
}

/// Whether tiles differ in nothing but their layouts.
static bool areSameTiles(TypeRange x, TypeRange y) {
  auto withoutLayout = [](Type type) { return cast<RankedTensorType>(type).dropEncoding(); };
  return llvm::equal(llvm::map_range(x, withoutLayout), llvm::map_range(y, withoutLayout));
}

LogicalResult ForWarpsOp::verify() {
  if (getBody().getNumArguments() != 1 + getDivided().size() || !getWarp().getType().isIndex())
    return emitOpError("has a body whose arguments are not the number of the warp and a part of each divided tile");
  for (auto [part, tile] : llvm::zip_equal(getParts(), getDivided()))
    if (part.getType() != partOf(tile.getType(), getCount()))
      return emitOpError() << "divides " << tile.getType() << " among " << getCount() << " warps as " << part.getType();
  if ((*this)->getParentOfType<ForWarpsOp>())
    return emitOpError("stands in another; a warp has no warps");
  auto yield = cast<YieldOp>(getBody().front().getTerminator());
  if (!areSameTiles(yield.getOperandTypes(), getResultTypes()))
    return emitOpError() << "yields " << yield.getOperandTypes() << " as " << getResultTypes();
  if (getNumResults() == 0)
    return success();
  if (!getDivided().empty())
    return emitOpError("divides tiles and merges results; expected one of both");
  return verifySoftmax(*this, getResultTypes());
}

LogicalResult ClusterMergeOp::verify() {
  if (!areSameTiles(getParts().getTypes(), getResultTypes()))
    return emitOpError() << "merges " << getParts().getTypes() << " to " << getResultTypes();
  return verifySoftmax(*this, getResultTypes());
}

LogicalResult UnwrittenOp::verify() {
  if (isa_and_nonnull<scf::ForOp>((*this)->getNextNode()))
    return success();
  return emitOpError("does not stand before an scf.for, whose iterations it speaks of");
}

/// Whether `out` is the tile `in` in shared memory, or both have no place yet.
static LogicalResult verifyKept(Operation *op, Value value, Value result) {
  auto in = cast<RankedTensorType>(value.getType()), out = cast<RankedTensorType>(result.getType());
  if (in.getShape() != out.getShape() || in.getElementType() != out.getElementType())
    return op->emitOpError() << "keeps " << in << " as " << out;
  bool isAssigned = isa_and_nonnull<LayoutAttr>(in.getEncoding()) && isa_and_nonnull<SharedAttr>(out.getEncoding());
  if ((in.getEncoding() || out.getEncoding()) && !isAssigned)
    return op->emitOpError() << "keeps " << in << " as " << out
                             << "; expected a #tile.layout and a #tile.shared, or neither";
  return success();
}

LogicalResult StageOp::verify() { return verifyKept(*this, getValue(), getResult()); }

LogicalResult WarpReduceOp::verify() {
  if (!(*this)->getParentOfType<ForWarpsOp>())
    return emitOpError("stands in no tile.for_warps; its warps are what it combines over");
  if (getValues().empty() || getValues().size() != getResults().size())
    return emitOpError() << "combines " << getValues().size() << " tiles to " << getResults().size()
                         << "; expected one or more, and as many results";
  for (auto [value, result] : llvm::zip_equal(getValues(), getResults()))
    if (failed(verifyKept(*this, value, result)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

int64_t inlay::tile::slabsOf(RankedTensorType tile) {
  return llvm::divideCeil(tile.getDimSize(1) * tile.getElementTypeBitWidth() / 8, kSlabBytes);
}

int64_t inlay::tile::slabBytes(RankedTensorType tile) { return tile.getDimSize(0) * kSlabBytes; }

int64_t RingType::tileBytes(unsigned i) const {
  auto tile = cast<RankedTensorType>(getTiles()[i]);
  // Floats are rows in slabs; codes and scales of weights lie as in memory.
  if (tile.getElementTypeBitWidth() == 16 || isa<Float8E4M3FNType>(tile.getElementType()))
    return slabsOf(tile) * slabBytes(tile);
  return tile.getNumElements() * tile.getElementTypeBitWidth() / 8;
}

int64_t RingType::slotBytes() const {
  int64_t bytes = 0;
  for (unsigned i = 0; i < getTiles().size(); ++i)
    bytes += tileBytes(i);
  return bytes;
}

bool RingOp::isOfWarp() { return isa<ForWarpsOp>((*this)->getParentOp()); }

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

/// Whether every number of the float type `from` is one of the wider type `to`.
static bool isWidening(Type from, Type to) {
  return isa<FloatType>(from) && isa<FloatType>(to) && from.getIntOrFloatBitWidth() < to.getIntOrFloatBitWidth();
}

LogicalResult FetchRowsOp::verify() {
  ArrayRef<Type> tiles = getRing().getType().getTiles();
  if (getTile() >= tiles.size())
    return emitOpError() << "fills tile " << getTile() << " of a slot with " << tiles.size();
  ViewType view = getView().getType();
  auto tile = cast<RankedTensorType>(tiles[getTile()]);
  bool fits =
      tile.getElementType() == view.getElementType() || isWidening(view.getElementType(), tile.getElementType());
  if (view.getRank() != 2 || view.getShape()[1] != tile.getDimSize(1) || !fits)
    return emitOpError() << "brings rows of " << view << " to " << tile << "; expected the same rows";
  if (getIndices().getType().getRank() != 1 || getIndices().getType().getDimSize(0) != tile.getDimSize(0))
    return emitOpError() << "has " << getIndices().getType() << " for the rows of " << tile
                         << "; expected one index for each";
  if (tile.getDimSize(0) % getRun() != 0)
    return emitOpError() << "brings " << tile << " in runs of " << getRun() << " rows; expected a divisor of its rows";
  return success();
}

/// Whether `held` has a bool for each row of `tile`.
static bool hasOneForEachRow(RankedTensorType held, RankedTensorType tile) {
  return held.getElementType().isInteger(1) && held.getRank() == 1 && held.getDimSize(0) == tile.getDimSize(0);
}

LogicalResult ClearRowsOp::verify() {
  if (getTile().getType().getRank() != 2 || !hasOneForEachRow(getHeld().getType(), getTile().getType()))
    return emitOpError() << "has " << getHeld().getType() << " for the rows of " << getTile().getType()
                         << "; expected one i1 for each";
  return success();
}

LogicalResult WaitOp::verify() {
  ArrayRef<Type> tiles = getRing().getType().getTiles();
  if (!llvm::equal(tiles, getResultTypes()))
    return emitOpError() << "gives " << getResultTypes() << " of a ring of " << getRing().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Asynchronous products
//===----------------------------------------------------------------------===//

LogicalResult DotWaitOp::verify() {
  if (getSums().empty())
    return emitOpError("waits for no sums; expected one or more");
  return success();
}

/// Fails unless `region` ends with a tile.yield of values of `types`.
static LogicalResult verifyYields(Operation *op, Region &region, TypeRange types) {
  auto yield = region.front().empty() ? YieldOp() : dyn_cast<YieldOp>(region.front().back());
  if (!yield)
    return op->emitOpError("has a region that does not end with tile.yield");
  if (yield.getOperandTypes() != types)
    return op->emitOpError() << "yields " << yield.getOperandTypes() << " as " << types;
  return success();
}

LogicalResult InTurnOp::verify() {
  if (failed(verifyYields(*this, getBody(), getResultTypes())))
    return failure();
  auto roles = (*this)->getParentOfType<WarpRolesOp>();
  if (!roles || !roles.getConsume().isAncestor((*this)->getParentRegion()))
    return emitOpError("stands outside of the consumers of a tile.warp_roles, which take turns");
  if ((*this)->getParentOfType<InTurnOp>())
    return emitOpError("stands in another; a warpgroup has one turn at a time");
  return success();
}

LogicalResult IfAllOp::verify() {
  RankedTensorType condition = getCondition().getType();
  if (!condition.getElementType().isInteger(1) || condition.getRank() > 2)
    return emitOpError() << "has a condition of " << condition << "; expected i1 for each row or element";
  for (Region *region : {&getAll(), &getSome()})
    if (failed(verifyYields(*this, *region, getResultTypes())))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Roles
//===----------------------------------------------------------------------===//

LogicalResult WarpRolesOp::verify() {
  int64_t producers = 32 * getProducers(), consumers = 32 * getConsumers(), pool = registerPool(producers + consumers);
  int64_t registers = producers * getProducerRegisters().value_or(0) + consumers * getConsumerRegisters().value_or(0);
  if (registers > pool)
    return emitOpError() << "gives " << registers << " registers to its threads, of which a launch has " << pool
                         << "; expected fewer registers of producers or consumers";
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

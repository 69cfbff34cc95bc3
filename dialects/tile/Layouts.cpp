//===- Layouts.cpp - encodings of tiles -----------------------------------===//

#include "dialects/tile/Tile.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay::tile;
using enum inlay::tile::LayoutDim;

/// Coordinates of a basis are smaller than this; a layout has at most so many bits of each input. All bits of inputs,
/// and all bits of outputs, fit 64 bits.
static constexpr int64_t kMaxBits = 20, kMaxCoordinate = int64_t(1) << kMaxBits, kMaxRank = 3;

//===----------------------------------------------------------------------===//
// Bases
//===----------------------------------------------------------------------===//

/// The coordinates of all bases of `in`, one basis after the other.
static SmallVector<int64_t> flattened(const LinearLayout &layout, LayoutDim in, int64_t rank) {
  SmallVector<int64_t> result;
  for (const LayoutPoint &basis : layout.bases(in))
    for (int64_t i = 0; i < rank; ++i)
      result.push_back(basis[dimension(i)]);
  return result;
}

static void addBits(LinearLayout &layout, LayoutDim in, ArrayRef<int64_t> bases, int64_t rank) {
  for (; !bases.empty(); bases = bases.drop_front(rank)) {
    LayoutPoint basis;
    for (int64_t i = 0; i < rank; ++i)
      basis[dimension(i)] = bases[i];
    layout.addBit(in, basis);
  }
}

/// `register = [[0, 1], [8, 0]]`, after the name; the first basis gives the rank.
static ParseResult parseBases(AsmParser &parser, int64_t &rank, SmallVector<int64_t> &bases) {
  auto parseOne = [&]() -> ParseResult {
    size_t before = bases.size();
    auto parseNumber = [&] { return parser.parseInteger(bases.emplace_back()); };
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseNumber))
      return failure();
    int64_t found = bases.size() - before;
    if (rank == 0)
      rank = found;
    if (found == 0 || found != rank)
      return parser.emitError(loc) << "a basis has " << found << " coordinates; expected "
                                   << std::max<int64_t>(rank, 1);
    return success();
  };
  return failure(parser.parseEqual() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseOne));
}

static void printBases(AsmPrinter &printer, StringRef name, ArrayRef<int64_t> bases, int64_t rank) {
  printer << name << " = [";
  for (ArrayRef<int64_t> rest = bases; !rest.empty(); rest = rest.drop_front(rank)) {
    printer << (rest.size() == bases.size() ? "[" : ", [");
    llvm::interleaveComma(rest.take_front(rank), printer);
    printer << "]";
  }
  printer << "]";
}

static LogicalResult verifyBases(function_ref<InFlightDiagnostic()> emitError, StringRef name, int64_t rank,
                                 ArrayRef<int64_t> bases) {
  if (rank < 1 || rank > kMaxRank)
    return emitError() << "a layout has bases of " << rank << " coordinates; expected 1 to " << kMaxRank;
  if (bases.size() % rank != 0 || static_cast<int64_t>(bases.size()) / rank > kMaxBits)
    return emitError() << "a layout has " << bases.size() / rank << " bits of its " << name << "; expected at most "
                       << kMaxBits;
  for (int64_t coordinate : bases)
    if (coordinate < 0 || coordinate >= kMaxCoordinate)
      return emitError() << "a basis has the coordinate " << coordinate << "; expected 0 to " << kMaxCoordinate - 1;
  return success();
}

/// Whether a layout has a place for each element of a tile of `shape`.
static LogicalResult verifyCovers(function_ref<InFlightDiagnostic()> emitError, int64_t rank,
                                  const LinearLayout &layout, ArrayRef<int64_t> shape) {
  if (static_cast<int64_t>(shape.size()) != rank)
    return emitError() << "a layout of rank " << rank << " is that of a tile of rank " << shape.size();
  for (auto [i, size] : llvm::enumerate(shape))
    if (size > layout.extent(dimension(i)))
      return emitError() << "a layout has places for " << layout.extent(dimension(i)) << " elements of dimension " << i
                         << "; the tile has " << size;
  if (!layout.isSurjective())
    return emitError() << "a layout has no place for some elements; its bases must span all bits of the coordinates";
  return success();
}

//===----------------------------------------------------------------------===//
// Registers
//===----------------------------------------------------------------------===//

LayoutAttr LayoutAttr::of(MLIRContext *context, int64_t rank, const LinearLayout &layout) {
  auto bases = [&](LayoutDim in) { return flattened(layout, in, rank); };
  return get(context, rank, bases(Register), bases(Lane), bases(Warp), bases(LayoutDim::Block));
}

LinearLayout LayoutAttr::getLayout() const {
  LinearLayout layout;
  addBits(layout, Register, getRegisters(), getRank());
  addBits(layout, Lane, getLanes(), getRank());
  addBits(layout, Warp, getWarps(), getRank());
  addBits(layout, LayoutDim::Block, getBlocks(), getRank());
  return layout;
}

Attribute LayoutAttr::parse(AsmParser &parser, Type) {
  int64_t rank = 0;
  SmallVector<int64_t> registers, lanes, warps, blocks;
  SMLoc loc = parser.getCurrentLocation();
  auto parseInput = [&]() -> ParseResult {
    StringRef name;
    SMLoc at = parser.getCurrentLocation();
    if (parser.parseKeyword(&name))
      return failure();
    SmallVector<int64_t> *bases = llvm::StringSwitch<SmallVector<int64_t> *>(name)
                                      .Case("register", &registers)
                                      .Case("lane", &lanes)
                                      .Case("warp", &warps)
                                      .Case("block", &blocks)
                                      .Default(nullptr);
    if (!bases || !bases->empty())
      return parser.emitError(at) << "'" << name
                                  << "' is no input of a layout, or given twice; expected register, lane, "
                                  << "warp or block";
    return parseBases(parser, rank, *bases);
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, parseInput))
    return {};
  auto emitError = [&] { return parser.emitError(loc); };
  return getChecked(function_ref<InFlightDiagnostic()>(emitError), parser.getContext(), rank, ArrayRef(registers),
                    ArrayRef(lanes), ArrayRef(warps), ArrayRef(blocks));
}

void LayoutAttr::print(AsmPrinter &printer) const {
  printer << "<";
  StringRef separator;
  std::pair<StringRef, ArrayRef<int64_t>> inputs[] = {
      {"register", getRegisters()}, {"lane", getLanes()}, {"warp", getWarps()}, {"block", getBlocks()}};
  for (auto [name, bases] : inputs)
    if (!bases.empty()) {
      printer << separator;
      printBases(printer, name, bases, getRank());
      separator = ", ";
    }
  printer << ">";
}

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t rank,
                                 ArrayRef<int64_t> registers, ArrayRef<int64_t> lanes, ArrayRef<int64_t> warps,
                                 ArrayRef<int64_t> blocks) {
  std::pair<StringRef, ArrayRef<int64_t>> inputs[] = {
      {"register", registers}, {"lane", lanes}, {"warp", warps}, {"block", blocks}};
  for (auto [name, bases] : inputs)
    if (failed(verifyBases(emitError, name, rank, bases)))
      return failure();
  if (static_cast<int64_t>(lanes.size()) != 5 * rank)
    return emitError() << "a layout has " << lanes.size() / rank << " bits of the lane; expected 5";
  if (static_cast<int64_t>(warps.size()) > 5 * rank || static_cast<int64_t>(blocks.size()) > 4 * rank)
    return emitError() << "a layout has " << warps.size() / rank << " bits of the warp and " << blocks.size() / rank
                       << " of the block; expected at most 5 and 4";
  return success();
}

LogicalResult LayoutAttr::verifyEncoding(ArrayRef<int64_t> shape, Type,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  return verifyCovers(emitError, getRank(), getLayout(), shape);
}

std::array<int64_t, 2> inlay::tile::packedUnits(StringRef packing) {
  if (packing == kAtomPacking)
    return {kGroupRows, kAtomColumns};
  if (packing == kCodeRowsPacking)
    return {1, codesOfPiece(8)};
  return {kUnitRows, packing == kCodesPacking ? kUnitColumns : 1};
}

LinearLayout inlay::tile::codeLayout(int64_t bits) {
  LinearLayout layout;
  auto add = [&](int64_t row, int64_t column) {
    LayoutPoint basis;
    basis[Dim0] = row;
    basis[Dim1] = column;
    layout.addBit(Offset, basis);
  };
  // A word has the columns 2 t, 2 t + 1 and those 8 further, of one product of 16 columns or two. Fields at a distance
  // of 16 bits are the neighbours.
  add(0, 8);
  if (bits == 4)
    add(0, 16);
  for (int64_t column : {1, 2, 4})
    add(0, column);
  // Pieces of 16 bytes, then rows, which are swizzled so that 8 of them lie in different banks.
  for (int64_t column = codesOfPiece(bits); column < kUnitColumns; column *= 2)
    add(0, column);
  if (bits == 8)
    add(1, 16);
  else
    add(1, 0);
  add(2, 32);
  add(4, 64);
  add(8, 0);
  return layout;
}

std::optional<LinearLayout> inlay::tile::layoutOf(Type tile) {
  auto type = dyn_cast<RankedTensorType>(tile);
  auto encoding = type ? dyn_cast_or_null<LayoutAttr>(type.getEncoding()) : LayoutAttr();
  return encoding ? std::optional(encoding.getLayout()) : std::nullopt;
}

RankedTensorType inlay::tile::withLayout(RankedTensorType tile, const LinearLayout &layout) {
  return tile.cloneWithEncoding(LayoutAttr::of(tile.getContext(), tile.getRank(), layout));
}

LogicalResult ConvertLayoutOp::verify() {
  auto in = cast<RankedTensorType>(getValue().getType()), out = cast<RankedTensorType>(getResult().getType());
  bool isPlaced = layoutOf(in) || isa_and_nonnull<SharedAttr>(in.getEncoding());
  if (in.getShape() != out.getShape() || in.getElementType() != out.getElementType() || !isPlaced || !layoutOf(out))
    return emitOpError() << "turns " << in << " into " << out
                         << "; expected the same tile in two #tile.layout, or in a #tile.shared and a #tile.layout";
  return success();
}

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

SharedAttr SharedAttr::of(MLIRContext *context, int64_t rank, const LinearLayout &layout, int64_t pitch) {
  return get(context, rank, flattened(layout, Offset, rank), pitch);
}

LinearLayout SharedAttr::getLayout() const {
  LinearLayout layout;
  addBits(layout, Offset, getOffsets(), getRank());
  return layout;
}

int64_t SharedAttr::elements(int64_t rows) const {
  LinearLayout layout = getLayout();
  return rows * (getPitch() ? getPitch() : layout.size(Offset) / layout.extent(Dim0));
}

Attribute SharedAttr::parse(AsmParser &parser, Type) {
  int64_t rank = 0, pitch = 0;
  SmallVector<int64_t> offsets;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword("offset") || parseBases(parser, rank, offsets))
    return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("pitch") || parser.parseEqual() || parser.parseInteger(pitch)))
    return {};
  if (parser.parseGreater())
    return {};
  auto emitError = [&] { return parser.emitError(loc); };
  return getChecked(function_ref<InFlightDiagnostic()>(emitError), parser.getContext(), rank, ArrayRef(offsets), pitch);
}

void SharedAttr::print(AsmPrinter &printer) const {
  printer << "<";
  printBases(printer, "offset", getOffsets(), getRank());
  if (getPitch())
    printer << ", pitch = " << getPitch();
  printer << ">";
}

LogicalResult SharedAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t rank, ArrayRef<int64_t> offsets,
                                 int64_t pitch) {
  if (failed(verifyBases(emitError, "offset", rank, offsets)))
    return failure();
  if (pitch == 0)
    return success();
  // Whole rows, one after the other.
  LinearLayout layout;
  addBits(layout, Offset, offsets, rank);
  LinearLayout rows = LinearLayout::identity(Offset, layout.outBits(Dim1), Dim1) *
                      LinearLayout::identity(Offset, layout.outBits(Dim0), Dim0);
  if (rank != 2 || layout != rows || pitch < 1 || pitch >= 2 * kMaxCoordinate)
    return emitError() << "a layout has the pitch " << pitch << "; expected 1 to " << 2 * kMaxCoordinate - 1
                       << ", and offsets that go through the columns first";
  return success();
}

LogicalResult SharedAttr::verifyEncoding(ArrayRef<int64_t> shape, Type,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (failed(verifyCovers(emitError, getRank(), getLayout(), shape)))
    return failure();
  if (getPitch() && getPitch() < shape[1])
    return emitError() << "a layout has the pitch " << getPitch() << " for rows of " << shape[1] << " elements";
  return success();
}

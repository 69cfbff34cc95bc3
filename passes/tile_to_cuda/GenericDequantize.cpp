//===- GenericDequantize.cpp - codes of quantized weights to f32 ----------===//
//
// Each thread unpacks neighbouring codes of a row together, by a function of unpack.h.
// Then each number gets the zero point and the scale of its row and group of columns.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using tile::LayoutPoint;

static int64_t bitsOfCode(tile::Codes codes) { return codes == tile::Codes::U4 || codes == tile::Codes::Nf4 ? 4 : 8; }

/// The function of unpack.h that makes numbers of codes.
static StringRef unpackFunction(tile::Codes codes) {
  switch (codes) {
  case tile::Codes::U4:
    return "unpack_u4";
  case tile::Codes::Nf4:
    return "unpack_nf4";
  case tile::Codes::U8:
    return "unpack_u8";
  case tile::Codes::I8:
    return "unpack_i8";
  case tile::Codes::F8E4M3:
    return "unpack_f8e4m3";
  }
  llvm_unreachable("every meaning of codes is a case");
}

/// A scale as it is applied to numbers of `type`.
static Value roundedScale(OpBuilder &b, Location loc, Value scale, Type type) {
  if (!type.isBF16())
    return scale;
  ImplicitLocOpBuilder here(loc, b);
  return arith::ExtFOp::create(here, here.getF32Type(), arith::TruncFOp::create(here, type, scale),
                               arith::FastMathFlagsAttr());
}

LogicalResult GenericLowering::dequantize(tile::DequantizeOp op) {
  // In a slot: unpacked where products take them.
  if (isInSlot(op.getBytes()))
    return success();
  using enum LayoutDim;
  Layout layout = registerLayout(op.getResult());
  // checkLayouts has seen that there are such layouts.
  int groupBits = dequantizedLayouts(op, layout)->groupBits;
  int64_t registers = layout.size(Register), inByte = 8 / bitsOfCode(op.getCodes());
  // Packed codes are unpacked in the order in which they lie in memory.
  bool isInOrder = registersOfPieces(op, layout.bits(Warp)) == layout;
  int64_t together = std::min<int64_t>(8, isInOrder ? registers : layout.contiguous(Register, Dim1));
  if (op.getScales())
    prepare(op.getScales());
  if (op.getZeros())
    prepare(op.getZeros());
  Value codes = materialize(op.getBytes(), "codes");
  Type type = op.getType().getElementType();
  Value array = local(registers, b.getF32Type(), "dequantized");
  std::string unpack = (unpackFunction(op.getCodes()) + "<" + Twine(together) + ">").str();
  unrolled(registers / together, [&](Value i) {
    call(unpack, "unpack.h", {address(array, mul(i, together)), address(codes, mul(i, together / inByte))});
  });
  SmallVector<int64_t> ofGroups = groupedRegisters(layout, groupBits);
  auto numberAt = [&](Value reg) {
    Value group = matchPattern(reg, m_Zero()) ? reg : image(reg, ofGroups);
    group = group ? group : index(0);
    Value number = get(array, reg);
    if (op.getZeros())
      number = arith::SubFOp::create(b, loc, number, element(op.getZeros(), group));
    else if (op.getZeroPoint() != 0)
      number = arith::SubFOp::create(
          b, loc, number, arith::ConstantOp::create(b, loc, b.getF32FloatAttr(static_cast<float>(op.getZeroPoint()))));
    if (op.getScales())
      number = arith::MulFOp::create(b, loc, number, roundedScale(b, loc, element(op.getScales(), group), type));
    return number;
  };
  if (type.isF32()) {
    unrolled(registers, [&](Value reg) { set(numberAt(reg), array, reg); });
    define(op.getResult(), array);
    return success();
  }
  Value rounded = local(registers, type, "rounded");
  unrolled(registers, [&](Value reg) { set(arith::TruncFOp::create(b, loc, type, numberAt(reg)), rounded, reg); });
  define(op.getResult(), rounded);
  return success();
}

//===----------------------------------------------------------------------===//
// Left sides of products of warpgroups
//===----------------------------------------------------------------------===//

/// What unpack_pairs.h makes of a code, less the code.
static int64_t biasOf(tile::Codes codes) {
  return codes == tile::Codes::U4 ? 128 : codes == tile::Codes::U8 ? -128 : 0;
}

/// A pair of equal numbers of bf16.
static Value constantPair(KernelBuilder &k, double value) {
  llvm::APFloat number(value);
  bool isInexact = false;
  number.convert(llvm::APFloat::BFloat(), llvm::APFloat::rmNearestTiesToEven, &isInexact);
  uint64_t bits = number.bitcastToAPInt().getZExtValue();
  return k.i32(static_cast<int32_t>(static_cast<uint32_t>(bits << 16 | bits)));
}

/// The pairs that a warpgroup's products take from registers, of columns [from, from + columns) of packed codes in a
/// slot. Each ldmatrix brings two pieces of the warp's 16 rows.
Value GenericLowering::unpackPairs(tile::DequantizeOp op, const Layout &layout, int64_t from, int64_t columns) {
  using enum LayoutDim;
  int64_t bits = bitsOfCode(op.getCodes()), piece = tile::codesOfPiece(bits), together = 2 * piece;
  auto [buffer, start] = ringTiles[op.getBytes()];
  KernelBuilder k(loc, b);
  // In elements of 16 bits.
  Layout places = cast<tile::SharedAttr>(tileType(op.getBytes()).getEncoding()).getLayout().inverse();
  auto scaled = [&](LayoutDim dim) {
    SmallVector<int64_t> components = places.components(dim, Offset);
    for (int64_t &component : components)
      component = component * bits / 16;
    return components;
  };
  SmallVector<int64_t> ofRow = scaled(Dim0), ofColumn = scaled(Dim1);
  auto imageOf = [](ArrayRef<int64_t> components, int64_t number) {
    int64_t result = 0;
    for (auto [i, component] : llvm::enumerate(components))
      result ^= number >> i & 1 ? component : 0;
    return result;
  };
  Value group = image(warp, layout.components(Warp, Dim0)); // the first of the warp's rows
  Value lower = arith::AndIOp::create(b, loc, lane, index(15));
  Value row = group ? k.add(group, lower) : lower, upper = k.div(lane, 16);
  // The row and the lane's piece, then the pieces of each load.
  Value ofLane = k.name("piece", k.bitXor(image(row, ofRow), k.mul(upper, imageOf(ofColumn, piece))));
  Value packed = local(columns / 4, b.getI32Type(), "pairs");
  std::string unpack = ("unpack_pairs_" + tile::stringifyCodes(op.getCodes())).str();
  for (int64_t at = 0; at < columns; at += together) {
    Value words = local(4, b.getI32Type(), "words");
    int64_t ofPieces = imageOf(ofColumn, from + at);
    Value place = k.add(start, ofPieces ? k.bitXor(ofLane, ofPieces) : ofLane);
    k.call("ldmatrix_x4", "mma.h", {k.address(words, k.index(0)), k.offset(buffer, place)});
    k.call(unpack, "unpack_pairs.h", {k.address(packed, k.index(at / 4)), k.address(words, k.index(0))});
  }
  applyGroups(op, packed, group, from, columns);
  return packed;
}

/// Applies zero points and scales to pairs, group by group.
void GenericLowering::applyGroups(tile::DequantizeOp op, Value packed, Value row, int64_t from, int64_t columns) {
  using enum LayoutDim;
  KernelBuilder k(loc, b);
  int64_t bias = biasOf(op.getCodes());
  Value ownRow = k.div(lane, 4);
  ownRow = row ? k.add(row, ownRow) : ownRow;
  // The number of a group for the lane's upper or lower row.
  auto ofGroup = [&](Value tile, int64_t group, int64_t rowOffset) {
    auto [buffer, start] = ringTiles[tile];
    Layout places = cast<tile::SharedAttr>(tileType(tile).getEncoding()).getLayout().inverse();
    LayoutPoint point;
    point[Dim0] = rowOffset;
    point[Dim1] = group;
    Value at = k.add(k.add(start, image(ownRow, places.components(Dim0, Offset))), places.apply(point)[Offset]);
    return k.load(buffer, at);
  };
  auto apply = [&](StringRef function, int64_t at, int64_t width, Value low, Value high) {
    k.call(function + "<" + Twine(width / 4) + ">", "unpack_pairs.h", {k.address(packed, k.index(at / 4)), low, high});
  };
  auto pairOf = [&](Value number) { return k.call(k.getI32Type(), "pair_of", "pairs.h", number); };
  if (op.getCodes() == tile::Codes::F8E4M3) {
    Value factor = constantPair(k, 0x1p120);
    apply("multiply_pairs", 0, columns, factor, factor);
  }
  if (int64_t zero = bias + static_cast<int64_t>(op.getZeroPoint()); zero != 0 && !op.getZeros()) {
    Value pair = constantPair(k, static_cast<double>(zero));
    apply("subtract_pairs", 0, columns, pair, pair);
  }
  if (!op.getScales() && !op.getZeros())
    return;
  int64_t size = op.getGroup(), width = std::min(size, columns);
  for (int64_t at = 0; at < columns; at += width) {
    int64_t group = (from + at) / size;
    if (op.getZeros()) {
      auto pair = [&](int64_t rowOffset) {
        Value zero = ofGroup(op.getZeros(), group, rowOffset);
        return pairOf(bias ? k.addF(zero, k.f32(static_cast<double>(bias))) : zero);
      };
      apply("subtract_pairs", at, width, pair(0), pair(8));
    }
    if (op.getScales())
      apply("multiply_pairs", at, width, pairOf(ofGroup(op.getScales(), group, 0)),
            pairOf(ofGroup(op.getScales(), group, 8)));
  }
}

//===- GenericDequantize.cpp - codes of quantized weights to f32 ----------===//
//
// Each thread unpacks neighbouring codes of a row together, by a function of unpack.h.
// Then each number gets the zero point and the scale of its row and group of columns.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;

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

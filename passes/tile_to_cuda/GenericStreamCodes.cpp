//===- GenericStreamCodes.cpp - codes of quantized weights in the ring of a warp --===//
//
// A slot has codes of 16 weight rows and, with groups of columns, their scales and zero points. A product reads 16
// bytes of two rows at a time and unpacks them to fragments of mma.m16n8k16 (mma_codes.h). Scales of groups multiply
// the sums over their columns, in float32.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using tile::kUnitColumns, tile::kUnitRows;

/// What mma_codes.h divides integers by.
static constexpr int64_t kCodeUnit = 64;
/// What mma_i8 of mma_codes.h adds to codes.
static constexpr int64_t kSignedBias = 128;

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

/// One lane copies units of 16 rows, which are contiguous along the columns: of codes, or of scales and zero points.
/// The first tile of a slot announces the bytes of all. Rows past the end of the views have none.
LogicalResult GenericLowering::fetchUnitsOfWarp(tile::FetchOp op) {
  auto view = cast<tile::ViewType>(op.getView().getType());
  tile::RingType ring = op.getRing().getType();
  auto tile = cast<RankedTensorType>(ring.getTiles()[op.getTile()]);
  bool areCodes = packingOf(program, op.getView()).getValue() == tile::kCodesPacking;
  int64_t columns = areCodes ? kUnitColumns : 1;
  if (tile.getDimSize(0) != kUnitRows || tile.getDimSize(1) % columns != 0)
    return op.emitError("brings ") << tile.dropEncoding() << "; expected units of " << kUnitRows << " x " << columns;
  int64_t units = llvm::divideCeil(view.getShape()[1], columns);
  int64_t unitBytes = kUnitRows * columns * view.getElementType().getIntOrFloatBitWidth() / 8;
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  Value slot = scalar(op.getSlot()), row = scalar(op.getOffsets()[0]), column = scalar(op.getOffsets()[1]);
  Value source = k.as(scalar(op.getView()), k.getI8Type()), bar = k.name("bar", k.offset(state.full, slot));
  Value to = k.offset(state.buffers[op.getTile()], k.mul(slot, elementsInSlot(tile)));
  Value group = k.div(row, kUnitRows);
  k.ifThen(k.equal(lane, 0), [&] {
    Value exists = k.less(group, llvm::divideCeil(view.getShape()[0], kUnitRows));
    if (op.getTile() == 0)
      k.call("mbarrier_arrive_expect", "mbarrier.h", {bar, k.select(exists, k.i32(ring.slotBytes()), k.i32(0))});
    k.ifThen(exists, [&] {
      // A large matrix has more bytes than an int counts.
      Type i64 = k.getI64Type();
      auto wide = [&](Value x) { return arith::IndexCastOp::create(k, i64, x).getResult(); };
      auto times = [&](Value x, int64_t y) {
        return arith::MulIOp::create(k, x, arith::ConstantIntOp::create(k, y, 64)).getResult();
      };
      Value at = times(k.add(times(wide(group), units), wide(k.div(column, columns))), unitBytes);
      SmallVector<Value> operands{to, k.offset(source, at), k.i32(tile.getDimSize(1) / columns * unitBytes), bar};
      if (op.getEvictFirst())
        operands.push_back(evictFirst);
      k.call("bulk_copy", "bulk_copy.h", operands);
    });
  });
  // Lanes that already wait for the slot would keep the first one from starting its copies.
  if (op.getTile() + 1 == ring.getTiles().size())
    k.syncWarp();
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

LogicalResult GenericLowering::dotOfCodes(tile::DotOp op) {
  using enum LayoutDim;
  auto numbers = op.getLhs().getDefiningOp<tile::DequantizeOp>();
  const MmaInstruction &mma = *mmaOf(op);
  RankedTensorType type = tileType(op.getRhs());
  int64_t inner = type.getDimSize(1), size = std::min<int64_t>(numbers.getGroup() ? numbers.getGroup() : inner, inner);
  bool areFloats = numbers.getCodes() == tile::Codes::F8E4M3;
  if (!op.getTransposeRhs() || tileType(op.getLhs()).getDimSize(0) != mma.rows || type.getDimSize(0) > mma.columns ||
      inner % size != 0 || size % mma.inner != 0 || numbers.getCodes() == tile::Codes::Nf4)
    return op.emitOpError() << "has " << tileType(op.getLhs()).dropEncoding() << " and " << type.dropEncoding()
                            << " with groups of " << numbers.getGroup()
                            << "; of codes in the ring of a warp, expected 16 rows on the left, up to 8 on the right, "
                               "and groups of a multiple of "
                            << mma.inner << " columns";
  Layout layout = registerLayout(op.getRhs()), sumLayout = registerLayout(op.getResult());
  prepare(op.getRhs());
  prepare(op.getAccumulator());
  int64_t pairs = layout.size(Register) / 2, sums = sumLayout.size(Register);
  Value x = packRows(op.getRhs(), pairs), result = local(sums, b.getF32Type(), "acc");
  unrolled(sums, [&](Value reg) { set(element(op.getAccumulator(), reg), result, reg); });

  // A lane reads the same piece of two rows: the swizzle of row 8 is that of row 0.
  KernelBuilder k(loc, b);
  Layout places = cast<tile::SharedAttr>(tileType(numbers.getBytes()).getEncoding()).getLayout().inverse();
  int64_t bits = tileType(numbers.getBytes()).getElementTypeBitWidth();
  auto inPieces = [&](LayoutDim dim) { // of 16 bytes
    SmallVector<int64_t> components = places.components(dim, Offset);
    for (int64_t &component : components)
      component = component * bits / 128;
    return components;
  };
  SmallVector<int64_t> ofRow = inPieces(Dim0), ofColumn = inPieces(Dim1);
  auto ofLane = [&](LayoutDim dim, const SmallVector<int64_t> &components) { // of the coordinate that lanes have
    SmallVector<int64_t> result;
    for (int64_t coordinate : mma.leftFragment.components(Lane, dim))
      result.push_back(coordinate ? components[llvm::Log2_64(coordinate)] : 0);
    return image(lane, result);
  };
  Value piece = k.name("piece", k.bitXor(ofLane(Dim0, ofRow), ofLane(Dim1, ofColumn)));
  SmallVector<int64_t> rowOfLane = mma.leftFragment.components(Lane, Dim0);
  Value weightRow = k.name("weight_row", image(lane, rowOfLane));
  auto [buffer, start] = ringTiles.lookup(numbers.getBytes());
  Value base = k.as(k.offset(buffer, start), k.getI8Type());
  Type words = VectorType::get({4}, b.getI32Type());
  int64_t half = mma.rows / 2, wordsOfRound = mma.rightFragment.size(Register) / 2;

  // The number of a group for the lane's lower or upper row.
  auto ofGroup = [&](Value tile, int64_t group, int64_t row) {
    auto [numbers, first] = ringTiles.lookup(tile);
    return k.load(numbers, k.add(k.add(first, weightRow), group * kUnitRows + row));
  };
  int64_t bias = numbers.getCodes() == tile::Codes::I8 ? kSignedBias : 0;
  auto zeroPair = [&](int64_t group, int64_t row) -> Value {
    Value zero;
    if (areFloats)
      return k.i32(0);
    if (numbers.getZeros())
      zero = ofGroup(numbers.getZeros(), group, row);
    else
      zero = k.f32(static_cast<double>(numbers.getZeroPoint()));
    if (bias)
      zero = k.addF(zero, k.f32(static_cast<double>(bias)));
    zero = arith::MulFOp::create(k, zero, k.f32(-1.0 / kCodeUnit));
    return k.name("zero", k.call(k.getI32Type(), "pair_of", "pairs.h", zero));
  };
  std::string function = ("mma_" + tile::stringifyCodes(numbers.getCodes())).str();
  int64_t roundsOfGroup = size / mma.inner;
  for (int64_t group = 0; group < inner / size; ++group) {
    // Two chains of sums, so that a product need not wait for the one before.
    Value part = k.local("part", {2 * sums}, k.getF32Type(), k.f32(0));
    Value low = zeroPair(group, 0), high = numbers.getZeros() ? zeroPair(group, half) : low;
    for (int64_t round = group * roundsOfGroup; round < (group + 1) * roundsOfGroup; ++round) {
      int64_t ofRound = 0;
      for (auto [i, component] : llvm::enumerate(ofColumn))
        ofRound ^= round * mma.inner >> i & 1 ? component : 0;
      auto read = [&](int64_t row) {
        Value at = ofRound ? k.bitXor(piece, ofRound) : piece;
        return k.load(base, k.add(k.mul(at, 16), row ? ofRow[llvm::Log2_64(row)] * 16 : 0), words);
      };
      k.call(
          function, mma.header,
          {k.address(part, k.index(0)), read(0), read(half), k.address(x, k.index(round * wordsOfRound)), low, high});
    }
    double unit = areFloats ? 1 : kCodeUnit;
    auto scaleOf = [&](int64_t row) -> Value {
      if (!numbers.getScales())
        return k.f32(unit);
      Value scale = ofGroup(numbers.getScales(), group, row);
      return unit == 1 ? scale : arith::MulFOp::create(k, scale, k.f32(unit)).getResult();
    };
    Value scales[2] = {scaleOf(0), numbers.getScales() ? scaleOf(half) : Value()};
    for (int64_t reg = 0; reg < sums; ++reg) {
      bool isUpper = mma.sums.components(Register, Dim0)[1] && reg & 2;
      Value sum = k.addF(k.get(part, k.index(reg)), k.get(part, k.index(sums + reg)));
      Value scale = scales[isUpper && scales[1] ? 1 : 0];
      k.set(k.addF(arith::MulFOp::create(k, sum, scale), k.get(result, k.index(reg))), result, k.index(reg));
    }
  }
  define(op.getResult(), result);
  return success();
}

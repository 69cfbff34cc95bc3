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

namespace {
/// What mma_codes.h makes of codes: numbers divided by `unit`, of codes that are `bias` larger. Zero points are
/// subtracted from each number, or their products with the sums of the activations from the result.
struct UnpackedForm {
  double unit = 1;
  int64_t bias = 0;
  bool hasZerosInSums = false;
};

/// Where in a slot a lane reads: the number of its first piece of 16 bytes, what rows and columns add to that number by
/// XOR, and its row of the first 8.
struct PiecesOfLane {
  Value base, piece, row;
  SmallVector<int64_t> ofRow, ofColumn;
};
} // namespace

static UnpackedForm formOf(tile::Codes codes) {
  switch (codes) {
  case tile::Codes::U4:
    return {.unit = 0x1p93, .hasZerosInSums = true};
  case tile::Codes::U8:
    return {.unit = 64};
  case tile::Codes::I8:
    return {.unit = 64, .bias = 128};
  case tile::Codes::F8E4M3:
  case tile::Codes::Nf4:
    return {};
  }
  llvm_unreachable("every meaning of codes is a case");
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

/// The fetches of all tiles of a slot.
static SmallVector<tile::FetchOp> fetchesOfSlot(tile::FetchOp fetch) {
  SmallVector<tile::FetchOp> fetches;
  for (Operation *user : fetch.getSlot().getUsers())
    if (auto other = dyn_cast<tile::FetchOp>(user))
      fetches.push_back(other);
  llvm::sort(fetches, [](tile::FetchOp x, tile::FetchOp y) { return x.getTile() < y.getTile(); });
  return fetches;
}

/// One lane announces the bytes of a slot and copies units of 16 rows, which are contiguous along the columns: of
/// codes, and of scales and zero points. Rows past the end of the views have none. The first fetch of a slot does it
/// for all.
LogicalResult RingLowering::fetchUnitsOfWarp(tile::FetchOp op) {
  struct Copy {
    Value to, source, at, bytes;
  };
  SmallVector<tile::FetchOp> fetches = fetchesOfSlot(op);
  tile::RingType ring = op.getRing().getType();
  if (fetches.size() != ring.getTiles().size() || fetches.front()->getBlock() != op->getBlock())
    return op.emitError("fills a slot of ")
           << ring.getTiles().size() << " tiles, of which " << fetches.size() << " are fetched; expected all of them";
  if (op != fetches.front())
    return success();
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  Value slot = scalar(op.getSlot()), group = k.div(scalar(op.getOffsets()[0]), kUnitRows);
  Value bar = k.name("bar", k.offset(state.full, slot));
  // A large matrix has more bytes than an int counts.
  Type i64 = k.getI64Type();
  auto wide = [&](Value x) { return arith::IndexCastOp::create(k, i64, x).getResult(); };
  auto times = [&](Value x, int64_t y) {
    return arith::MulIOp::create(k, x, arith::ConstantIntOp::create(k, y, 64)).getResult();
  };
  SmallVector<Copy> copies;
  int64_t groups = 0;
  for (tile::FetchOp fetch : fetches) {
    auto view = cast<tile::ViewType>(fetch.getView().getType());
    auto tile = cast<RankedTensorType>(ring.getTiles()[fetch.getTile()]);
    StringAttr packing = packingOf(program, fetch.getView());
    bool areCodes = packing && packing.getValue() == tile::kCodesPacking;
    int64_t columns = areCodes ? kUnitColumns : 1, units = llvm::divideCeil(view.getShape()[1], columns);
    if (!packing || tile.getDimSize(0) != kUnitRows || tile.getDimSize(1) % columns != 0)
      return fetch.emitError("brings ") << tile.dropEncoding() << "; expected packed units of " << kUnitRows << " x "
                                        << columns;
    groups = llvm::divideCeil(view.getShape()[0], kUnitRows);
    int64_t unitBytes = kUnitRows * columns * view.getElementType().getIntOrFloatBitWidth() / 8;
    Value column = k.div(scalar(fetch.getOffsets()[1]), columns);
    copies.push_back({k.offset(state.buffers[fetch.getTile()], k.mul(slot, elementsInSlot(tile))),
                      k.as(scalar(fetch.getView()), k.getI8Type()),
                      times(k.add(times(wide(group), units), wide(column)), unitBytes),
                      k.i32(tile.getDimSize(1) / columns * unitBytes)});
  }
  k.ifThen(k.equal(lane, 0), [&] {
    Value exists = k.less(group, groups);
    k.call("mbarrier_arrive_expect", "mbarrier.h", {bar, k.select(exists, k.i32(ring.slotBytes()), k.i32(0))});
    k.ifThen(exists, [&] {
      for (Copy &copy : copies) {
        SmallVector<Value> operands{copy.to, k.offset(copy.source, copy.at), copy.bytes, bar};
        if (op.getEvictFirst())
          operands.push_back(evictFirst);
        k.call("bulk_copy", "bulk_copy.h", operands);
      }
    });
  });
  // Lanes that already wait for the slot would keep the first one from starting its copies.
  k.syncWarp();
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Columns of a product of codes whose scales and zero points are the same.
static int64_t groupColumns(tile::DequantizeOp numbers) {
  int64_t inner = numbers.getType().getDimSize(1), group = numbers.getGroup();
  return group ? std::min(group, inner) : inner;
}

static LogicalResult checkProductOfCodes(tile::DotOp op, tile::DequantizeOp numbers, const MmaInstruction &mma) {
  RankedTensorType left = numbers.getType(), right = tileType(op.getRhs());
  int64_t size = groupColumns(numbers);
  if (op.getTransposeRhs() && left.getDimSize(0) == mma.rows && right.getDimSize(0) <= mma.columns &&
      left.getDimSize(1) % size == 0 && size % mma.inner == 0 && numbers.getCodes() != tile::Codes::Nf4)
    return success();
  return op.emitOpError() << "has " << left.dropEncoding() << " and " << right.dropEncoding() << " with groups of "
                          << numbers.getGroup()
                          << "; of codes in the ring of a warp, expected 16 rows on the left, up to 8 on the right, "
                             "and groups of a multiple of "
                          << mma.inner << " columns";
}

/// A lane reads the same piece of two rows 8 apart: the swizzle is the same.
static PiecesOfLane piecesOfLane(tile::DequantizeOp numbers, const MmaInstruction &mma, KernelBuilder &k,
                                 llvm::function_ref<Value(ArrayRef<int64_t>)> imageOfLane) {
  using enum LayoutDim;
  RankedTensorType codes = tileType(numbers.getBytes());
  Layout places = cast<tile::SharedAttr>(codes.getEncoding()).getLayout().inverse();
  auto inPieces = [&](LayoutDim dim) {
    SmallVector<int64_t> components = places.components(dim, Offset);
    for (int64_t &component : components)
      component = component * codes.getElementTypeBitWidth() / 128;
    return components;
  };
  PiecesOfLane pieces{{}, {}, {}, inPieces(Dim0), inPieces(Dim1)};
  auto ofLane = [&](LayoutDim dim, ArrayRef<int64_t> components) {
    SmallVector<int64_t> result;
    for (int64_t coordinate : mma.leftFragment.components(Lane, dim))
      result.push_back(coordinate ? components[llvm::Log2_64(coordinate)] : 0);
    return imageOfLane(result);
  };
  pieces.piece = k.name("piece", k.bitXor(ofLane(Dim0, pieces.ofRow), ofLane(Dim1, pieces.ofColumn)));
  pieces.row = k.name("weight_row", imageOfLane(mma.leftFragment.components(Lane, Dim0)));
  return pieces;
}

/// The sums over each group of columns of the activations `x`, which mma_codes.h has scaled: those of a lane's two
/// columns of the product, group by group.
static Value sumsOfRows(Value x, tile::DequantizeOp numbers, const MmaInstruction &mma, KernelBuilder &k) {
  using enum LayoutDim;
  int64_t size = groupColumns(numbers), groups = numbers.getType().getDimSize(1) / size, rounds = size / mma.inner;
  int64_t sums = mma.sums.size(Register), words = mma.rightFragment.size(Register) / 2;
  Value result = k.local("column_sums", {2 * groups}, k.getF32Type());
  for (int64_t group = 0; group < groups; ++group) {
    Value part = k.local("ones", {2 * sums}, k.getF32Type(), k.f32(0));
    for (int64_t round = group * rounds; round < (group + 1) * rounds; ++round)
      k.call("mma_ones_u4", mma.header, {k.address(part, k.index(0)), k.address(x, k.index(round * words))});
    for (int64_t i : {0, 1})
      k.set(k.addF(k.get(part, k.index(i)), k.get(part, k.index(sums + i))), result, k.index(2 * group + i));
  }
  return result;
}

LogicalResult RingLowering::dotOfCodes(tile::DotOp op) {
  using enum LayoutDim;
  auto numbers = op.getLhs().getDefiningOp<tile::DequantizeOp>();
  const MmaInstruction &mma = *mmaOf(op);
  if (failed(checkProductOfCodes(op, numbers, mma)))
    return failure();
  prepare(op.getRhs());
  prepare(op.getAccumulator());
  int64_t sums = registerLayout(op.getResult()).size(Register), size = groupColumns(numbers);
  int64_t pairs = registerLayout(op.getRhs()).size(Register) / 2;
  Value x = packRows(op.getRhs(), pairs), columnSums, result = local(sums, b.getF32Type(), "acc");
  unrolled(sums, [&](Value reg) { set(element(op.getAccumulator(), reg), result, reg); });

  KernelBuilder k(loc, b);
  PiecesOfLane pieces =
      piecesOfLane(numbers, mma, k, [&](ArrayRef<int64_t> components) { return image(lane, components); });
  auto [buffer, start] = ringTiles.lookup(numbers.getBytes());
  pieces.base = k.as(k.offset(buffer, start), k.getI8Type());
  Type words = VectorType::get({4}, b.getI32Type());
  int64_t half = mma.rows / 2, wordsOfRound = mma.rightFragment.size(Register) / 2;
  auto read = [&](int64_t row, int64_t column) {
    int64_t ofColumn = 0;
    for (auto [i, component] : llvm::enumerate(pieces.ofColumn))
      ofColumn ^= column >> i & 1 ? component : 0;
    Value at = ofColumn ? k.bitXor(pieces.piece, ofColumn) : pieces.piece;
    return k.load(pieces.base, k.add(k.mul(at, 16), row ? pieces.ofRow[llvm::Log2_64(row)] * 16 : 0), words);
  };
  // The number of a group for the lane's lower or upper row, or the one for all.
  auto ofGroup = [&](Value tile, int64_t group, int64_t row, double otherwise) -> Value {
    if (!tile)
      return k.f32(otherwise);
    auto [numbers, first] = ringTiles.lookup(tile);
    return k.load(numbers, k.add(k.add(first, pieces.row), group * kUnitRows + row));
  };
  auto times = [&](Value number, Value factor) -> Value { return arith::MulFOp::create(k, number, factor); };

  // Products of several tiles of codes do the same with the activations. nvcc does it once.
  UnpackedForm form = formOf(numbers.getCodes());
  if (form.hasZerosInSums) {
    Value scaled = k.local("scaled", {pairs}, k.getI32Type());
    k.call("scale_columns_u4<" + Twine(pairs) + ">", mma.header,
           {k.address(scaled, k.index(0)), k.address(x, k.index(0))});
    x = scaled;
    columnSums = sumsOfRows(x, numbers, mma, k);
  }
  bool areIntegers = numbers.getCodes() != tile::Codes::F8E4M3;
  bool hasZeros = areIntegers && (numbers.getZeros() || numbers.getZeroPoint() != 0 || form.bias != 0);
  std::string function = ("mma_" + tile::stringifyCodes(numbers.getCodes())).str();
  for (int64_t group = 0; group < numbers.getType().getDimSize(1) / size; ++group) {
    // Two chains of sums, so that a product need not wait for the one before.
    Value part = k.local("part", {2 * sums}, k.getF32Type(), k.f32(0)), zeros[2], scales[2];
    for (int64_t i : {0, 1}) {
      scales[i] = ofGroup(numbers.getScales(), group, i * half, 1);
      if (form.unit != 1)
        scales[i] = times(scales[i], k.f32(form.unit));
      if (!hasZeros)
        continue;
      zeros[i] = ofGroup(numbers.getZeros(), group, i * half, static_cast<double>(numbers.getZeroPoint()));
      if (form.bias)
        zeros[i] = k.addF(zeros[i], k.f32(static_cast<double>(form.bias)));
    }
    SmallVector<Value> ofZeros;
    if (!form.hasZerosInSums)
      for (Value zero : zeros)
        ofZeros.push_back(zero ? k.call(k.getI32Type(), "pair_of", "pairs.h", times(zero, k.f32(-1 / form.unit)))
                               : k.i32(0));
    for (int64_t column = group * size; column < (group + 1) * size; column += mma.inner) {
      SmallVector<Value> operands{k.address(part, k.index(0)), read(0, column), read(half, column),
                                  k.address(x, k.index(column / mma.inner * wordsOfRound))};
      operands.append(ofZeros);
      k.call(function, mma.header, operands);
    }
    // Registers 0 and 1 of the sums are of the lower row, 2 and 3 of the upper one.
    for (int64_t reg = 0; reg < sums; ++reg) {
      Value sum = k.addF(k.get(part, k.index(reg)), k.get(part, k.index(sums + reg)));
      if (hasZeros && form.hasZerosInSums)
        sum = arith::SubFOp::create(k, sum, times(zeros[reg / 2], k.get(columnSums, k.index(group * 2 + reg % 2))));
      k.set(k.addF(times(sum, scales[reg / 2]), k.get(result, k.index(reg))), result, k.index(reg));
    }
  }
  define(op.getResult(), result);
  return success();
}

//===- GenericWarpRings.cpp - warps that fetch and multiply for themselves ---===//
//
// A warp's ring has a buffer and an mbarrier for each slot. One lane starts a copy; a slot
// is empty when all lanes have read it. Products read a slot by ldmatrix as their left
// side, whose fragments are 8 x 8 elements of either order, and have their right side in
// registers.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;

static int64_t elementsOfSlab(RankedTensorType tile) { return tile::slabBytes(tile) / bytesOf(tile.getElementType()); }

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

LogicalResult GenericLowering::warpRing(tile::RingOp op) {
  auto warps = cast<tile::ForWarpsOp>(op->getParentOp());
  tile::RingType type = op.getResult().getType();
  if (type.getTiles().size() != 1)
    return op.emitOpError() << "of a warp has " << type.getTiles().size() << " tiles in a slot; expected one";
  Type element = cast<RankedTensorType>(type.getTiles()[0]).getElementType();
  int64_t count = warps.getCount(), stages = type.getStages();
  RingState &state = rings[op];
  state.isOfWarp = true;
  // What the warp leaves for others goes where its ring was.
  int64_t bytes = llvm::alignTo(std::max(stages * type.slotBytes(), partBytes(warps)), tile::kAtomBytes);
  KernelBuilder k(loc, b);
  k.setInsertionPoint(entryEnd);
  Value all = k.shared("rings", element, count * bytes, tile::kAtomBytes);
  state.buffers.push_back(k.name("ring", k.offset(all, k.mul(warp, bytes / bytesOf(element)))));
  ringsOfWarps[warps] = {all, bytes};
  Value barriers = k.shared("barriers", k.getI64Type(), count * stages * 8);
  state.full = k.name("full", k.offset(barriers, k.mul(warp, stages)));
  k.ifThen(k.equal(lane, 0), [&] {
    k.loop("i", stages, KernelBuilder::Unrolled,
           [&](Value i) { k.call("mbarrier_init", "mbarrier.h", {k.offset(state.full, i), k.i32(1)}); });
    k.call("fence_mbarrier_init", "mbarrier.h", {});
    for (unsigned i = 0; i < maps.maps.size(); ++i)
      k.call("prefetch_tensor_map", "tma.h", tensorMap(i));
  });
  k.syncWarp();
  Type index = k.getIndexType();
  state.producer.stage = k.local("stage", {}, index, k.index(0));
  state.consumer.stage = k.local("stage", {}, index, k.index(0));
  state.consumer.parity = k.local("parity", {}, index, k.index(0));
  return success();
}

/// One lane announces the bytes and starts the copies, slab by slab.
LogicalResult GenericLowering::fetchOfWarp(tile::FetchOp op) {
  RingState &state = rings[op.getRing()];
  auto tile = cast<RankedTensorType>(op.getRing().getType().getTiles()[0]);
  Value slot = scalar(op.getSlot()), row = scalar(op.getOffsets()[0]), column = scalar(op.getOffsets()[1]);
  if (!matchPattern(op.getOffsets()[1], m_Zero()))
    return op.emitOpError("of a warp brings columns from another one than 0; expected whole rows");
  KernelBuilder k(loc, b);
  k.ifThen(k.equal(lane, 0), [&] {
    Value bar = k.name("bar", k.offset(state.full, slot));
    Value to = k.mul(slot, tile::slabsOf(tile) * elementsOfSlab(tile));
    k.call("mbarrier_arrive_expect", "mbarrier.h", {bar, k.i32(op.getRing().getType().slotBytes())});
    if (op.getUnwritten())
      k.provenance = cuda::Provenance::OlderKv;
    for (int64_t slab = 0; slab < tile::slabsOf(tile); ++slab)
      k.call("tma_load_2d", "tma.h",
             {k.offset(state.buffers[0], k.add(to, slab * elementsOfSlab(tile))), tensorMap(maps.numbers.lookup(op)),
              bar, k.add(column, slab * tile::kAtomColumns), row});
    k.provenance.reset();
  });
  // Lanes that wait for a slot could keep the one that fetches from running.
  k.syncWarp();
  return success();
}

/// Each lane clears a row, or a part of one.
LogicalResult GenericLowering::clearRowsOfWarp(tile::ClearRowsOp op) {
  auto [buffer, start] = ringTiles.lookup(op.getTile());
  RankedTensorType tile = tileType(op.getTile());
  Layout layout = registerLayout(op.getHeld());
  int64_t rows = layout.extent(LayoutDim::Dim0), lanes = 32 / rows;
  if (rows > 32 || rows != tile.getDimSize(0))
    return op.emitOpError() << "clears rows of " << tile.dropEncoding()
                            << " in a warp; expected a power of two of up to 32 rows";
  prepare(op.getHeld());
  KernelBuilder k(loc, b);
  Value isHeld = element(op.getHeld(), index(0));
  Value areHeld = call("all_lanes", "warp.h", {isHeld}, b.getI1Type());
  Value isOut = arith::XOrIOp::create(b, loc, isHeld, always());
  auto branch = scf::IfOp::create(b, loc, arith::XOrIOp::create(b, loc, areHeld, always()), /*withElseRegion=*/false);
  scopes.back().inner = branch;
  k.setInsertionPoint(branch.thenYield());
  Value row = k.name("row", k.div(lane, lanes)), words = k.as(buffer, k.getI32Type());
  int64_t wordsOfRow = tile::kSlabBytes / 4, wordsOfSlab = tile::slabBytes(tile) / 4;
  k.ifThen(isOut, [&] {
    Value at = k.add(k.div(start, 2), k.add(k.mul(row, wordsOfRow), k.mul(k.rem(lane, lanes), wordsOfRow / lanes)));
    k.loop("i", wordsOfRow / lanes, KernelBuilder::Unrolled, [&](Value i) {
      for (int64_t slab = 0; slab < tile::slabsOf(tile); ++slab)
        k.store(k.i32(0), words, k.add(k.add(at, i), slab * wordsOfSlab));
    });
  });
  k.syncWarp();
  ringTiles[op.getResult()] = ringTiles.lookup(op.getTile());
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// A product whose left side is in a slot and whose right side is in registers.
LogicalResult GenericLowering::dotOfSlot(tile::DotOp op) {
  using enum LayoutDim;
  const MmaInstruction &mma = *mmaOf(op);
  RankedTensorType left = tileType(op.getLhs()), right = tileType(op.getRhs());
  auto [buffer, start] = ringTiles.lookup(op.getLhs());
  Layout there = cast<tile::SharedAttr>(left.getEncoding()).getLayout(), sums = registerLayout(op.getResult());
  Layout place = there.inverse(), ofRight = registerLayout(op.getRhs());
  SmallVector<int64_t> ofRow = place.components(Dim0, Offset), ofInner = place.components(Dim1, Offset);
  // Eight neighbours in memory are a row of an 8 x 8 matrix, or a column.
  bool isByColumns = there.bases(Offset).front()[Dim0] != 0;

  prepare(op.getRhs());
  prepare(op.getAccumulator());
  int64_t inner = left.getDimSize(1), steps = llvm::divideCeil(inner, mma.inner);
  int64_t rowTiles = llvm::divideCeil(left.getDimSize(0), mma.rows);
  int64_t columnTiles = int64_t(1) << (ofRight.outBits(Dim0) - log2Ceil(mma.columns));
  int64_t words = ofRight.size(Register) / 2, wordsOfStep = mma.rightFragment.size(Register) / 2;
  int64_t wordsOfColumns = words / columnTiles;
  Type type = right.getElementType();
  Value pairs = local(words, b.getI32Type(), "pairs"), zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  unrolled(words, [&](Value i) {
    auto read = [&](Value reg) {
      Value value = element(op.getRhs(), reg);
      if (inner % mma.inner == 0)
        return value;
      Value inside = less(coordinate(ofRight, 1, reg), index(inner));
      return Value(arith::SelectOp::create(b, loc, inside, value, zero));
    };
    Value low = mul(i, 2), first = read(low);
    set(call("pack_bits", "base.h", {first, read(add(low, index(1)))}, b.getI32Type()), pairs, i);
  });
  int64_t registers = sums.size(Register), sumsOfTile = mma.sums.size(Register);
  Value acc = local(registers, b.getF32Type(), "acc");
  unrolled(liveRegisters(sums, tileType(op.getResult()).getShape()),
           [&](Value reg) { set(element(op.getAccumulator(), reg), acc, reg); });

  // ldmatrix: lanes 8 m to 8 m + 7 say where the rows of matrix m lie. The fragment has the matrices of rows 0 and 8,
  // then those of columns 8 on. In memory, the rows of a matrix are those of the tile or its columns.
  Layout ofLane = Layout::identity(Lane, 3, isByColumns ? Dim1 : Dim0);
  auto addBit = [&](LayoutDim dim) {
    tile::LayoutPoint basis;
    basis[dim] = 8;
    ofLane.addBit(Lane, basis);
  };
  addBit(Dim0);
  addBit(Dim1);
  SmallVector<int64_t> ofLanes = ofLane.compose(place).components(Lane, Offset);
  int64_t inLanes = bitsOf(ofLanes);
  Value laneOffset;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryEnd);
    laneOffset = image(lane, ofLanes);
  }
  std::string load = isByColumns ? "ldmatrix_x4_trans" : "ldmatrix_x4";
  Value base = pointerAt(buffer, start);
  auto drop = [](ArrayRef<int64_t> components, int64_t size) { return components.drop_front(log2Ceil(size)); };
  unrolled(rowTiles, [&](Value rowTile) {
    unrolled(steps, [&](Value step) {
      ArrayRef<int64_t> rowBits = drop(ofRow, mma.rows), stepBits = drop(ofInner, mma.inner);
      Value at = joined(image(rowTile, rowBits), bitsOf(rowBits), image(step, stepBits), bitsOf(stepBits));
      at = joined(laneOffset, inLanes, at, bitsOf(rowBits) | bitsOf(stepBits));
      Value fragment = local(mma.leftFragment.size(Register) / 2, b.getI32Type(), "a");
      call(load, "mma.h", {address(fragment, index(0)), pointerAt(base, at)});
      for (int64_t column = 0; column < columnTiles; ++column) {
        Value c = mul(add(mul(rowTile, columnTiles), index(column)), sumsOfTile);
        Value pair = add(mul(step, wordsOfStep), index(column * wordsOfColumns));
        call(mma.call(type, mma.columns), mma.header,
             {address(acc, c), address(fragment, index(0)), address(pairs, pair)});
      }
    });
  });
  define(op.getResult(), acc);
  return success();
}

/// Transposes the 8 x 8 elements of each pair of registers.
Value GenericLowering::transposeMatrices(Value array, Type element) {
  int64_t registers = cast<cuda::LocalType>(array.getType()).getShape()[0];
  Value result = local(registers, element, "transposed");
  std::string name = element.isBF16() ? "bfloat16>" : "float16>";
  unrolled(registers / 2, [&](Value i) {
    Value low = mul(i, 2), high = add(low, index(1)), first = get(array, low);
    Value pair = call("pack_bits", "base.h", {first, get(array, high)}, b.getI32Type());
    pair = call("transpose_8x8", "mma.h", {pair}, b.getI32Type());
    set(call("low_half<" + name, "base.h", {pair}, element), result, low);
    set(call("high_half<" + name, "base.h", {pair}, element), result, high);
  });
  return result;
}

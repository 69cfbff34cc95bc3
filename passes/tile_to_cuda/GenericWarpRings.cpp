//===- GenericWarpRings.cpp - warps that fetch and multiply for themselves ---===//
//
// A warp's ring has a buffer and an mbarrier for each slot. One lane starts a copy; a slot
// is empty when all lanes have read it. Products read a slot by ldmatrix as their left
// side, whose fragments are 8 x 8 elements of either order, and have their right side in
// registers. Floats of 8 bits are widened after they were read.
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

LogicalResult RingLowering::warpRing(tile::RingOp op) {
  auto warps = cast<tile::ForWarpsOp>(op->getParentOp());
  tile::RingType type = op.getResult().getType();
  auto tile = cast<RankedTensorType>(type.getTiles().front());
  bool holdsRows = llvm::any_of(op->getUsers(), [](Operation *user) {
    auto fetch = dyn_cast<tile::FetchOp>(user);
    return fetch && fetch.getView().getType().getProvenance() == tile::Provenance::Kv;
  });
  bool isPacked = !holdsRows;
  bool areCodes = isPacked && tile.getElementType().isInteger(); // with scales and zero points
  bool isWhole = tile.getDimSize(0) % tile::kGroupRows == 0 && tile.getDimSize(1) % tile::kAtomColumns == 0;
  bool isKnown = tile.getElementTypeBitWidth() == 16 || (holdsRows && isa<Float8E4M3FNType>(tile.getElementType()));
  if (!areCodes && (type.getTiles().size() != 1 || !isKnown || (isPacked && !isWhole)))
    return op.emitOpError() << "of a warp has slots of " << type.getTiles()
                            << "; expected one tile of 16 bits, or of f8E4M3FN for cached rows, of " << tile::kGroupRows
                            << " n x " << tile::kAtomColumns << " n, or codes";
  int64_t count = warps.getCount(), stages = type.getStages();
  RingState &state = rings[op];
  state.isOfWarp = true;
  // What the warp leaves for others goes where its ring was.
  int64_t bytes = llvm::alignTo(std::max(stages * type.slotBytes(), partBytes(warps)), tile::kAtomBytes);
  KernelBuilder k(loc, b);
  k.setInsertionPoint(entryEnd);
  Type element = bufferElement(tile);
  Value all = k.shared("rings", element, count * bytes, tile::kAtomBytes);
  ringsOfWarps[warps] = {all, bytes};
  Value barriers = k.shared("barriers", k.getI64Type(), count * stages * 8);
  state.buffers = {k.name("ring", k.offset(all, k.mul(warp, bytes / bytesOf(element))))};
  int64_t before = stages * type.tileBytes(0);
  for (auto [i, next] : llvm::enumerate(type.getTiles().drop_front())) {
    Value from = k.offset(state.buffers[0], k.index(before / bytesOf(element)));
    state.buffers.push_back(k.name("ring_of_groups", k.as(from, bufferElement(cast<RankedTensorType>(next)))));
    before += stages * type.tileBytes(i + 1);
  }
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
  state.producer.stage = k.local("filled_next", {}, index, k.index(0));
  state.consumer.stage = k.local("stage", {}, index, k.index(0));
  state.consumer.parity = k.local("parity", {}, index, k.index(0));
  if (isPacked)
    evictFirst = k.name("policy", k.call(k.getI64Type(), "evict_first_policy", "bulk_copy.h", {}));
  return success();
}

/// One lane announces the bytes and starts the copies, slab by slab.
LogicalResult RingLowering::fetchRowsOfWarp(tile::FetchOp op) {
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
LogicalResult RingLowering::clearRowsOfWarp(tile::ClearRowsOp op) {
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
    Value at = k.add(k.div(start, 4 / bytesOf(tile.getElementType())),
                     k.add(k.mul(row, wordsOfRow), k.mul(k.rem(lane, lanes), wordsOfRow / lanes)));
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

/// The right side of a product in registers, as packed pairs along `inner`: of neighbours, or of every second element,
/// as codes become pairs.
Value RingLowering::packRight(Value tile, int64_t inner, int64_t innerOfStep, bool asCodes) {
  Layout layout = registerLayout(tile);
  Type type = tileType(tile).getElementType();
  // What a load has past the end of its tile is 0.
  bool isWhole = inner % innerOfStep == 0 || isa_and_nonnull<tile::GatherOp, tile::LoadOp>(tile.getDefiningOp());
  int64_t words = layout.size(LayoutDim::Register) / 2;
  Value pairs = local(words, b.getI32Type(), "pairs"), zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  auto read = [&](Value reg) {
    Value value = element(tile, reg);
    if (isWhole)
      return value;
    Value inside = less(coordinate(layout, 1, reg), index(inner));
    return Value(arith::SelectOp::create(b, loc, inside, value, zero));
  };
  auto pack = [&](Value pair, Value low, int64_t distance) {
    Value first = read(low), second = read(add(low, index(distance)));
    set(call("pack_bits", "base.h", {first, second}, b.getI32Type()), pairs, pair);
  };
  if (!asCodes)
    unrolled(words, [&](Value i) { pack(i, mul(i, 2), 1); });
  else
    unrolled(words / 2, [&](Value i) {
      for (int64_t odd = 0; odd < 2; ++odd)
        pack(add(mul(i, 2), index(odd)), add(mul(i, 4), index(odd)), 2);
    });
  return pairs;
}

/// What each bit of a lane adds to the offset of what it reads in a slot: `points` are those of lanes 0 to 4.
static SmallVector<int64_t> offsetsOfLanes(const Layout &place, ArrayRef<std::pair<LayoutDim, int64_t>> points) {
  Layout lanes;
  for (auto [dim, value] : points) {
    tile::LayoutPoint basis;
    basis[dim] = value;
    lanes.addBit(LayoutDim::Lane, basis);
  }
  return lanes.compose(place).components(LayoutDim::Lane, LayoutDim::Offset);
}

/// A product whose left side is in a slot and whose right side is in registers.
LogicalResult RingLowering::dotOfRows(tile::DotOp op) {
  using enum LayoutDim;
  const MmaInstruction &mma = *mmaOf(op);
  auto [isByRows, areCodes, inSlot] = *slotOperandOf(op);
  RankedTensorType left = tileType(op.getLhs());
  auto [buffer, start] = ringTiles.lookup(op.getLhs());
  Layout sums = registerLayout(op.getResult()), right = registerLayout(op.getRhs());
  Layout place = cast<tile::SharedAttr>(left.getEncoding()).getLayout().inverse();
  SmallVector<int64_t> ofRow = place.components(Dim0, Offset), ofInner = place.components(Dim1, Offset);
  prepare(op.getRhs());
  prepare(op.getAccumulator());

  // What is read together: by rows, several instructions along `inner`; by columns of codes, two along the rows.
  int64_t inSlotBytes = bytesOf(tileType(inSlot).getElementType()), parts = isByRows ? 4 / inSlotBytes : 1;
  int64_t pairTiles = areCodes && !isByRows ? 2 : 1;
  int64_t inner = left.getDimSize(1), innerOfStep = mma.inner * parts, rowsOfRead = mma.rows * pairTiles;
  int64_t steps = llvm::divideCeil(inner, innerOfStep), rowTiles = llvm::divideCeil(left.getDimSize(0), mma.rows);
  if (rowTiles % pairTiles != 0)
    return op.emitOpError() << "reads " << left.getDimSize(0)
                            << " columns of f8E4M3FN in a slot; expected a multiple of " << rowsOfRead;
  int64_t columnTiles = int64_t(1) << (right.outBits(Dim0) - log2Ceil(mma.columns));
  int64_t words = mma.rightFragment.size(Register) / 2, wordsOfColumns = right.size(Register) / 2 / columnTiles;
  Value pairs = packRight(op.getRhs(), inner, innerOfStep, /*asCodes=*/areCodes && isByRows);
  // Two chains of sums where one would wait for itself.
  int64_t registers = sums.size(Register), sumsOfTile = mma.sums.size(Register), chains = isByRows ? 2 : 1;
  int64_t live = liveRegisters(sums, tileType(op.getResult()).getShape());
  Value acc = local(registers * chains, b.getF32Type(), "acc");
  unrolled(live, [&](Value reg) { set(element(op.getAccumulator(), reg), acc, reg); });
  if (chains > 1) {
    Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
    unrolled(live, [&](Value reg) { set(zero, acc, add(reg, index(registers))); });
  }

  // A lane reads a row's 16 bytes (rows in the order of the sums), or says where a row of a matrix lies: ldmatrix takes
  // row i of matrix m from lane 8 m + i, and the fragment has the matrices of rows 0 and 8, then those of columns 8 on.
  // A matrix of codes has both of the rows, so the next ones are those of columns 8 on, and of the next fragment.
  auto row = [&](int bit) { return std::pair(Dim0, sums.bases(Lane)[bit][Dim0]); };
  auto ofRight = [&](LayoutDim in, int bit) { return std::pair(Dim1, right.bases(in)[bit][Dim1]); };
  SmallVector<int64_t> ofLanes =
      isByRows ? offsetsOfLanes(place, {ofRight(Lane, 0), ofRight(Lane, 1), row(2), row(3), row(4)})
      : areCodes
          ? offsetsOfLanes(place, {ofRight(Register, 0), ofRight(Lane, 0), ofRight(Lane, 1), {Dim1, 8}, {Dim0, 16}})
          : offsetsOfLanes(place, {ofRight(Register, 0), ofRight(Lane, 0), ofRight(Lane, 1), {Dim0, 8}, {Dim1, 8}});
  Value laneOffset;
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(entryEnd);
    laneOffset = image(lane, ofLanes);
  }
  Value base = pointerAt(buffer, start);
  ArrayRef<int64_t> rowBits = ArrayRef(ofRow).drop_front(log2Ceil(rowsOfRead));
  ArrayRef<int64_t> stepBits = ArrayRef(ofInner).drop_front(log2Ceil(innerOfStep));
  int64_t leftWords = mma.leftFragment.size(Register) / 2;
  StringRef widen = left.getElementType().isBF16() ? "widen_e4m3_words<bfloat16>" : "widen_e4m3_words<float16>";
  unrolled(rowTiles / pairTiles, [&](Value read) {
    unrolled(steps, [&](Value step) {
      Value at = joined(image(read, rowBits), bitsOf(rowBits), image(step, stepBits), bitsOf(stepBits));
      at = joined(laneOffset, bitsOf(ofLanes), at, bitsOf(rowBits) | bitsOf(stepBits));
      Value fragment = pairTiles == 1 ? local(leftWords * parts, b.getI32Type(), "a") : Value();
      auto widened = [&](Value words) {
        if (!areCodes)
          return words;
        Value numbers = local(8, b.getI32Type(), "wide");
        call(widen, "fp8.h", {address(numbers, index(0)), address(words, index(0))});
        return numbers;
      };
      if (isByRows) {
        KernelBuilder k(loc, b);
        for (int64_t half = 0; half < 2; ++half) { // rows 0 to 7, then 8 to 15
          Value keys = local(4, b.getI32Type(), "keys");
          Value from = k.as(pointerAt(base, add(at, index(half * ofRow[3]))), b.getI32Type());
          call("load_vector<4>", "tile.h", {address(keys, index(0)), from, always()});
          keys = widened(keys);
          for (int64_t word = 0; word < 2 * parts; ++word)
            set(get(keys, index(word)), fragment, index(word * 2 + half));
        }
      } else {
        Value matrices = fragment ? fragment : local(4, b.getI32Type(), "codes");
        call("ldmatrix_x4_trans", "mma.h", {address(matrices, index(0)), pointerAt(base, at)});
        fragment = widened(matrices);
      }
      for (int64_t part = 0; part < parts * pairTiles; ++part)
        for (int64_t column = 0; column < columnTiles; ++column) {
          int64_t ofInner = part % parts;
          Value rowTile = add(mul(read, pairTiles), index(part / parts));
          Value c = mul(add(mul(rowTile, columnTiles), index(column)), sumsOfTile);
          c = add(c, index(ofInner % chains * registers));
          Value pair = add(mul(step, words * parts), index(ofInner * words + column * wordsOfColumns));
          call(mma.call(left.getElementType(), mma.columns), mma.header,
               {address(acc, c), address(fragment, index(part * leftWords)), address(pairs, pair)});
        }
    });
  });
  if (chains > 1)
    unrolled(live, [&](Value reg) {
      set(arith::AddFOp::create(b, loc, get(acc, reg), get(acc, add(reg, index(registers)))), acc, reg);
    });
  define(op.getResult(), acc);
  return success();
}

/// Transposes the 8 x 8 elements of each pair of registers.
Value TileValues::transposeMatrices(Value array, Type element) {
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

//===- GenericStream.cpp - weights in the ring of a warp, and sums over warps -----===//
//
// One lane starts the copies of a slot: packed weights are contiguous, so that a bulk copy brings 8 rows of a tile. A
// product reads the slot as fragments of mma.m16n8k16: 16 bytes of a lane are 8 columns of one
// weight row, which are two fragments in an order of k that the activations share.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomBytes, tile::kAtomColumns, tile::kGroupRows;

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

/// One lane announces the bytes of a slot and starts a copy for each 8 rows. Rows past the end of the view have none.
LogicalResult RingLowering::fetchWeightsOfWarp(tile::FetchOp op) {
  auto view = cast<tile::ViewType>(op.getView().getType());
  StringAttr packing = packingOf(program, op.getView());
  if (packing && packing.getValue() != tile::kAtomPacking)
    return fetchUnitsOfWarp(op);
  if (!packing)
    return op.emitError("reads weights that are not packed; expected ")
           << tile::kPackingAttr << " = \"" << tile::kAtomPacking << "\"";
  KernelBuilder k(loc, b);
  RingState &state = rings[op.getRing()];
  auto tile = cast<RankedTensorType>(op.getRing().getType().getTiles()[op.getTile()]);
  int64_t atoms = llvm::divideCeil(view.getShape()[1], kAtomColumns);
  int64_t groups = llvm::divideCeil(view.getShape()[0], kGroupRows), copies = tile.getDimSize(0) / kGroupRows;
  int64_t elements = kGroupRows * tile.getDimSize(1), bytes = elements * 2;
  Value slot = scalar(op.getSlot()), row = scalar(op.getOffsets()[0]), column = scalar(op.getOffsets()[1]);
  Value source = k.as(scalar(op.getView()), k.getI8Type());
  Value bar = k.name("bar", k.offset(state.full, slot)),
        to = k.offset(state.buffers[0], k.mul(slot, copies * elements));
  Value first = k.div(row, kGroupRows);
  k.ifThen(k.equal(lane, 0), [&] {
    Value present = k.i32(copies * bytes), isFirst = k.less(first, groups);
    if (copies == 1) {
      present = k.select(isFirst, present, k.i32(0));
    } else if (groups % copies != 0) {
      Value count = k.max(k.min(k.sub(k.index(groups), first), k.index(copies)), k.index(0));
      present = arith::IndexCastOp::create(k, k.getI32Type(), k.mul(count, bytes));
    } else {
      present = k.select(isFirst, present, k.i32(0));
    }
    k.call("mbarrier_arrive_expect", "mbarrier.h", {bar, present});
    for (int64_t copy = 0; copy < copies; ++copy) {
      Value group = k.add(first, copy);
      bool isAlone = copy > 0 && groups % copies != 0;
      k.ifThen(isAlone ? k.less(group, groups) : isFirst, [&] {
        // A large matrix has more bytes than an int counts.
        Type i64 = k.getI64Type();
        Value atom = k.add(arith::MulIOp::create(k, arith::IndexCastOp::create(k, i64, group),
                                                 arith::ConstantIntOp::create(k, atoms, 64))
                               .getResult(),
                           arith::IndexCastOp::create(k, i64, k.div(column, kAtomColumns)));
        Value at = arith::MulIOp::create(k, atom, arith::ConstantIntOp::create(k, kAtomBytes, 64));
        SmallVector<Value> operands{k.offset(to, k.index(copy * elements)), k.offset(source, at), k.i32(bytes), bar};
        if (op.getEvictFirst())
          operands.push_back(evictFirst);
        k.call("bulk_copy", "bulk_copy.h", operands);
      });
    }
  });
  // Lanes that already wait for the slot would keep the first one from starting its copy.
  k.syncWarp();
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// The activations as packed pairs.
Value RingLowering::packRows(Value rows, int64_t pairs) {
  Value x = local(pairs, b.getI32Type(), "x");
  unrolled(pairs, [&](Value i) {
    Value low = mul(i, 2);
    Value first = element(rows, low), second = element(rows, add(low, index(1)));
    set(call("pack_bits", "base.h", {first, second}, b.getI32Type()), x, i);
  });
  return x;
}

LogicalResult RingLowering::dotOfWeights(tile::DotOp op) {
  const MmaInstruction &mma = *mmaOf(op);
  bool isLeft = mma.left == OperandPlace::Packed;
  Value weights = isLeft ? op.getLhs() : op.getRhs(), rows = isLeft ? op.getRhs() : op.getLhs();
  RankedTensorType type = tileType(rows), weightType = tileType(weights);
  int64_t inner = type.getDimSize(1), pieces = inner / mma.inner, most = 2 * kGroupRows;
  if (!op.getTransposeRhs() || weightType.getDimSize(0) != (isLeft ? mma.rows : mma.columns) ||
      type.getDimSize(0) > most || !llvm::isPowerOf2_64(inner))
    return op.emitOpError() << "has " << tileType(op.getLhs()).dropEncoding() << " and "
                            << tileType(op.getRhs()).dropEncoding()
                            << "; of weights in the ring of a warp, expected 16 rows on the left or 8 on the right, "
                               "up to 16 rows of activations, and a power of two of columns";
  Layout layout = registerLayout(rows), sumLayout = registerLayout(op.getResult());
  prepare(rows);
  prepare(op.getAccumulator());

  int64_t pairs = layout.size(LayoutDim::Register) / 2;
  Value x = packRows(rows, pairs);
  KernelBuilder k(loc, b);
  int64_t sums = sumLayout.size(LayoutDim::Register);
  // Every second piece has sums of its own, so that a product need not wait for the one before.
  Value acc[2] = {local(sums, b.getF32Type(), "acc"), local(sums, b.getF32Type(), "more")};
  Value zero = k.f32(0);
  unrolled(sums, [&](Value reg) {
    set(element(op.getAccumulator(), reg), acc[0], reg);
    set(zero, acc[1], reg);
  });

  auto [buffer, start] = ringTiles.lookup(weights);
  Value group = k.name("g", k.div(lane, 4)), quarter = k.rem(lane, 4);
  Value weightRow = k.name("weight_row", k.add(k.div(group, 2), k.mul(k.rem(group, 2), 4)));
  Type words = VectorType::get({4}, b.getI32Type());
  Value tile = k.as(k.offset(buffer, start), k.getI8Type());
  Value base = k.name("w", k.offset(tile, k.mul(weightRow, kAtomColumns * 2)));
  // Columns of the product that an instruction has not: activations on the right.
  int64_t wordsOfPiece = (isLeft ? mma.rightFragment : mma.leftFragment).size(LayoutDim::Register) / 2;
  int64_t tiles = pairs / (pieces * wordsOfPiece), sumsOfTile = mma.sums.size(LayoutDim::Register);
  for (int64_t piece = 0; piece < pieces; ++piece) {
    Value chunk = k.bitXor(k.add(quarter, piece % 2 * 4), weightRow);
    auto read = [&](int64_t from) {
      return k.load(base, k.add(k.mul(chunk, 16), from + piece / 2 * kAtomBytes), words);
    };
    Value into = acc[piece % 2], low = read(0);
    Value high = isLeft ? read(inner * kGroupRows * 2) : Value();
    for (int64_t tile = 0; tile < tiles; ++tile) {
      Value own = address(x, index(wordsOfPiece * (piece + pieces * tile)));
      SmallVector<Value> operands{address(into, index(sumsOfTile * tile))};
      if (isLeft)
        operands.append({low, high, own});
      else
        operands.append({own, low});
      k.call(mma.call(weightType.getElementType(), mma.columns), mma.header, operands);
    }
  }
  if (pieces > 1)
    unrolled(sums,
             [&](Value reg) { set(combine(tile::Reduction::Add, get(acc[0], reg), get(acc[1], reg)), acc[0], reg); });
  define(op.getResult(), acc[0]);
  return success();
}

//===----------------------------------------------------------------------===//
// Sums over warps
//===----------------------------------------------------------------------===//

/// Tiles side by side, each in registers of its own.
LogicalResult RingLowering::concat(tensor::ConcatOp op) {
  int64_t part = registerLayout(op.getInputs().front()).size(LayoutDim::Register);
  Value whole = local(registerLayout(op).size(LayoutDim::Register), op.getType().getElementType(), "whole");
  for (auto [i, tile] : llvm::enumerate(op.getInputs())) {
    Value array = materialize(tile, "part");
    unrolled(part, [&](Value reg) { set(get(array, reg), whole, add(reg, index(i * part))); });
  }
  define(op, whole);
  return success();
}

LogicalResult RingLowering::warpReduce(tile::WarpReduceOp op) {
  auto forWarps = op->getParentOfType<tile::ForWarpsOp>();
  auto warps = static_cast<int64_t>(forWarps.getCount());
  if (threads.group != ThreadGroup::Warp || warps * 32 != static_cast<int64_t>(kernel.getThreads()))
    return op.emitOpError("is not reached by all warps of the block");
  KernelBuilder k(loc, b);
  // In a loop, what was read of the sums before has been read by all.
  if (op->getParentOp() != forWarps)
    k.barrier();
  for (auto [value, result] : llvm::zip_equal(op.getValues(), op.getResults())) {
    RankedTensorType type = tileType(value);
    auto layoutThere = cast<tile::SharedAttr>(tileType(result).getEncoding());
    bool isMatrix = type.getRank() == 2;
    int64_t pitch = isMatrix ? layoutThere.getPitch() : 1, partPitch = type.getDimSize(0) * pitch;
    partPitch = llvm::alignTo(partPitch, 4);
    Value base = k.shared("partials", type.getElementType(), warps * partPitch * 4);
    kept[result] = {base, pitch, warps, partPitch, /*isOfCluster=*/false, op.getKind()};
    Value own = k.name("own", k.offset(base, k.mul(warp, partPitch)));
    Layout layout = registerLayout(value);
    Value array = materialize(value, "kept"), holder = onlyOneHolder(layout);
    unrolled(liveRegisters(layout, type.getShape()), [&](Value reg) {
      Value at = coordinate(layout, 0, reg);
      if (isMatrix)
        at = add(mul(at, pitch), coordinate(layout, 1, reg));
      KernelBuilder inner(loc, b);
      Value present = both(holder, insideTile(layout, type.getShape(), reg)), part = get(array, reg);
      auto store = [&] { inner.store(part, own, at); };
      if (present)
        inner.ifThen(present, store);
      else
        store();
    });
    scopeOf[result] = scopes.size() - 1;
  }
  k.barrier();
  return success();
}

/// Reads a whole tile of sums over the warps.
Value TileValues::loadReduced(Value tile, const Layout &layout) {
  KeptTile own = kept.lookup(tile);
  RankedTensorType type = tileType(tile);
  Value array = local(layout.size(LayoutDim::Register), type.getElementType(), "sum");
  loadParts(own, array, /*width=*/1, [&](Value reg) {
    Value at = coordinate(layout, 0, reg);
    if (type.getRank() == 2)
      at = add(mul(at, own.pitch), coordinate(layout, 1, reg));
    return pointerAt(own.pointer, at);
  });
  return array;
}

//===- GenericWiden.cpp - rows that are widened while they are fetched -----===//
//
// Products read both operands from shared memory as 16-bit floats. Rows of 8-bit floats go through the registers of the
// warps that fetch: consumers have none to spare, and a copy of bytes beside the tiles would take a third of their
// shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomColumns, tile::kGroupRows;

/// Lanes of a warp, the codes that one loads, and the numbers that it stores, 16 bytes each.
static constexpr int64_t kLanes = 32, kCodes = 16, kChunk = 8;

/// Which row a lane has, and which 16 codes of the row, where the lanes have whole rows of `inRow` pieces of 16. Of
/// wide rows, 8 lanes that store at a time have two rows of one slab, whose chunks lie in different banks.
static std::pair<Value, Value> placeOfLane(Value lane, int64_t inRow, KernelBuilder &k) {
  constexpr int64_t inSlab = kAtomColumns / kCodes;
  if (inRow % (2 * inSlab) != 0)
    return {k.div(lane, inRow), k.rem(lane, inRow)};
  Value slab = k.rem(k.div(lane, 2 * inSlab), inRow / inSlab);
  return {k.add(k.rem(k.div(lane, inSlab), 2), k.mul(k.div(lane, 2 * inRow), 2)),
          k.add(k.rem(lane, inSlab), k.mul(slab, inSlab))};
}

/// Each of the warps that fetch takes every n-th run, 16 codes of a row at a time in each lane, and writes the numbers
/// under the swizzle. Runs that nobody holds are 0.
LogicalResult RingLowering::widenRows(tile::FetchRowsOp op) {
  auto tile = cast<RankedTensorType>(op.getRing().getType().getTiles()[op.getTile()]);
  tile::ViewType view = op.getView().getType();
  int64_t run = op.getRun(), runs = tile.getDimSize(0) / run, warps = threads.warps, columns = tile.getDimSize(1);
  bool isKnown = isa<Float8E4M3FNType>(view.getElementType()) && tile.getElementTypeBitWidth() == 16;
  if (!isKnown || columns % kCodes != 0 || op.getRing().getType().getTiles().size() != 1)
    return op.emitOpError() << "widens " << view << " to " << tile.dropEncoding()
                            << "; expected f8E4M3FN to 16 bits, rows of a multiple of " << kCodes
                            << " elements, and a ring of one tile";
  RingState &state = rings[op.getRing()];
  prepare(op.getIndices());
  Value first = element(op.getIndices(), index(0)), slot = scalar(op.getSlot()), pointer = scalar(op.getView());
  int64_t slabElements = tile::slabBytes(tile) / bytesOf(tile.getElementType());
  KernelBuilder k(loc, b);
  Value own = k.name("own", k.rem(warp, warps)), to = k.name("to", k.mul(slot, tile::slabsOf(tile) * slabElements));
  std::string type = tile.getElementType().isBF16() ? "bfloat16" : "float16";
  int64_t inRow = columns / kCodes, inRun = run * inRow, loads = llvm::divideCeil(inRun, kLanes);
  // Loads under way at a time: each has 4 registers, and the warps that fetch have few.
  constexpr int64_t mostLoads = 4;
  int64_t together = std::min(loads, mostLoads);
  while (loads % together != 0)
    --together;
  int64_t parts = loads / together;
  k.loop("turn", llvm::divideCeil(runs, warps) * parts, KernelBuilder::Rolled, [&](Value turn) {
    Value number = k.name("run", k.add(own, k.mul(parts > 1 ? k.div(turn, parts) : turn, warps)));
    Value part = parts > 1 ? k.rem(turn, parts) : Value();
    Value row = k.name("row", k.call(k.getI32Type(), "shuffle_from", "warp.h", {first, number}));
    Value isHeld = arith::CmpIOp::create(k, arith::CmpIPredicate::sge, row, k.i32(0));
    Value narrow = k.local("codes", {together, kCodes}, view.getElementType());
    auto ofRun = [&](Value load) { return parts > 1 ? k.add(load, k.mul(part, together)) : load; };
    auto partOf = [&](Value load) { return k.add(k.mul(ofRun(load), kLanes), lane); };
    // Where loads are whole rows apart, the rows are written as a sum, of which the compiler makes one address and
    // constant offsets: it has no registers for an address of each load beside what the loads bring.
    auto placeOf = [&](Value load) {
      if (kLanes % inRow != 0)
        return std::pair(k.div(partOf(load), inRow), k.mul(k.rem(partOf(load), inRow), kCodes));
      auto [rowOfLane, piece] = placeOfLane(lane, inRow, k);
      return std::pair(k.add(rowOfLane, k.mul(ofRun(load), kLanes / inRow)), k.mul(piece, kCodes));
    };
    auto wide = [&](Value x) {
      return Value(x.getType().isIndex() ? arith::IndexCastOp::create(k, k.getI64Type(), x).getResult()
                                         : arith::ExtSIOp::create(k, k.getI64Type(), x).getResult());
    };
    auto isThere = [&](Value load, Value condition) {
      if (inRun % kLanes != 0)
        condition = k.both(condition, k.less(partOf(load), inRun));
      return runs % warps != 0 ? k.both(condition, k.less(number, runs)) : condition;
    };
    k.loop("load", together, KernelBuilder::Unrolled, [&](Value load) {
      auto [inThis, column] = placeOf(load);
      Value start = arith::MulIOp::create(k, wide(row), arith::ConstantIntOp::create(k, columns, 64));
      Value at = arith::AddIOp::create(k, start, wide(k.add(k.mul(inThis, columns), column)));
      k.call("load_vector<16>", "tile.h",
             {k.address(narrow, {load, k.index(0)}), k.offset(pointer, at), isThere(load, isHeld)});
    });
    k.loop("load", together, KernelBuilder::Unrolled, [&](Value load) {
      auto [inThis, column] = placeOf(load);
      Value numbers = k.local("numbers", {kCodes}, tile.getElementType());
      k.call("widen_e4m3x16<" + type + ">", "fp8.h",
             {k.address(numbers, k.index(0)), k.address(narrow, {load, k.index(0)})});
      Value tileRow = k.add(k.mul(number, run), inThis), slab = k.div(column, kAtomColumns);
      Value base = k.add(k.add(to, k.mul(slab, slabElements)), k.mul(tileRow, kAtomColumns));
      for (int64_t half = 0; half < kCodes / kChunk; ++half) {
        Value place = k.bitXor(k.add(k.div(k.rem(column, kAtomColumns), kChunk), half), k.rem(inThis, kGroupRows));
        k.call("store_vector<8>", "tile.h",
               {k.offset(state.buffers[op.getTile()], k.add(base, k.mul(place, kChunk))),
                k.address(numbers, k.index(half * kChunk)), isThere(load, arith::ConstantIntOp::create(k, 1, 1))});
      }
    });
  });
  k.call("fence_async_proxy", "shared_address.h", {});
  k.syncWarp();
  k.ifThen(k.equal(lane, 0), [&] {
    k.call("mbarrier_arrive_written", "mbarrier.h", {state.buffers[op.getTile()], k.offset(state.full, slot)});
  });
  // Lanes that wait for the next slot could keep the one that arrives from running.
  k.syncWarp();
  return success();
}

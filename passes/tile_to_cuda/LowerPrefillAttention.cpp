//===- LowerPrefillAttention.cpp - many queries over their keys, on wgmma --===//
//
// One warp of a warpgroup brings tiles of keys and values through TMA into a ring; each
// of the other warpgroups has 64 rows of queries in shared memory, its scores, weights
// and outputs in registers. The scores of the next tile are computed while the outputs
// of this one are, and the softmax of one warpgroup runs beside the products of another
// (FlashAttention-3: Shah et al., 2024). A warp whose rows all see a tile takes a softmax
// without masks.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/PrefillAttention.h"

using namespace mlir;
using namespace inlay;

void PrefillAttentionLowering::setUp() {
  Type type = loop.keys.getView().getType().getElementType(), i64 = b.getI64Type();
  zero = b.index(0);
  thread = b.name("thread", b.special(cuda::Special::ThreadX));
  lane = b.name("lane", b.special(cuda::Special::Lane));
  warp = b.name("warp", b.special(cuda::Special::Warp));
  warpgroup = b.name("warpgroup", b.div(warp, 4));
  queriesTile = b.shared("queries", type, loop.rows * slabs * kRowBytes, 1024);
  keysRing = b.shared("keys_ring", type, schedule.getStages() * stageElements() * 2, 1024);
  valuesRing = b.shared("values_ring", type, schedule.getStages() * stageElements() * 2, 1024);
  for (Ring *ring : {&keys, &values}) {
    ring->full = b.shared(ring == &keys ? "keys_full" : "values_full", i64, schedule.getStages() * 8);
    ring->empty = b.shared(ring == &keys ? "keys_empty" : "values_empty", i64, schedule.getStages() * 8);
  }
  turns = b.shared("turns", i64, schedule.getConsumers() * 8);
  staged = b.shared("staged", i64, schedule.getConsumers() * 8);
  cleared = b.shared("cleared", i64, schedule.getConsumers() * 8);
  b.ifThen(b.equal(thread, 0), [&] {
    auto initialise = [&](Value bars, int64_t number, int64_t arrivals) {
      b.loop("i", number, KernelBuilder::Unrolled,
             [&](Value i) { b.call("mbarrier_init", "mbarrier.h", {b.offset(bars, i), b.i32(arrivals)}); });
    };
    for (Ring *ring : {&keys, &values}) {
      initialise(ring->full, schedule.getStages(), 1);
      initialise(ring->empty, schedule.getStages(), schedule.getConsumers());
    }
    initialise(turns, schedule.getConsumers(), kWarpgroup / kWarp);
    initialise(staged, schedule.getConsumers(), kWarpgroup);
    initialise(cleared, schedule.getConsumers(), kWarpgroup);
    b.call("fence_mbarrier_init", "mbarrier.h", {});
  });
  b.barrier();
}

/// Tiles of keys of the block; one where the program has none, so that both sides of the rings agree.
Value PrefillAttentionLowering::countOfTiles() {
  from = b.name("from", block.at(loop.loop.getLowerBound()));
  to = b.name("to", block.at(loop.loop.getUpperBound()));
  Value tiles = b.div(b.add(b.sub(to, from), loop.keysPerStep - 1), loop.keysPerStep);
  return b.name("tiles", b.max(tiles, b.index(1)));
}

Value PrefillAttentionLowering::stageOf(Value tile) { return b.name("stage", b.rem(tile, schedule.getStages())); }
Value PrefillAttentionLowering::parityOf(Value tile) { return b.rem(b.div(tile, schedule.getStages()), 2); }
Value PrefillAttentionLowering::elementsAt(Value stage) { return b.mul(stage, stageElements()); }

/// The first warp of the first warpgroup; each lane brings a run of kKeys positions.
LogicalResult PrefillAttentionLowering::produce(Value tiles) {
  LogicalResult result = success();
  b.call("setmaxnreg_dec<" + llvm::Twine(schedule.getProducerRegisters()) + ">", "registers.h", {});
  b.ifThen(b.equal(thread, 0), [&] {
    for (unsigned i = 0; i < 2; ++i)
      b.call("prefetch_tensor_map", "tma.h", tensorMap(i));
  });
  cuda::DependOp::create(b);
  b.ifThen(b.equal(warp, 0), [&] {
    b.loop("tile", zero, tiles, b.index(1), KernelBuilder::Rolled, [&](Value tile) {
      Value at = b.name("at", b.add(from, b.mul(tile, loop.keysPerStep)));
      Value key = b.name("key", b.mul(lane, kKeys));
      PointEvaluator rows =
          evaluator([&](Value value, ArrayRef<Value>) { return value == loop.loop.getInductionVar() ? at : Value(); });
      Value row = rows.at(loop.keys.getIndices(), key);
      if (!row) {
        result = failure();
        return;
      }
      b.comment("A run past the last position lies before the first row, where there are zeros.");
      Value isHeld = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, row, b.i32(0));
      row = b.name("row", b.select(isHeld, row, b.i32(-kKeys)));
      Value stage = stageOf(tile), parity = b.name("parity", b.sub(b.index(1), parityOf(tile)));
      for (unsigned which : {0u, 1u}) {
        const Ring &ring = which == 0 ? keys : values;
        Value bar = b.name("bar", b.offset(ring.full, stage));
        b.call("mbarrier_wait", "mbarrier.h", {b.offset(ring.empty, stage), parity});
        b.ifThen(b.equal(lane, 0),
                 [&] { b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, b.i32(stageElements() * 2)}); });
        b.syncWarp();
        b.ifThen(b.less(lane, loop.keysPerStep / kKeys), [&] {
          Value target = b.add(elementsAt(stage), b.mul(key, AttentionShape::slabColumns));
          for (int64_t slab = 0; slab < slabs; ++slab)
            b.call("tma_load_2d", "tma.h",
                   {b.offset(which == 0 ? keysRing : valuesRing, b.add(target, slab * slabElements())),
                    tensorMap(which), bar, b.index(slab * AttentionShape::slabColumns), row});
        });
      }
    });
  });
  return result;
}

/// Two threads bring a row of queries, 16 bytes at a time, to where wgmma reads it.
LogicalResult PrefillAttentionLowering::stageQueries() {
  Type i32 = b.getI32Type();
  Value inGroup = b.name("in_group", b.rem(thread, kWarpgroup));
  Value row = b.name("query", b.add(b.mul(consumer, 64), b.div(inGroup, 2)));
  PointEvaluator rowOf = evaluator([](Value, ArrayRef<Value>) { return Value(); });
  Value index = rowOf.at(loop.queries.getIndices(), row);
  Value first = loop.queries.getColumn() ? block.at(loop.queries.getColumn()) : zero;
  if (!index || !first)
    return failure();
  index = b.name("query_row", b.toIndex(index));
  Value isReal = b.name("is_real", arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, zero));
  int64_t viewColumns = loop.queries.getView().getType().getShape()[1];
  Value source = b.as(pointerOf(loop.queries.getView()), i32);
  Value begin = b.name("begin", b.add(b.mul(b.max(index, zero), viewColumns), first));
  Value words = b.local("words", {productsOfHead(), 4}, i32);
  auto chunkOf = [&](Value i) { return b.name("chunk", b.add(b.mul(i, 2), b.rem(inGroup, 2))); };
  b.loop("i", productsOfHead(), KernelBuilder::Unrolled, [&](Value i) {
    Value column = b.name("column", b.mul(chunkOf(i), kChunkColumns));
    Value present = loop.headDim % kProduct == 0 ? isReal : b.both(isReal, b.less(column, loop.headDim));
    b.call("load_vector<4>", "tile.h",
           {b.address(words, {i, zero}), b.offset(source, b.div(b.add(begin, column), 2)), present});
  });
  b.loop("i", productsOfHead(), KernelBuilder::Unrolled, [&](Value i) {
    Value chunk = chunkOf(i);
    Value place = b.bitXor(b.rem(chunk, kRowBytes / kChunkBytes), b.rem(row, 8));
    Value slab = b.mul(b.div(chunk, kRowBytes / kChunkBytes), loop.rows * AttentionShape::slabColumns);
    Value at = b.add(slab, b.add(b.mul(row, AttentionShape::slabColumns), b.mul(place, kChunkColumns)));
    b.call("store_words", "base.h", {b.offset(queriesTile, at), b.address(words, {i, zero})});
  });
  meet(staged);
  return success();
}

/// The threads of a warpgroup have written to shared memory what products of it read.
void PrefillAttentionLowering::meet(Value bars) {
  Value bar = b.name("bar", b.offset(bars, consumer));
  b.call("fence_async_proxy", "shared_address.h", {});
  b.call("mbarrier_arrive", "mbarrier.h", bar);
  b.call("mbarrier_wait", "mbarrier.h", {bar, b.i32(0)});
}

/// Warpgroups issue products one after the other: left alone they would share the tensor cores' time and then all run
/// their softmax, while the tensor cores stand still.
void PrefillAttentionLowering::takeTurn(Value tile) {
  Value isFirst = b.equal(consumer, 0);
  Value parity = b.rem(b.add(tile, b.select(isFirst, b.index(1), zero)), 2); // the first begins without being asked
  b.call("mbarrier_wait", "mbarrier.h", {b.offset(turns, consumer), parity});
}

void PrefillAttentionLowering::passTurn() {
  b.ifThen(b.equal(lane, 0), [&] {
    b.call("mbarrier_arrive", "mbarrier.h", b.offset(turns, b.rem(b.add(consumer, 1), schedule.getConsumers())));
  });
}

/// Lets the producer fill a stage again.
void PrefillAttentionLowering::release(const Ring &ring, Value tile) {
  b.ifThen(b.equal(b.rem(thread, kWarpgroup), 0),
           [&] { b.call("mbarrier_arrive", "mbarrier.h", b.offset(ring.empty, stageOf(tile))); });
}

LogicalResult PrefillAttentionLowering::consume(Value tiles) {
  b.call("setmaxnreg_inc<" + llvm::Twine(schedule.getConsumerRegisters()) + ">", "registers.h", {});
  consumer = b.name("consumer", b.sub(warpgroup, 1));
  group = b.name("group", b.div(lane, 4));
  pair = b.name("pair", b.rem(lane, 4));
  Value firstRow = b.name("row", b.add(b.add(b.mul(consumer, 64), b.mul(b.rem(warp, 4), 16)), group));
  rows = {firstRow, b.name("row8", b.add(firstRow, 8))};
  if (failed(loadPositions(rows)))
    return failure();
  cuda::DependOp::create(b);
  if (failed(stageQueries()))
    return failure();

  Type f32 = b.getF32Type();
  tops = b.local("tops", {2}, f32, b.f32(loop.initialTop));
  sums = b.local("sums", {2}, f32, b.f32(0));
  outputs = b.local("outputs", {outputColumns() / 2}, f32, b.f32(0));
  scores = b.local("scores", {loop.keysPerStep / 2}, f32);
  weights = b.local("weights", {loop.keysPerStep / kProduct, 4}, b.getI32Type());
  auto finishScores = [&](Value tile) {
    b.call("wgmma_wait<0>", "wgmma.h", {});
    b.call("register_fence<" + llvm::Twine(loop.keysPerStep / 2) + ">", "wgmma.h", scores);
    b.call("register_fence<" + llvm::Twine(outputColumns() / 2) + ">", "wgmma.h", outputs);
    release(keys, tile);
  };
  multiplyKeys(zero);
  finishScores(zero);
  Value last = b.name("last", b.sub(tiles, 1));
  LogicalResult result = success();
  b.loop("tile", zero, last, b.index(1), KernelBuilder::Rolled, [&](Value tile) {
    result = softmax(tile);
    takeTurn(tile);
    multiplyValues(tile);
    Value next = b.name("next", b.add(tile, 1));
    multiplyKeys(next);
    passTurn();
    b.call("wgmma_wait<1>", "wgmma.h", {});
    release(values, tile);
    finishScores(next);
  });
  if (failed(result) || failed(softmaxOf(last, /*isWhole=*/false)))
    return failure();
  clearTail(last);
  multiplyValues(last);
  b.call("wgmma_wait<0>", "wgmma.h", {});
  b.call("register_fence<" + llvm::Twine(outputColumns() / 2) + ">", "wgmma.h", outputs);
  return store();
}

LogicalResult PrefillAttentionLowering::run() {
  slabs = shape.slabs();
  element = loop.keys.getView().getType().getElementType().isBF16() ? "bfloat16" : "float16";
  b.setInsertionPointToStart(&kernel.getBody().front());
  setUp();
  auto attend = [&] {
    LogicalResult produced = success(), consumed = success();
    Value tiles = countOfTiles();
    b.ifThen(b.equal(warpgroup, 0), [&] { produced = produce(tiles); }, [&] { consumed = consume(tiles); });
    return success(succeeded(produced) && succeeded(consumed));
  };
  if (failed(build(attend)))
    return failure();
  addCacheMaps();
  return success();
}

LogicalResult inlay::lowerPrefillAttention(tile::ProgramOp program, OpBuilder &builder) {
  if (program.walk([](tile::WarpRolesOp) { return WalkResult::interrupt(); }).wasInterrupted())
    return lowerGeneric(program, builder);
  FailureOr<AttentionLoop> loop = findAttentionLoop(program);
  if (failed(loop))
    return failure();
  if (failed(requirePrefillAttention(*loop)) || failed(requireTile(program, *loop)) || failed(requireRunsOfKeys(*loop)))
    return failure();
  auto schedule = cast<tile::PrefillAttentionAttr>(program.getScheduleAttr());
  FailureOr<cuda::KernelOp> kernel =
      createKernel(program, builder, (schedule.getConsumers() + 1) * PrefillAttentionLowering::kWarpgroup,
                   /*maps=*/2);
  if (failed(kernel))
    return failure();
  PrefillAttentionLowering lowering(program, *loop, schedule, *kernel);
  return lowering.run();
}

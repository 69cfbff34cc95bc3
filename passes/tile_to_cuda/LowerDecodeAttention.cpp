//===- LowerDecodeAttention.cpp - a few queries over many keys, by memory --===//
//
// Each warp takes every W-th step of 16 keys of its block's range, through a ring of
// its own that TMA fills: page numbers are read first, and the steps that hold no key
// of the newest position are under way before the kernel waits for its predecessor.
// A step's scores are computed as keys x queries, so that the queries of a group fill
// the 8 columns of a product and softmax runs in registers. The warps' and then the
// blocks' partial results meet in shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/DecodeAttention.h"

using namespace mlir;
using namespace inlay;

void DecodeAttentionLowering::setUpThread() {
  zero = b.index(0);
  thread = b.name("thread", b.special(cuda::Special::ThreadX));
  lane = b.name("lane", b.special(cuda::Special::Lane));
  warp = b.name("warp", b.special(cuda::Special::Warp));
  isLeader = b.name("is_leader", b.equal(lane, 0));
  group = b.name("group", b.div(lane, 4));
  pair = b.name("pair", b.rem(lane, 4));
  b.comment("Position of a step at row `group` of a product: neighbours are 4 apart, so that banks differ.");
  order = b.name("order", b.add(b.div(group, 2), b.mul(b.rem(group, 2), 4)));
  for (int64_t q = 0; q < queryBlocks; ++q) {
    Value first = b.add(b.mul(pair, 2), q * kQueries);
    rows.push_back({b.name("row", first), b.name("row", b.add(first, 1))});
  }
}

void DecodeAttentionLowering::setUpMemory() {
  Type i8 = b.getI8Type(), f32 = b.getF32Type();
  rings = b.shared("rings", i8, schedule.getWarps() * warpBytes, 1024);
  warpStats = b.shared("warp_stats", f32, schedule.getWarps() * loop.rows * 2 * 4);
  if (cluster > 1) {
    inboxStats = b.shared("inbox_stats", f32, cluster * loop.rows * 2 * 4);
    inbox = b.shared("inbox", f32, share() * cluster * 4);
    received = b.shared("received", b.getI64Type(), 8);
    b.ifThen(b.equal(thread, 0), [&] {
      b.call("mbarrier_init", "mbarrier.h", {received, b.i32(1)});
      b.call("fence_mbarrier_init", "mbarrier.h", {});
      b.comment("Of each block of the cluster: its part of what this one finishes, and two numbers a row.");
      Value mine = b.index(share());
      if (units() % cluster != 0)
        mine = b.min(mine, b.max(b.sub(b.index(units()), b.mul(b.special(cuda::Special::ClusterRank), share())), zero));
      b.call("mbarrier_arrive_expect", "mbarrier.h",
             {received, b.mul(b.add(mine, 2 * loop.rows), b.index(4 * cluster))});
    });
  }
  Value barriers = b.shared("barriers", b.getI64Type(), schedule.getWarps() * schedule.getStages() * 8);
  ring = b.name("ring", b.offset(rings, b.mul(warp, warpBytes)));
  full = b.name("full", b.offset(barriers, b.mul(warp, schedule.getStages())));
  b.ifThen(isLeader, [&] {
    b.loop("i", schedule.getStages(), KernelBuilder::Unrolled,
           [&](Value i) { b.call("mbarrier_init", "mbarrier.h", {b.offset(full, i), b.i32(1)}); });
    b.call("fence_mbarrier_init", "mbarrier.h", {});
    for (unsigned i = 0; i < 2; ++i)
      b.call("prefetch_tensor_map", "tma.h", tensorMap(i));
  });
  b.syncWarp();
}

/// Where the warp's step `number` begins.
Value DecodeAttentionLowering::stepAt(Value number) {
  return b.add(from, b.mul(b.add(warp, b.mul(number, schedule.getWarps())), kKeys));
}

/// Starts the copy of entry `entry` of this warp: keys and values of its steps in turn. Where in the cache they lie, a
/// lane looks up for each of 32 steps.
LogicalResult DecodeAttentionLowering::issue(Value entry) {
  LogicalResult result = success();
  Value step = b.name("step", b.div(entry, 2));
  b.ifThen(b.equal(b.rem(entry, 2 * kWarp), 0), [&] {
    Value at = b.name("at", stepAt(b.add(step, lane)));
    PointEvaluator rows =
        evaluator([&](Value value, ArrayRef<Value>) { return value == loop.loop.getInductionVar() ? at : Value(); });
    Value row = rows.at(loop.keys.getIndices(), zero);
    if (row)
      b.set(row, rowsOfLane);
    else
      result = failure();
  });
  Value row =
      b.name("first_row", b.call(b.getI32Type(), "shuffle_from", "warp.h", {b.get(rowsOfLane), b.rem(step, kWarp)}));
  b.ifThen(isLeader, [&] {
    Value slot = b.name("slot", b.rem(entry, schedule.getStages()));
    Value bar = b.name("bar", b.offset(full, slot));
    Value target = b.name("target", b.offset(ring, b.mul(slot, stepBytes)));
    b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, b.index(stepBytes)});
    auto copy = [&](unsigned map) {
      for (int64_t slab = 0; slab < slabs; ++slab)
        b.call("tma_load_2d", "tma.h",
               {b.offset(target, b.index(slab * slabBytes)), tensorMap(map), bar, b.index(slab * kMapColumns), row});
    };
    b.ifThen(b.equal(b.rem(entry, 2), 0), [&] { copy(0); }, [&] { copy(1); });
  });
  return result;
}

/// The slot of an entry whose copy has ended.
Value DecodeAttentionLowering::waitFor(Value entry) {
  Value slot = b.name("slot", b.rem(entry, schedule.getStages()));
  b.call("mbarrier_wait", "mbarrier.h", {b.offset(full, slot), b.rem(b.div(entry, schedule.getStages()), 2)});
  return b.name("data", b.offset(ring, b.mul(slot, stepBytes)));
}

/// Where all keys of the sequence end, whichever part of them this block takes: of a bound `min(all, part)` the operand
/// that does not depend on the block's rank.
static Value endOfKeys(scf::ForOp loop) {
  auto part = loop.getUpperBound().getDefiningOp<arith::MinSIOp>();
  if (!part)
    return loop.getUpperBound();
  std::function<bool(Value)> dependsOnRank = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return op && (isa<tile::ClusterRankOp>(op) || llvm::any_of(op->getOperands(), dependsOnRank));
  };
  for (Value operand : {part.getLhs(), part.getRhs()})
    if (!dependsOnRank(operand))
      return operand;
  return {};
}

LogicalResult DecodeAttentionLowering::attend() {
  Value end = endOfKeys(loop.loop);
  if (!end)
    return loop.loop.emitError("has a bound that depends on the block's rank in more than the block's part");
  SmallVector<Value> queriesOfLane;
  for (const auto &pairOfRows : rows)
    llvm::append_range(queriesOfLane, pairOfRows);
  if (failed(loadPositions(queriesOfLane)))
    return failure();
  if (cluster > 1)
    b.call("cluster_arrive", "warp.h", {});
  Type f32 = b.getF32Type();
  from = b.name("from", block.at(loop.loop.getLowerBound()));
  to = b.name("to", block.at(loop.loop.getUpperBound()));
  b.comment(
      "Steps of 16 keys: of the block, of this warp, and those of them that hold no key of this step of the model.");
  auto ofWarp = [&](Value steps) {
    return b.div(b.max(b.add(b.sub(steps, warp), schedule.getWarps() - 1), zero), schedule.getWarps());
  };
  Value count = b.name("count", ofWarp(b.div(b.add(b.max(b.sub(to, from), zero), kKeys - 1), kKeys)));
  // Each sequence has one row in this family: of its keys, the kernel before writes the last.
  Value older = b.div(b.max(b.sub(b.sub(block.at(end), 1), from), zero), kKeys);
  entries = b.name("entries", b.mul(count, 2));
  Value early = b.name("early", b.min(b.mul(ofWarp(older), 2), b.min(entries, b.index(schedule.getStages()))));
  rowsOfLane = b.local("rows_of_lane", {}, b.getI32Type(), b.i32(-1));
  LogicalResult result = success();
  auto fill = [&](Value first, Value last) {
    b.loop("entry", first, last, b.index(1), KernelBuilder::Rolled, [&](Value entry) {
      if (failed(issue(entry)))
        result = failure();
    });
  };
  b.provenance = cuda::Provenance::OlderKv;
  fill(zero, early);
  b.provenance.reset();
  cuda::DependOp::create(b);
  fill(early, b.min(entries, b.index(schedule.getStages())));
  if (failed(result) || failed(loadQueries()))
    return failure();

  tops = b.local("tops", {queryBlocks, 2}, f32, b.f32(loop.initialTop));
  sums = b.local("sums", {queryBlocks, 2}, f32, b.f32(0));
  outputs = b.local("outputs", {queryBlocks, valueBlocks, 4}, f32, b.f32(0));
  weights = b.local("weights", {queryBlocks, 2}, b.getI32Type());
  auto refill = [&](Value entry) {
    b.syncWarp();
    Value next = b.name("next", b.add(entry, schedule.getStages()));
    b.ifThen(b.less(next, entries), [&] {
      if (failed(issue(next)))
        result = failure();
    });
  };
  b.loop("step", zero, count, b.index(1), KernelBuilder::Rolled, [&](Value step) {
    Value entry = b.name("entry", b.mul(step, 2));
    Value at = b.name("at", stepAt(step));
    Value keys = waitFor(entry);
    scores = b.local("scores", {queryBlocks, 8}, f32, b.f32(0));
    multiplyKeys(keys);
    refill(entry);
    if (failed(softmax(at)))
      result = failure();
    Value ofValues = b.name("entry", b.add(entry, 1));
    Value values = waitFor(ofValues);
    clearTail(at, values);
    multiplyValues(values);
    refill(ofValues);
  });
  return failed(result) ? failure() : merge();
}

LogicalResult DecodeAttentionLowering::run() {
  cluster = schedule.getCluster();
  slabs = shape.slabs();
  slabBytes = kKeys * kRowBytes;
  areCodes = shape.elementBytes == 1;
  keyColumns = kLanesOfRow * shape.columnUnit();
  stepBytes = shape.stepBytes();
  queryBlocks = llvm::divideCeil(loop.rows, kQueries);
  keyBlocks = llvm::divideCeil(loop.headDim, keyColumns);
  valueBlocks = llvm::divideCeil(loop.headDim, kValueColumns);
  // Rows of partial outputs: four words of padding put the rows that a store touches into different banks.
  pitch = valueBlocks * kValueColumns + 4;
  warpBytes = llvm::alignTo(std::max(schedule.getStages() * stepBytes, loop.rows * pitch * 4), 1024);
  element = queryType().isBF16() ? "bfloat16" : "float16";

  b.setInsertionPointToStart(&kernel.getBody().front());
  setUpThread();
  setUpMemory();
  if (failed(build([&] { return attend(); })))
    return failure();
  kernel.setMinBlocks(schedule.getSlots());
  addCacheMaps();
  return success();
}

LogicalResult inlay::lowerDecodeAttention(tile::ProgramOp program, OpBuilder &builder) {
  FailureOr<AttentionLoop> loop = findAttentionLoop(program);
  if (failed(loop))
    return failure();
  if (failed(requireDecodeAttention(*loop)) || failed(requireTile(program, *loop)) || failed(requireRunsOfKeys(*loop)))
    return failure();
  auto schedule = cast<tile::DecodeAttentionAttr>(program.getScheduleAttr());
  FailureOr<cuda::KernelOp> kernel = createKernel(program, builder, schedule.getWarps() * kWarp, /*maps=*/2);
  if (failed(kernel))
    return failure();
  DecodeAttentionLowering lowering(program, *loop, schedule, *kernel);
  return lowering.run();
}

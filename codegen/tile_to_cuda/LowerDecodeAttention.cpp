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

#include "codegen/tile_to_cuda/AttentionLoop.h"
#include "codegen/tile_to_cuda/Families.h"
#include "codegen/tile_to_cuda/PointEvaluator.h"
#include "mlir/IR/Matchers.h"
#include "passes/tile/AttentionConfig.h"
#include "passes/tile/LinearConfig.h"

using namespace mlir;
using namespace inlay;

namespace {
constexpr int64_t kWarp = 32, kKeys = 16, kRowBytes = 128, kChunkBytes = 16, kChunkColumns = 8;
/// Queries of one product, columns of one product with keys, columns of one product with values.
constexpr int64_t kQueries = 8, kKeyColumns = 32, kValueColumns = 16;

class DecodeAttentionLowering {
public:
  DecodeAttentionLowering(tile::ProgramOp program, const AttentionLoop &loop, const DecodeAttentionConfig &config,
                          cuda::KernelOp kernel)
      : program(program), loop(loop), config(config), kernel(kernel), shape{loop.rows, loop.keysPerStep, loop.headDim},
        b(UnknownLoc::get(program.getContext()), program.getContext()),
        block(b, [&](Value view) { return pointerOf(view); }, [](Value, ArrayRef<Value>) { return Value(); }) {}
  LogicalResult run(LoweredKernel &lowered);

private:
  Value pointerOf(Value view) { return kernel.getArgument(cast<BlockArgument>(view).getArgNumber()); }
  Value tensorMap(unsigned i) { return kernel.getArgument(program.getNumArguments() + i); }
  /// Evaluates inside the loop or after it: what the block knows is not computed again.
  PointEvaluator evaluator(PointEvaluator::Source source);
  LogicalResult evaluateScalars(Block &body);
  void setUpThread();
  void setUpMemory();
  LogicalResult attend();
  Value stepAt(Value number);
  LogicalResult issue(Value entry);
  LogicalResult loadQueries();
  LogicalResult loadPositions();
  Value waitFor(Value entry);
  void multiplyKeys(Value slot);
  LogicalResult softmax(Value at);
  void clearTail(Value at, Value slot);
  void multiplyValues(Value slot);
  void storePartials();
  LogicalResult merge();
  LogicalResult mergeCluster(Value unit);
  LogicalResult store(Value row, Value column, Value sum, Value out);
  void forUnits(Value from, Value to, llvm::function_ref<void(Value, Value, Value)> body);

  tile::ProgramOp program;
  AttentionLoop loop;
  DecodeAttentionConfig config;
  cuda::KernelOp kernel;
  AttentionShape shape;
  KernelBuilder b;
  PointEvaluator block; // what is the same in the whole block, and what is known of rows

  // Known when compiling.
  int64_t cluster = 1, slabs = 0, slabBytes = 0, stepBytes = 0, warpBytes = 0, pitch = 0;
  int64_t queryBlocks = 0, keyBlocks = 0, valueBlocks = 0;
  std::string element;
  Value zero, thread, lane, warp, isLeader, group, pair, order;
  Value rings, ring, full, warpStats, blockStats, merged;
  Value from, to, entries;
  Value rowsOfLane; // variable: the cache's first row of the step that a lane looks up
  Value queries, scores, weights, tops, sums, outputs; // variables
  SmallVector<SmallVector<Value, 2>> rows; // of the program's tile, by block of queries and column of a pair
};
} // namespace

PointEvaluator DecodeAttentionLowering::evaluator(PointEvaluator::Source source) {
  return PointEvaluator(
      b, [&](Value view) { return pointerOf(view); },
      [this, source = std::move(source)](Value value, ArrayRef<Value> point) -> Value {
        if (Value given = source(value, point))
          return given;
        return block.find(value, point);
      });
}

/// Everything scalar that `body` computes before the loop (or the branch that holds it), so that it is known wherever
/// it is used, and its loads are under way together.
LogicalResult DecodeAttentionLowering::evaluateScalars(Block &body) {
  for (Operation &op : body) {
    if (op.isAncestor(loop.loop))
      break;
    bool isScalar = op.getNumRegions() == 0 && op.getNumResults() == 1 && op.getResult(0).getType().isIntOrIndex();
    if (isScalar && !block.at(op.getResult(0)))
      return failure();
  }
  return success();
}

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
  rings = b.shared("rings", i8, config.warps * warpBytes, 1024);
  warpStats = b.shared("warp_stats", f32, config.warps * loop.rows * 2 * 4);
  blockStats = b.shared("block_stats", f32, loop.rows * 2 * 4);
  merged = b.shared("merged", f32, loop.rows * loop.headDim * 4);
  Value barriers = b.shared("barriers", b.getI64Type(), config.warps * config.stages * 8);
  ring = b.name("ring", b.offset(rings, b.mul(warp, warpBytes)));
  full = b.name("full", b.offset(barriers, b.mul(warp, config.stages)));
  b.ifThen(isLeader, [&] {
    b.loop("i", config.stages, KernelBuilder::Unrolled,
           [&](Value i) { b.call("mbarrier_init", "mbarrier.h", {b.offset(full, i), b.i32(1)}); });
    b.call("fence_mbarrier_init", "mbarrier.h", {});
    for (unsigned i = 0; i < 2; ++i)
      b.call("prefetch_tensor_map", "tma.h", tensorMap(i));
  });
  b.syncWarp();
}

/// Where the warp's step `number` begins.
Value DecodeAttentionLowering::stepAt(Value number) {
  return b.add(from, b.mul(b.add(warp, b.mul(number, config.warps)), kKeys));
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
    Value slot = b.name("slot", b.rem(entry, config.stages));
    Value bar = b.name("bar", b.offset(full, slot));
    Value target = b.name("target", b.offset(ring, b.mul(slot, stepBytes)));
    b.call("mbarrier_arrive_expect", "mbarrier.h", {bar, b.index(stepBytes)});
    auto copy = [&](unsigned map) {
      for (int64_t slab = 0; slab < slabs; ++slab)
        b.call("tma_load_2d", "tma.h",
               {b.offset(target, b.index(slab * slabBytes)), tensorMap(map), bar,
                b.index(slab * AttentionShape::slabColumns), row});
    };
    b.ifThen(b.equal(b.rem(entry, 2), 0), [&] { copy(0); }, [&] { copy(1); });
  });
  return result;
}

/// Queries as the right operands of products: a lane has 8 neighbouring columns of each 32.
LogicalResult DecodeAttentionLowering::loadQueries() {
  Type i32 = b.getI32Type();
  queries = b.local("queries", {queryBlocks, keyBlocks, 4}, i32);
  Value pointer = b.as(pointerOf(loop.queries.getView()), i32);
  Value first = loop.queries.getColumn() ? block.at(loop.queries.getColumn()) : zero;
  if (!first)
    return failure();
  int64_t viewColumns = loop.queries.getView().getType().getShape()[1];
  for (int64_t q = 0; q < queryBlocks; ++q) {
    PointEvaluator rowOf = evaluator([](Value, ArrayRef<Value>) { return Value(); });
    Value row = rowOf.at(loop.queries.getIndices(), b.add(group, q * kQueries));
    if (!row)
      return failure();
    row = b.name("query_row", b.toIndex(row));
    Value isReal = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, row, zero);
    if ((q + 1) * kQueries > loop.rows)
      isReal = b.both(isReal, b.less(group, loop.rows - q * kQueries));
    isReal = b.name("is_real", isReal);
    for (int64_t c = 0; c < keyBlocks; ++c) {
      Value column = b.add(b.mul(pair, kChunkColumns), c * kKeyColumns);
      Value present = (c + 1) * kKeyColumns <= loop.headDim ? isReal : b.both(isReal, b.less(column, loop.headDim));
      Value at = b.div(b.add(b.add(b.mul(row, viewColumns), first), column), 2);
      b.call("load_vector<4>", "tile.h",
             {b.address(queries, {b.index(q), b.index(c), zero}), b.offset(pointer, at), present});
    }
  }
  return success();
}

/// What the host wrote about a lane's rows (their positions), before the loop that compares with them.
LogicalResult DecodeAttentionLowering::loadPositions() {
  for (Operation &op : *loop.loop->getBlock()) {
    auto gather = dyn_cast<tile::GatherOp>(op);
    if (!gather || gather.getColumn() || gather.getType().getDimSize(0) != loop.rows)
      continue;
    for (const auto &pairOfRows : rows)
      for (Value row : pairOfRows)
        if (!block.at(gather.getResult(), row))
          return failure();
  }
  return success();
}

/// The slot of an entry whose copy has ended.
Value DecodeAttentionLowering::waitFor(Value entry) {
  Value slot = b.name("slot", b.rem(entry, config.stages));
  b.call("mbarrier_wait", "mbarrier.h", {b.offset(full, slot), b.rem(b.div(entry, config.stages), 2)});
  return b.name("data", b.offset(ring, b.mul(slot, stepBytes)));
}

/// scores[q][4 c + 2 h + i] (c: to be added): position order + 8 h, query 8 q + 2 pair + i.
void DecodeAttentionLowering::multiplyKeys(Value slot) {
  Type words = VectorType::get({4}, b.getI32Type());
  for (int64_t c = 0; c < keyBlocks; ++c) {
    int64_t columns = AttentionShape::slabColumns / kKeyColumns; // blocks of a slab
    Value chunk = b.add(pair, c % columns * (kKeyColumns / kChunkColumns));
    Value at = b.name("at", b.add(b.add(b.mul(order, kRowBytes), b.mul(b.bitXor(chunk, order), kChunkBytes)),
                                  c / columns * slabBytes));
    Value low = b.name("keys", b.load(slot, at, words));
    Value high = b.name("keys8", b.load(slot, b.add(at, 8 * kRowBytes), words));
    for (int64_t q = 0; q < queryBlocks; ++q)
      b.call("multiply_keys<" + element + ">", "attention.h",
             {b.address(scores, {b.index(q), zero}), low, high, b.address(queries, {b.index(q), b.index(c), zero})});
  }
}

/// From scores to weights in the order of right operands; tops, sums and outputs follow the new maximum.
LogicalResult DecodeAttentionLowering::softmax(Value at) {
  Type f32 = b.getF32Type();
  for (int64_t q = 0; q < queryBlocks; ++q) {
    SmallVector<SmallVector<Value, 2>, 2> weight(2);
    for (int64_t i = 0; i < 2; ++i) {
      Value row = rows[q][i], oldTop = b.name("old_top", b.get(tops, {b.index(q), b.index(i)}));
      SmallVector<Value, 2> key{order, b.name("key8", b.add(order, 8))}, score, masked;
      for (int64_t h = 0; h < 2; ++h)
        score.push_back(b.name("score", b.addF(b.get(scores, {b.index(q), b.index(2 * h + i)}),
                                               b.get(scores, {b.index(q), b.index(4 + 2 * h + i)}))));
      Value newTop;
      PointEvaluator values = evaluator([&](Value value, ArrayRef<Value> point) -> Value {
        if (value == loop.loop.getInductionVar())
          return at;
        if (value == loop.carriedTop)
          return oldTop;
        if (value == loop.top)
          return newTop;
        for (int64_t h = 0; h < 2; ++h) {
          if (value == loop.scores.getResult() && point[1] == key[h])
            return score[h];
          if (value == loop.masked && newTop && point[1] == key[h])
            return masked[h];
        }
        return {};
      });
      for (int64_t h = 0; h < 2; ++h) {
        Value value = values.at(loop.masked, {row, key[h]});
        if (!value)
          return failure();
        masked.push_back(b.name("masked", value));
      }
      Value larger = arith::MaxNumFOp::create(b, masked[0], masked[1]);
      newTop =
          b.name("top", arith::MaxNumFOp::create(b, oldTop, b.call(f32, "maximum_over_rows", "attention.h", larger)));
      b.set(newTop, tops, {b.index(q), b.index(i)});
      Value scale =
          b.name("scale", b.call(f32, "exp2_approximate", "base.h", Value(arith::SubFOp::create(b, oldTop, newTop))));
      for (int64_t h = 0; h < 2; ++h) {
        Value value = values.at(loop.weights, {row, key[h]});
        if (!value)
          return failure();
        weight[h].push_back(b.name("weight", value));
      }
      Value sum = arith::MulFOp::create(b, b.get(sums, {b.index(q), b.index(i)}), scale);
      b.set(b.addF(sum, b.addF(weight[0][i], weight[1][i])), sums, {b.index(q), b.index(i)});
      b.loop("block", valueBlocks, KernelBuilder::Unrolled, [&](Value block) {
        for (int64_t h = 0; h < 2; ++h) {
          SmallVector<Value> place{b.index(q), block, b.index(2 * h + i)};
          b.set(arith::MulFOp::create(b, b.get(outputs, place), scale), outputs, place);
        }
      });
    }
    for (int64_t h = 0; h < 2; ++h) {
      Value packed = b.call(b.getI32Type(), "pack<" + element + ">", "base.h", {weight[h][0], weight[h][1]});
      b.set(b.call(b.getI32Type(), "transpose_8x8", "mma.h", packed), weights, {b.index(q), b.index(h)});
    }
  }
  return success();
}

/// Rows past the last position hold anything; their weights are 0, and they must be no NaN.
void DecodeAttentionLowering::clearTail(Value at, Value slot) {
  Value inside = b.name("inside", b.sub(to, at));
  b.ifThen(b.less(inside, kKeys), [&] {
    int64_t chunks = kRowBytes / kChunkBytes;
    Value words = b.as(slot, b.getI32Type());
    b.loop("chunk", b.add(b.mul(inside, chunks), lane), b.index(kKeys * chunks), b.index(kWarp), KernelBuilder::Rolled,
           [&](Value chunk) {
             for (int64_t i = 0; i < slabs * 4; ++i)
               b.store(b.i32(0), words, b.add(b.mul(chunk, 4), i / 4 * slabBytes / 4 + i % 4));
           });
    b.syncWarp();
  });
}

/// outputs[q][j][2 h + i]: column 16 j + group + 8 h of query 8 q + 2 pair + i.
void DecodeAttentionLowering::multiplyValues(Value slot) {
  Value matrix = b.name("matrix", b.div(lane, 8)), index = b.name("index", b.rem(lane, 8));
  Value position = b.name("position", b.add(b.div(index, 2), b.mul(b.rem(index, 2), 4)));
  Value row = b.name("row", b.offset(slot, b.mul(b.add(position, b.mul(b.div(matrix, 2), 8)), kRowBytes)));
  Value half = b.name("half", b.rem(matrix, 2));
  Type type = loop.values.getView().getType().getElementType();
  for (int64_t j = 0; j < valueBlocks; ++j) {
    int64_t blocks = AttentionShape::slabColumns / kValueColumns; // of a slab
    Value chunk = b.add(half, j % blocks * 2);
    Value address = b.offset(row, b.add(b.mul(b.bitXor(chunk, position), kChunkBytes), j / blocks * slabBytes));
    Value values = b.local("values", {4}, b.getI32Type());
    b.call("ldmatrix_x4_trans", "mma.h", {b.address(values, {zero}), b.as(address, type)});
    for (int64_t q = 0; q < queryBlocks; ++q)
      b.call("mma_m16n8k16<" + element + ">", "mma.h",
             {b.address(outputs, {b.index(q), b.index(j), zero}), b.address(values, {zero}),
              b.address(weights, {b.index(q), zero})});
  }
}

/// This warp's maxima, sums and outputs, in the memory of its own ring.
void DecodeAttentionLowering::storePartials() {
  Value partial = b.name("partial", b.as(ring, b.getF32Type()));
  for (int64_t q = 0; q < queryBlocks; ++q)
    for (int64_t i = 0; i < 2; ++i) {
      Value row = rows[q][i];
      Value sum =
          b.name("sum", b.call(b.getF32Type(), "sum_over_rows", "attention.h", b.get(sums, {b.index(q), b.index(i)})));
      auto write = [&] {
        b.ifThen(b.equal(group, 0), [&] {
          Value at = b.mul(b.add(b.mul(warp, loop.rows), row), 2);
          b.store(b.get(tops, {b.index(q), b.index(i)}), warpStats, at);
          b.store(sum, warpStats, b.add(at, 1));
        });
        b.loop("block", valueBlocks, KernelBuilder::Unrolled, [&](Value block) {
          for (int64_t h = 0; h < 2; ++h)
            b.store(b.get(outputs, {b.index(q), block, b.index(2 * h + i)}), partial,
                    b.add(b.mul(row, pitch), b.add(b.add(b.mul(block, kValueColumns), group), h * 8)));
        });
      };
      if (loop.rows % kQueries == 0)
        write();
      else
        b.ifThen(b.less(row, loop.rows), write);
    }
}

/// Elements [from, to) of rows x columns, spread over the block's threads.
void DecodeAttentionLowering::forUnits(Value first, Value last, llvm::function_ref<void(Value, Value, Value)> body) {
  b.loop("unit", b.add(first, thread), last, b.index(config.warps * kWarp), KernelBuilder::Rolled, [&](Value unit) {
    body(unit, b.name("row", b.div(unit, loop.headDim)), b.name("column", b.rem(unit, loop.headDim)));
  });
}

LogicalResult DecodeAttentionLowering::store(Value row, Value column, Value sum, Value out) {
  PointEvaluator values = evaluator([&](Value value, ArrayRef<Value>) {
    return value == loop.finalSum ? sum : value == loop.finalOut ? out : Value();
  });
  Value target = values.at(loop.store.getIndices(), row);
  Value first = loop.store.getColumn() ? values.at(loop.store.getColumn()) : zero;
  Value value = values.at(loop.store.getValue(), {row, column});
  if (!target || !first || !value)
    return failure();
  int64_t columns = loop.store.getView().getType().getShape()[1];
  target = b.name("target", b.toIndex(target));
  b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, target, zero), [&] {
    b.store(value, pointerOf(loop.store.getView()), b.add(b.add(b.mul(target, columns), first), column));
  });
  return success();
}

/// Adds up (maximum, sum, output) of several holders into one.
static std::pair<Value, Value> combine(KernelBuilder &b, int64_t holders, llvm::function_ref<Value(Value)> topOf,
                                       llvm::function_ref<Value(Value)> sumOf, llvm::function_ref<Value(Value)> outOf,
                                       Value &top) {
  Type f32 = b.getF32Type();
  Value tops = b.local("tops", {holders}, f32), sums = b.local("part_sums", {holders}, f32),
        outs = b.local("part_outs", {holders}, f32);
  b.loop("holder", holders, KernelBuilder::Unrolled, [&](Value holder) {
    b.set(topOf(holder), tops, holder);
    b.set(sumOf(holder), sums, holder);
    b.set(outOf(holder), outs, holder);
  });
  Value all = b.local("all", {}, f32, b.get(tops, b.index(0))), sum = b.local("sum", {}, f32, b.f32(0)),
        out = b.local("out", {}, f32, b.f32(0));
  b.loop("holder", holders, KernelBuilder::Unrolled,
         [&](Value holder) { b.set(arith::MaxNumFOp::create(b, b.get(all), b.get(tops, holder)), all); });
  b.loop("holder", holders, KernelBuilder::Unrolled, [&](Value holder) {
    Value scale = b.name("scale", b.call(f32, "exp2_approximate", "base.h",
                                         Value(arith::SubFOp::create(b, b.get(tops, holder), b.get(all)))));
    b.set(b.addF(b.get(sum), arith::MulFOp::create(b, b.get(sums, holder), scale)), sum);
    b.set(b.addF(b.get(out), arith::MulFOp::create(b, b.get(outs, holder), scale)), out);
  });
  top = b.get(all);
  return {b.get(sum), b.get(out)};
}

/// The block's result from its warps', then the cluster's from its blocks', a part of it in each.
LogicalResult DecodeAttentionLowering::merge() {
  LogicalResult result = success();
  Type f32 = b.getF32Type();
  int64_t units = loop.rows * loop.headDim;
  storePartials();
  b.barrier();
  forUnits(zero, b.index(units), [&](Value unit, Value row, Value column) {
    auto stat = [&](Value holder, int64_t which) {
      return b.load(warpStats, b.add(b.mul(b.add(b.mul(holder, loop.rows), row), 2), which));
    };
    Value top;
    auto [sum, out] = combine(
        b, config.warps, [&](Value holder) { return stat(holder, 0); }, [&](Value holder) { return stat(holder, 1); },
        [&](Value holder) {
          Value partial = b.as(b.offset(rings, b.mul(holder, warpBytes)), f32);
          return b.load(partial, b.add(b.mul(row, pitch), column));
        },
        top);
    if (cluster == 1) {
      result = store(row, column, sum, out);
      return;
    }
    b.store(out, merged, unit);
    b.ifThen(b.equal(column, 0), [&] {
      b.store(top, blockStats, b.mul(row, 2));
      b.store(sum, blockStats, b.add(b.mul(row, 2), 1));
    });
  });
  if (cluster == 1 || failed(result))
    return result;

  b.call("cluster_barrier", "warp.h", {});
  Value rank = b.name("rank", b.special(cuda::Special::ClusterRank));
  int64_t share = llvm::divideCeil(units, cluster);
  Value first = b.name("first", b.mul(rank, share));
  forUnits(first, b.min(b.add(first, share), b.index(units)), [&](Value unit, Value row, Value column) {
    auto remote = [&](Value pointer, Value at, Value holder) {
      return b.call(f32, "load_of_block", "warp.h", {b.offset(pointer, at), holder});
    };
    Value top;
    auto [sum, out] = combine(
        b, cluster, [&](Value holder) { return remote(blockStats, b.mul(row, 2), holder); },
        [&](Value holder) { return remote(blockStats, b.add(b.mul(row, 2), 1), holder); },
        [&](Value holder) { return remote(merged, unit, holder); }, top);
    result = store(row, column, sum, out);
  });
  b.comment("No block leaves while another reads its memory.");
  b.call("cluster_barrier", "warp.h", {});
  return result;
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
  if (failed(evaluateScalars(*loop.loop->getBlock())) || failed(loadPositions()))
    return failure();
  Type f32 = b.getF32Type();
  from = b.name("from", block.at(loop.loop.getLowerBound()));
  to = b.name("to", block.at(loop.loop.getUpperBound()));
  b.comment(
      "Steps of 16 keys: of the block, of this warp, and those of them that hold no key of this step of the model.");
  auto ofWarp = [&](Value steps) {
    return b.div(b.max(b.add(b.sub(steps, warp), config.warps - 1), zero), config.warps);
  };
  Value count = b.name("count", ofWarp(b.div(b.add(b.max(b.sub(to, from), zero), kKeys - 1), kKeys)));
  // Each sequence has one row in this family: of its keys, the kernel before writes the last.
  Value older = b.div(b.max(b.sub(b.sub(block.at(end), 1), from), zero), kKeys);
  entries = b.name("entries", b.mul(count, 2));
  Value early = b.name("early", b.min(b.mul(ofWarp(older), 2), b.min(entries, b.index(config.stages))));
  rowsOfLane = b.local("rows_of_lane", {}, b.getI32Type(), b.i32(-1));
  LogicalResult result = success();
  auto fill = [&](Value first, Value last) {
    b.loop("entry", first, last, b.index(1), KernelBuilder::Rolled, [&](Value entry) {
      if (failed(issue(entry)))
        result = failure();
    });
  };
  fill(zero, early);
  cuda::DependOp::create(b);
  fill(early, b.min(entries, b.index(config.stages)));
  if (failed(result) || failed(loadQueries()))
    return failure();

  tops = b.local("tops", {queryBlocks, 2}, f32, b.f32(loop.initialTop));
  sums = b.local("sums", {queryBlocks, 2}, f32, b.f32(0));
  outputs = b.local("outputs", {queryBlocks, valueBlocks, 4}, f32, b.f32(0));
  weights = b.local("weights", {queryBlocks, 2}, b.getI32Type());
  auto refill = [&](Value entry) {
    b.syncWarp();
    Value next = b.name("next", b.add(entry, config.stages));
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

LogicalResult DecodeAttentionLowering::run(LoweredKernel &lowered) {
  if (auto attribute = program->getAttrOfType<IntegerAttr>("cluster"))
    cluster = attribute.getInt();
  slabs = shape.slabs();
  slabBytes = kKeys * kRowBytes;
  stepBytes = shape.stepBytes();
  queryBlocks = llvm::divideCeil(loop.rows, kQueries);
  keyBlocks = llvm::divideCeil(loop.headDim, kKeyColumns);
  valueBlocks = llvm::divideCeil(loop.headDim, kValueColumns);
  // Rows of partial outputs: four words of padding put the rows that a store touches into different banks.
  pitch = valueBlocks * kValueColumns + 4;
  warpBytes = llvm::alignTo(std::max(config.stages * stepBytes, loop.rows * pitch * 4), 1024);
  element = loop.keys.getView().getType().getElementType().isBF16() ? "bfloat16" : "float16";

  b.setInsertionPointToStart(&kernel.getBody().front());
  cuda::LaunchDependentsOp::create(b);
  setUpThread();
  setUpMemory();
  if (failed(evaluateScalars(program.getBody().front())))
    return failure();
  auto branch = dyn_cast<scf::IfOp>(loop.loop->getParentOp());
  bool isBranch = branch && branch->getParentOp() == program && !branch.elseBlock();
  if (!isBranch && loop.loop->getParentOp() != program)
    return loop.loop.emitError("stands in more than one branch without an else");
  LogicalResult result = success();
  if (isBranch)
    b.ifThen(block.at(branch.getCondition()), [&] { result = attend(); }, [&] { cuda::DependOp::create(b); });
  else
    result = attend();
  if (failed(result))
    return failure();

  if (b.sharedBytes > kHopper.blockSharedBytes)
    return program.emitError("needs ") << b.sharedBytes << " bytes of shared memory, a block has "
                                       << kHopper.blockSharedBytes << "; use fewer stages";
  kernel.setSharedBytes(b.sharedBytes);
  kernel.setMinBlocks(config.blocks);
  for (tile::GatherOp gather : {loop.keys, loop.values}) {
    CudaTensorMap map;
    map.argument = cast<BlockArgument>(gather.getView()).getArgNumber();
    map.elementType = gather.getView().getType().getElementType();
    // How many rows a cache has is known when the engine is loaded; page numbers are the host's.
    map.dims = {static_cast<uint64_t>(loop.headDim), static_cast<uint64_t>(std::numeric_limits<int32_t>::max())};
    map.strides = {static_cast<uint64_t>(loop.headDim) * 2};
    map.box = {AttentionShape::slabColumns, kKeys};
    map.swizzle = kRowBytes;
    map.l2Promotion = 256;
    lowered.tensorMaps.push_back(map);
  }
  return gridOf(program, lowered.grid);
}

/// Whether steps of `keys` lie in one page: their rows come from positions modulo a page's size.
static bool isWithinPages(Value rows, int64_t keys) {
  Operation *op = rows.getDefiningOp();
  if (!op)
    return false;
  if (auto remainder = dyn_cast<arith::RemSIOp>(op)) {
    DenseElementsAttr size;
    return matchPattern(remainder.getRhs(), m_Constant(&size)) && size.isSplat() &&
           size.getSplatValue<APInt>().getSExtValue() % keys == 0;
  }
  return isa<arith::ArithDialect>(op->getDialect()) &&
         llvm::any_of(op->getOperands(), [&](Value operand) { return isWithinPages(operand, keys); });
}

LogicalResult inlay::lowerDecodeAttention(tile::ProgramOp program, OpBuilder &builder, const CudaOptions &options,
                                          LoweredKernel &lowered) {
  FailureOr<AttentionLoop> loop = findAttentionLoop(program);
  if (failed(loop))
    return failure();
  AttentionShape shape{loop->rows, loop->keysPerStep, loop->headDim};
  if (loop->keysPerStep != kKeys || !isDecodeAttention(shape, kKeys) ||
      loop->keys.getType().getElementTypeBitWidth() != 16)
    return loop->scores.emitError("has ")
           << loop->rows << " rows, " << loop->keysPerStep << " keys a step and heads of " << loop->headDim
           << "; the family decode_attention takes up to 16 rows, 16 keys a step and "
              "heads of up to 256 in 8s, in 16 bits";
  if (!isWithinPages(loop->keys.getIndices(), kKeys))
    return loop->keys.emitError("gathers rows of pages that do not hold whole steps of ") << kKeys << " keys";
  auto attribute = program->getAttrOfType<DictionaryAttr>(kConfigAttr);
  DecodeAttentionConfig config =
      attribute ? DecodeAttentionConfig::from(attribute) : chooseDecodeAttention(shape, kHopper);
  lowered.kernel = createKernel(program, builder, config.warps * kWarp, /*maps=*/2);
  DecodeAttentionLowering lowering(program, *loop, config, lowered.kernel);
  return lowering.run(lowered);
}

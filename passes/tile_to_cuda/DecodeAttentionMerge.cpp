//===- DecodeAttentionMerge.cpp - from warps' parts to rows of the output --===//
//
// Each holder has a maximum, a sum and outputs relative to that maximum. Warps meet in
// their block's shared memory; blocks of a cluster send each other the part that the
// other finishes, announced at a barrier there, and nobody waits to leave.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/DecodeAttention.h"

using namespace mlir;
using namespace inlay;

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
                    b.add(b.mul(row, pitch), b.add(b.mul(block, kValueColumns), valueColumn(h))));
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
  b.loop("unit", b.add(first, thread), last, b.index(schedule.getWarps() * kWarp), KernelBuilder::Rolled,
         [&](Value unit) {
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

/// The block's result from its warps', then the cluster's: each block sends every other the part that it finishes.
LogicalResult DecodeAttentionLowering::merge() {
  LogicalResult result = success();
  Type f32 = b.getF32Type();
  storePartials();
  b.barrier();
  Value rank;
  if (cluster > 1) {
    rank = b.name("rank", b.special(cuda::Special::ClusterRank));
    b.comment("All blocks of the cluster have begun, so that their memory can be written.");
    b.call("cluster_wait", "warp.h", {});
  }
  forUnits(zero, b.index(units()), [&](Value unit, Value row, Value column) {
    auto stat = [&](Value holder, int64_t which) {
      return b.load(warpStats, b.add(b.mul(b.add(b.mul(holder, loop.rows), row), 2), which));
    };
    Value top;
    auto [sum, out] = combine(
        b, schedule.getWarps(), [&](Value holder) { return stat(holder, 0); },
        [&](Value holder) { return stat(holder, 1); },
        [&](Value holder) {
          Value partial = b.as(b.offset(rings, b.mul(holder, warpBytes)), f32);
          return b.load(partial, b.add(b.mul(row, pitch), column));
        },
        top);
    if (cluster == 1) {
      result = store(row, column, sum, out);
      return;
    }
    auto send = [&](Value value, Value pointer, Value at, Value to) {
      b.call("send_to_block", "warp.h", {b.offset(pointer, at), to, value, received});
    };
    send(out, inbox, b.add(b.mul(rank, share()), b.rem(unit, share())), b.div(unit, share()));
    b.ifThen(b.less(column, cluster), [&] {
      Value at = b.name("stats", b.mul(b.add(b.mul(rank, loop.rows), row), 2));
      send(top, inboxStats, at, column);
      send(sum, inboxStats, b.add(at, 1), column);
    });
  });
  if (cluster == 1 || failed(result))
    return result;

  b.call("mbarrier_wait", "mbarrier.h", {received, b.i32(0)});
  Value first = b.name("first", b.mul(rank, share()));
  forUnits(first, b.min(b.add(first, share()), b.index(units())), [&](Value unit, Value row, Value column) {
    auto stat = [&](Value holder, int64_t which) {
      return b.load(inboxStats, b.add(b.mul(b.add(b.mul(holder, loop.rows), row), 2), which));
    };
    Value top;
    auto [sum, out] = combine(
        b, cluster, [&](Value holder) { return stat(holder, 0); }, [&](Value holder) { return stat(holder, 1); },
        [&](Value holder) { return b.load(inbox, b.add(b.mul(holder, share()), b.sub(unit, first))); }, top);
    result = store(row, column, sum, out);
  });
  return result;
}

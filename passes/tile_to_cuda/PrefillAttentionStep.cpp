//===- PrefillAttentionStep.cpp - a tile of keys against 64 rows of queries ===//
//
// The products of a warpgroup and the softmax between them. A thread has, of two rows
// (group and group + 8 of its warp's 16), each second pair of the tile's keys: sums of
// the scores' product as they lie are, rounded, the left operand of the outputs'.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/PrefillAttention.h"

using namespace mlir;
using namespace inlay;

/// The first element of a tile whose copy has ended.
Value PrefillAttentionLowering::waitFor(const Ring &ring, Value ringMemory, Value tile) {
  Value stage = stageOf(tile);
  b.call("mbarrier_wait", "mbarrier.h", {b.offset(ring.full, stage), parityOf(tile)});
  return b.offset(ringMemory, elementsAt(stage));
}

/// scores = queries * keys^T: 64 rows of this warpgroup x the keys of the tile.
void PrefillAttentionLowering::multiplyKeys(Value tile) {
  Type i64 = b.getI64Type();
  Value right = b.name("right", b.call(i64, "swizzled_tile", "wgmma.h", waitFor(keys, keysRing, tile)));
  Value ours = b.offset(queriesTile, b.mul(consumer, 64 * AttentionShape::slabColumns));
  Value left = b.name("left", b.call(i64, "swizzled_tile", "wgmma.h", ours));
  b.call("wgmma_fence", "wgmma.h", {});
  for (int64_t k = 0; k < productsOfHead(); ++k) {
    // 16 columns are 32 bytes, 2 in the units of a descriptor; 64 of `rows` rows are a slab.
    auto forward = [&](Value operand, int64_t rows) -> Value {
      int64_t units = k % 4 * 2 + k / 4 * rows * kRowBytes / kChunkBytes;
      return k == 0 ? operand
                    : arith::AddIOp::create(b, operand, arith::ConstantIntOp::create(b, units, 64)).getResult();
    };
    Value accumulate = arith::ConstantIntOp::create(b, k > 0, 1);
    b.call("wgmma_m64k16<" + element + ", " + llvm::Twine(loop.keysPerStep) + ">", "wgmma.h",
           {scores, forward(left, loop.rows), forward(right, loop.keysPerStep), accumulate});
  }
  b.call("wgmma_commit", "wgmma.h", {});
}

/// outputs += weights * values.
void PrefillAttentionLowering::multiplyValues(Value tile) {
  Value right = b.name("right", b.call(b.getI64Type(), "swizzled_columns", "wgmma.h",
                                       {waitFor(values, valuesRing, tile), b.i32(slabElements() * 2)}));
  b.call("wgmma_fence", "wgmma.h", {});
  for (int64_t k = 0; k < loop.keysPerStep / kProduct; ++k) {
    Value units = arith::ConstantIntOp::create(b, k * kProduct * kRowBytes / kChunkBytes, 64);
    Value forward = k == 0 ? right : arith::AddIOp::create(b, right, units).getResult();
    b.call("wgmma_m64k16_columns<" + element + ", " + llvm::Twine(outputColumns()) + ">", "wgmma.h",
           {outputs, b.address(weights, {b.index(k), zero}), forward});
  }
  b.call("wgmma_commit", "wgmma.h", {});
}

/// A key of this thread in 8 neighbours of the tile.
Value PrefillAttentionLowering::keyAt(Value block, int64_t c) {
  return b.name("key", b.add(b.add(b.mul(block, 8), b.mul(pair, 2)), c));
}

/// The condition under which the program keeps a score; null if it keeps all.
Value PrefillAttentionLowering::visibility() const {
  auto select = loop.masked.getDefiningOp<arith::SelectOp>();
  return select ? select.getCondition() : Value();
}

/// Whether a condition over (row, key) holds for neighbouring keys of each row: a conjunction of orders.
static bool holdsForNeighbours(Value condition) {
  Operation *op = condition.getDefiningOp();
  if (auto both = dyn_cast_if_present<arith::AndIOp>(op))
    return holdsForNeighbours(both.getLhs()) && holdsForNeighbours(both.getRhs());
  if (auto inverse = dyn_cast_if_present<arith::XOrIOp>(op)) // with true: another order
    return inverse.getLhs().getDefiningOp<arith::CmpIOp>() && inverse.getRhs().getDefiningOp<arith::ConstantOp>() &&
           holdsForNeighbours(inverse.getLhs());
  auto order = dyn_cast_if_present<arith::CmpIOp>(op);
  return order && order.getPredicate() != arith::CmpIPredicate::eq && order.getPredicate() != arith::CmpIPredicate::ne;
}

/// From scores to weights, without masks where the rows of a warp see all keys of the tile: its first and its last.
LogicalResult PrefillAttentionLowering::softmax(Value tile) {
  Value condition = visibility();
  if (!condition || !holdsForNeighbours(condition))
    return softmaxOf(tile, /*isWhole=*/false);
  Value at = b.name("at", b.add(from, b.mul(tile, loop.keysPerStep)));
  PointEvaluator seen =
      evaluator([&](Value value, ArrayRef<Value>) { return value == loop.loop.getInductionVar() ? at : Value(); });
  Value all;
  for (Value row : rows)
    for (int64_t key : {int64_t(0), loop.keysPerStep - 1}) {
      Value one = seen.at(condition, {row, b.index(key)});
      if (!one)
        return failure();
      all = all ? b.both(all, one) : one;
    }
  Value isWhole = b.name("is_whole", b.call(b.getI1Type(), "all_lanes", "warp.h", all));
  LogicalResult whole = success(), part = success();
  b.ifThen(
      isWhole, [&] { whole = softmaxOf(tile, /*isWhole=*/true); }, [&] { part = softmaxOf(tile, /*isWhole=*/false); });
  return success(succeeded(whole) && succeeded(part));
}

/// Tops, sums and outputs follow the new maximum; weights are rounded to the operand's type.
LogicalResult PrefillAttentionLowering::softmaxOf(Value tile, bool isWhole) {
  LogicalResult result = success();
  Type f32 = b.getF32Type();
  Value at = b.name("at", b.add(from, b.mul(tile, loop.keysPerStep)));
  Value condition = isWhole ? visibility() : Value();
  SmallVector<Value, 2> oldTop, newTop;
  for (int64_t h : {0, 1})
    oldTop.push_back(b.name("old_top", b.get(tops, b.index(h))));
  auto source = [&](int64_t h, Value score, Value masked) {
    return [&, h, score, masked](Value value, ArrayRef<Value>) -> Value {
      if (value == loop.loop.getInductionVar())
        return at;
      if (value == loop.carriedTop)
        return oldTop[h];
      if (value == loop.top)
        return newTop.empty() ? Value() : newTop[h];
      if (condition && value == condition)
        return arith::ConstantIntOp::create(b, 1, 1);
      if (value == loop.masked)
        return masked;
      return value == loop.scores.getResult() ? score : Value();
    };
  };
  auto placeOf = [&](Value block, int64_t h, int64_t c) { return b.add(b.mul(block, 4), 2 * h + c); };
  Value larger = b.local("larger", {2}, f32, b.f32(loop.initialTop));
  b.loop("block", loop.keysPerStep / 8, KernelBuilder::Unrolled, [&](Value block) {
    for (int64_t h : {0, 1})
      for (int64_t c : {0, 1}) {
        Value place = placeOf(block, h, c);
        PointEvaluator values = evaluator(source(h, b.name("score", b.get(scores, place)), {}));
        Value masked = values.at(loop.masked, {rows[h], keyAt(block, c)});
        if (!masked) {
          result = failure();
          return;
        }
        masked = b.name("masked", masked);
        b.set(masked, scores, place);
        b.set(arith::MaxNumFOp::create(b, b.get(larger, b.index(h)), masked), larger, b.index(h));
      }
  });
  if (failed(result))
    return failure();
  SmallVector<Value, 2> scale;
  for (int64_t h : {0, 1}) {
    Value ofRow = b.call(f32, "maximum_over_columns", "attention.h", b.get(larger, b.index(h)));
    newTop.push_back(b.name("top", arith::MaxNumFOp::create(b, oldTop[h], ofRow)));
    b.set(newTop[h], tops, b.index(h));
    scale.push_back(b.name(
        "scale", b.call(f32, "exp2_approximate", "base.h", Value(arith::SubFOp::create(b, oldTop[h], newTop[h])))));
    b.set(arith::MulFOp::create(b, b.get(sums, b.index(h)), scale[h]), sums, b.index(h));
  }
  b.loop("block", loop.keysPerStep / 8, KernelBuilder::Unrolled, [&](Value block) {
    for (int64_t h : {0, 1}) {
      SmallVector<Value, 2> weight;
      for (int64_t c : {0, 1}) {
        PointEvaluator values = evaluator(source(h, {}, b.get(scores, placeOf(block, h, c))));
        Value one = values.at(loop.weights, {rows[h], keyAt(block, c)});
        if (!one) {
          result = failure();
          return;
        }
        weight.push_back(b.name("weight", one));
      }
      b.set(b.addF(b.get(sums, b.index(h)), b.addF(weight[0], weight[1])), sums, b.index(h));
      Value packed = b.call(b.getI32Type(), "pack<" + element + ">", "base.h", weight);
      b.set(packed, weights, {b.div(block, 2), b.add(b.mul(b.rem(block, 2), 2), h)});
    }
  });
  b.loop("block", outputColumns() / 8, KernelBuilder::Unrolled, [&](Value block) {
    for (int64_t h : {0, 1})
      for (int64_t c : {0, 1}) {
        Value place = placeOf(block, h, c);
        b.set(arith::MulFOp::create(b, b.get(outputs, place), scale[h]), outputs, place);
      }
  });
  return result;
}

/// Rows of values past the last position, of a run that holds it, hold anything; their weights are 0, and they must be
/// no NaN.
void PrefillAttentionLowering::clearTail(Value tile) {
  Value inside = b.name("inside", b.sub(to, b.add(from, b.mul(tile, loop.keysPerStep))));
  Value end = b.name("end", b.min(b.mul(b.div(b.add(inside, kKeys - 1), kKeys), kKeys), b.index(loop.keysPerStep)));
  b.ifThen(b.less(inside, end), [&] {
    int64_t chunks = kRowBytes / kChunkBytes;
    Value words = b.as(waitFor(values, valuesRing, tile), b.getI32Type());
    b.loop("chunk", b.add(b.mul(inside, chunks), b.rem(thread, kWarpgroup)), b.mul(end, chunks), b.index(kWarpgroup),
           KernelBuilder::Rolled, [&](Value chunk) {
             for (int64_t i = 0; i < slabs * 4; ++i)
               b.store(b.i32(0), words, b.add(b.mul(chunk, 4), i / 4 * slabElements() / 2 + i % 4));
           });
    meet(cleared);
  });
}

/// A thread stores neighbouring columns of its two rows.
LogicalResult PrefillAttentionLowering::store() {
  LogicalResult result = success();
  int64_t columns = loop.store.getView().getType().getShape()[1];
  Value pointer = b.as(pointerOf(loop.store.getView()), b.getI32Type());
  for (int64_t h : {0, 1}) {
    Value sum = b.name("sum", b.call(b.getF32Type(), "sum_over_columns", "attention.h", b.get(sums, b.index(h))));
    PointEvaluator ofRow = evaluator([](Value, ArrayRef<Value>) { return Value(); });
    Value target = ofRow.at(loop.store.getIndices(), rows[h]);
    Value first = loop.store.getColumn() ? ofRow.at(loop.store.getColumn()) : zero;
    if (!target || !first)
      return failure();
    target = b.name("target", b.toIndex(target));
    Value begin = b.name("begin", b.add(b.mul(target, columns), first));
    b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, target, zero), [&] {
      b.loop("block", loop.headDim / 8, KernelBuilder::Unrolled, [&](Value block) {
        SmallVector<Value, 2> stored;
        for (int64_t c : {0, 1}) {
          Value column = keyAt(block, c), out = b.get(outputs, b.add(b.mul(block, 4), 2 * h + c));
          PointEvaluator values = evaluator([&](Value value, ArrayRef<Value>) {
            return value == loop.finalSum ? sum : value == loop.finalOut ? out : Value();
          });
          Value one = values.at(loop.store.getValue(), {rows[h], column});
          if (!one) {
            result = failure();
            return;
          }
          stored.push_back(one);
        }
        Value packed = b.call(b.getI32Type(), "pack_bits", "base.h", stored);
        b.store(packed, pointer, b.add(b.div(begin, 2), b.add(b.mul(block, 4), pair)));
      });
    });
  }
  return result;
}

//===- DecodeAttentionStep.cpp - one step of keys against a few queries ----===//
//
// Scores are keys x queries, so that the queries of a group fill the 8 columns of a
// product: each lane has, for two queries, two of the step's 16 positions. Softmax
// runs on those in registers; transposed, they are the right operand of values^T x
// weights, whose result keeps a query's columns in the lanes that know its maximum.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/DecodeAttention.h"

using namespace mlir;
using namespace inlay;

/// Queries as the right operands of products: a lane has as many neighbouring columns as a chunk of keys. Those for
/// codes are in the order of widened codes.
LogicalResult DecodeAttentionLowering::loadQueries() {
  Type i32 = b.getI32Type();
  int64_t columns = shape.columnUnit(), words = columns / 2;
  queries = b.local("queries", {queryBlocks, keyBlocks, words}, i32);
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
      Value column = b.add(b.mul(pair, columns), c * keyColumns);
      Value present = (c + 1) * keyColumns <= loop.headDim ? isReal : b.both(isReal, b.less(column, loop.headDim));
      Value at = b.div(b.add(b.add(b.mul(row, viewColumns), first), column), 2);
      for (int64_t word = 0; word < words; word += 4)
        b.call(
            "load_vector<4>", "tile.h",
            {b.address(queries, {b.index(q), b.index(c), b.index(word)}), b.offset(pointer, b.add(at, word)), present});
      if (areCodes)
        b.call("order_as_codes", "attention.h", b.address(queries, {b.index(q), b.index(c), zero}));
    }
  }
  return success();
}

/// scores[q][4 c + 2 h + i] (c: to be added): position order + 8 h, query 8 q + 2 pair + i.
void DecodeAttentionLowering::multiplyKeys(Value slot) {
  Type words = VectorType::get({4}, b.getI32Type());
  for (int64_t c = 0; c < keyBlocks; ++c) {
    int64_t blocks = shape.slabColumns() / keyColumns; // of a slab
    Value chunk = b.add(pair, c % blocks * kLanesOfRow);
    Value at = b.name("at", b.add(b.add(b.mul(order, kRowBytes), b.mul(b.bitXor(chunk, order), kChunkBytes)),
                                  c / blocks * slabBytes));
    Value low = b.name("keys", b.load(slot, at, words));
    Value high = b.name("keys8", b.load(slot, b.add(at, 8 * kRowBytes), words));
    for (int64_t q = 0; q < queryBlocks; ++q)
      b.call((areCodes ? "multiply_key_codes<" : "multiply_keys<") + element + ">", "attention.h",
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

/// Codes of neighbouring columns come in the halves of elements of 16 bits, and part into two rows of the product.
Value DecodeAttentionLowering::valueColumn(int64_t h) {
  return areCodes ? b.add(b.mul(group, 2), h) : b.add(group, h * 8);
}

/// outputs[q][j][2 h + i]: column 16 j + valueColumn(h) of query 8 q + 2 pair + i.
void DecodeAttentionLowering::multiplyValues(Value slot) {
  Value matrix = b.name("matrix", b.div(lane, 8)), index = b.name("index", b.rem(lane, 8));
  Value position = b.name("position", b.add(b.div(index, 2), b.mul(b.rem(index, 2), 4)));
  Value row = b.name("row", b.offset(slot, b.mul(b.add(position, b.mul(b.div(matrix, 2), 8)), kRowBytes)));
  Value half = b.name("half", b.rem(matrix, 2));
  // Four matrices of 8 positions x 16 bytes: of one block, or of two blocks of codes.
  int64_t together = areCodes ? 2 : 1, blocks = shape.slabColumns() / kValueColumns; // of a slab
  for (int64_t j = 0; j < valueBlocks; j += together) {
    Value chunk = b.add(half, j % blocks * 2 / together);
    Value address = b.offset(row, b.add(b.mul(b.bitXor(chunk, position), kChunkBytes), j / blocks * slabBytes));
    Value values = b.local("values", {4 * together}, b.getI32Type());
    b.call("ldmatrix_x4_trans", "mma.h", {b.address(values, {zero}), b.as(address, queryType())});
    if (areCodes)
      b.call("widen_value_codes<" + element + ">", "fp8.h", b.address(values, {zero}));
    for (int64_t own = 0; own < together && j + own < valueBlocks; ++own)
      for (int64_t q = 0; q < queryBlocks; ++q)
        b.call("mma_m16n8k16<" + element + ">", "mma.h",
               {b.address(outputs, {b.index(q), b.index(j + own), zero}), b.address(values, {b.index(4 * own)}),
                b.address(weights, {b.index(q), zero})});
  }
}

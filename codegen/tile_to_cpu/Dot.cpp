//===- Dot.cpp - matrix products -------------------------------------------===//
//
// Operands are rows of contiguous elements. With `transpose_rhs` both run along K:
// a block of results keeps one vector of partial sums each, whose lanes are added at
// the end. Otherwise results are vectors along N. Either way the order in which an
// element is summed depends on K alone, whatever block it lies in.
//
//===----------------------------------------------------------------------===//

#include "codegen/tile_to_cpu/ProgramLowering.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace inlay;
using namespace inlay::cpu;

/// Vectors of partial sums that are in registers at once: enough to hide the latency of a multiply-add, few enough to
/// leave registers for operands.
static constexpr int64_t kSums = 16;
static constexpr int64_t kMaxColumns = 8;

/// Elements of a weight's row ahead of those in use: what the next K step reads, while caches still fetch by themselves
/// only along one row.
static constexpr int64_t kPrefetchDistance = 256;

/// Whether an operand comes from memory once, in place.
static bool isWeight(Value tile) {
  auto load = tile.getDefiningOp<tile::LoadOp>();
  return load && cast<tile::ViewType>(load.getView().getType()).getProvenance() == tile::Provenance::Weight;
}

Memory ProgramLowering::widened(Value tile, int64_t columns) {
  Shape shape = shapeOf(tile);
  auto known = memories.find(tile);
  if (known != memories.end() && known->second.element.isF32() && shape.columns == columns)
    return known->second;
  Memory memory = scratch(shape.rows, columns, getF32Type());
  if (Value live = shape.rows > 1 ? liveRows(tile) : Value()) {
    // Blocks reach a few rows further, which only have to be numbers.
    Value end = arith::MinSIOp::create(*this, loc, add(live, index(kMaxDotRows)), index(shape.rows));
    forRange(index(0), end, [&](Value i) { fillRow(memory, tile, i); });
  } else {
    fill(memory, tile);
  }
  if (shape.columns < columns)
    forEach(shape.rows, 1, [&](Value i) {
      forBlocks(columns - shape.columns, kLanes, [&](Value column, int64_t width) {
        store(constant(VectorType::get(width, getF32Type()), 0), row(memory, i), add(column, index(shape.columns)));
      });
    });
  return memory;
}

Memory ProgramLowering::rowsInPlace(Value tile, int64_t columns) {
  auto known = memories.find(tile);
  Shape shape = shapeOf(tile);
  if (shape.columns != columns)
    return widened(tile, columns);
  if (known != memories.end())
    return known->second;
  auto load = tile.getDefiningOp<tile::LoadOp>();
  Memory copy = scratchFor(tile);
  if (!load) {
    fill(copy, tile);
    return copy;
  }
  // In place if the last row and with it every row has all its columns.
  auto view = cast<tile::ViewType>(load.getView().getType());
  Row first = rowOf(load, index(0)), last = rowOf(load, index(shape.rows - 1));
  Value stride = index(view.getShape().back());
  Value inside = last.limit ? compare(arith::CmpIPredicate::sge, last.limit, index(columns)) : Value();
  SmallVector<Value> chosen = choose(
      inside, {first.pointer.getType(), stride.getType()}, [&] { return SmallVector<Value>{first.pointer, stride}; },
      [&] {
        fill(copy, tile);
        return SmallVector<Value>{copy.pointer, copy.stride};
      });
  return {chosen[0], chosen[1], copy.element};
}

void ProgramLowering::storeSum(tile::DotOp op, const Memory &result, Value sum, Value at, Value column) {
  int64_t width = cast<VectorType>(sum.getType()).getNumElements();
  Value before = evaluate(op.getAccumulator(), {at, column, width});
  store(arith::AddFOp::create(*this, loc, before, sum), row(result, at), column);
}

void ProgramLowering::blockOfRows(tile::DotOp op, const Memory &lhs, const Memory &rhs, const Memory &result, Value m0,
                                  int64_t rowCount, Value n0, int64_t columnCount) {
  int64_t k = llvm::alignTo(shapeOf(op.getLhs()).columns, kLanes);
  bool isStreamed = isWeight(op.getRhs());
  SmallVector<Row> left, right;
  for (int64_t i = 0; i < rowCount; ++i)
    left.push_back(row(lhs, add(m0, index(i))));
  for (int64_t j = 0; j < columnCount; ++j)
    right.push_back(row(rhs, add(n0, index(j))));
  SmallVector<Value> zeros(rowCount * columnCount, constant(VectorType::get(kLanes, getF32Type()), 0));
  SmallVector<Value> sums = carry(k, kLanes, zeros, [&](Value at, ValueRange carried) {
    SmallVector<Value> a, next;
    for (Row l : left)
      a.push_back(load(l, at, kLanes, lhs.element));
    for (int64_t j = 0; j < columnCount; ++j) {
      if (isStreamed)
        LLVM::Prefetch::create(*this, loc, address(right[j].pointer, add(at, index(kPrefetchDistance)), rhs.element),
                               /*rw=*/0, /*hint=*/3, /*cache=*/1);
      Value b = toF32(load(right[j], at, kLanes, rhs.element));
      for (int64_t i = 0; i < rowCount; ++i)
        next.push_back(LLVM::FMulAddOp::create(*this, loc, a[i], b, carried[j * rowCount + i]));
    }
    return next;
  });
  for (int64_t i = 0; i < rowCount; ++i) {
    SmallVector<Value> ofRow;
    for (int64_t j = 0; j < columnCount; ++j)
      ofRow.push_back(sums[j * rowCount + i]);
    storeSum(op, result, sumLanes(ofRow), add(m0, index(i)), n0);
  }
}

void ProgramLowering::dotOfRows(tile::DotOp op, const Memory &result, DotBlock block) {
  Shape shape = shapeOf(op.getResult());
  Value live = shape.rows > 1 ? liveRows(op.getLhs()) : Value();
  /// Blocks of all rows, or of the first alone.
  auto blocks = [&](int64_t rows) {
    int64_t most = std::min<int64_t>(kMaxDotRows, llvm::bit_floor(static_cast<uint64_t>(rows)));
    forBlocks(shape.columns, std::min<int64_t>(kMaxColumns, kSums / most), [&](Value n0, int64_t columnCount) {
      forBlocks(rows, most, [&](Value m0, int64_t rowCount) {
        Value isLive = live && rows > most ? compare(arith::CmpIPredicate::slt, m0, live) : Value();
        ifElse(isLive, [&] { block(m0, rowCount, n0, columnCount); });
      });
    });
  };
  if (!live)
    return blocks(shape.rows);
  // A step of one row is what decoding for one user is; it need not pay for a block of rows.
  Value isOne = compare(arith::CmpIPredicate::sle, live, index(1));
  ifElse(isOne, [&] { blocks(1); }, [&] { blocks(shape.rows); });
  // Blocks without a live row, and rows after a single one, are the accumulator.
  int64_t most = std::min<int64_t>(kMaxDotRows, llvm::bit_floor(static_cast<uint64_t>(shape.rows)));
  Value blocksBegun = arith::DivUIOp::create(*this, loc, add(live, index(most - 1)), index(most));
  Value blockEnd = mul(blocksBegun, index(most));
  Value done = arith::SelectOp::create(*this, loc, isOne, index(1), blockEnd);
  forRange(done, index(shape.rows), [&](Value i) { fillRow(result, op.getAccumulator(), i); });
}

void ProgramLowering::dotOfColumns(tile::DotOp op, const Memory &lhs, const Memory &rhs, const Memory &result) {
  Shape shape = shapeOf(op.getResult());
  int64_t k = shapeOf(op.getLhs()).columns;
  auto block = [&](Value m0, int64_t rowCount, Value n0, int64_t width) {
    int64_t columnCount = llvm::divideCeil(width, kLanes), lanes = std::min(width, kLanes);
    SmallVector<Row> left;
    SmallVector<Value> columns;
    for (int64_t i = 0; i < rowCount; ++i)
      left.push_back(row(lhs, add(m0, index(i))));
    for (int64_t j = 0; j < columnCount; ++j)
      columns.push_back(add(n0, index(j * kLanes)));
    auto vector = VectorType::get(lanes, getF32Type());
    SmallVector<Value> zeros(rowCount * columnCount, constant(vector, 0));
    SmallVector<Value> sums = carry(k, 1, zeros, [&](Value at, ValueRange carried) {
      SmallVector<Value> a, next;
      for (Row l : left)
        a.push_back(splat(VectorBuilder::first(load(l, at, 1, lhs.element)), lanes));
      Row right = row(rhs, at);
      for (int64_t j = 0; j < columnCount; ++j) {
        Value b = toF32(load(right, columns[j], lanes, rhs.element));
        for (int64_t i = 0; i < rowCount; ++i)
          next.push_back(LLVM::FMulAddOp::create(*this, loc, a[i], b, carried[j * rowCount + i]));
      }
      return next;
    });
    for (int64_t j = 0; j < columnCount; ++j)
      for (int64_t i = 0; i < rowCount; ++i)
        storeSum(op, result, sums[j * rowCount + i], add(m0, index(i)), columns[j]);
  };
  int64_t rowCount = std::min<int64_t>(kMaxDotRows, llvm::bit_floor(static_cast<uint64_t>(shape.rows)));
  forBlocks(shape.columns, kLanes * kSums / kMaxDotRows, [&](Value n0, int64_t width) {
    forBlocks(shape.rows, rowCount, [&](Value m0, int64_t size) { block(m0, size, n0, width); });
  });
}

void ProgramLowering::lower(tile::DotOp op) {
  int64_t k = shapeOf(op.getLhs()).columns;
  bool ofRows = op.getTransposeRhs();
  int64_t padded = ofRows ? llvm::alignTo(k, kLanes) : k;
  Memory result = scratchFor(op.getResult());
  auto fromMemory = [&] {
    Memory lhs = widened(op.getLhs(), padded);
    Memory rhs = rowsInPlace(op.getRhs(), ofRows ? padded : shapeOf(op.getRhs()).columns);
    if (!ofRows)
      return dotOfColumns(op, lhs, rhs, result);
    dotOfRows(op, result, [&](Value m0, int64_t rows, Value n0, int64_t columns) {
      blockOfRows(op, lhs, rhs, result, m0, rows, n0, columns);
    });
  };
  if (std::optional<UnpackedWeight> weight = unpackedWeight(op)) {
    // Rows past the last one of the weight are zeros, which the other way makes of them.
    Row last = rowOf(weight->bytes, index(shapeOf(op.getRhs()).rows - 1));
    Value isWhole = last.limit ? compare(arith::CmpIPredicate::sgt, last.limit, index(0)) : Value();
    if (isWhole && matchPattern(isWhole, m_One()))
      isWhole = {};
    ifElse(
        isWhole,
        [&] {
          Memory lhs = orderedByFields(op.getLhs(), *weight);
          dotOfRows(op, result, [&](Value m0, int64_t rows, Value n0, int64_t columns) {
            blockOfFields(op, *weight, lhs, result, m0, rows, n0, columns);
          });
        },
        fromMemory);
  } else {
    fromMemory();
  }
  memories[op.getResult()] = result;
}

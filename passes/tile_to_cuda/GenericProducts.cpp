//===- GenericProducts.cpp - products of tiles ----------------------------===//
//
// The right side lies in shared memory and is read as the fragments of mma.m16n8k16; the
// left side and the sums are in registers.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;

LogicalResult GenericLowering::dot(tile::DotOp op) {
  if (rowsOfPackedProduct(op))
    return dotOfSlot(op);
  RankedTensorType lhsType = tileType(op.getLhs()), rhsType = tileType(op.getRhs()), type = tileType(op.getResult());
  Type element = lhsType.getElementType();
  if (element.isF32())
    return op.emitOpError() << "of f32 operands has no CUDA lowering; compile with --dtype bfloat16 or float16";
  std::string name = element.isBF16() ? "bfloat16" : "float16";
  Layout accumulator = layouts.accumulator(type), lhs = layouts.lhs(lhsType);
  int64_t inner = lhsType.getDimSize(1);

  // What comes from memory or other layouts is asked for before anything is waited for.
  prepare(op.getLhs(), lhs);
  prepare(op.getAccumulator(), accumulator);

  // The right side, in shared memory.
  auto known = staged.find(op.getRhs());
  SharedTile rhs;
  if (known != staged.end()) {
    rhs = known->second;
    // Groups of other blocks may or may not have been committed since, so they do not count.
    auto later = ArrayRef(groups).drop_front(rhs.group + 1);
    call("cp_async_wait<" + std::to_string(llvm::count(later, op->getBlock())) + ">", "cp_async.h", {});
    barrier();
  } else {
    SmallVector<int64_t> padded{std::max<int64_t>(16, rhsType.getDimSize(0)),
                                std::max<int64_t>(16, rhsType.getDimSize(1))};
    bool isComputed = layouts.isInline(op.getRhs()) || layouts.isPulled(op.getRhs());
    Layout layout = isComputed ? layouts.blocked(rhsType) : layouts.of(op.getRhs());
    Layout whole = Layout::blocked(padded, 8, layouts.warps());
    int64_t pitch = std::max(whole.extent(1), layout.extent(1)) + 8, rows = std::max(whole.extent(0), layout.extent(0));
    Value array = materialize(op.getRhs(), layout, "rhs");
    Value tile = shared("rhs", rows * pitch * 2, 128, element);
    rhs = {tile, pitch, 0};
    barrier();
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
    auto at = [&](const Layout &any, Value reg) {
      return add(mul(coordinate(any, 0, reg), pitch), coordinate(any, 1, reg));
    };
    if (padded[0] > rhsType.getDimSize(0) || padded[1] > rhsType.getDimSize(1) ||
        !llvm::isPowerOf2_64(rhsType.getDimSize(0)) || !llvm::isPowerOf2_64(rhsType.getDimSize(1))) {
      unrolled(whole.registerCount(), [&](Value reg) { cuda::StoreOp::create(b, loc, zero, tile, at(whole, reg)); });
      barrier();
    }
    unrolled(layout.registerCount(), [&](Value reg) {
      Value value = get(array, reg);
      if (Value inside = insideTile(layout, rhsType.getShape(), reg))
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      cuda::StoreOp::create(b, loc, value, tile, at(layout, reg));
    });
    barrier();
  }

  // The left side, as packed pairs.
  Value a = local(lhs.registerCount() / 2, b.getI32Type(), "a");
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
  unrolled(lhs.registerCount() / 2, [&](Value i) {
    Value low = mul(i, 2), high = add(low, index(1));
    auto read = [&](Value reg) {
      Value value = this->element(op.getLhs(), lhs, reg);
      if (lhs.extent(1) > inner) {
        Value inside = less(coordinate(lhs, 1, reg), index(inner));
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      }
      return value;
    };
    Value first = read(low);
    set(call("pack_bits", "base.h", {first, read(high)}, b.getI32Type()), a, i);
  });

  // The accumulator is a new value, so that the old one stays what it is.
  Value acc = local(accumulator.registerCount(), b.getF32Type(), "acc");
  unrolled(accumulator.registerCount(),
           [&](Value reg) { set(this->element(op.getAccumulator(), accumulator, reg), acc, reg); });

  // Registers of the accumulator: 4 of one 16 x 8 tile, then its tiles along the columns, then along the rows.
  int64_t columnTiles = 1, rowTiles = 1;
  for (LayoutBit bit : ArrayRef(accumulator.registers).drop_front(2))
    (bit.dim == 1 ? columnTiles : rowTiles) *= 2;
  int64_t steps = lhs.registerCount() / 8 / rowTiles;
  int64_t together = std::min<int64_t>(2, columnTiles);
  SmallVector<std::pair<int, int>> warpBits = bitsOf(accumulator.warps, 1);
  Value warpColumn = pickBits(warp, warpBits);
  Value lane8 = arith::AndIOp::create(b, loc, lane, index(7));
  auto laneBit = [&](int bit) { return pickBits(lane, {{bit, 3}}); }; // 8 where the bit is set
  // The lane's row and column in the 16 x 16 elements of two column tiles and one step.
  Value laneColumn = op.getTransposeRhs() ? add(lane8, laneBit(4)) : laneBit(4);
  Value laneInner = op.getTransposeRhs() ? laneBit(3) : add(lane8, laneBit(3));
  if (together == 1)
    laneColumn = op.getTransposeRhs() ? lane8 : Value();
  std::string load =
      std::string(together == 2 ? "ldmatrix_x4" : "ldmatrix_x2") + (op.getTransposeRhs() ? "" : "_trans");
  Value laneStart = op.getTransposeRhs() ? add(mul(add(warpColumn, laneColumn), rhs.pitch), laneInner)
                                         : add(mul(laneInner, rhs.pitch), add(warpColumn, laneColumn));
  Value base = pointerAt(rhs.pointer, laneStart);
  int64_t perStep = op.getTransposeRhs() ? 16 : 16 * rhs.pitch;
  int64_t perColumns = (op.getTransposeRhs() ? rhs.pitch : 1) * 8 * together;
  unrolled(steps, [&](Value step) {
    unrolled(columnTiles / together, [&](Value columns) {
      Value fragment = local(2 * together, b.getI32Type(), "b");
      Value at = pointerAt(base, add(mul(step, perStep), mul(columns, perColumns)));
      call(load, "mma.h", {address(fragment, index(0)), at});
      unrolled(rowTiles, [&](Value row) {
        for (int64_t half = 0; half < together; ++half) {
          Value c = mul(add(add(mul(row, columnTiles), mul(columns, together)), index(half)), 4);
          Value left = mul(add(mul(row, steps), step), 4);
          call("mma_m16n8k16<" + name + ">", "mma.h",
               {address(acc, c), address(a, left), address(fragment, index(2 * half))});
        }
      });
    });
  });
  define(op.getResult(), accumulator, acc);
  return success();
}

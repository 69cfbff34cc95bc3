//===- GenericProducts.cpp - products of tiles ----------------------------===//
//
// The right side lies in shared memory, from which ldmatrix reads fragments; the left side
// and the sums are in registers. MmaInstructions.h has the instruction.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;

LogicalResult GenericLowering::dot(tile::DotOp op) {
  if (slotOperandOf(op))
    return dotOfRows(op);
  RankedTensorType lhsType = tileType(op.getLhs()), rhsType = tileType(op.getRhs());
  Type element = lhsType.getElementType();
  const MmaInstruction &mma = *mmaOf(op);
  if (mma.left == OperandPlace::Packed || mma.right == OperandPlace::Packed)
    return dotOfWeights(op);
  if (isInWarpRing(op.getLhs()))
    return dotOfCodes(op);
  using enum LayoutDim;
  Layout accumulator = registerLayout(op.getResult()), lhs = registerLayout(op.getLhs());
  int64_t inner = lhsType.getDimSize(1);

  // What comes from memory or other layouts is asked for before anything is waited for.
  prepare(op.getLhs());
  prepare(op.getAccumulator());

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
    Layout layout = registerLayout(op.getRhs()), whole = copyLayout(rhsType, log2Ceil(threads.warps));
    int64_t pitch = std::max(whole.extent(Dim1), layout.extent(Dim1)) + 8;
    int64_t rows = std::max(whole.extent(Dim0), layout.extent(Dim0));
    Value array = materialize(op.getRhs(), "rhs");
    Value tile = shared("rhs", rows * pitch * 2, 128, element);
    rhs = {tile, pitch, 0};
    barrier();
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
    auto at = [&](const Layout &any, Value reg) {
      return add(mul(coordinate(any, 0, reg), pitch), coordinate(any, 1, reg));
    };
    if (padded[0] > rhsType.getDimSize(0) || padded[1] > rhsType.getDimSize(1) ||
        !llvm::isPowerOf2_64(rhsType.getDimSize(0)) || !llvm::isPowerOf2_64(rhsType.getDimSize(1))) {
      unrolled(whole.size(Register), [&](Value reg) { cuda::StoreOp::create(b, loc, zero, tile, at(whole, reg)); });
      barrier();
    }
    unrolled(layout.size(Register), [&](Value reg) {
      Value value = get(array, reg);
      if (Value inside = insideTile(layout, rhsType.getShape(), reg))
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      cuda::StoreOp::create(b, loc, value, tile, at(layout, reg));
    });
    barrier();
  }

  // The left side, as packed pairs.
  Value a = local(lhs.size(Register) / 2, b.getI32Type(), "a");
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
  unrolled(lhs.size(Register) / 2, [&](Value i) {
    Value low = mul(i, 2), high = add(low, index(1));
    auto read = [&](Value reg) {
      Value value = this->element(op.getLhs(), reg);
      if (lhs.extent(Dim1) > inner) {
        Value inside = less(coordinate(lhs, 1, reg), index(inner));
        value = arith::SelectOp::create(b, loc, inside, value, zero);
      }
      return value;
    };
    Value first = read(low);
    set(call("pack_bits", "base.h", {first, read(high)}, b.getI32Type()), a, i);
  });

  // The accumulator is a new value, so that the old one stays what it is.
  Value acc = local(accumulator.size(Register), b.getF32Type(), "acc");
  unrolled(accumulator.size(Register), [&](Value reg) { set(this->element(op.getAccumulator(), reg), acc, reg); });

  // Registers of the accumulator: those of one instruction, then its tiles along the columns, then along the rows.
  int64_t columnTiles = 1, rowTiles = 1;
  SmallVector<int64_t> columnsOfBits = accumulator.components(Register, Dim1);
  for (int64_t columns : ArrayRef(columnsOfBits).drop_front(mma.sums.bits(Register)))
    (columns > 0 ? columnTiles : rowTiles) *= 2;
  int64_t steps = lhs.size(Register) / mma.leftFragment.size(Register) / rowTiles;
  // Of one instruction: sums, and words of two elements of the left and right side.
  int64_t sums = mma.sums.size(Register), leftWords = mma.leftFragment.size(Register) / 2;
  int64_t rightWords = mma.rightFragment.size(Register) / 2;
  int64_t together = std::min<int64_t>(2, columnTiles);
  Value warpColumn = image(warp, accumulator.components(Warp, Dim1));
  Value lane8 = arith::AndIOp::create(b, loc, lane, index(7));
  auto laneBit = [&](int bit) { // 8 where the bit is set
    SmallVector<int64_t> components(bit);
    components.push_back(8);
    return image(lane, components);
  };
  // ldmatrix: the lane's row and column in the right side of one step, for one or two column tiles.
  Value laneColumn = op.getTransposeRhs() ? add(lane8, laneBit(4)) : laneBit(4);
  Value laneInner = op.getTransposeRhs() ? laneBit(3) : add(lane8, laneBit(3));
  if (together == 1)
    laneColumn = op.getTransposeRhs() ? lane8 : Value();
  std::string load =
      std::string(together == 2 ? "ldmatrix_x4" : "ldmatrix_x2") + (op.getTransposeRhs() ? "" : "_trans");
  Value laneStart = op.getTransposeRhs() ? add(mul(add(warpColumn, laneColumn), rhs.pitch), laneInner)
                                         : add(mul(laneInner, rhs.pitch), add(warpColumn, laneColumn));
  Value base = pointerAt(rhs.pointer, laneStart);
  int64_t perStep = mma.inner * (op.getTransposeRhs() ? 1 : rhs.pitch);
  int64_t perColumns = (op.getTransposeRhs() ? rhs.pitch : 1) * mma.columns * together;
  unrolled(steps, [&](Value step) {
    unrolled(columnTiles / together, [&](Value columns) {
      Value fragment = local(rightWords * together, b.getI32Type(), "b");
      Value at = pointerAt(base, add(mul(step, perStep), mul(columns, perColumns)));
      call(load, "mma.h", {address(fragment, index(0)), at});
      unrolled(rowTiles, [&](Value row) {
        for (int64_t half = 0; half < together; ++half) {
          Value c = mul(add(add(mul(row, columnTiles), mul(columns, together)), index(half)), sums);
          Value left = mul(add(mul(row, steps), step), leftWords);
          call(mma.call(element, mma.columns), mma.header,
               {address(acc, c), address(a, left), address(fragment, index(rightWords * half))});
        }
      });
    });
  });
  define(op.getResult(), acc);
  return success();
}

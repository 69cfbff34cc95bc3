//===- GenericAsync.cpp - products of warpgroups ---------------------------===//
//
// wgmma reads its right operand from shared memory, and its left one from there or from
// registers. Both lie there in slabs of 128 bytes a row under the 128-byte swizzle. A
// warp's part of the sums has the layout of mma.m16n8k16.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"
#include "passes/tile_to_cuda/KernelBuilder.h"
#include "passes/tile_to_cuda/MmaInstructions.h"

using namespace mlir;
using namespace inlay;
using tile::kAtomColumns, tile::kSlabBytes;

/// The columns of the sums of instructions that wgmma.h has.
static constexpr int64_t kWidths[] = {16, 32, 64, 80, 96, 128, 160, 192, 224, 256};

/// The columns of an instruction for sums of `columns`, of which it may have more.
static int64_t columnsOfInstruction(int64_t columns) {
  return *llvm::find_if(kWidths, [&](int64_t width) { return width >= columns; });
}

/// Puts a left operand where products of warpgroups read it; each warpgroup its own rows.
LogicalResult GenericLowering::stageLeft(tile::StageOp op) {
  RankedTensorType type = tileType(op.getResult());
  Layout layout = registerLayout(op.getValue());
  if (!meetings.parity || op->getParentOfType<scf::ForOp>())
    return op.emitOpError() << "of " << type.dropEncoding()
                            << " has no CUDA lowering; expected consumers of a tile.warp_roles, and no loop";
  Value array = materialize(op.getValue(), "staged");
  KernelBuilder k(loc, b);
  int64_t slab = tile::slabBytes(type) / bytesOf(type.getElementType());
  Value base;
  {
    OpBuilder::InsertionGuard guard(k);
    k.setInsertionPoint(entryEnd); // declared where every warp can name it
    base = k.shared("left", type.getElementType(), tile::slabsOf(type) * tile::slabBytes(type), tile::kAtomBytes);
  }
  unrolled(layout.size(LayoutDim::Register) / 8, [&](Value i) {
    Value reg = mul(i, 8), row = coordinate(layout, 0, reg), column = coordinate(layout, 1, reg);
    KernelBuilder inner(loc, b);
    Value chunk = inner.bitXor(inner.rem(inner.div(column, 8), 8), inner.rem(row, 8));
    Value at = inner.add(inner.mul(inner.div(column, kAtomColumns), slab),
                         inner.add(inner.mul(row, kAtomColumns), inner.mul(chunk, 8)));
    int64_t columns = tile::slabsOf(type) * kAtomColumns;
    Value inside = layout.extent(LayoutDim::Dim1) > columns ? less(column, index(columns)) : always();
    call("store_vector<8>", "tile.h", {pointerAt(base, at), address(array, reg), inside});
  });
  meetWarpgroup();
  ringTiles[op.getResult()] = {base, index(0)};
  return success();
}

/// The left operand in registers, as packed pairs.
Value GenericLowering::packLeft(Value tile) {
  Layout layout = registerLayout(tile);
  Value array = materialize(tile, "left");
  Value packed = local(layout.size(LayoutDim::Register) / 2, b.getI32Type(), "packed");
  unrolled(liveRegisters(layout, tileType(tile).getShape()) / 2, [&](Value i) {
    Value low = mul(i, 2), high = add(low, index(1));
    set(call("pack_bits", "base.h", {get(array, low), get(array, high)}, b.getI32Type()), packed, i);
  });
  return packed;
}

/// Each warpgroup multiplies 64 rows of the left tile by the right one, in steps of 32 bytes along k.
LogicalResult GenericLowering::dotAsync(tile::DotAsyncOp op) {
  RankedTensorType lhs = tileType(op.getLhs()), rhs = tileType(op.getRhs()), type = tileType(op.getResult());
  auto left = ringTiles.find(op.getLhs()), right = ringTiles.find(op.getRhs());
  bool isLeftShared = left != ringTiles.end();
  if (right == ringTiles.end() || (isLeftShared && op.getColumns()))
    return op.emitOpError("has an operand that is in no slot of a ring");
  const MmaInstruction &mma = *mmaOf(op);
  int64_t groups = threads.warps / mma.warps(), depth = lhs.getDimSize(1), columns = type.getDimSize(1);
  if (lhs.getDimSize(0) != mma.rows * groups || columns % mma.columns != 0 || columns > mma.maxColumns ||
      (!isLeftShared && depth % mma.inner != 0))
    return op.emitOpError() << "has " << lhs.dropEncoding() << " and " << rhs.dropEncoding() << " for " << groups
                            << " warpgroups; expected 64 rows on the left for each, and up to 256 on the right";
  if (!op.getColumns() && columnsOfInstruction(columns) != columns)
    return op.emitOpError() << "has " << rhs.dropEncoding() << " on the right; wgmma.h has no instruction of "
                            << columns << " rows there";
  bool isFirst = !op.getColumns() &&
                 (matchPattern(op.getAccumulator(), m_AnyZeroFloat()) || matchPattern(op.getAccumulator(), m_Zero()));
  Value sums = isFirst ? local(registerLayout(op.getResult()).size(LayoutDim::Register), type.getElementType(), "sums")
                       : materialize(op.getAccumulator(), "sums");
  Value packed = packedTiles.lookup(op.getLhs());
  if (!packed && !isLeftShared)
    packed = packLeft(op.getLhs());

  KernelBuilder k(loc, b);
  Type i64 = k.getI64Type();
  std::string product = mma.call(lhs.getElementType(), columnsOfInstruction(columns));
  auto forward = [&](Value tile, int64_t units) -> Value {
    return units == 0 ? tile : arith::AddIOp::create(k, tile, arith::ConstantIntOp::create(k, units, 64)).getResult();
  };
  Value from = k.offset(right->second.first, right->second.second);
  if (op.getColumns()) {
    Value c = k.name("right", k.call(i64, "swizzled_columns", "wgmma.h", {from, k.i32(tile::slabBytes(rhs))}));
    k.call("wgmma_fence", "wgmma.h", {});
    for (int64_t step = 0; step < depth / mma.inner; ++step) // 16 rows of a slab, in the units of a descriptor
      k.call(product, mma.header,
             {sums, k.address(packed, k.index(4 * step)), forward(c, step * mma.inner * tile::kSlabBytes / 16)});
  } else {
    int64_t rowsBytes = mma.rows * kSlabBytes; // of a warpgroup
    auto ownRows = [&](Value buffer) {
      return k.mul(k.div(warp, mma.warps()),
                   rowsBytes / bytesOf(cast<cuda::PtrType>(buffer.getType()).getElementType()));
    };
    auto describe = [&](StringRef name, Value pointer) {
      return k.name(name, k.call(i64, "swizzled_tile", "wgmma.h", pointer));
    };
    Value a =
        isLeftShared
            ? describe("left", k.offset(left->second.first, k.add(left->second.second, ownRows(left->second.first))))
            : Value();
    Value c = describe("right", from);
    Value yes = arith::ConstantIntOp::create(k, 1, 1), accumulates = yes;
    if (isFirst)
      accumulates = arith::ConstantIntOp::create(k, 0, 1);
    else if (auto first = firstProducts.find(op.getAccumulator()); first != firstProducts.end())
      accumulates = first->second();
    k.call("wgmma_fence", "wgmma.h", {});
    for (int64_t step = 0; step < static_cast<int64_t>(llvm::divideCeil(depth, mma.inner)); ++step) {
      // A step is 32 bytes, 2 in the units of a descriptor; the next slab comes after all rows of the tile.
      auto unitsOf = [&](RankedTensorType tile) { return step % 4 * 2 + step / 4 * tile::slabBytes(tile) / 16; };
      Value ofStep = isLeftShared ? forward(a, unitsOf(lhs)) : k.address(packed, k.index(4 * step));
      k.call(product, mma.header, {sums, ofStep, forward(c, unitsOf(rhs)), step == 0 ? accumulates : yes});
    }
  }
  k.call("wgmma_commit", "wgmma.h", {});
  define(op.getResult(), sums);
  return success();
}

LogicalResult GenericLowering::dotWait(tile::DotWaitOp op) {
  call("wgmma_wait<" + std::to_string(op.getPending()) + ">", "wgmma.h", {});
  for (auto [sums, result] : llvm::zip_equal(op.getSums(), op.getResults())) {
    Value array = arrayOf(sums);
    if (op.getPending() == 0)
      call("register_fence<" + std::to_string(liveRegisters(registerLayout(result), tileType(result).getShape())) + ">",
           "wgmma.h", {array});
    define(result, array);
  }
  return success();
}

/// The first warpgroup lets the second one begin, and the last one the first.
LogicalResult GenericLowering::inTurn(tile::InTurnOp op) {
  KernelBuilder k(loc, b);
  int64_t warps = kWarpgroup / 32, groups = threads.warps / warps;
  if (threads.group != ThreadGroup::Role || !turns.parity)
    return op.emitOpError("stands outside of the consumers of a tile.warp_roles");
  Value group = k.div(warp, warps), parity = k.get(turns.parity);
  k.call("mbarrier_wait", "mbarrier.h", {k.offset(turns.barriers, group), parity});
  k.set(k.sub(k.index(1), parity), turns.parity);
  if (failed(lowerBlock(op.getBody().front())))
    return failure();
  KernelBuilder after(loc, b);
  after.ifThen(after.equal(lane, 0), [&] {
    after.call("mbarrier_arrive", "mbarrier.h", after.offset(turns.barriers, after.rem(after.add(group, 1), groups)));
  });
  for (auto [value, result] : llvm::zip_equal(op.getBody().front().getTerminator()->getOperands(), op.getResults()))
    define(result, arrayOf(value));
  return success();
}

//===- GenericReductions.cpp - tiles over an axis -------------------------===//
//
// In a thread's registers first, then over the lanes of a warp, then over warps through
// shared memory, then over the blocks of a cluster.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;

Value TileValues::combine(tile::Reduction kind, Value x, Value y) {
  bool isFloat = isa<FloatType>(x.getType());
  switch (kind) {
  case tile::Reduction::Add:
    return isFloat ? Value(arith::AddFOp::create(b, loc, x, y)) : Value(arith::AddIOp::create(b, loc, x, y));
  case tile::Reduction::Max:
    return isFloat ? Value(arith::MaximumFOp::create(b, loc, x, y)) : Value(arith::MaxSIOp::create(b, loc, x, y));
  case tile::Reduction::Min:
    return isFloat ? Value(arith::MinimumFOp::create(b, loc, x, y)) : Value(arith::MinSIOp::create(b, loc, x, y));
  }
  llvm_unreachable("all reductions are handled");
}

Value TileValues::identity(tile::Reduction kind, Type type) {
  TypedAttr attr;
  if (auto floats = dyn_cast<FloatType>(type)) {
    APFloat value = kind == tile::Reduction::Add
                        ? APFloat::getZero(floats.getFloatSemantics())
                        : APFloat::getInf(floats.getFloatSemantics(), kind == tile::Reduction::Max);
    attr = FloatAttr::get(type, value);
  } else {
    unsigned bits = type.getIntOrFloatBitWidth();
    APInt value = kind == tile::Reduction::Add   ? APInt::getZero(bits)
                  : kind == tile::Reduction::Max ? APInt::getSignedMinValue(bits)
                                                 : APInt::getSignedMaxValue(bits);
    attr = IntegerAttr::get(type, value);
  }
  return arith::ConstantOp::create(b, loc, attr);
}

/// Combines, in `arrays` of layout.slice(axis), what lanes and warps hold of the axis; all of them get the result.
void TileValues::reduceOverThreads(const Layout &layout, int axis, ArrayRef<int64_t> shape, ArrayRef<Value> arrays,
                                   function_ref<SmallVector<Value>(ValueRange, ValueRange)> combineValues) {
  Layout kept = layout.slice(axis);
  auto elementType = [](Value array) { return cast<cuda::LocalType>(array.getType()).getElementType(); };
  auto combineInto = [&](Value reg, ValueRange others) {
    SmallVector<Value> mine;
    for (Value array : arrays)
      mine.push_back(get(array, reg));
    for (auto [value, array] : llvm::zip_equal(combineValues(mine, others), arrays))
      set(value, array, reg);
  };
  using enum LayoutDim;
  LayoutDim along = tile::dimension(axis);
  for (auto [i, component] : llvm::enumerate(layout.components(Lane, along))) {
    if (component == 0)
      continue;
    int64_t distance = int64_t(1) << i;
    unrolled(kept.size(LayoutDim::Register), [&](Value reg) {
      SmallVector<Value> others;
      for (Value array : arrays)
        others.push_back(call("shuffle_xor", "warp.h",
                              {get(array, reg), arith::ConstantIntOp::create(b, loc, distance, 32)},
                              elementType(array)));
      combineInto(reg, others);
    });
  }
  SmallVector<int64_t> partBits;
  int64_t parts = 1;
  for (int64_t component : layout.components(Warp, along)) {
    partBits.push_back(component > 0 ? parts : 0);
    parts *= component > 0 ? 2 : 1;
  }
  if (parts == 1)
    return;
  // Warps: each writes its part, then every thread combines the parts in the same order.
  int64_t elements = 1;
  for (int dim = 0; dim + 1 < static_cast<int>(shape.size()); ++dim)
    elements *= kept.extent(tile::dimension(dim));
  auto at = [&](Value reg) {
    Value sum;
    for (int dim = 0; dim + 1 < static_cast<int>(shape.size()); ++dim)
      sum = add(sum ? mul(sum, kept.extent(tile::dimension(dim))) : Value(), coordinate(kept, dim, reg));
    return sum ? sum : index(0);
  };
  barrier();
  SmallVector<Value> regions;
  for (Value array : arrays)
    regions.push_back(shared("parts", parts * elements * 4, 4, elementType(array), exchanges));
  ++exchanges;
  Value part = image(warp, partBits);
  unrolled(kept.size(LayoutDim::Register), [&](Value reg) {
    for (auto [array, region] : llvm::zip_equal(arrays, regions))
      cuda::StoreOp::create(b, loc, get(array, reg), region, add(mul(part, elements), at(reg)));
  });
  barrier();
  unrolled(kept.size(LayoutDim::Register), [&](Value reg) {
    SmallVector<Value> sum;
    for (int64_t p = 0; p < parts; ++p) {
      SmallVector<Value> next;
      for (auto [array, region] : llvm::zip_equal(arrays, regions))
        next.push_back(cuda::LoadOp::create(b, loc, elementType(array), region, add(index(p * elements), at(reg))));
      sum = p == 0 ? next : combineValues(sum, next);
    }
    for (auto [value, array] : llvm::zip_equal(sum, arrays))
      set(value, array, reg);
  });
}

LogicalResult GenericLowering::reduce(tile::ReduceOp op) {
  RankedTensorType type = tileType(op.getValue());
  if (type.getElementTypeBitWidth() != 32)
    return op.emitOpError() << "of " << type.getElementType() << " has no CUDA lowering; widen to 32 bits first";
  Layout layout = registerLayout(op.getValue());
  int axis = op.getAxis();
  Layout kept = layout.slice(axis);
  prepare(op.getValue());
  Value result = local(kept.size(LayoutDim::Register), type.getElementType(), stringifyReduction(op.getKind()));
  Value start = identity(op.getKind(), type.getElementType());
  unrolled(kept.size(LayoutDim::Register), [&](Value reg) { set(start, result, reg); });
  // Where whole registers lie past the end, the others hold nothing else that does.
  int64_t count = liveRegisters(layout, type.getShape()), all = layout.size(LayoutDim::Register);
  int64_t extent = layout.extent(tile::dimension(axis));
  bool isWhole = count < all && layout.bases(LayoutDim::Register).back()[tile::dimension(axis)] != 0 &&
                 extent * count == type.getDimSize(axis) * all;
  unrolled(count, [&](Value reg) {
    Value value = element(op.getValue(), reg);
    if (extent > type.getDimSize(axis) && !isWhole)
      value = arith::SelectOp::create(b, loc, less(coordinate(layout, axis, reg), index(type.getDimSize(axis))), value,
                                      start);
    Value to = keptRegister(layout, axis, reg);
    set(combine(op.getKind(), get(result, to), value), result, to);
  });
  reduceOverThreads(layout, axis, type.getShape(), {result},
                    [&](ValueRange x, ValueRange y) { return SmallVector<Value>{combine(op.getKind(), x[0], y[0])}; });
  define(op.getResult(), result);
  return success();
}

LogicalResult GenericLowering::argMax(tile::ArgMaxOp op) {
  RankedTensorType type = tileType(op.getValue());
  if (!type.getElementType().isF32())
    return op.emitOpError() << "of " << type.getElementType() << " has no CUDA lowering; widen to f32 first";
  Layout layout = registerLayout(op.getValue());
  Layout kept = layout.slice(1);
  prepare(op.getValue());
  Type i32 = b.getI32Type();
  Value top = local(kept.size(LayoutDim::Register), type.getElementType(), "top");
  Value where = local(kept.size(LayoutDim::Register), i32, "where");
  Value lowest = identity(tile::Reduction::Max, type.getElementType());
  Value last = identity(tile::Reduction::Min, i32);
  unrolled(kept.size(LayoutDim::Register), [&](Value reg) {
    set(lowest, top, reg);
    set(last, where, reg);
  });
  // The larger, and of equals the one with the smaller index.
  auto better = [&](ValueRange x, ValueRange y) {
    Value larger = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, y[0], x[0]);
    Value equal = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, y[0], x[0]);
    Value earlier = less(y[1], x[1]);
    Value takes = arith::OrIOp::create(b, loc, larger, arith::AndIOp::create(b, loc, equal, earlier));
    return SmallVector<Value>{arith::SelectOp::create(b, loc, takes, y[0], x[0]),
                              arith::SelectOp::create(b, loc, takes, y[1], x[1])};
  };
  unrolled(layout.size(LayoutDim::Register), [&](Value reg) {
    Value value = element(op.getValue(), reg);
    if (layout.extent(LayoutDim::Dim1) > type.getDimSize(1))
      value =
          arith::SelectOp::create(b, loc, less(coordinate(layout, 1, reg), index(type.getDimSize(1))), value, lowest);
    Value column = arith::IndexCastOp::create(b, loc, i32, coordinate(layout, 1, reg));
    Value to = keptRegister(layout, 1, reg);
    SmallVector<Value> chosen = better({get(top, to), get(where, to)}, {value, column});
    set(chosen[0], top, to);
    set(chosen[1], where, to);
  });
  reduceOverThreads(layout, 1, type.getShape(), {top, where}, better);
  define(op.getMaximum(), top);
  define(op.getIndex(), where);
  return success();
}

/// Each block shows its tile to the others of the cluster, and reads theirs in the order of the ranks.
LogicalResult GenericLowering::clusterReduce(tile::ClusterReduceOp op) {
  RankedTensorType type = tileType(op.getValue());
  if (type.getElementTypeBitWidth() != 32)
    return op.emitOpError() << "of " << type.getElementType() << " has no CUDA lowering; widen to 32 bits first";
  Layout layout = registerLayout(op.getResult());
  Value mine = materialize(op.getValue(), "mine");
  int64_t columns = type.getRank() == 2 ? layout.extent(LayoutDim::Dim1) : 1;
  Value region = shared("ranks", layout.extent(LayoutDim::Dim0) * columns * 4, 128, type.getElementType());
  auto at = [&](Value reg) {
    Value row = coordinate(layout, 0, reg);
    return type.getRank() == 2 ? add(mul(row, columns), coordinate(layout, 1, reg)) : row;
  };
  Value result = local(layout.size(LayoutDim::Register), type.getElementType(), stringifyReduction(op.getKind()));
  unrolled(layout.size(LayoutDim::Register),
           [&](Value reg) { cuda::StoreOp::create(b, loc, get(mine, reg), region, at(reg)); });
  call("cluster_barrier", "warp.h", {});
  int64_t blocks = kernel.getCluster();
  unrolled(layout.size(LayoutDim::Register), [&](Value reg) {
    Value address = pointerAt(region, at(reg)), sum;
    for (int64_t rank = 0; rank < blocks; ++rank) {
      Value next = call("load_of_block", "warp.h", {address, arith::ConstantIntOp::create(b, loc, rank, 32)},
                        type.getElementType());
      sum = rank == 0 ? next : combine(op.getKind(), sum, next);
    }
    set(sum, result, reg);
  });
  call("cluster_leave", "warp.h", {}); // no block writes here again, or ends, before all have read
  define(op.getResult(), result);
  return success();
}

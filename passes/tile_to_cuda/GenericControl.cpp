//===- GenericControl.cpp - loops and branches over tiles -----------------===//
//
// Scalars are carried by the loop, tiles by arrays that live around it.
//
//===----------------------------------------------------------------------===//

#include "passes/tile_to_cuda/GenericLowering.h"

using namespace mlir;
using namespace inlay;

/// Whether a loop carries sums from 0 that only its products touch: then the first one overwrites them, since
/// instructions that write registers of products in flight would have to wait for all of them.
static bool isStartedByProduct(Value init, BlockArgument argument) {
  return matchPattern(init, m_AnyZeroFloat()) && argument.hasOneUse() && isa<tile::DotAsyncOp>(*argument.user_begin());
}

LogicalResult GenericLowering::forOp(scf::ForOp op) {
  // Scalars are carried by the loop, tiles by arrays that live around it.
  SmallVector<Value> init, arrays;
  SmallVector<int64_t> carried; // registers of each array
  for (auto [value, argument] : llvm::zip_equal(op.getInitArgs(), op.getRegionIterArgs())) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type) {
      init.push_back(scalar(value));
      continue;
    }
    int64_t registers = registerLayout(argument).size(LayoutDim::Register);
    Value array = local(registers, type.getElementType(), "carried");
    if (!isStartedByProduct(value, argument)) {
      prepare(value);
      unrolled(registers, [&](Value reg) { set(element(value, reg), array, reg); });
    }
    arrays.push_back(array);
    carried.push_back(registers);
  }
  auto loop =
      scf::ForOp::create(b, loc, scalar(op.getLowerBound()), scalar(op.getUpperBound()), scalar(op.getStep()), init);
  if (Attribute unroll = op->getAttr(tile::kUnrollAttr))
    loop->setAttr(cuda::kUnrollAttr, unroll);
  if (!init.empty() && loop.getBody()->mightHaveTerminator())
    loop.getBody()->getTerminator()->erase();
  scalars[op.getInductionVar()] = loop.getInductionVar();
  for (auto [value, argument] : llvm::zip_equal(op.getInitArgs(), op.getRegionIterArgs()))
    if (isStartedByProduct(value, argument))
      firstProducts[argument] = [this, op]() mutable {
        return less(scalar(op.getLowerBound()), scalar(op.getInductionVar()));
      };
  scopes.back().inner = loop;
  scopes.emplace_back();
  unsigned nextScalar = 0, nextArray = 0;
  for (BlockArgument argument : op.getRegionIterArgs()) {
    if (!isa<RankedTensorType>(argument.getType())) {
      scalars[argument] = loop.getRegionIterArg(nextScalar++);
    } else {
      define(argument, arrays[nextArray++]);
    }
  }
  {
    OpBuilder::InsertionGuard guard(b);
    if (init.empty())
      b.setInsertionPoint(loop.getBody()->getTerminator());
    else
      b.setInsertionPointToEnd(loop.getBody());
    if (failed(lowerBlock(*op.getBody())))
      return failure();
    SmallVector<Value> yields, next;
    unsigned i = 0;
    for (Value value : op.getBody()->getTerminator()->getOperands()) {
      if (!isa<RankedTensorType>(value.getType())) {
        yields.push_back(scalar(value));
        continue;
      }
      // An array that another one is assigned from must not have changed before: such values are copied first.
      int64_t registers = carried[i++];
      prepare(value);
      Value array = computed.contains(value) ? Value() : arrayOf(value);
      if (!array || (llvm::is_contained(arrays, array) && array != arrays[i - 1])) {
        array = local(registers, tileType(value).getElementType(), "next");
        unrolled(registers, [&](Value reg) { set(element(value, reg), array, reg); });
      }
      next.push_back(array);
    }
    for (auto [from, to, registers] : llvm::zip_equal(next, arrays, carried))
      if (from != to)
        unrolled(registers, [&](Value reg) { set(get(from, reg), to, reg); });
    if (!init.empty())
      scf::YieldOp::create(b, loc, yields);
  }
  scopes.pop_back();
  nextScalar = nextArray = 0;
  for (OpResult result : op.getResults()) {
    if (!isa<RankedTensorType>(result.getType())) {
      scalars[result] = loop.getResult(nextScalar++);
    } else {
      define(result, arrays[nextArray++]); // the loop's array becomes the result
    }
  }
  return success();
}

/// Builds one side of a branch, whose tiles end in `arrays`.
LogicalResult GenericLowering::lowerBranch(Region &from, Block *to, ArrayRef<Value> arrays) {
  OpBuilder::InsertionGuard guard(b);
  if (to->mightHaveTerminator() && !to->empty() && to->back().hasTrait<OpTrait::IsTerminator>())
    to->back().erase();
  b.setInsertionPointToEnd(to);
  scopes.emplace_back();
  if (failed(lowerBlock(from.front())))
    return failure();
  SmallVector<Value> yields;
  unsigned i = 0;
  for (Value value : from.front().getTerminator()->getOperands()) {
    if (!isa<RankedTensorType>(value.getType())) {
      yields.push_back(scalar(value));
      continue;
    }
    prepare(value);
    Value array = arrays[i++];
    unrolled(registerLayout(value).size(LayoutDim::Register), [&](Value reg) { set(element(value, reg), array, reg); });
  }
  scf::YieldOp::create(b, loc, yields);
  scopes.pop_back();
  return success();
}

/// Each warp takes a side by its own rows.
LogicalResult GenericLowering::ifAll(tile::IfAllOp op) {
  SmallVector<Value> arrays;
  for (OpResult result : op.getResults())
    arrays.push_back(
        local(registerLayout(result).size(LayoutDim::Register), tileType(result).getElementType(), "chosen"));
  prepare(op.getCondition());
  Value all;
  for (int64_t reg = 0; reg < registerLayout(op.getCondition()).size(LayoutDim::Register); ++reg)
    all = both(all, element(op.getCondition(), index(reg)));
  all = call("all_lanes", "warp.h", {all}, b.getI1Type());
  auto branch = scf::IfOp::create(b, loc, TypeRange(), all, /*withElseRegion=*/true);
  scopes.back().inner = branch;
  if (failed(lowerBranch(op.getAll(), branch.thenBlock(), arrays)) ||
      failed(lowerBranch(op.getSome(), branch.elseBlock(), arrays)))
    return failure();
  for (auto [result, array] : llvm::zip_equal(op.getResults(), arrays))
    define(result, array);
  return success();
}

LogicalResult GenericLowering::ifOp(scf::IfOp op) {
  SmallVector<Value> arrays;
  SmallVector<Type> scalarTypes;
  for (OpResult result : op.getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type) {
      scalarTypes.push_back(result.getType());
      continue;
    }
    arrays.push_back(local(registerLayout(result).size(LayoutDim::Register), type.getElementType(), "chosen"));
  }
  bool hasElse = !op.getElseRegion().empty();
  auto branch = scf::IfOp::create(b, loc, scalarTypes, scalar(op.getCondition()), hasElse);
  scopes.back().inner = branch;
  if (failed(lowerBranch(op.getThenRegion(), branch.thenBlock(), arrays)) ||
      (hasElse && failed(lowerBranch(op.getElseRegion(), branch.elseBlock(), arrays))))
    return failure();
  unsigned nextScalar = 0, nextArray = 0;
  for (OpResult result : op.getResults()) {
    if (!isa<RankedTensorType>(result.getType())) {
      scalars[result] = branch.getResult(nextScalar++);
    } else {
      define(result, arrays[nextArray++]);
    }
  }
  return success();
}

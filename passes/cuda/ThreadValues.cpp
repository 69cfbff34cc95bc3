//===- ThreadValues.cpp - what a value is for each thread of a block -------===//

#include "passes/cuda/ThreadValues.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/cuda/Pointers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <map>

using namespace mlir;
using namespace inlay;

static bool isReadonly(Value pointer) {
  return cast<cuda::PtrType>(pointer.getType()).getSpace() == cuda::Space::Readonly &&
         isa<BlockArgument>(baseOf(pointer));
}

bool inlay::dependsOnThread(Value value) {
  SmallVector<Value> next{value};
  llvm::SmallDenseSet<Value> seen;
  while (!next.empty()) {
    Value current = next.pop_back_val();
    if (!seen.insert(current).second)
      continue;
    if (auto argument = dyn_cast<BlockArgument>(current)) {
      Operation *owner = argument.getOwner()->getParentOp();
      auto loop = dyn_cast<scf::ForOp>(owner);
      if (loop && argument == loop.getInductionVar())
        next.append({loop.getLowerBound(), loop.getStep()});
      else if (!isa<cuda::KernelOp>(owner))
        return true;
      continue;
    }
    Operation *op = current.getDefiningOp();
    if (auto special = dyn_cast<cuda::SpecialOp>(op)) {
      if (llvm::is_contained({cuda::Special::ThreadX, cuda::Special::Lane, cuda::Special::Warp}, special.getWhich()))
        return true;
    } else if (auto load = dyn_cast<cuda::LoadOp>(op); load && isReadonly(load.getBase())) {
      next.append(indicesOf(load.getBase()));
      next.push_back(load.getIndex());
    } else if (isa<arith::ArithDialect>(op->getDialect())) {
      next.append(op->operand_begin(), op->operand_end());
    } else if (!isa<cuda::SizeOp>(op)) {
      return true;
    }
  }
  return false;
}

/// The result of an arith op for known operands. None if the op is not supported.
static std::optional<int64_t> compute(Operation *op, ArrayRef<int64_t> x) {
  using Result = std::optional<int64_t>;
  bool dividesByZero = isa<arith::DivSIOp, arith::RemSIOp>(op) && x[1] == 0;
  if (dividesByZero)
    return std::nullopt;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](arith::AddIOp) { return x[0] + x[1]; })
      .Case([&](arith::SubIOp) { return x[0] - x[1]; })
      .Case([&](arith::MulIOp) { return x[0] * x[1]; })
      .Case([&](arith::DivSIOp) { return x[0] / x[1]; })
      .Case([&](arith::RemSIOp) { return x[0] % x[1]; })
      .Case([&](arith::AndIOp) { return x[0] & x[1]; })
      .Case([&](arith::OrIOp) { return x[0] | x[1]; })
      .Case([&](arith::XOrIOp) { return x[0] ^ x[1]; })
      .Case([&](arith::MinSIOp) { return std::min(x[0], x[1]); })
      .Case([&](arith::MaxSIOp) { return std::max(x[0], x[1]); })
      .Case([&](arith::SelectOp) { return x[0] ? x[1] : x[2]; })
      .Case([&](arith::IndexCastOp) { return x[0]; })
      .Case([&](arith::CmpIOp compare) -> Result {
        switch (compare.getPredicate()) {
        case arith::CmpIPredicate::eq:
          return x[0] == x[1];
        case arith::CmpIPredicate::ne:
          return x[0] != x[1];
        case arith::CmpIPredicate::slt:
          return x[0] < x[1];
        case arith::CmpIPredicate::sle:
          return x[0] <= x[1];
        case arith::CmpIPredicate::sgt:
          return x[0] > x[1];
        case arith::CmpIPredicate::sge:
          return x[0] >= x[1];
        default:
          return std::nullopt;
        }
      })
      .Default([](Operation *) { return std::nullopt; });
}

ThreadValue inlay::valueFor(int64_t thread, Value value) {
  constexpr int64_t warpSize = 32;
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return {ThreadValue::Known, value.getType().isInteger(1) ? *constant & 1 : *constant};
  Operation *op = value.getDefiningOp();
  if (auto special = dyn_cast_or_null<cuda::SpecialOp>(op)) {
    if (special.getWhich() == cuda::Special::ThreadX)
      return {ThreadValue::Known, thread};
    if (special.getWhich() == cuda::Special::Lane)
      return {ThreadValue::Known, thread % warpSize};
    if (special.getWhich() == cuda::Special::Warp)
      return {ThreadValue::Known, thread / warpSize};
  }
  if (!dependsOnThread(value))
    return {ThreadValue::Uniform};
  if (!op || !isa<arith::ArithDialect>(op->getDialect()))
    return {ThreadValue::Unknown};
  SmallVector<ThreadValue> operands;
  for (Value operand : op->getOperands())
    operands.push_back(valueFor(thread, operand));
  auto isKnown = [](const ThreadValue &operand) { return operand.kind == ThreadValue::Known; };
  if (llvm::all_of(operands, isKnown)) {
    SmallVector<int64_t> numbers;
    for (const ThreadValue &operand : operands)
      numbers.push_back(operand.number);
    if (std::optional<int64_t> result = compute(op, numbers))
      return {ThreadValue::Known, *result};
    return {ThreadValue::Unknown};
  }
  // A conjunction with one known operand is false if that operand is false; otherwise it equals the other operand.
  if (value.getType().isInteger(1) && isa<arith::AndIOp>(op))
    for (int i : {0, 1})
      if (isKnown(operands[i]))
        return operands[i].number == 0 ? operands[i] : operands[1 - i];
  return {ThreadValue::Unknown};
}

std::optional<SmallVector<int64_t>> inlay::threadsAt(cuda::KernelOp kernel, Operation *op, ArrayRef<Value> indices) {
  std::map<std::vector<int64_t>, int64_t> counts;
  for (int64_t thread = 0; thread < static_cast<int64_t>(kernel.getThreads()); ++thread) {
    bool reaches = true;
    for (Operation *inner = op; inner != kernel && reaches; inner = inner->getParentOp()) {
      auto branch = dyn_cast<scf::IfOp>(inner->getParentOp());
      if (!branch)
        continue;
      ThreadValue condition = valueFor(thread, branch.getCondition());
      if (condition.kind == ThreadValue::Unknown)
        return std::nullopt;
      bool isThen = inner->getParentRegion() == &branch.getThenRegion();
      reaches = condition.kind == ThreadValue::Uniform || (condition.number != 0) == isThen;
    }
    if (!reaches)
      continue;
    std::vector<int64_t> place;
    for (Value index : indices) {
      ThreadValue at = valueFor(thread, index);
      if (at.kind == ThreadValue::Unknown)
        return std::nullopt;
      place.push_back(at.kind == ThreadValue::Known ? at.number : 0);
    }
    ++counts[place];
  }
  SmallVector<int64_t> result;
  for (auto &[place, count] : counts)
    result.push_back(count);
  return result;
}

bool inlay::mayReach(int64_t thread, Operation *op) {
  for (Operation *inner = op; !isa<cuda::KernelOp>(inner); inner = inner->getParentOp())
    if (auto branch = dyn_cast<scf::IfOp>(inner->getParentOp())) {
      ThreadValue condition = valueFor(thread, branch.getCondition());
      bool isThen = inner->getParentRegion() == &branch.getThenRegion();
      if (condition.kind == ThreadValue::Known && (condition.number != 0) != isThen)
        return false;
    }
  return true;
}

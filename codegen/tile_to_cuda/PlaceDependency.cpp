//===- PlaceDependency.cpp - when a kernel waits for those before it -------===//

#include "codegen/tile_to_cuda/PlaceDependency.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace inlay;

/// Whether `op`, or an operation in it, reads or writes memory of `space`.
static bool touches(Operation *op, cuda::Space space) {
  return op
      ->walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          if (auto pointer = dyn_cast<cuda::PtrType>(operand.getType());
              isa<cuda::LoadOp, cuda::StoreOp, cuda::CallOp>(inner) && pointer && pointer.getSpace() == space)
            return WalkResult::interrupt();
        return WalkResult::advance();
      })
      .wasInterrupted();
}

/// Whether all that `op` does is arithmetic, and reading of memory that nobody writes into variables.
static bool isIndependent(Operation *op) {
  return !op->walk([](Operation *inner) {
              if (isa<cuda::CallOp, cuda::LoadOp>(inner))
                return WalkResult(touches(inner, cuda::Space::Readonly) && !touches(inner, cuda::Space::Global) &&
                                          !touches(inner, cuda::Space::Shared)
                                      ? WalkResult::advance()
                                      : WalkResult::interrupt());
              bool isKnown = isa<cuda::LocalOp, cuda::GetOp, cuda::SetOp, cuda::AddressOp, cuda::OffsetOp,
                                 cuda::SpecialOp, cuda::SizeOp, scf::ForOp, scf::YieldOp>(inner) ||
                             isa<arith::ArithDialect, math::MathDialect>(inner->getDialect());
              return isKnown ? WalkResult::advance() : WalkResult::interrupt();
            }).wasInterrupted();
}

void inlay::placeDependency(cuda::KernelOp kernel) {
  Block &body = kernel.getBody().front();
  Operation *first = body.getTerminator();
  for (Operation &op : body)
    if (touches(&op, cuda::Space::Global)) {
      first = &op;
      break;
    }
  OpBuilder builder(first);
  Operation *wait = cuda::DependOp::create(builder, first->getLoc());
  // Operations that stay behind the wait, and the variables that they use.
  llvm::SmallPtrSet<Operation *, 32> late;
  llvm::DenseSet<Value> lateVariables;
  for (Operation &op : llvm::make_early_inc_range(llvm::make_range(first->getIterator(), body.end()))) {
    bool isLate = op.hasTrait<OpTrait::IsTerminator>() || !isIndependent(&op);
    SmallVector<Value> variables;
    op.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        Operation *source = operand.getDefiningOp();
        isLate |= source && late.contains(source);
        if (auto address = dyn_cast_or_null<cuda::AddressOp>(source))
          variables.push_back(address.getVariable());
        else if (isa<cuda::LocalType>(operand.getType()))
          variables.push_back(operand);
      }
    });
    isLate |= llvm::any_of(variables, [&](Value variable) { return lateVariables.contains(variable); });
    if (!isLate) {
      op.moveBefore(wait);
      continue;
    }
    late.insert(&op);
    lateVariables.insert(variables.begin(), variables.end());
  }
}

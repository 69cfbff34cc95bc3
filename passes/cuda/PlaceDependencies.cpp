//===- PlaceDependencies.cpp - inserts waits for earlier launches ----------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "passes/cuda/Passes.h"
#include "passes/cuda/Pointers.h"
#include "llvm/ADT/SmallPtrSet.h"

namespace inlay {
#define GEN_PASS_DEF_PLACEDEPENDENCIESPASS
#include "passes/cuda/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct PlaceDependenciesPass : inlay::impl::PlaceDependenciesPassBase<PlaceDependenciesPass> {
  using PlaceDependenciesPassBase::PlaceDependenciesPassBase;
  void runOnOperation() override;
};
} // namespace

static bool isAccess(Operation *op) { return isa<cuda::LoadOp, cuda::StoreOp, cuda::CallOp>(op); }

/// Whether the access is to memory that earlier launches may write or read while the kernel runs.
static bool isDependent(Operation *access) {
  if (auto call = dyn_cast<cuda::CallOp>(access); call && call.getEarly())
    return false;
  return llvm::any_of(access->getOperands(), [&](Value operand) {
    auto pointer = dyn_cast<cuda::PtrType>(operand.getType());
    std::optional<cuda::Provenance> provenance = provenanceOf(access, operand);
    // Device memory of unknown provenance counts as dependent.
    return provenance ? !cuda::isReadableEarly(*provenance) : pointer && pointer.getSpace() <= cuda::Space::Readonly;
  });
}

/// Whether `op` is or contains a dependent access.
static bool holdsDependent(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        return WalkResult(isAccess(inner) && isDependent(inner) ? WalkResult::interrupt() : WalkResult::advance());
      })
      .wasInterrupted();
}

/// Whether the access only reads, from memory that may be read before the wait, into registers.
static bool isEarly(Operation *access) {
  bool reads = false;
  for (Value operand : access->getOperands()) {
    auto pointer = dyn_cast<cuda::PtrType>(operand.getType());
    if (pointer && pointer.getSpace() == cuda::Space::Shared)
      return false;
    reads |= pointer && pointer.getSpace() <= cuda::Space::Readonly;
  }
  return reads && !isDependent(access);
}

/// Whether `op` does nothing but arithmetic and early reads into variables.
static bool isIndependent(Operation *op) {
  return !op->walk([](Operation *inner) {
              if (isa<cuda::CallOp, cuda::LoadOp>(inner))
                return WalkResult(isEarly(inner) ? WalkResult::advance() : WalkResult::interrupt());
              bool isKnown = isa<cuda::LocalOp, cuda::GetOp, cuda::SetOp, cuda::AddressOp, cuda::OffsetOp,
                                 cuda::SpecialOp, cuda::SizeOp, scf::ForOp, scf::YieldOp>(inner) ||
                             isa<arith::ArithDialect, math::MathDialect>(inner->getDialect());
              return isKnown ? WalkResult::advance() : WalkResult::interrupt();
            }).wasInterrupted();
}

/// Inserts a wait before the first dependent access. Moves operations that do not depend on the ones after the wait
/// before it.
static void placeWait(cuda::KernelOp kernel) {
  Block &body = kernel.getBody().front();
  Operation *first = body.getTerminator();
  for (Operation &op : body)
    if (holdsDependent(&op)) {
      first = &op;
      break;
    }
  OpBuilder builder(first);
  Operation *wait = cuda::DependOp::create(builder, first->getLoc());
  // Operations that stay after the wait, and the variables that they use.
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

/// Replaces all waits by one at the start of the kernel.
static void waitAtStart(cuda::KernelOp kernel) {
  SmallVector<cuda::DependOp> waits;
  kernel.walk([&](cuda::DependOp wait) { waits.push_back(wait); });
  for (cuda::DependOp wait : ArrayRef(waits).drop_front())
    wait.erase();
  Block &body = kernel.getBody().front();
  waits.front()->moveBefore(&body, body.begin());
}

/// Lets the next launch start when the launches before this one have ended.
static void launchDependentsLate(cuda::KernelOp kernel) {
  OpBuilder builder(kernel.getContext());
  // The first of these in a block counts.
  kernel.walk([&](cuda::DependOp wait) {
    builder.setInsertionPointAfter(wait);
    cuda::LaunchDependentsOp::create(builder, wait.getLoc());
  });
}

template <typename Op> static bool holds(cuda::KernelOp kernel) {
  return kernel.walk([](Op) { return WalkResult::interrupt(); }).wasInterrupted();
}

void PlaceDependenciesPass::runOnOperation() {
  cuda::KernelOp kernel = getOperation();
  bool isPlaced = holds<cuda::LaunchDependentsOp>(kernel), isLate = kernel.getLateDependents();
  if (!isPlaced && !isLate) {
    OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
    cuda::LaunchDependentsOp::create(builder, kernel.getLoc());
  }
  if (!holds<cuda::DependOp>(kernel))
    placeWait(kernel);
  if (!early)
    waitAtStart(kernel);
  if (!isPlaced && isLate)
    launchDependentsLate(kernel);
}

//===- VerifyAsync.cpp - checks waits for asynchronous operations ----------===//
//
// The pass, and the facts about a kernel that are gathered before its control flow
// is followed. The checks, which Passes.td describes, are in VerifyFlow.cpp,
// VerifyAccesses.cpp and VerifyBarriers.cpp.
//
//===----------------------------------------------------------------------===//

#include "passes/cuda/VerifyAsync.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/cuda/AsyncCalls.h"
#include "passes/cuda/Passes.h"
#include "passes/cuda/Pointers.h"

namespace inlay {
#define GEN_PASS_DEF_VERIFYASYNCPASS
#include "passes/cuda/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

namespace {
struct VerifyAsyncPass : inlay::impl::VerifyAsyncPassBase<VerifyAsyncPass> {
  void runOnOperation() override;
};
} // namespace

AsyncKernel::AsyncKernel(cuda::KernelOp kernel) : kernel(kernel) {
  kernel.walk([&](Operation *op) {
    if (auto shared = dyn_cast<cuda::SharedOp>(op))
      sharedAt.try_emplace(shared.getOffset(), shared.getResult().getAsOpaquePointer());
    auto call = dyn_cast<cuda::CallOp>(op);
    if (!call)
      return;
    AsyncCall what = asyncCallOf(call);
    if (what.kind == CallKind::Multiply) {
      sums.insert(inlay::baseOf(call.getInputs()[what.memory]).getAsOpaquePointer());
      for (Value operand : call.getInputs().drop_front())
        if (Value base = inlay::baseOf(operand); isa<cuda::LocalType>(base.getType()))
          fragments.insert(base.getAsOpaquePointer());
      for (Value operand : call.getInputs())
        if (Value pointer = operand.getType().isInteger(64) ? pointerOfDescriptor(operand) : Value())
          operands.insert(baseOf(pointer));
    }
    bool isWritten = what.kind == CallKind::ArriveWritten;
    if (what.kind != CallKind::Copy && what.kind != CallKind::SendToBlock && !isWritten)
      return;
    void *target = baseOf(call.getInputs()[what.memory]);
    if (isWritten)
      written.insert(target);
    Value barrier = call.getInputs()[what.barrier];
    barriersOf[target].insert(baseOf(barrier));
    SmallVector<Value> indices = indicesOf(barrier);
    if (indices.empty() || getConstantIntValue(indices.front()))
      hasOneStage.insert(target);
    auto loop = call->getParentOfType<scf::ForOp>();
    void *guard = nullptr;
    if (loop)
      loop->walk<WalkOrder::PreOrder>([&](cuda::CallOp before) {
        AsyncCall other = asyncCallOf(before);
        if (before == call)
          return WalkResult::interrupt();
        if (other.kind == CallKind::WaitBarrier)
          guard = baseOf(before.getInputs()[other.barrier]);
        return WalkResult::advance();
      });
    if (guard && guard != baseOf(barrier))
      guardsOf[target].insert(guard);
  });
}

void *AsyncKernel::baseOf(Value pointer) const {
  Value base = inlay::baseOf(pointer);
  auto shared = base.getDefiningOp<cuda::SharedOp>();
  return shared ? sharedAt.at(shared.getOffset()) : base.getAsOpaquePointer();
}

void AsyncKernel::report(Operation *op, const llvm::Twine &message) {
  if (!reported.insert(op).second)
    return;
  hasFailed = true;
  auto call = dyn_cast<cuda::CallOp>(op);
  bool hasPlace = op->getLoc()->findInstanceOf<FileLineColLoc>() != nullptr;
  emitError(hasPlace ? op->getLoc() : kernel.getLoc())
      << cuda::describe(kernel) << ": " << (call ? call.getCallee() : op->getName().getStringRef()) << " " << message;
}

/// Checks which calls are early. The launch before a kernel may still run only where it pushes the rows that the kernel
/// receives.
static void verifyEarlyCalls(AsyncKernel &kernel) {
  cuda::KernelOp op = kernel.kernel;
  bool isPushedTo = llvm::any_of(op.getBody().getArguments(), [&](Value argument) {
    return provenanceOf(op, argument) == cuda::Provenance::Pushed;
  });
  op.walk([&](cuda::CallOp call) {
    if (call.getEarly() && !isPushedTo)
      kernel.report(call, "is early in a kernel that no launch pushes rows to; expected an argument of provenance "
                          "pushed, or cuda.depend first");
    else if (call.getEarly() && !mayBeEarly(call))
      kernel.report(call, "is early, and sends or ends a round in which the launch before may still push; expected "
                          "cuda.depend before it");
  });
}

void VerifyAsyncPass::runOnOperation() {
  AsyncKernel kernel(getOperation());
  verifyEarlyCalls(kernel);
  verifyBarriers(kernel);
  verifyFlow(kernel);
  if (kernel.hasFailed)
    signalPassFailure();
}

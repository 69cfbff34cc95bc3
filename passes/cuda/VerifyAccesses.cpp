//===- VerifyAccesses.cpp - checks the waits before each access ------------===//
//
// Checks copies, ordinary reads and writes, and products of wgmma against the state
// of the thread at that point. Nothing is reported for pointers that cannot be
// followed.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/cuda/AsyncFlow.h"
#include "passes/cuda/ThreadValues.h"

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// Copies and accesses
//===----------------------------------------------------------------------===//

void AsyncFlow::copy(cuda::CallOp op, const AsyncCall &what) {
  Value target = op.getInputs()[what.memory], source = op.getInputs()[what.source];
  void *base = kernel.baseOf(target);
  useBarrier(op, op.getInputs()[what.barrier]);
  if (state.hasUnfencedInit)
    kernel.report(op, llvm::Twine("uses ") + nameOf(op.getInputs()[what.barrier]) +
                          " before fence_mbarrier_init has made it visible to TMA");
  if (state.readAlone.count(base))
    kernel.report(op, llvm::Twine("fills ") + nameOf(target) + " again while other threads may still read it");
  read(op, source);
  state.rewritten.erase(base);
  state.rewrittenBySome.erase(base);
}

/// Checks an access to memory that bulk or tensor copies may fill. `uses` is the verb of the message.
void AsyncFlow::useFilled(Operation *op, Value pointer, Value index, StringRef uses) {
  void *base = kernel.baseOf(pointer);
  auto filled = kernel.barriersOf.find(base);
  if (filled == kernel.barriersOf.end() || state.rewritten.count(base))
    return;
  auto isOne = [&](void *barrier) { return filled->second.count(barrier) > 0; };
  if (llvm::none_of(state.waited, isOne)) {
    std::string barrier = nameOfMemory(Value::getFromOpaquePointer(*filled->second.begin()));
    kernel.report(op, uses + llvm::Twine(" ") + nameOf(pointer) +
                          ", which asynchronous copies fill, before mbarrier_wait on " + barrier);
    return;
  }
  // The access must be to the stage that was waited for: its address must depend on the index of the wait. A wait at a
  // constant index covers addresses that do not vary, and buffers with one stage.
  SmallVector<Value> parts = partsOf(pointer, index);
  bool varies = llvm::any_of(parts, [](Value part) {
    Operation *source = part.getDefiningOp();
    return !source || !(isa<cuda::SpecialOp>(source) || isa<arith::ArithDialect>(source->getDialect()));
  });
  // A ring is filled again while a loop of products reads it, so a wait in an earlier loop does not cover them.
  bool hasPhase = isa<cuda::CallOp>(op) && asyncCallOf(cast<cuda::CallOp>(op)).kind == CallKind::Multiply && varies &&
                  kernel.guardsOf.count(base);
  for (auto [barrier, stageOfWait] : state.phases) {
    if (!isOne(barrier))
      continue;
    Value stage = stageOfWait ? Value::getFromOpaquePointer(stageOfWait) : Value();
    bool isFixed = !stage || getConstantIntValue(stage);
    if (isFixed ? !varies || !stage || kernel.hasOneStage.count(base) : llvm::is_contained(parts, stage))
      return;
    hasPhase |= !isFixed || varies;
  }
  if (hasPhase)
    kernel.report(op, uses + llvm::Twine(" another stage of ") + nameOf(pointer) +
                          " than the one whose barrier was waited for");
}

/// Checks the release of a stage: no product in flight may read it.
void AsyncFlow::release(Operation *op, Value barrier) {
  SmallVector<Value> indices = indicesOf(barrier);
  if (indices.empty())
    return;
  auto check = [&](const Bases &operands) {
    for (void *operand : operands) {
      Value pointer = Value::getFromOpaquePointer(operand);
      auto guards = kernel.guardsOf.find(kernel.baseOf(pointer));
      if (guards == kernel.guardsOf.end() || !guards->second.count(kernel.baseOf(barrier)))
        continue;
      if (llvm::any_of(partsOf(pointer), [&](Value part) { return areEqual(part, indices.front()); }))
        kernel.report(op, llvm::Twine("releases at ") + nameOf(barrier) + " a stage of " + nameOf(pointer) +
                              " that products may still read; no wgmma_wait covers them");
    }
  };
  check(state.openOperands);
  for (const Bases &group : state.operandGroups)
    check(group);
  releaseOldest(op, barrier);
}

/// Whether each iteration of the innermost loop around `op` comes there, if only with some of its threads.
static bool isInEachIteration(Operation *op) {
  for (Operation *parent = op->getParentOp(); parent; parent = parent->getParentOp()) {
    if (isa<scf::ForOp, scf::WhileOp>(parent))
      return true;
    if (auto branch = dyn_cast<scf::IfOp>(parent); branch && !dependsOnThread(branch.getCondition()))
      return false;
  }
  return false;
}

/// Checks the release of the oldest slot of a ring, whose index may be counted apart from that of the waits: products
/// in flight read no more slots than are held afterwards. Releases that some iterations leave out are not checked.
void AsyncFlow::releaseOldest(Operation *op, Value barrier) {
  for (const auto &[buffer, guards] : kernel.guardsOf) {
    if (!guards.count(kernel.baseOf(barrier)))
      continue;
    Bases inFlight;
    auto collect = [&, ofRing = buffer](const Bases &operands) {
      for (void *operand : operands)
        if (kernel.baseOf(Value::getFromOpaquePointer(operand)) == ofRing)
          inFlight.insert(operand);
    };
    collect(state.openOperands);
    for (const Bases &group : state.operandGroups)
      collect(group);
    int &held = state.heldSlots[buffer];
    held = std::max(0, held - 1);
    if (held < static_cast<int>(inFlight.size()) && isInEachIteration(op))
      kernel.report(op, llvm::Twine("releases at ") + nameOf(barrier) + " a stage of " +
                            nameOfMemory(Value::getFromOpaquePointer(buffer)) +
                            " that products may still read; no wgmma_wait covers them");
  }
}

/// What is wrong with a read of memory of this provenance before cuda.depend; empty if nothing is.
static StringRef earlyReadError(Operation *op, cuda::Provenance provenance) {
  if (cuda::isReadableEarly(provenance))
    return "";
  auto call = dyn_cast<cuda::CallOp>(op);
  if (!call || !call.getEarly())
    return "before cuda.depend";
  if (provenance == cuda::Provenance::Pushed)
    return "before cuda.depend, while the launch before may still write it";
  if (provenance != cuda::Provenance::Peer && !readsPastL1(call))
    return "before cuda.depend through the L1 cache, which may have older words; expected load_vector_l2_only";
  return "";
}

void AsyncFlow::read(Operation *op, Value pointer, Value index, bool byAsyncProxy) {
  void *base = kernel.baseOf(pointer);
  if (std::optional<cuda::Provenance> provenance = provenanceOf(op, pointer);
      provenance && !state.waited.count(kDependency))
    if (StringRef error = earlyReadError(op, *provenance); !error.empty())
      kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) + " (" + cuda::stringifyProvenance(*provenance) + ") " +
                            error);
  auto type = dyn_cast<cuda::PtrType>(pointer.getType());
  if (!type || type.getSpace() != cuda::Space::Shared)
    return;
  auto isIn = [&](const Bases &bases) { return bases.count(base) > 0; };
  if (isIn(state.openCopies))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) + ", the target of copies without cp_async_commit");
  else if (llvm::any_of(state.copyGroups, isIn))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) + ", the target of copies without cp_async_wait");
  else if (isIn(state.ownCopies))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                          " after cp_async_wait without a barrier: other threads copied parts of it");
  if (isIn(state.writtenByOthers))
    kernel.report(op,
                  llvm::Twine("reads ") + nameOf(pointer) + ", which other blocks write, without a wait in between");
  useFilled(op, pointer, index, "reads");
  if (byAsyncProxy && isIn(state.unfenced))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                          " through the async proxy after ordinary writes, without fence_async_proxy in between");
  if (!byAsyncProxy)
    state.readAlone.insert(base);
}

void AsyncFlow::write(Operation *op, Value pointer, Value index) {
  void *base = kernel.baseOf(pointer);
  auto type = cast<cuda::PtrType>(pointer.getType());
  if (provenanceOf(op, pointer) && !state.waited.count(kDependency))
    kernel.report(op, llvm::Twine("writes ") + nameOf(pointer) +
                          " before cuda.depend, while earlier launches may still read or write it");
  if (type.getSpace() != cuda::Space::Shared)
    return;
  // A slot that was released is filled by ordinary writes.
  auto guards = kernel.guardsOf.find(base);
  bool fillsSlot = kernel.written.count(base) && guards != kernel.guardsOf.end() &&
                   llvm::any_of(guards->second, [&](void *guard) { return state.waited.count(guard) > 0; });
  if (state.multiplied.count(base) && !fillsSlot)
    kernel.report(op, llvm::Twine("overwrites ") + nameOf(pointer) +
                          ", which products of other warps may still read, without a barrier in between");
  if (kernel.barriersOf.count(base) && state.readAlone.count(base))
    kernel.report(op, llvm::Twine("overwrites ") + nameOf(pointer) +
                          ", which other threads may still read, without a barrier in between");
  if (state.readByOthers.count(base))
    kernel.report(op, llvm::Twine("overwrites ") + nameOf(pointer) +
                          ", which other blocks may still read, without a cluster barrier in between");
  if (!fillsSlot)
    useFilled(op, pointer, index, "overwrites");
  if (kernel.barriersOf.count(base)) {
    state.rewritten.insert(base);
    state.rewrittenBySome.insert(base);
  }
  state.staged.insert(base);
  state.arrived.clear();
  state.unfenced.insert(base);
  state.writtenAlone.insert(base);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

void AsyncFlow::multiply(cuda::CallOp op) {
  if (!state.isFenced)
    kernel.report(op, "starts without wgmma_fence after its registers were last used");
  Value sums = inlay::baseOf(op.getInputs()[0]);
  state.openProducts.insert(sums.getAsOpaquePointer());
  for (Value operand : op.getInputs().drop_front()) {
    if (Value base = inlay::baseOf(operand); isa<cuda::LocalType>(base.getType()))
      state.openFragments.insert(base.getAsOpaquePointer());
    Value pointer = operand.getType().isInteger(64) ? pointerOfDescriptor(operand) : Value();
    if (!pointer)
      continue;
    if (state.staged.count(kernel.baseOf(pointer)))
      kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                            ", which threads of the warpgroup wrote, without a barrier in between");
    read(op, pointer, {}, /*byAsyncProxy=*/true);
    state.multiplied.insert(kernel.baseOf(pointer));
    state.openOperands.insert(pointer.getAsOpaquePointer());
    state.arrived.clear();
  }
}

void AsyncFlow::useVariable(Operation *op, Value variable) {
  void *base = variable.getAsOpaquePointer();
  auto isIn = [&](const Bases &bases) { return bases.count(base) > 0; };
  if (isIn(state.openProducts))
    kernel.report(op, llvm::Twine("uses ") + nameOfMemory(variable) + ", accumulators of wgmma, without wgmma_commit");
  else if (llvm::any_of(state.productGroups, isIn))
    kernel.report(op, llvm::Twine("uses ") + nameOfMemory(variable) + ", accumulators of wgmma, without wgmma_wait");
  if (kernel.sums.count(base))
    state.isFenced = false;
  // Operands in registers may be read again, but not changed.
  if (!kernel.fragments.count(base) || isa<cuda::GetOp>(op))
    return;
  state.isFenced = false;
  if (isIn(state.openFragments) || llvm::any_of(state.fragmentGroups, isIn))
    kernel.report(op, llvm::Twine("changes ") + nameOfMemory(variable) +
                          ", which products may still read; no wgmma_wait covers them");
}

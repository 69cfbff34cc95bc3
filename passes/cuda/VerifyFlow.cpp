//===- VerifyFlow.cpp - control and calls of a kernel that is verified -----===//
//
// Both sides of a branch are followed and joined; a loop's body is followed as if
// it ran at least once, again where the first time left something.
//
//===----------------------------------------------------------------------===//

#include "passes/cuda/AsyncFlow.h"
#include "passes/cuda/ThreadValues.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace inlay;

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void AsyncFlow::run() {
  Block &body = kernel.kernel.getBody().front();
  block(body);
  Operation *end = body.getTerminator();
  // With programmatic launches, "the kernel before has ended" means "all before have" only if each kernel waits.
  if (!state.waitedBySome.count(kDependency))
    kernel.report(kernel.kernel,
                  "ends without cuda.depend on some path; launches after it take its end for that of all "
                  "before it");
  if (!state.readByOthers.empty() || !state.writtenByOthers.empty())
    kernel.report(end, "is reached while blocks of the cluster may still use each other's shared memory; end with "
                       "cluster_leave");
}

void AsyncFlow::block(Block &block) {
  for (Operation &op : block)
    statement(&op);
}

/// Forgets at which indices barriers were waited for in an iteration that is over.
static void dropPhasesOf(Operation *loop, AsyncState &state) {
  std::erase_if(state.phases, [&](const auto &phase) {
    Value index = phase.second ? Value::getFromOpaquePointer(phase.second) : Value();
    return index && loop->isAncestor(index.getParentRegion()->getParentOp());
  });
}

void AsyncFlow::loop(Operation *op) {
  for (int pass = 0; pass < 2; ++pass) {
    AsyncState before = state;
    for (Region &region : op->getRegions())
      if (!region.empty())
        block(region.front());
    dropPhasesOf(op, state);
    if (state == before)
      return;
  }
}

void AsyncFlow::branch(scf::IfOp op) {
  AsyncState before = state;
  block(*op.thenBlock());
  std::swap(before, state);
  if (op.elseBlock())
    block(*op.elseBlock());
  state.join(before, dependsOnThread(op.getCondition()));
}

void AsyncFlow::statement(Operation *op) {
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](scf::IfOp branchOp) { branch(branchOp); })
      .Case<scf::ForOp, scf::WhileOp>([&](Operation *loopOp) { loop(loopOp); })
      .Case([&](cuda::DependOp) {
        state.waited.insert(kDependency);
        state.waitedBySome.insert(kDependency);
      })
      .Case([&](cuda::BarrierOp) { state.meetBlock(); })
      .Case([&](cuda::SyncWarpOp) { state.meetWarp(); })
      .Case([&](cuda::LoadOp load) { read(load, load.getBase(), load.getIndex()); })
      .Case([&](cuda::StoreOp store) { write(store, store.getBase(), store.getIndex()); })
      .Case([&](cuda::GetOp get) { useVariable(get, get.getVariable()); })
      .Case([&](cuda::SetOp set) { useVariable(set, set.getVariable()); })
      .Case([&](cuda::CallOp callOp) { call(callOp); });
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

void AsyncFlow::call(cuda::CallOp op) {
  AsyncCall what = asyncCallOf(op);
  Value memory = what.memory >= 0 ? op.getInputs()[what.memory] : Value();
  Value barrier = what.barrier >= 0 ? op.getInputs()[what.barrier] : Value();
  auto keepNewest = [&](std::vector<Bases> &groups) {
    size_t pending = templateNumber(op).value_or(0);
    Bases done;
    while (groups.size() > pending) {
      done.insert(groups.front().begin(), groups.front().end());
      groups.erase(groups.begin());
    }
    return done;
  };
  if (what.kind != CallKind::Multiply)
    for (Value operand : op.getInputs())
      if (isa<cuda::LocalType>(inlay::baseOf(operand).getType()))
        useVariable(op, inlay::baseOf(operand));

  switch (what.kind) {
  case CallKind::Other:
    for (Value operand : op.getInputs())
      if (isa<cuda::PtrType>(operand.getType()) && !describesOperand(op))
        read(op, operand);
    break;
  case CallKind::Unknown:
    kernel.report(op, "is unknown to the verifier; give it a row in passes/cuda/AsyncCalls.cpp");
    break;
  case CallKind::CopyGroup:
    read(op, op.getInputs()[what.source]);
    state.openCopies.insert(kernel.baseOf(memory));
    break;
  case CallKind::CommitCopies:
    state.copyGroups.push_back(std::move(state.openCopies));
    state.openCopies.clear();
    break;
  case CallKind::WaitCopies:
    for (void *base : keepNewest(state.copyGroups))
      state.ownCopies.insert(base);
    break;
  case CallKind::Copy:
    copy(op, what);
    break;
  case CallKind::InitBarrier:
    state.initialised.insert(kernel.baseOf(barrier));
    state.hasUnfencedInit = true;
    break;
  case CallKind::FenceInit:
    state.hasUnfencedInit = false;
    break;
  case CallKind::Arrive:
  case CallKind::ArriveExpect:
    useBarrier(op, barrier);
    release(op, barrier);
    state.arrived.insert(kernel.baseOf(barrier));
    break;
  case CallKind::WaitBarrier: {
    useBarrier(op, barrier);
    void *base = kernel.baseOf(barrier);
    state.waitedBySome.insert(base);
    // Whoever arrived there may have waited for more.
    state.meetWarp();
    if (state.arrived.count(base))
      state.meetGroup();
    // A stage was filled again after all products that read what it held before.
    auto isFilled = [&](void *buffer) {
      auto filled = kernel.barriersOf.find(buffer);
      return filled != kernel.barriersOf.end() && filled->second.count(base);
    };
    std::erase_if(state.multiplied, isFilled);
    std::erase_if(state.writtenByOthers, isFilled);
    SmallVector<Value> indices = indicesOf(barrier);
    void *index = indices.empty() ? nullptr : indices.front().getAsOpaquePointer();
    std::erase_if(state.phases, [&](const auto &phase) { return phase == std::pair(base, index); });
    state.phases.push_back({base, index});
    break;
  }
  case CallKind::Multiply:
    multiply(op);
    break;
  case CallKind::FenceMultiply:
    state.isFenced = true;
    break;
  case CallKind::CommitMultiply:
    state.productGroups.push_back(std::move(state.openProducts));
    state.openProducts.clear();
    state.operandGroups.push_back(std::move(state.openOperands));
    state.openOperands.clear();
    break;
  case CallKind::WaitMultiply:
    keepNewest(state.productGroups);
    keepNewest(state.operandGroups);
    break;
  case CallKind::FenceProxy:
    state.unfenced.clear();
    ++state.fences;
    break;
  case CallKind::Read:
    read(op, memory);
    break;
  case CallKind::Write:
    write(op, memory);
    break;
  case CallKind::ReadOfBlock:
    if (!state.hasMetCluster)
      kernel.report(op, "reads another block's shared memory before a cluster barrier has shown that it has begun");
    else if (state.writtenAlone.count(kernel.baseOf(memory)))
      kernel.report(op, llvm::Twine("reads ") + nameOf(memory) +
                            " of another block, written since the last cluster barrier");
    read(op, memory);
    // The others read the same of this block.
    state.readByOthers.insert(kernel.baseOf(memory));
    break;
  case CallKind::SendToBlock:
    if (!state.hasMetCluster)
      kernel.report(op, "writes another block's shared memory before a cluster barrier has shown that it has begun");
    state.writtenByOthers.insert(kernel.baseOf(memory));
    break;
  case CallKind::ArriveCluster:
    break;
  case CallKind::WaitCluster:
    state.waitForCluster();
    break;
  case CallKind::MeetCluster:
    state.meetCluster();
    break;
  }
}

void AsyncFlow::useBarrier(Operation *op, Value barrier) {
  if (state.initialisedByOthers.count(kernel.baseOf(barrier)))
    kernel.report(op,
                  llvm::Twine("uses ") + nameOf(barrier) + " that another thread initialised, with no barrier between");
}

void inlay::verifyFlow(AsyncKernel &kernel) { AsyncFlow(kernel).run(); }

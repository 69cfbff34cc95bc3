//===- VerifyFlow.cpp - follows control flow and calls for verification ----===//
//
// Both sides of a branch are followed, and their states joined. The body of a loop
// is followed once, and once more if that changed the state. So loops are assumed
// to run at least once.
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
  // With programmatic dependent launch, the end of a kernel implies the end of all earlier ones only if each kernel
  // waits for its predecessor.
  if (!state.waitedBySome.count(kDependency))
    kernel.report(kernel.kernel,
                  "ends without cuda.depend on some path; later launches assume that the end of this kernel "
                  "implies the end of all earlier ones");
  if (!state.readByOthers.empty() || !state.writtenByOthers.empty())
    kernel.report(end, "is reached while blocks of the cluster may still use each other's shared memory; end with "
                       "cluster_leave");
}

void AsyncFlow::block(Block &block) {
  for (Operation &op : block)
    statement(&op);
}

/// Removes waits at indices that are defined in `loop`, because its iteration is over.
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
      .Case([&](cuda::LaunchDependentsOp op) {
        if (op->getParentOfType<cuda::KernelOp>().getLateDependents() && !state.waited.count(kDependency))
          kernel.report(op,
                        "comes before cuda.depend in a kernel with late_dependents, whose next launch may read what "
                        "earlier launches write; expected it behind cuda.depend");
      })
      .Case([&](cuda::BarrierOp) { state.meetBlock(); })
      .Case([&](cuda::SyncWarpOp) {
        state.meetWarp();
        state.madeByLanes.clear();
      })
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
    if (isOfLanes(op))
      state.madeByLanes.insert(op);
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
  case CallKind::ArriveWritten:
    if (what.kind == CallKind::ArriveExpect && isOfLanes(op))
      state.madeByLanes.insert(op);
    if (what.kind == CallKind::ArriveWritten && state.unfenced.count(kernel.baseOf(memory)))
      kernel.report(op, llvm::Twine("hands over ") + nameOf(memory) +
                            " after ordinary writes, without fence_async_proxy in between");
    useBarrier(op, barrier);
    release(op, barrier);
    state.arrived.insert(kernel.baseOf(barrier));
    break;
  case CallKind::WaitBarrier: {
    useBarrier(op, barrier);
    checkLanes(op);
    void *base = kernel.baseOf(barrier);
    state.waitedBySome.insert(base);
    // The threads that arrived there may have waited for other barriers, which is now known to this thread.
    state.meetWarp();
    if (state.arrived.count(base))
      state.meetGroup();
    // The copy to this stage started after the products that read its previous contents, and writes of other blocks
    // that complete on this mbarrier have arrived.
    auto isFilled = [&](void *buffer) {
      auto filled = kernel.barriersOf.find(buffer);
      return filled != kernel.barriersOf.end() && filled->second.count(base);
    };
    for (const auto &[buffer, barriers] : kernel.barriersOf)
      if (barriers.count(base))
        ++state.heldSlots[buffer];
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
    state.fragmentGroups.push_back(std::move(state.openFragments));
    state.openFragments.clear();
    break;
  case CallKind::WaitMultiply:
    keepNewest(state.productGroups);
    keepNewest(state.operandGroups);
    keepNewest(state.fragmentGroups);
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
      kernel.report(op, "reads another block's shared memory before a cluster barrier ensures that it has started");
    else if (state.writtenAlone.count(kernel.baseOf(memory)))
      kernel.report(op, llvm::Twine("reads ") + nameOf(memory) +
                            " of another block, written since the last cluster barrier");
    read(op, memory);
    // Other blocks read the same memory of this block.
    state.readByOthers.insert(kernel.baseOf(memory));
    break;
  case CallKind::SendToBlock:
    if (!state.hasMetCluster)
      kernel.report(op, "writes another block's shared memory before a cluster barrier ensures that it has started");
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
    kernel.report(op, llvm::Twine("uses ") + nameOf(barrier) +
                          ", which another thread initialised, without a barrier in between");
}

/// The first thread of the warp of `thread`, and that of the next one.
static std::pair<int64_t, int64_t> warpOf(int64_t thread) {
  constexpr int64_t warpSize = 32;
  int64_t first = thread / warpSize * warpSize;
  return {first, first + warpSize};
}

/// Whether some lanes of a warp make `op` and others do not.
bool AsyncFlow::isOfLanes(Operation *op) {
  auto [it, isNew] = kernel.areOfLanes.try_emplace(op, false);
  if (!isNew)
    return it->second;
  int64_t threads = static_cast<int64_t>(kernel.kernel.getThreads());
  for (int64_t first = 0; first < threads && !it->second; first = warpOf(first).second)
    for (int64_t thread = first + 1; thread < std::min(threads, warpOf(first).second) && !it->second; ++thread)
      it->second = mayReach(thread, op) != mayReach(first, op);
  return it->second;
}

/// Lanes that spin on an mbarrier can keep a lane of their warp from the copies that it waits to be complete.
void AsyncFlow::checkLanes(Operation *wait) {
  int64_t threads = static_cast<int64_t>(kernel.kernel.getThreads());
  for (Operation *made : state.madeByLanes)
    for (int64_t thread = 0; thread < threads; ++thread) {
      if (!mayReach(thread, made))
        continue;
      auto [first, end] = warpOf(thread);
      for (int64_t other = first; other < std::min(threads, end); ++other)
        if (mayReach(other, wait) && !mayReach(other, made)) {
          kernel.report(wait, llvm::Twine("lets lanes spin while another lane of their warp may not have made its ") +
                                  cast<cuda::CallOp>(made).getCallee() + " yet; put cuda.sync_warp in between");
          return;
        }
    }
}

void inlay::verifyFlow(AsyncKernel &kernel) { AsyncFlow(kernel).run(); }

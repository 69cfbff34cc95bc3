//===- VerifyAsync.cpp - that what is asynchronous is waited for -----------===//
//
// Follows the text of a kernel with what a thread knows at each point
// (AsyncState.h). Both sides of a branch are followed and joined; a loop's body is
// followed as if it ran at least once, again where the first time left something.
// What Passes.td says it proves is what is here; where something cannot be
// followed, nothing is reported.
//
//===----------------------------------------------------------------------===//

#include "passes/cuda/VerifyAsync.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/cuda/AsyncCalls.h"
#include "passes/cuda/AsyncState.h"
#include "passes/cuda/Passes.h"
#include "passes/cuda/Pointers.h"
#include "passes/cuda/ThreadValues.h"
#include "llvm/ADT/TypeSwitch.h"

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

class Flow {
public:
  explicit Flow(AsyncKernel &kernel) : kernel(kernel) {}
  void run();

private:
  void block(Block &block);
  void loop(Operation *op);
  void branch(scf::IfOp op);
  void statement(Operation *op);
  void call(cuda::CallOp op);
  void read(Operation *op, Value pointer, Value index = {}, bool byAsyncProxy = false);
  void useFilled(Operation *op, Value pointer, Value index, StringRef uses);
  void handBack(Operation *op, Value barrier);
  void write(Operation *op, Value pointer, Value index = {});
  void copy(cuda::CallOp op, const AsyncCall &what);
  void multiply(cuda::CallOp op);
  void useVariable(Operation *op, Value variable);
  void useBarrier(Operation *op, Value barrier);
  std::string nameOf(Value pointer) const { return nameOfMemory(inlay::baseOf(pointer)); }

  AsyncKernel &kernel;
  AsyncState state;
};
} // namespace

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

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
      for (Value operand : call.getInputs())
        if (Value pointer = operand.getType().isInteger(64) ? pointerOfDescriptor(operand) : Value())
          operands.insert(baseOf(pointer));
    }
    if (what.kind != CallKind::Copy)
      return;
    void *target = baseOf(call.getInputs()[what.memory]);
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

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void Flow::run() {
  Block &body = kernel.kernel.getBody().front();
  block(body);
  Operation *end = body.getTerminator();
  // With programmatic launches, "the kernel before has ended" means "all before have" only if each kernel waits.
  if (!state.waitedBySome.count(kDependency))
    kernel.report(kernel.kernel,
                  "ends without cuda.depend on some path; launches after it take its end for that of all "
                  "before it");
  if (state.readsOthers || state.writesOthers)
    kernel.report(end, "is reached while blocks of the cluster may still use each other's shared memory; end with "
                       "cluster_barrier");
}

void Flow::block(Block &block) {
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

void Flow::loop(Operation *op) {
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

void Flow::branch(scf::IfOp op) {
  AsyncState before = state;
  block(*op.thenBlock());
  std::swap(before, state);
  if (op.elseBlock())
    block(*op.elseBlock());
  state.join(before, dependsOnThread(op.getCondition()));
}

void Flow::statement(Operation *op) {
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

void Flow::call(cuda::CallOp op) {
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
    handBack(op, barrier);
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
    std::erase_if(state.multiplied, [&](void *buffer) {
      auto filled = kernel.barriersOf.find(buffer);
      return filled != kernel.barriersOf.end() && filled->second.count(base);
    });
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
    state.readsOthers = true;
    break;
  case CallKind::WriteOfBlock:
    if (!state.hasMetCluster)
      kernel.report(op, "writes another block's shared memory before a cluster barrier has shown that it has begun");
    state.writtenByOthers.insert(kernel.baseOf(memory));
    state.writesOthers = true;
    break;
  case CallKind::ArriveCluster:
    break;
  case CallKind::WaitCluster:
  case CallKind::MeetCluster:
    state.meetCluster();
    break;
  }
}

void Flow::useBarrier(Operation *op, Value barrier) {
  if (state.initialisedByOthers.count(kernel.baseOf(barrier)))
    kernel.report(op,
                  llvm::Twine("uses ") + nameOf(barrier) + " that another thread initialised, with no barrier between");
}

//===----------------------------------------------------------------------===//
// Copies and accesses
//===----------------------------------------------------------------------===//

void Flow::copy(cuda::CallOp op, const AsyncCall &what) {
  Value target = op.getInputs()[what.memory], source = op.getInputs()[what.source];
  void *base = kernel.baseOf(target);
  useBarrier(op, op.getInputs()[what.barrier]);
  if (state.hasUnfencedInit)
    kernel.report(op, llvm::Twine("announces itself at ") + nameOf(op.getInputs()[what.barrier]) +
                          " before fence_mbarrier_init has shown it to the copy engine");
  if (state.readAlone.count(base))
    kernel.report(op, llvm::Twine("fills ") + nameOf(target) + " again while other threads may still read it");
  read(op, source);
  state.rewritten.erase(base);
  state.rewrittenBySome.erase(base);
}

/// Accesses what bulk or tensor copies fill.
void Flow::useFilled(Operation *op, Value pointer, Value index, StringRef uses) {
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
  // The stage must be the one that was waited for: the index of the wait is part of the address. A wait at a constant
  // index is for an address that does not vary, or for a buffer that has one stage.
  SmallVector<Value> parts = partsOf(pointer, index);
  bool varies = llvm::any_of(parts, [](Value part) {
    Operation *source = part.getDefiningOp();
    return !source || !(isa<cuda::SpecialOp>(source) || isa<arith::ArithDialect>(source->getDialect()));
  });
  // What products read of a ring that goes round was filled since: a wait of a loop before is none.
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

/// Hands a stage back, which no product under way may read.
void Flow::handBack(Operation *op, Value barrier) {
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
        kernel.report(op, llvm::Twine("hands back at ") + nameOf(barrier) + " a stage of " + nameOf(pointer) +
                              " that products still read, which no wgmma_wait covers");
    }
  };
  check(state.openOperands);
  for (const Bases &group : state.operandGroups)
    check(group);
}

void Flow::read(Operation *op, Value pointer, Value index, bool byAsyncProxy) {
  void *base = kernel.baseOf(pointer);
  if (std::optional<cuda::Provenance> provenance = provenanceOf(op, pointer))
    if (!cuda::isReadableEarly(*provenance) && !state.waited.count(kDependency))
      kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) + " (" + cuda::stringifyProvenance(*provenance) +
                            ") before cuda.depend");
  auto type = dyn_cast<cuda::PtrType>(pointer.getType());
  if (!type || type.getSpace() != cuda::Space::Shared)
    return;
  auto isIn = [&](const Bases &bases) { return bases.count(base) > 0; };
  if (isIn(state.openCopies))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) + ", which copies fill that no cp_async_commit ended");
  else if (llvm::any_of(state.copyGroups, isIn))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) + ", which copies fill that no cp_async_wait waited for");
  else if (isIn(state.ownCopies))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                          " after cp_async_wait without a barrier: other threads copied parts of it");
  if (isIn(state.writtenByOthers))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                          ", which other blocks write, without a cluster barrier between");
  useFilled(op, pointer, index, "reads");
  if (byAsyncProxy && isIn(state.unfenced))
    kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                          " through the async proxy, written ordinarily without fence_async_proxy between");
  if (!byAsyncProxy)
    state.readAlone.insert(base);
}

void Flow::write(Operation *op, Value pointer, Value index) {
  void *base = kernel.baseOf(pointer);
  auto type = cast<cuda::PtrType>(pointer.getType());
  if (provenanceOf(op, pointer) && !state.waited.count(kDependency))
    kernel.report(op, llvm::Twine("writes ") + nameOf(pointer) +
                          " before cuda.depend, while launches before may still read or write it");
  if (type.getSpace() != cuda::Space::Shared)
    return;
  if (state.multiplied.count(base))
    kernel.report(op, llvm::Twine("writes over ") + nameOf(pointer) +
                          ", which other warps' products may still read, with no barrier between");
  if (state.readByOthers.count(base))
    kernel.report(op, llvm::Twine("writes over ") + nameOf(pointer) +
                          ", which other blocks may still read, with no cluster barrier between");
  useFilled(op, pointer, index, "writes over");
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

void Flow::multiply(cuda::CallOp op) {
  if (!state.isFenced)
    kernel.report(op, "starts without wgmma_fence after its registers were last used");
  Value sums = inlay::baseOf(op.getInputs()[0]);
  state.openProducts.insert(sums.getAsOpaquePointer());
  for (Value operand : op.getInputs().drop_front()) {
    Value pointer = operand.getType().isInteger(64) ? pointerOfDescriptor(operand) : Value();
    if (!pointer)
      continue;
    if (state.staged.count(kernel.baseOf(pointer)))
      kernel.report(op, llvm::Twine("reads ") + nameOf(pointer) +
                            ", which threads of the warpgroup wrote, with no barrier between");
    read(op, pointer, {}, /*byAsyncProxy=*/true);
    state.multiplied.insert(kernel.baseOf(pointer));
    state.openOperands.insert(pointer.getAsOpaquePointer());
    state.arrived.clear();
  }
}

void Flow::useVariable(Operation *op, Value variable) {
  void *base = variable.getAsOpaquePointer();
  auto isIn = [&](const Bases &bases) { return bases.count(base) > 0; };
  if (isIn(state.openProducts))
    kernel.report(op, llvm::Twine("uses ") + nameOfMemory(variable) + ", sums of wgmma that no wgmma_commit ended");
  else if (llvm::any_of(state.productGroups, isIn))
    kernel.report(op, llvm::Twine("uses ") + nameOfMemory(variable) + ", sums of wgmma, before their wgmma_wait");
  if (kernel.sums.count(base))
    state.isFenced = false;
}

void inlay::verifyFlow(AsyncKernel &kernel) { Flow(kernel).run(); }

void VerifyAsyncPass::runOnOperation() {
  AsyncKernel kernel(getOperation());
  verifyBarriers(kernel);
  verifyFlow(kernel);
  if (kernel.hasFailed)
    signalPassFailure();
}

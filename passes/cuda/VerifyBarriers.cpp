//===- VerifyBarriers.cpp - checks that phases of mbarriers can end --------===//
//
// Checks of mbarriers that do not follow control flow. A phase ends when the
// expected number of threads have arrived. The threads that arrive at a call are
// counted by evaluating, for every thread of the block, the conditions around the
// call. If one of them depends on more than the thread, nothing is reported.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "passes/cuda/AsyncCalls.h"
#include "passes/cuda/Pointers.h"
#include "passes/cuda/ThreadValues.h"
#include "passes/cuda/VerifyAsync.h"

using namespace mlir;
using namespace inlay;

namespace {
/// The calls that use one array of mbarriers.
struct BarrierUses {
  SmallVector<cuda::CallOp> inits, arrivals, expects, waits, copies;
};
} // namespace

static Value barrierOf(cuda::CallOp call) { return call.getInputs()[asyncCallOf(call).barrier]; }

/// Whether `count` is a sum of numbers of `parts`, each of which may be used any number of times.
static bool isSumOf(int64_t count, ArrayRef<int64_t> parts) {
  SmallVector<bool> reachable(count + 1, false);
  reachable[0] = true;
  for (int64_t sum = 1; sum <= count; ++sum)
    for (int64_t part : parts)
      reachable[sum] = reachable[sum] || (part > 0 && part <= sum && reachable[sum - part]);
  return reachable[count];
}

/// Checks that arrivals can add up to the number that ends a phase.
static void verifyCounts(AsyncKernel &kernel, const BarrierUses &uses) {
  std::optional<int64_t> count;
  for (cuda::CallOp init : uses.inits) {
    std::optional<int64_t> own = getConstantIntValue(init.getInputs()[1]);
    if (!own || (count && *count != *own))
      return;
    count = own;
  }
  SmallVector<int64_t> parts;
  for (cuda::CallOp arrival : uses.arrivals) {
    std::optional<SmallVector<int64_t>> threads = threadsAt(kernel.kernel, arrival, indicesOf(barrierOf(arrival)));
    if (!threads)
      return;
    parts.append(*threads);
  }
  if (isSumOf(*count, parts))
    return;
  llvm::sort(parts);
  parts.erase(llvm::unique(parts), parts.end());
  std::string found;
  for (int64_t part : parts)
    found += (found.empty() ? "" : ", ") + std::to_string(part);
  kernel.report(uses.inits.front(), llvm::Twine("expects ") + llvm::Twine(*count) + " arrivals per phase at " +
                                        nameOfMemory(baseOf(barrierOf(uses.inits.front()))) +
                                        ", but the calls that arrive there have " + found + " threads");
}

/// Checks that the expected bytes are those of the bulk copy in the same block, if there is only one.
static void verifyBytes(AsyncKernel &kernel, cuda::CallOp expect) {
  SmallVector<cuda::CallOp> copies;
  for (auto call : expect->getBlock()->getOps<cuda::CallOp>())
    if (AsyncCall what = asyncCallOf(call);
        what.kind == CallKind::Copy && call.getInputs()[what.barrier] == barrierOf(expect))
      copies.push_back(call);
  if (copies.size() != 1 || copies.front().getCallee() != "bulk_copy")
    return;
  std::optional<int64_t> announced = getConstantIntValue(expect.getInputs()[1]),
                         brought = getConstantIntValue(copies.front().getInputs()[2]);
  if (announced && brought && *announced != *brought)
    kernel.report(expect, llvm::Twine("expects ") + llvm::Twine(*announced) + " bytes, but its copy has " +
                              llvm::Twine(*brought));
}

/// Whether `op` is passed before `other` wherever `other` is reached.
static bool comesBefore(Operation *op, Operation *other) {
  Operation *around = op->getBlock()->findAncestorOpInBlock(*other);
  return around && op->isBeforeInBlock(around);
}

/// Checks that a call expects the bytes of a copy: at the same index of its mbarriers, or in another loop over the same
/// indices. Branches may fill the same stage, whose index is a constant then: each has a call of its own.
static void verifyAnnouncement(AsyncKernel &kernel, const BarrierUses &uses, cuda::CallOp copy) {
  SmallVector<Value> own = indicesOf(barrierOf(copy));
  bool isAnnounced = llvm::any_of(uses.expects, [&](cuda::CallOp expect) {
    SmallVector<Value> indices = indicesOf(barrierOf(expect));
    if (own.empty() || indices.empty())
      return true;
    if (areEqual(own.front(), indices.front()))
      return !getConstantIntValue(own.front()) || comesBefore(expect, copy);
    auto loopOf = [](Value index) -> scf::ForOp {
      auto argument = dyn_cast<BlockArgument>(index);
      return argument ? dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp()) : scf::ForOp();
    };
    scf::ForOp loop = loopOf(own.front()), other = loopOf(indices.front());
    return loop && other && areEqual(loop.getLowerBound(), other.getLowerBound()) &&
           areEqual(loop.getUpperBound(), other.getUpperBound());
  });
  if (!isAnnounced)
    kernel.report(copy, llvm::Twine("completes on ") + nameOfMemory(baseOf(barrierOf(copy))) +
                            ", where no mbarrier_arrive_expect expects the bytes of this stage");
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

/// An upper bound of an index that is a constant, or a minimum with a constant.
static std::optional<int64_t> upperBoundOf(Value value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return constant;
  auto least = value.getDefiningOp<arith::MinSIOp>();
  if (!least)
    return std::nullopt;
  std::optional<int64_t> left = upperBoundOf(least.getLhs()), right = upperBoundOf(least.getRhs());
  return left && right ? std::min(*left, *right) : left ? left : right;
}

/// The maximum number of iterations of a loop. Assumes a lower bound of at least 0 and a step of at least 1.
static std::optional<int64_t> turnsOf(Operation *op) {
  auto loop = dyn_cast<scf::ForOp>(op);
  return loop ? upperBoundOf(loop.getUpperBound()) : std::nullopt;
}

/// Whether an iteration of `loop` waits for the readers of the memory that `copy` fills. The wait must come after any
/// copies on other mbarriers that precede `copy`. If products read the memory, only barriers of the block or cluster
/// and waits on other mbarriers count.
static bool waitsBefore(AsyncKernel &kernel, cuda::CallOp copy, Operation *loop) {
  void *own = kernel.baseOf(barrierOf(copy));
  bool isMultiplied = kernel.operands.count(kernel.baseOf(copy.getInputs()[asyncCallOf(copy).memory]));
  bool waits = false, result = false;
  // Walk twice, because operations after the copy come before it in the next iteration.
  for (int turn = 0; turn < 2; ++turn)
    loop->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op == copy)
        result = waits;
      waits |= isa<cuda::BarrierOp>(op) || (isa<cuda::SyncWarpOp>(op) && !isMultiplied);
      auto call = dyn_cast<cuda::CallOp>(op);
      if (!call)
        return;
      AsyncCall what = asyncCallOf(call);
      if (what.kind == CallKind::WaitBarrier)
        waits |= !isMultiplied || kernel.baseOf(barrierOf(call)) != own;
      else if (what.kind == CallKind::WaitCluster || what.kind == CallKind::MeetCluster)
        waits = true;
      else if (what.kind == CallKind::Copy && kernel.baseOf(barrierOf(call)) != own)
        waits = false;
    });
  return result;
}

/// Checks that a copy does not fill a stage again before it was read: loops around the copy that do not wait for
/// readers may run at most as many iterations as the ring has stages.
static void verifyRing(AsyncKernel &kernel, const BarrierUses &uses, cuda::CallOp copy) {
  int64_t stages = 0;
  for (cuda::CallOp init : uses.inits) {
    auto loop = dyn_cast<scf::ForOp>(init->getParentOp());
    std::optional<int64_t> turns = loop ? turnsOf(loop) : 1;
    if (!turns)
      return;
    stages += *turns;
  }
  int64_t turns = 1;
  for (Operation *loop = copy->getParentOp(); loop != kernel.kernel; loop = loop->getParentOp()) {
    if (!isa<LoopLikeOpInterface>(loop))
      continue;
    if (waitsBefore(kernel, copy, loop))
      return;
    std::optional<int64_t> own = turnsOf(loop);
    if (own)
      turns *= *own;
    if (!own || turns > stages) {
      kernel.report(copy, llvm::Twine("wraps around the ") + llvm::Twine(stages) + " stages at " +
                              nameOfMemory(baseOf(barrierOf(copy))) + " without waiting for their readers");
      return;
    }
  }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Whether stages are released at an mbarrier: there is no wait on it, or a loop with copies waits on it.
static bool isOfStages(const BarrierUses &uses) {
  return uses.waits.empty() || llvm::any_of(uses.waits, [](cuda::CallOp wait) {
           auto loop = wait->getParentOfType<scf::ForOp>();
           return loop && loop->walk([](cuda::CallOp call) {
                                CallKind kind = asyncCallOf(call).kind;
                                bool fills = kind == CallKind::Copy || kind == CallKind::ArriveWritten;
                                return fills ? WalkResult::interrupt() : WalkResult::advance();
                              })
                              .wasInterrupted();
         });
}

/// Checks that a loop that releases stages after products of wgmma waits for products in between.
static void verifyRelease(AsyncKernel &kernel, scf::ForOp loop, llvm::function_ref<bool(cuda::CallOp)> handsBack) {
  bool hasCommitted = false;
  for (Operation &op : *loop.getBody())
    op.walk([&](cuda::CallOp call) {
      CallKind kind = asyncCallOf(call).kind;
      if (kind == CallKind::CommitMultiply && call->getBlock() == loop.getBody())
        hasCommitted = true;
      else if (kind == CallKind::WaitMultiply)
        hasCommitted = false;
      else if (kind == CallKind::Arrive && hasCommitted && handsBack(call))
        kernel.report(call, llvm::Twine("releases a stage at ") + nameOfMemory(baseOf(barrierOf(call))) +
                                " without a wgmma_wait after the products that read it");
    });
}

void inlay::verifyBarriers(AsyncKernel &kernel) {
  std::vector<void *> order;
  std::map<void *, BarrierUses> all;
  kernel.kernel.walk([&](cuda::CallOp call) {
    AsyncCall what = asyncCallOf(call);
    if (what.barrier < 0 || what.kind == CallKind::SendToBlock) // completes on another block's mbarrier
      return;
    void *base = kernel.baseOf(barrierOf(call));
    auto [it, isNew] = all.try_emplace(base);
    if (isNew)
      order.push_back(base);
    BarrierUses &uses = it->second;
    if (what.kind == CallKind::InitBarrier)
      uses.inits.push_back(call);
    else if (what.kind == CallKind::Copy)
      uses.copies.push_back(call);
    else if (what.kind == CallKind::WaitBarrier)
      uses.waits.push_back(call);
    else
      uses.arrivals.push_back(call);
    if (what.kind == CallKind::ArriveExpect)
      uses.expects.push_back(call);
  });
  for (void *base : order) {
    const BarrierUses &uses = all[base];
    std::string name = nameOfMemory(Value::getFromOpaquePointer(base));
    if (uses.inits.empty()) {
      for (auto *calls : {&uses.copies, &uses.waits, &uses.arrivals})
        if (!calls->empty()) {
          kernel.report(calls->front(), llvm::Twine("uses ") + name + ", which is never initialised");
          break;
        }
      continue;
    }
    if (uses.arrivals.empty() && !(uses.waits.empty() && uses.copies.empty())) {
      cuda::CallOp user = uses.waits.empty() ? uses.copies.front() : uses.waits.front();
      kernel.report(user, llvm::Twine("uses ") + name + ", where no thread arrives");
      continue;
    }
    for (cuda::CallOp copy : uses.copies)
      verifyAnnouncement(kernel, uses, copy);
    if (!uses.copies.empty() && uses.waits.empty())
      kernel.report(uses.copies.front(), llvm::Twine("completes on ") + name + ", which no mbarrier_wait waits for");
    if (!uses.arrivals.empty())
      verifyCounts(kernel, uses);
    for (cuda::CallOp expect : uses.expects)
      verifyBytes(kernel, expect);
    for (cuda::CallOp copy : uses.copies)
      verifyRing(kernel, uses, copy);
  }
  auto handsBack = [&](cuda::CallOp arrival) { return isOfStages(all[kernel.baseOf(barrierOf(arrival))]); };
  kernel.kernel.walk([&](scf::ForOp loop) { verifyRelease(kernel, loop, handsBack); });
}

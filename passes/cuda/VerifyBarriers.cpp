//===- VerifyBarriers.cpp - that phases of mbarriers can end ---------------===//
//
// What holds of an mbarrier whatever way is taken through the text. A phase ends
// when as many threads have arrived as were announced: how many arrive at a place
// of the text is counted by trying every thread of the block on the branches around
// it. Where that depends on more than the thread, nothing is said.
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
/// What the text does with one array of barriers.
struct BarrierUses {
  SmallVector<cuda::CallOp> inits, arrivals, expects, waits, copies;
};
} // namespace

/// The barrier that a call uses.
static Value barrierOf(cuda::CallOp call) { return call.getInputs()[asyncCallOf(call).barrier]; }

/// Whether `count` is a sum of numbers of `parts`, each taken as often as needed.
static bool isSumOf(int64_t count, ArrayRef<int64_t> parts) {
  SmallVector<bool> reachable(count + 1, false);
  reachable[0] = true;
  for (int64_t sum = 1; sum <= count; ++sum)
    for (int64_t part : parts)
      reachable[sum] = reachable[sum] || (part > 0 && part <= sum && reachable[sum - part]);
  return reachable[count];
}

/// That the threads which arrive can make up the number that ends a phase.
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
  kernel.report(uses.inits.front(), llvm::Twine("wants ") + llvm::Twine(*count) + " arrivals a phase at " +
                                        nameOfMemory(baseOf(barrierOf(uses.inits.front()))) +
                                        ", the text has places where " + found + " threads arrive");
}

/// That bytes announced beside a bulk copy are those it brings.
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
    kernel.report(expect, llvm::Twine("announces ") + llvm::Twine(*announced) + " bytes, the copy behind it brings " +
                              llvm::Twine(*brought));
}

/// That somebody says how many bytes a copy brings: at the same index of its barriers, or in another loop over the same
/// indices.
static void verifyAnnouncement(AsyncKernel &kernel, const BarrierUses &uses, cuda::CallOp copy) {
  SmallVector<Value> own = indicesOf(barrierOf(copy));
  bool isAnnounced = llvm::any_of(uses.expects, [&](cuda::CallOp expect) {
    SmallVector<Value> indices = indicesOf(barrierOf(expect));
    if (own.empty() || indices.empty() || areEqual(own.front(), indices.front()))
      return true;
    auto loopOf = [](Value index) -> scf::ForOp {
      auto argument = dyn_cast<BlockArgument>(index);
      return argument ? dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp()) : scf::ForOp();
    };
    scf::ForOp loop = loopOf(own.front()), other = loopOf(indices.front());
    return loop && other && areEqual(loop.getLowerBound(), other.getLowerBound()) &&
           areEqual(loop.getUpperBound(), other.getUpperBound());
  });
  if (!isAnnounced)
    kernel.report(copy, llvm::Twine("announces itself at ") + nameOfMemory(baseOf(barrierOf(copy))) +
                            ", where no mbarrier_arrive_expect says how many bytes come to this stage");
}

//===----------------------------------------------------------------------===//
// Rings
//===----------------------------------------------------------------------===//

/// The largest value that an index can be seen to have.
static std::optional<int64_t> upperBoundOf(Value value) {
  if (std::optional<int64_t> constant = getConstantIntValue(value))
    return constant;
  auto least = value.getDefiningOp<arith::MinSIOp>();
  if (!least)
    return std::nullopt;
  std::optional<int64_t> left = upperBoundOf(least.getLhs()), right = upperBoundOf(least.getRhs());
  return left && right ? std::min(*left, *right) : left ? left : right;
}

/// How often a loop runs at the most, where it begins at 0 or more and steps by 1 or more.
static std::optional<int64_t> turnsOf(Operation *op) {
  auto loop = dyn_cast<scf::ForOp>(op);
  return loop ? upperBoundOf(loop.getUpperBound()) : std::nullopt;
}

/// Whether, from one copy in a loop to the next, those are waited for who read what it fills: after the copies for
/// another barrier that stand before it. Products are waited for at mbarriers and by the whole block only.
static bool waitsBefore(AsyncKernel &kernel, cuda::CallOp copy, Operation *loop) {
  void *own = kernel.baseOf(barrierOf(copy));
  bool isMultiplied = kernel.operands.count(kernel.baseOf(copy.getInputs()[asyncCallOf(copy).memory]));
  bool waits = false, result = false;
  // Twice, since what stands behind the copy comes before it in the next turn.
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

/// That a copy does not come round to a stage again before anybody can have read it: loops around it that wait for
/// nobody run no more often than there are stages.
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
      kernel.report(copy, llvm::Twine("goes round the ") + llvm::Twine(stages) + " stages at " +
                              nameOfMemory(baseOf(barrierOf(copy))) + " without waiting for those who read them");
      return;
    }
  }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// Whether stages are handed back at a barrier: if anybody waits there, those who fill them again.
static bool isOfStages(const BarrierUses &uses) {
  return uses.waits.empty() || llvm::any_of(uses.waits, [](cuda::CallOp wait) {
           auto loop = wait->getParentOfType<scf::ForOp>();
           return loop && loop->walk([](cuda::CallOp call) {
                                return asyncCallOf(call).kind == CallKind::Copy ? WalkResult::interrupt()
                                                                                : WalkResult::advance();
                              })
                              .wasInterrupted();
         });
}

/// That a loop which hands stages back after products of wgmma waits for products in between.
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
        kernel.report(call, llvm::Twine("hands back ") + nameOfMemory(baseOf(barrierOf(call))) +
                                " with no wgmma_wait since the products that read its stages");
    });
}

void inlay::verifyBarriers(AsyncKernel &kernel) {
  std::vector<void *> order;
  std::map<void *, BarrierUses> all;
  kernel.kernel.walk([&](cuda::CallOp call) {
    AsyncCall what = asyncCallOf(call);
    if (what.barrier < 0 || what.kind == CallKind::SendToBlock) // the barrier there
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
          kernel.report(calls->front(), llvm::Twine("uses ") + name + ", which nobody initialises");
          break;
        }
      continue;
    }
    if (uses.arrivals.empty() && !(uses.waits.empty() && uses.copies.empty())) {
      cuda::CallOp user = uses.waits.empty() ? uses.copies.front() : uses.waits.front();
      kernel.report(user, llvm::Twine("uses ") + name + ", where nobody arrives");
      continue;
    }
    for (cuda::CallOp copy : uses.copies)
      verifyAnnouncement(kernel, uses, copy);
    if (!uses.copies.empty() && uses.waits.empty())
      kernel.report(uses.copies.front(), llvm::Twine("announces itself at ") + name + ", where nobody waits");
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

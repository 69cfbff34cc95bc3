//===- HoistLoads.cpp - loads as early as their addresses allow ------------===//
//
// Loads of memory that the program does not write are moved, so that they are under way
// while other work is done.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "passes/tile_to_cuda/ComputedTiles.h"
#include "passes/tile_to_cuda/CreateKernel.h"
#include "passes/tile_to_cuda/Passes.h"

namespace inlay {
#define GEN_PASS_DEF_HOISTLOADSPASS
#include "passes/tile_to_cuda/Passes.h.inc"
} // namespace inlay

using namespace mlir;
using namespace inlay;

/// Moves an op of a branch, and what it is computed from there, before the branch; false where that cannot be.
static bool hoist(Operation *op, scf::IfOp branch) {
  if (!branch->isProperAncestor(op))
    return true;
  bool isLoad = isOfUnwrittenMemory(op);
  if (op->getParentOp() != branch || (!isLoad && !(isMemoryEffectFree(op) && op->getNumRegions() == 0)))
    return false;
  for (Value operand : op->getOperands())
    if (Operation *source = operand.getDefiningOp(); source && !hoist(source, branch))
      return false;
  op->moveBefore(branch);
  return true;
}

/// In tile.for_warps, moves loads out of branches: a load that is not needed costs less than one that is waited for
/// after another. Elements that are not there are masked in a load, so that it may be made anywhere.
static void hoistFromBranches(tile::ProgramOp program) {
  SmallVector<scf::IfOp> branches; // inner ones first
  program.walk([&](scf::IfOp branch) {
    // Where warps fetch for themselves, a branch looks up where in memory many steps lie.
    auto warps = branch->getParentOfType<tile::ForWarpsOp>();
    if (warps && warps.getNumResults() == 0)
      branches.push_back(branch);
  });
  for (scf::IfOp branch : branches)
    for (Region &region : branch->getRegions())
      for (Operation &op : llvm::make_early_inc_range(region.getOps()))
        if (isa<tile::LoadOp, tile::GatherOp>(op))
          hoist(&op, branch);
}

/// Whether no launch of the step writes what a load or gather reads.
static bool isEarly(Operation *load) {
  tile::Provenance provenance = cast<tile::ViewType>(load->getOperand(0).getType()).getProvenance();
  return provenance == tile::Provenance::Weight || provenance == tile::Provenance::Meta;
}

/// Whether the address of `op` is computed from what another op of its block loads.
static bool waitsForLoad(Operation *op) {
  return llvm::any_of(op->getOperands(), [&](Value operand) {
    Operation *def = operand.getDefiningOp();
    return def && def->getBlock() == op->getBlock() &&
           (isOfUnwrittenMemory(def) || (isMemoryEffectFree(def) && waitsForLoad(def)));
  });
}

/// What a load in a warp stays behind, where the block waits for earlier launches. A warp fills its ring, starts the
/// loads that need not wait, waits, and loads what earlier launches write. Last come loads that wait for another's
/// address, since a warp starts nothing while it waits.
static Operation *boundOf(Operation *load) {
  auto depends = load->getBlock()->getOps<tile::DependOp>();
  if (depends.empty())
    return nullptr;
  Operation *depend = *depends.begin(), *bound = depend;
  if (!waitsForLoad(load))
    return isEarly(load) ? depend->getPrevNode() : depend;
  for (Operation *op = depend; op && op != load; op = op->getNextNode())
    if (isOfUnwrittenMemory(op) && !waitsForLoad(op))
      bound = op;
  return bound;
}

/// Moves `op` up to where its operands are known; with `chain`, those that are pure as well.
static void moveUp(Operation *op, bool chain) {
  Operation *last = nullptr;
  for (Value operand : op->getOperands()) {
    Operation *def = operand.getDefiningOp();
    if (!def || def->getBlock() != op->getBlock())
      continue;
    if (chain && isMemoryEffectFree(def) && def->getNumRegions() == 0)
      moveUp(def, chain);
    if (!last || last->isBeforeInBlock(def))
      last = def;
  }
  // In a warp that fetches rows, what earlier launches write stays after those fetches.
  auto warps = dyn_cast<tile::ForWarpsOp>(op->getParentOp());
  if (chain && isOfUnwrittenMemory(op) && !isEarly(op) && warps && warps.getNumResults() > 0)
    return;
  Operation *bound = chain && isOfUnwrittenMemory(op) ? boundOf(op) : nullptr;
  if (bound && bound->isBeforeInBlock(op) && (!last || last->isBeforeInBlock(bound)))
    last = bound;
  if (last)
    op->moveAfter(last);
  else if (chain)
    op->moveBefore(op->getBlock(), op->getBlock()->begin());
}

/// Moves loads of memory that the program does not write up to where their operands are known, so that they are under
/// way while other work is done.
static void hoistLoads(tile::ProgramOp program) {
  SmallVector<Operation *> loads, ofWarps;
  program.walk([&](Operation *op) {
    if (isOfUnwrittenMemory(op))
      (op->getParentOfType<tile::ForWarpsOp>() ? ofWarps : loads).push_back(op);
  });
  // Loads of what earlier launches write stay after the wait for them.
  llvm::erase_if(loads,
                 [](Operation *load) { return !isEarly(load) && !load->getBlock()->getOps<tile::DependOp>().empty(); });
  // Last to first, so that loads that wait for the same operand keep their order.
  for (Operation *load : llvm::reverse(loads))
    moveUp(load, /*chain=*/false);
  // First to last, since the addresses of some are loaded by others.
  for (bool waits : {false, true})
    for (Operation *load : ofWarps)
      if (waitsForLoad(load) == waits)
        moveUp(load, /*chain=*/true);
}

namespace {
struct HoistLoadsPass : inlay::impl::HoistLoadsPassBase<HoistLoadsPass> {
  void runOnOperation() override;
};
} // namespace

void HoistLoadsPass::runOnOperation() {
  if (!isScheduled(getOperation()))
    return;
  hoistFromBranches(getOperation());
  hoistLoads(getOperation());
}

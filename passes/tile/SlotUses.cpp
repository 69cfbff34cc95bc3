//===- SlotUses.cpp - where a warp uses the slots of its ring ---------------===//

#include "passes/tile/Pipelining.h"

using namespace mlir;
using namespace inlay;

FailureOr<SmallVector<SlotUse>> inlay::findSlotUses(tile::RingOp ring) {
  SmallVector<SlotUse> uses;
  SmallVector<tile::ReleaseOp> releases;
  for (Operation *user : ring->getUsers()) {
    if (auto acquire = dyn_cast<tile::AcquireOp>(user))
      uses.push_back({acquire, {}});
    else if (auto release = dyn_cast<tile::ReleaseOp>(user))
      releases.push_back(release);
  }
  if (uses.empty())
    return ring.emitError("is filled by no tile.acquire");
  if (releases.size() != uses.size())
    return ring.emitError("is acquired ") << uses.size() << " times and released " << releases.size() << " times";
  Block *block = uses.front().acquire->getBlock();
  for (SlotUse &use : uses)
    if (use.acquire->getBlock() != block)
      return use.acquire.emitError("stands in another block than the other uses of its ring");
  for (tile::ReleaseOp release : releases)
    if (release->getBlock() != block)
      return release.emitError("stands in another block than the other uses of its ring");
  auto isBefore = [](auto x, auto y) { return x->isBeforeInBlock(y); };
  llvm::sort(uses, [&](const SlotUse &x, const SlotUse &y) { return isBefore(x.acquire, y.acquire); });
  llvm::sort(releases, isBefore);
  for (auto [use, release] : llvm::zip_equal(uses, releases))
    use.release = release;
  return uses;
}

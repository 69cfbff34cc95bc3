//===- AsyncState.cpp - what is in flight at a point of a kernel -----------===//

#include "passes/cuda/AsyncState.h"

using namespace inlay;

static Bases common(const Bases &x, const Bases &y) {
  Bases result;
  for (void *base : x)
    if (y.count(base))
      result.insert(base);
  return result;
}

static Bases all(const Bases &x, const Bases &y) {
  Bases result = x;
  result.insert(y.begin(), y.end());
  return result;
}

/// Groups that are in flight after both sides of a branch. If the sides differ, what they have in common becomes one
/// group, the oldest.
static std::vector<Bases> commonGroups(const std::vector<Bases> &x, const std::vector<Bases> &y) {
  if (x == y)
    return x;
  Bases ofX, ofY;
  for (const Bases &group : x)
    ofX.insert(group.begin(), group.end());
  for (const Bases &group : y)
    ofY.insert(group.begin(), group.end());
  Bases both = common(ofX, ofY);
  return both.empty() ? std::vector<Bases>() : std::vector<Bases>{both};
}

void AsyncState::meetWarp() {
  waited = waitedBySome;
  ownCopies.clear();
  readAlone.clear();
  initialised.clear();
  initialisedByOthers.clear();
}

void AsyncState::meetGroup() {
  multiplied.clear();
  staged.clear();
  arrived.clear();
}

void AsyncState::meetBlock() {
  meetWarp();
  madeByLanes.clear();
  meetGroup();
  rewritten = rewrittenBySome;
}

void AsyncState::meetCluster() {
  meetBlock();
  waitForCluster();
  writtenAlone.clear();
}

void AsyncState::waitForCluster() {
  hasMetCluster = true;
  readByOthers.clear();
}

void AsyncState::join(const AsyncState &other, bool isSplit) {
  auto some = [&](const Bases &x, const Bases &y) { return isSplit ? all(x, y) : common(x, y); };
  waited = common(waited, other.waited);
  waitedBySome = some(waitedBySome, other.waitedBySome);
  std::erase_if(phases, [&](const auto &phase) {
    return std::find(other.phases.begin(), other.phases.end(), phase) == other.phases.end();
  });
  rewritten = common(rewritten, other.rewritten);
  rewrittenBySome = some(rewrittenBySome, other.rewrittenBySome);
  openCopies = common(openCopies, other.openCopies);
  copyGroups = commonGroups(copyGroups, other.copyGroups);
  ownCopies = common(ownCopies, other.ownCopies);
  openProducts = common(openProducts, other.openProducts);
  productGroups = commonGroups(productGroups, other.productGroups);
  isFenced |= other.isFenced;
  openOperands = common(openOperands, other.openOperands);
  operandGroups = commonGroups(operandGroups, other.operandGroups);
  openFragments = common(openFragments, other.openFragments);
  fragmentGroups = commonGroups(fragmentGroups, other.fragmentGroups);
  for (auto [buffer, slots] : other.heldSlots)
    heldSlots[buffer] = std::max(heldSlots[buffer], slots);
  multiplied = common(multiplied, other.multiplied);
  staged = all(staged, other.staged);
  arrived = common(arrived, other.arrived);
  // If only one side has a fence, the writes may be those of that side. So only writes unfenced on both sides remain.
  unfenced = fences == other.fences ? all(unfenced, other.unfenced) : common(unfenced, other.unfenced);
  fences = std::max(fences, other.fences);
  readAlone = all(readAlone, other.readAlone);
  madeByLanes.insert(other.madeByLanes.begin(), other.madeByLanes.end());
  Bases bySides = all(initialised, other.initialised);
  initialisedByOthers = all(initialisedByOthers, other.initialisedByOthers);
  if (isSplit)
    initialisedByOthers = all(initialisedByOthers, bySides);
  initialised = common(initialised, other.initialised);
  hasUnfencedInit |= other.hasUnfencedInit;
  hasMetCluster &= other.hasMetCluster;
  writtenAlone = all(writtenAlone, other.writtenAlone);
  writtenByOthers = all(writtenByOthers, other.writtenByOthers);
  readByOthers = all(readByOthers, other.readByOthers);
}

//===- AsyncState.h - what is in flight at a point of a kernel -------------===//
//
// What is known of a thread at a point of a kernel, for cuda-verify-async: which
// copies and products are in flight, what the thread has waited for, and what
// other threads have waited for, which the next barrier makes known to it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_ASYNCSTATE_H
#define INLAY_PASSES_CUDA_ASYNCSTATE_H

#include "dialects/cuda/Cuda.h"

#include <map>
#include <set>
#include <vector>

namespace inlay {
/// Opaque values of buffers, barriers and variables (baseOf), each as one.
using Bases = std::set<void *>;

struct AsyncState {
  /// What was waited for: mbarriers, and the launches before this one (kDependency). `waited`: by this thread.
  /// `waitedBySome`: by some thread on each path; a barrier makes this known to all threads.
  Bases waited, waitedBySome;
  /// The waits of this iteration: an mbarrier and the index at which it was waited for (null: it has no index).
  std::vector<std::pair<void *, void *>> phases;
  /// Buffers of asynchronous copies that ordinary writes have overwritten since: by this thread, and by some thread.
  Bases rewritten, rewrittenBySome;

  /// Targets of cp.async: not yet in a group, in each committed group (oldest first), and complete for this thread
  /// only.
  Bases openCopies;
  std::vector<Bases> copyGroups;
  Bases ownCopies;

  /// Accumulators (variables) of wgmma: not yet in a group, and in each committed group (oldest first). `isFenced`:
  /// whether wgmma_fence was called since accumulators were last used.
  Bases openProducts;
  std::vector<Bases> productGroups;
  bool isFenced = false;
  /// Pointers to the operands of those products, in the same groups.
  Bases openOperands;
  std::vector<Bases> operandGroups;
  /// Operands of those products in registers (variables), in the same groups.
  Bases openFragments;
  std::vector<Bases> fragmentGroups;
  /// For each buffer of a ring, the slots that were waited for and not released since.
  std::map<void *, int> heldSlots;
  /// Since the warpgroup last synchronized: shared memory that products read, shared memory that ordinary writes
  /// changed, and mbarriers that this thread has arrived at after these accesses.
  Bases multiplied, staged, arrived;

  /// Shared memory with ordinary writes since the last proxy fence, and the number of proxy fences so far.
  Bases unfenced;
  int fences = 0;
  /// Shared memory that this thread has read since its warp last synchronized.
  Bases readAlone;
  /// Copies and announcements of copies (ops) that some lanes of a warp made and others did not, since the warp last
  /// synchronized.
  std::set<mlir::Operation *> madeByLanes;

  /// mbarriers that were initialised since the last barrier, by this thread and by other threads. `hasUnfencedInit`:
  /// whether some may not be visible to TMA.
  Bases initialised, initialisedByOthers;
  bool hasUnfencedInit = false;

  /// Clusters: whether all blocks are known to have started. Memory of this block that it wrote since the last cluster
  /// barrier, that other blocks write without a wait since, and that other blocks may still read.
  bool hasMetCluster = false;
  Bases writtenAlone, writtenByOthers, readByOthers;

  bool operator==(const AsyncState &) const = default;

  /// Synchronization of the threads of the warp; of the threads that arrive at an mbarrier and wait for it; of the
  /// block; of the cluster; and of the cluster without making writes visible.
  void meetWarp();
  void meetGroup();
  void meetBlock();
  void meetCluster();
  void waitForCluster();
  /// Joins the states after both sides of a branch. `isSplit`: some threads take each side.
  void join(const AsyncState &other, bool isSplit);
};

/// Represents the launches before this one in `AsyncState::waited`.
inline void *const kDependency = nullptr;
} // namespace inlay

#endif // INLAY_PASSES_CUDA_ASYNCSTATE_H

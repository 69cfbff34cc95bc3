//===- AsyncState.h - what is under way at a point of a kernel -------------===//
//
// What a thread knows when it reaches a point of the kernel's text, for
// cuda-verify-async: which copies and products are under way, what it has waited
// for, and what it may learn from others at the next barrier.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_ASYNCSTATE_H
#define INLAY_PASSES_CUDA_ASYNCSTATE_H

#include "dialects/cuda/Cuda.h"

#include <set>
#include <vector>

namespace inlay {
/// Opaque values of buffers, barriers and variables (baseOf), each as one.
using Bases = std::set<void *>;

struct AsyncState {
  /// Barriers that were waited for, and the launches before this one (kDependency): by this thread; and by some thread
  /// on each path, which a barrier makes known to all.
  Bases waited, waitedBySome;
  /// Of the waits of this iteration: the barrier and the index that it was waited for at (null: the barrier is no
  /// array).
  std::vector<std::pair<void *, void *>> phases;
  /// Buffers of asynchronous copies in which ordinary writes have taken the copies' place.
  Bases rewritten, rewrittenBySome;

  /// cp.async: targets not yet in a group, in groups oldest first, and waited for by this thread only.
  Bases openCopies;
  std::vector<Bases> copyGroups;
  Bases ownCopies;

  /// wgmma: sums (variables) not yet in a group, and in groups oldest first; whether registers are fenced.
  Bases openProducts;
  std::vector<Bases> productGroups;
  bool isFenced = false;
  /// What those products read: pointers, in the same groups.
  Bases openOperands;
  std::vector<Bases> operandGroups;
  /// Shared memory that products read, and that ordinary writes changed, since this warpgroup last met; mbarriers that
  /// this thread has arrived at since.
  Bases multiplied, staged, arrived;

  /// Shared memory written ordinarily since the last proxy fence, and the fences so far.
  Bases unfenced;
  int fences = 0;
  /// Read by this thread since it last met the others of its warp.
  Bases readAlone;

  /// mbarriers that this thread, or others, initialised since the last barrier; whether TMA sees them.
  Bases initialised, initialisedByOthers;
  bool hasUnfencedInit = false;

  /// Clusters: whether all blocks are known to have begun; own memory written, other blocks' memory read or written
  /// since the last meeting.
  bool hasMetCluster = false;
  Bases writtenAlone, writtenByOthers, readByOthers;

  bool operator==(const AsyncState &) const = default;

  /// The threads of the warp meet; those that arrive at an mbarrier and wait there; of the block; of the cluster, with
  /// and without showing what they wrote.
  void meetWarp();
  void meetGroup();
  void meetBlock();
  void meetCluster();
  void waitForCluster();
  /// After a branch that left `*this` or `other`. `isSplit`: some threads take each side.
  void join(const AsyncState &other, bool isSplit);
};

/// Stands for the launches before this one among what is waited for.
inline void *const kDependency = nullptr;
} // namespace inlay

#endif // INLAY_PASSES_CUDA_ASYNCSTATE_H

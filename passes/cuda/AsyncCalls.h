//===- AsyncCalls.h - what calls of device headers do to memory ------------===//
//
// The cuda dialect has one op for all calls. Here is what those that copy, wait,
// multiply or touch memory do, a row of a table for each function of
// codegen/device; a new function of the headers there gets a row.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_ASYNCCALLS_H
#define INLAY_PASSES_CUDA_ASYNCCALLS_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
enum class CallKind {
  Other,          // reads what its pointers point at, if anything
  CopyGroup,      // cp.async: done when its group was waited for
  CommitCopies,   // ends a group of cp.async
  WaitCopies,     // until at most `number` groups are under way
  Copy,           // bulk or tensor copy: done when its barrier's phase ends
  InitBarrier,    // operand 1: how many arrivals end a phase
  FenceInit,      // shows initialised barriers to TMA and the cluster
  Arrive,         // at an mbarrier
  ArriveExpect,   // the same, and announces bytes
  WaitBarrier,    // until a phase has ended
  Multiply,       // wgmma: reads shared memory and writes registers, done when its group was waited for
  FenceMultiply,  // orders accesses to registers before wgmma
  CommitMultiply, // ends a group of wgmma
  WaitMultiply,   // until at most `number` groups are under way
  FenceProxy,     // orders ordinary accesses to shared memory before those of the async proxy
  Read,
  Write,
  ReadOfBlock, // of another block of the cluster
  SendToBlock, // of the cluster: done when the phase of its barrier there ends
  ArriveCluster,
  WaitCluster, // until all have arrived; ends what was read of other blocks
  MeetCluster, // the same, and shows what was written to shared memory
  Unknown      // of a header whose functions all have a row
};

/// What a call does, and which of its operands it does it to (-1: none).
struct AsyncCall {
  CallKind kind = CallKind::Other;
  int memory = -1;  // read or written; of copies the target, of wgmma the sums
  int source = -1;  // of copies
  int barrier = -1; // an mbarrier
};

AsyncCall asyncCallOf(cuda::CallOp call);

/// The number that stands first in the callee's template arguments: cp_async_wait<2>.
std::optional<int64_t> templateNumber(cuda::CallOp call);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_ASYNCCALLS_H

//===- AsyncCalls.h - what calls of device headers do to memory ------------===//
//
// The cuda dialect has one op for all calls. A table describes the functions of
// codegen/device that copy, wait, multiply or access memory, one function per row.
// Add a row for each new function of those headers.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_CUDA_ASYNCCALLS_H
#define INLAY_PASSES_CUDA_ASYNCCALLS_H

#include "dialects/cuda/Cuda.h"

namespace inlay {
enum class CallKind {
  Other,          // reads the memory of its pointer operands, if any
  CopyGroup,      // cp.async: complete after a wait for its group
  CommitCopies,   // ends a group of cp.async
  WaitCopies,     // until at most N groups are in flight (N: the template argument)
  Copy,           // bulk or tensor copy: complete when the phase of its mbarrier ends
  InitBarrier,    // operand 1: arrivals that end a phase
  FenceInit,      // makes initialised mbarriers visible to TMA and the cluster
  Arrive,         // at an mbarrier
  ArriveExpect,   // the same, and adds to the expected bytes
  ArriveWritten,  // the same, after the thread's warp has written memory: complete when the phase of the mbarrier ends
  WaitBarrier,    // until a phase has ended
  Multiply,       // wgmma: reads shared memory and writes registers, complete after a wait for its group
  FenceMultiply,  // orders accesses to registers before wgmma
  CommitMultiply, // ends a group of wgmma
  WaitMultiply,   // until at most N groups are in flight (N: the template argument)
  FenceProxy,     // orders ordinary accesses to shared memory before those of the async proxy
  Read,
  Write,
  ReadOfBlock, // reads memory of another block of the cluster
  SendToBlock, // writes memory of another block: complete when the phase of that block's mbarrier ends
  ArriveCluster,
  WaitCluster, // until all blocks have arrived; their reads of other blocks are then complete
  MeetCluster, // the same, and makes writes to shared memory visible
  Unknown      // has no row, though every function of its header needs one
};

/// What a call does, and the numbers of the operands concerned (-1: none).
struct AsyncCall {
  CallKind kind = CallKind::Other;
  int memory = -1;  // memory read or written; the target of a copy, the accumulators of wgmma
  int source = -1;  // the source of a copy
  int barrier = -1; // an mbarrier
};

AsyncCall asyncCallOf(cuda::CallOp call);

/// Whether a call of this function may be early. Of the headers of the exchange (all_gather.h, peer_rows.h, peers.h),
/// only functions that neither send nor end a round may be: the launch before may still push in that round.
bool mayBeEarly(cuda::CallOp call);
/// Whether it reads device memory past the cache of the multiprocessor, which may have older words until a kernel waits
/// for earlier launches.
bool readsPastL1(cuda::CallOp call);

/// The number at the start of the callee's template arguments, for example 2 in cp_async_wait<2>.
std::optional<int64_t> templateNumber(cuda::CallOp call);
} // namespace inlay

#endif // INLAY_PASSES_CUDA_ASYNCCALLS_H

//===- AsyncCalls.cpp - what calls of device headers do to memory ----------===//

#include "passes/cuda/AsyncCalls.h"

using namespace mlir;
using namespace inlay;

namespace {
struct Row {
  llvm::StringLiteral callee;
  AsyncCall call;
};
} // namespace

static constexpr Row rows[] = {
    // bulk_copy.h, tma.h
    {"bulk_copy", {CallKind::Copy, 0, 1, 3}},
    {"evict_first_policy", {}},
    {"prefetch_tensor_map", {}},
    {"tma_load_2d", {CallKind::Copy, 0, 1, 2}},
    {"tma_load_4d", {CallKind::Copy, 0, 1, 2}},
    // cp_async.h
    {"cp_async_16", {CallKind::CopyGroup, 0, 1}},
    {"cp_async_commit", {CallKind::CommitCopies}},
    {"cp_async_wait", {CallKind::WaitCopies}},
    // mbarrier.h
    {"fence_mbarrier_init", {CallKind::FenceInit}},
    {"mbarrier_arrive", {CallKind::Arrive, -1, -1, 0}},
    {"mbarrier_arrive_expect", {CallKind::ArriveExpect, -1, -1, 0}},
    {"mbarrier_arrive_written", {CallKind::ArriveWritten, 0, -1, 1}},
    {"mbarrier_init", {CallKind::InitBarrier, -1, -1, 0}},
    {"mbarrier_wait", {CallKind::WaitBarrier, -1, -1, 0}},
    // wgmma.h
    {"register_fence", {}},
    {"swizzled_columns", {}},
    {"swizzled_tile", {}},
    {"wgmma_commit", {CallKind::CommitMultiply}},
    {"wgmma_fence", {CallKind::FenceMultiply}},
    {"wgmma_m64k16", {CallKind::Multiply, 0}},
    {"wgmma_m64k16_columns", {CallKind::Multiply, 0}},
    {"wgmma_m64k16_registers", {CallKind::Multiply, 0}},
    {"wgmma_m64k32", {CallKind::Multiply, 0}},
    {"wgmma_wait", {CallKind::WaitMultiply}},
    // shared_address.h
    {"fence_async_proxy", {CallKind::FenceProxy}},
    // base.h, mma.h, tile.h
    {"ldmatrix_x2", {CallKind::Read, 1}},
    {"ldmatrix_x2_trans", {CallKind::Read, 1}},
    {"ldmatrix_x4", {CallKind::Read, 1}},
    {"ldmatrix_x4_trans", {CallKind::Read, 1}},
    {"load_vector", {CallKind::Read, 1}},
    {"load_vector_l2_only", {CallKind::Read, 1}},
    {"load_vector_or_zero", {CallKind::Read, 1}},
    {"store_vector", {CallKind::Write, 0}},
    {"store_words", {CallKind::Write, 0}},
    // warp.h
    {"cluster_arrive", {CallKind::ArriveCluster}},
    {"cluster_barrier", {CallKind::MeetCluster}},
    {"cluster_leave", {CallKind::WaitCluster}},
    {"cluster_wait", {CallKind::WaitCluster}},
    {"load_of_block", {CallKind::ReadOfBlock, 0}},
    {"load_vector_of_block", {CallKind::ReadOfBlock, 1}},
    {"send_to_block", {CallKind::SendToBlock, 0, -1, 3}},
};

/// Headers in which every function needs a row, because a new function could start or end an asynchronous operation.
static constexpr llvm::StringLiteral completeHeaders[] = {"bulk_copy.h", "cp_async.h", "mbarrier.h", "tma.h",
                                                          "wgmma.h"};

/// Without template arguments.
static StringRef functionOf(cuda::CallOp call) { return call.getCallee().split('<').first; }

AsyncCall inlay::asyncCallOf(cuda::CallOp call) {
  StringRef name = functionOf(call);
  for (const Row &row : rows)
    if (row.callee == name)
      return row.call;
  return {llvm::is_contained(completeHeaders, call.getHeader()) ? CallKind::Unknown : CallKind::Other};
}

bool inlay::mayBeEarly(cuda::CallOp call) {
  static constexpr llvm::StringLiteral headers[] = {"all_gather.h", "peer_rows.h", "peers.h"};
  static constexpr llvm::StringLiteral early[] = {"arrive", "begin_round", "clear_previous", "is_complete",
                                                  "receive_pushed"};
  return !llvm::is_contained(headers, call.getHeader()) || llvm::is_contained(early, functionOf(call));
}

bool inlay::readsPastL1(cuda::CallOp call) { return functionOf(call) == "load_vector_l2_only"; }

std::optional<int64_t> inlay::templateNumber(cuda::CallOp call) {
  int64_t number;
  StringRef arguments = call.getCallee().split('<').second;
  if (arguments.consumeInteger(10, number))
    return std::nullopt;
  return number;
}

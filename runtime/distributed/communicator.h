// Collective operations of the ranks that run one plan together. Each rank has a communicator of its own and calls it
// from its own thread.
#ifndef INLAY_RUNTIME_DISTRIBUTED_COMMUNICATOR_H_
#define INLAY_RUNTIME_DISTRIBUTED_COMMUNICATOR_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"

#include <cstdint>

namespace inlay {

// All ranks call the same operations with the same sizes in the same order. Each call compares the number of the step,
// the operation and its bytes with those of the other ranks; a difference is an error that names both. A rank that does
// not arrive within the timeout fails the group: then all calls on all ranks return the same error.
//
// Sums are computed in f32 in the order of the ranks and rounded once to the type. So all ranks get the same bits, and
// an element does not depend on the other elements of the call.
class Communicator {
public:
  virtual ~Communicator() = default;

  virtual uint32_t rank() const = 0;
  virtual uint32_t size() const = 0;

  // Sets the number of the step that the following calls belong to.
  virtual void BeginStep(int64_t step) = 0;

  // Sums `elements` elements of F32, BF16 or F16. `to` is `from` or does not overlap it.
  virtual absl::Status AllReduce(const void *from, void *to, uint64_t elements, plan::DataType type) = 0;

  // Rows that ranks concatenate: each row of the result has `row_bytes` of every rank in the order of the ranks, of
  // which those after `result_row_bytes` are dropped.
  struct GatheredRows {
    uint64_t rows = 0, row_bytes = 0, result_row_bytes = 0;
  };
  // `to` does not overlap `from`.
  virtual absl::Status AllGather(const void *from, void *to, const GatheredRows &shape) = 0;

  // Sums the elements of all ranks, of which rank r gets those from r * `elements` on. `from` has size() * `elements`
  // elements, `to` has `elements` and does not overlap `from`.
  virtual absl::Status ReduceScatter(const void *from, void *to, uint64_t elements, plan::DataType type) = 0;

  // Copies `bytes` bytes to rank `peer`, which calls Receive(). Returns when they have arrived. A pair of ranks can
  // have one message in each direction at a time.
  virtual absl::Status Send(const void *from, uint64_t bytes, uint32_t peer) = 0;
  virtual absl::Status Receive(void *to, uint64_t bytes, uint32_t peer) = 0;

  virtual absl::Status Barrier() = 0;

  // Fails the group: calls on all ranks return `status`, now and later. Any thread may call it. Later calls of it have
  // no effect.
  virtual void Abort(const absl::Status &status) = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DISTRIBUTED_COMMUNICATOR_H_

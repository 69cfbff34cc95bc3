// Checks the metadata of a step before kernels read it (INLAY_DEBUG=check-steps). An index out of range would be an
// access outside of a buffer.
#ifndef INLAY_RUNTIME_SCHEDULE_CHECK_STEP_H_
#define INLAY_RUNTIME_SCHEDULE_CHECK_STEP_H_

#include "absl/status/status.h"
#include "runtime/kv/cache_shape.h"
#include "runtime/schedule/step.h"

#include <cstdint>

namespace inlay {

// Exclusive upper bounds of page indices and token ids, and which pages rows see.
struct StepBounds {
  int32_t total_pages = 0, vocab_size = 0;
  CacheShape cache = {};
  int32_t short_rope_len = 0; // rows of the first part of the rope tables
};

// Checks that all indices in `block`, which StepMetadata filled for a step of `sizes`, are within the arrays that they
// refer to. Pages that no row of the step sees may be -1. The error names the metadata array, the index of the element
// and its value.
absl::Status CheckStep(const MetadataLayout &layout, const void *block, const StepSizes &sizes,
                       const StepBounds &bounds);

// Checks that `device`, which was read back after the step, is equal to `host`. Token ids are not compared, since
// kernels may have written them. Both blocks have layout.bytes bytes.
absl::Status CheckArrived(const MetadataLayout &layout, const void *host, const void *device);

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_CHECK_STEP_H_

// Checks the metadata of a step before kernels read it (INLAY_DEBUG=check-steps). An index out of range would be an
// access outside of a buffer.
#ifndef INLAY_RUNTIME_SCHEDULE_CHECK_STEP_H_
#define INLAY_RUNTIME_SCHEDULE_CHECK_STEP_H_

#include "absl/status/status.h"
#include "runtime/schedule/step.h"

#include <cstdint>

namespace inlay {

// What indices may reach.
struct StepBounds {
  int32_t total_pages = 0, vocab_size = 0;
};

// Whether all indices in `block`, as StepMetadata fills it for a step of `sizes`, lie in their arrays. The error names
// the array, the place and the value.
absl::Status CheckStep(const MetadataLayout &layout, const void *block, const StepSizes &sizes,
                       const StepBounds &bounds);

// Whether `device`, read back after the step, is what `host` holds, but for token ids, which the device itself may have
// written. Both have layout.bytes.
absl::Status CheckArrived(const MetadataLayout &layout, const void *host, const void *device);

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_CHECK_STEP_H_

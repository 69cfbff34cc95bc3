// Checks that a launch accesses only the buffers that the plan gives it. Part of VerifyPlan (bundle.h).
#ifndef INLAY_RUNTIME_BUNDLE_VERIFY_LAUNCH_H_
#define INLAY_RUNTIME_BUNDLE_VERIFY_LAUNCH_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_errors.h"
#include "runtime/bundle/plan_generated.h"

namespace inlay {

// Largest sizes that anything in a plan may have: far above what exists, small enough that sums cannot overflow.
inline constexpr uint64_t kMaxBytes = uint64_t{1} << 48;
inline constexpr uint32_t kMaxCount = uint32_t{1} << 24;

// Whether a number of blocks or rows can be computed.
bool IsCount(const plan::Count &count);
// Whether it is multiplier * ceil(extent / divisor).
inline bool IsCountOf(const plan::Count &count, plan::Extent extent, uint32_t divisor, uint32_t multiplier) {
  return count.extent() == extent && count.divisor() == divisor && count.multiplier() == multiplier;
}

// `target` has kernels whose views are counts, and its weights are verified.
absl::Status VerifyLaunch(const plan::Launch &launch, const plan::Entry &entry, const plan::Target &target,
                          const plan::Model &model);

// Checks that each launch that pushes rows is followed by their sum over ranks, with no other exchange between them,
// and with no other launch if the sum is early: it reads while the launch before it runs. The launches are verified.
absl::Status VerifyPushes(const flatbuffers::Vector<flatbuffers::Offset<plan::Launch>> &launches,
                          const plan::Target &target);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_VERIFY_LAUNCH_H_

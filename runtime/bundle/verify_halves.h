// Verifies the launches of steps that run in halves of their rows. Part of VerifyPlan (bundle.h).
#ifndef INLAY_RUNTIME_BUNDLE_VERIFY_HALVES_H_
#define INLAY_RUNTIME_BUNDLE_VERIFY_HALVES_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"

namespace inlay {

// Checks that half of the rows is what launches of an entry with Halves Main and Side can run for, and that only sums
// over ranks run beside the others. Launches and kernels are verified.
absl::Status VerifyHalves(const plan::Entry &entry, const plan::Target &target);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_VERIFY_HALVES_H_

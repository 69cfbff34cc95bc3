// Checks what a plan says of the model and of the step. Part of VerifyPlan (bundle.h).
#ifndef INLAY_RUNTIME_BUNDLE_VERIFY_MODEL_H_
#define INLAY_RUNTIME_BUNDLE_VERIFY_MODEL_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"

namespace inlay {

// Sizes and cache groups of the model, the sizes that kernels receive, the ranks that run the plan.
absl::Status VerifyModel(const plan::Plan &plan);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_VERIFY_MODEL_H_

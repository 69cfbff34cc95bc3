// Checks what a plan says of a kernel. Part of VerifyPlan (bundle.h).
#ifndef INLAY_RUNTIME_BUNDLE_VERIFY_KERNEL_H_
#define INLAY_RUNTIME_BUNDLE_VERIFY_KERNEL_H_

#include "absl/status/status.h"
#include "runtime/bundle/plan_generated.h"

#include <cstdint>
#include <string_view>

namespace inlay {

// Names of targets and kernels become names of files.
absl::Status VerifyFileName(std::string_view name, std::string_view what);

// Name, views and body of a kernel of `target` in a plan for `ranks` ranks.
absl::Status VerifyKernel(const plan::Kernel &kernel, std::string_view target, uint32_t ranks);

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_VERIFY_KERNEL_H_

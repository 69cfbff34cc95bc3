// The errors of a plan that was verified and refused.
#ifndef INLAY_RUNTIME_BUNDLE_PLAN_ERRORS_H_
#define INLAY_RUNTIME_BUNDLE_PLAN_ERRORS_H_

#include "absl/status/status.h"
#include "fmt/format.h"

#include <string>
#include <utility>

namespace inlay {

// The plan contradicts itself: no compiler wrote it.
template <typename... Args> absl::Status BadPlan(fmt::format_string<Args...> format, Args &&...args) {
  return absl::DataLossError("plan.fb: " + fmt::format(format, std::forward<Args>(args)...) +
                             "; the bundle is damaged, compile it again");
}

// The format has a form for it, and this runtime no code.
template <typename... Args> absl::Status UnsupportedPlan(fmt::format_string<Args...> format, Args &&...args) {
  return absl::FailedPreconditionError("plan.fb: " + fmt::format(format, std::forward<Args>(args)...) +
                                       ", which this runtime does not execute; update the runtime, or compile the "
                                       "model with the compiler of this version");
}

// The name of an enumerator of plan.fbs, or the number of one that this version does not know.
template <typename Enum> std::string NameOrNumber(Enum value, const char *name) {
  return *name ? name : std::to_string(static_cast<int>(value));
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_PLAN_ERRORS_H_

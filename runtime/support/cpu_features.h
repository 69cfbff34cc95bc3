// CPU features that kernels of the cpu target may use. The compiler uses no other features, so the runtime can compare
// the list with its own machine and knows whether the kernels run.
#ifndef INLAY_RUNTIME_SUPPORT_CPU_FEATURES_H_
#define INLAY_RUNTIME_SUPPORT_CPU_FEATURES_H_

#include <span>
#include <string>
#include <string_view>

namespace inlay {

struct CpuFeature {
  std::string_view name; // LLVM's
  bool is_here;          // on this machine, and enabled by its system
};

// All that are known, for this kind of processor.
std::span<const CpuFeature> CpuFeatures();

// The largest of LLVM's names for generations (x86-64, x86-64-v2, -v3, -v4) that this machine has all of.
std::string_view CpuGeneration();

// "AMD EPYC": for people.
std::string CpuName();

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_CPU_FEATURES_H_

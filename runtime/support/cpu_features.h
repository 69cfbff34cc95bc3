// CPU features that kernels of the cpu target may use. The compiler uses no other features, so the runtime can check
// whether its machine can run the kernels.
#ifndef INLAY_RUNTIME_SUPPORT_CPU_FEATURES_H_
#define INLAY_RUNTIME_SUPPORT_CPU_FEATURES_H_

#include <span>
#include <string>
#include <string_view>

namespace inlay {

struct CpuFeature {
  std::string_view name; // as in LLVM
  bool is_here;          // supported by this machine and enabled by its operating system
};

// Returns all known features of this machine's architecture.
std::span<const CpuFeature> CpuFeatures();

// Returns the highest of LLVM's microarchitecture levels (x86-64, x86-64-v2, -v3, -v4) that this machine supports.
std::string_view CpuGeneration();

// Returns the name of the processor, for output: "AMD EPYC 9654".
std::string CpuName();

} // namespace inlay

#endif // INLAY_RUNTIME_SUPPORT_CPU_FEATURES_H_

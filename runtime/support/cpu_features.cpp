#include "runtime/support/cpu_features.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace inlay {

#ifdef __x86_64__

std::span<const CpuFeature> CpuFeatures() {
  // The builtin accepts only string literals.
#define INLAY_FEATURE(NAME) {NAME, __builtin_cpu_supports(NAME) != 0}
  static const CpuFeature features[] = {
      INLAY_FEATURE("popcnt"),     INLAY_FEATURE("sse3"),         INLAY_FEATURE("ssse3"),
      INLAY_FEATURE("sse4.1"),     INLAY_FEATURE("sse4.2"),       INLAY_FEATURE("sse4a"),
      INLAY_FEATURE("avx"),        INLAY_FEATURE("avx2"),         INLAY_FEATURE("fma"),
      INLAY_FEATURE("fma4"),       INLAY_FEATURE("xop"),          INLAY_FEATURE("tbm"),
      INLAY_FEATURE("f16c"),       INLAY_FEATURE("bmi"),          INLAY_FEATURE("bmi2"),
      INLAY_FEATURE("lzcnt"),      INLAY_FEATURE("movbe"),        INLAY_FEATURE("gfni"),
      INLAY_FEATURE("avx512f"),    INLAY_FEATURE("avx512bw"),     INLAY_FEATURE("avx512cd"),
      INLAY_FEATURE("avx512dq"),   INLAY_FEATURE("avx512vl"),     INLAY_FEATURE("avx512ifma"),
      INLAY_FEATURE("avx512vbmi"), INLAY_FEATURE("avx512vbmi2"),  INLAY_FEATURE("avx512vnni"),
      INLAY_FEATURE("avx512bf16"), INLAY_FEATURE("avx512bitalg"), INLAY_FEATURE("avx512vpopcntdq"),
      INLAY_FEATURE("avxvnni"),    INLAY_FEATURE("avx512fp16"),
  };
#undef INLAY_FEATURE
  return features;
}

std::string_view CpuGeneration() {
  // The features that each level adds, except for those that every 64-bit processor has or that kernels cannot use.
  static constexpr struct {
    std::string_view name;
    std::string_view features[8];
  } kGenerations[] = {{"x86-64-v2", {"popcnt", "sse3", "ssse3", "sse4.1", "sse4.2"}},
                      {"x86-64-v3", {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}},
                      {"x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}}};
  std::string_view largest = "x86-64";
  for (const auto &generation : kGenerations) {
    for (std::string_view feature : generation.features)
      if (!feature.empty() && std::ranges::none_of(CpuFeatures(), [&](const CpuFeature &known) {
            return known.name == feature && known.is_here;
          }))
        return largest;
    largest = generation.name;
  }
  return largest;
}

#else

std::span<const CpuFeature> CpuFeatures() { return {}; }

std::string_view CpuGeneration() { return "generic"; }

#endif

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (size_t colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos)
      return line.substr(colon + 2);
  return "this machine's processor";
}

} // namespace inlay

// The packed orders of weights, for the files of recipe.h: see Packing in dialects/llm/LlmOps.td.
#ifndef INLAY_RUNTIME_BUNDLE_RECIPE_LAYOUT_H_
#define INLAY_RUNTIME_BUNDLE_RECIPE_LAYOUT_H_

#include <cstdint>

namespace inlay {

// Atoms of 16-bit elements.
inline constexpr uint64_t kAtomRows = 8, kAtomColumns = 64;
// Units of codes, and runs of 16 rows.
inline constexpr uint64_t kUnitRows = 16, kUnitColumns = 128;
// The most rows that are read at a time to be packed.
inline constexpr uint64_t kMaxRows = 64;

inline uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_RECIPE_LAYOUT_H_

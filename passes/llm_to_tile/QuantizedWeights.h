//===- QuantizedWeights.h - how products read quantized weights ------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_QUANTIZEDWEIGHTS_H
#define INLAY_PASSES_LLM_TO_TILE_QUANTIZEDWEIGHTS_H

#include "dialects/llm/Llm.h"
#include "llvm/Support/MathExtras.h"

#include <cstdint>
#include <numeric>
#include <optional>

namespace inlay {
/// The columns that a block takes at a time, at most 64: `k` has whole tiles of them, and each has whole groups or lies
/// in one.
inline int64_t quantizedColumns(int64_t k, int64_t group) {
  constexpr int64_t most = 64;
  int64_t columns = std::gcd(k, most);
  return group < k && columns % group != 0 ? std::gcd(columns, group) : columns;
}

/// The step along K with which each tile of a quantized weight has whole groups of columns, or lies in one; nothing if
/// there is none. On the CPU about 512 columns, whose f32 fit into a core's first cache. On a GPU at most 64, and the
/// last tile is a whole one.
inline std::optional<int64_t> quantizedStep(int64_t k, int64_t group, bool isCpu) {
  static constexpr int64_t most = 512, unit = 16;
  if (!isCpu) {
    int64_t step = quantizedColumns(k, group);
    return step % unit == 0 ? std::optional(step) : std::nullopt;
  }
  int64_t all = llvm::alignTo(k, unit);
  if (group >= k)
    return std::min(all, most);
  if (group % unit != 0)
    return std::nullopt;
  return std::min(all, std::max(group, most / group * group));
}

/// Whether the scales of `weight` are of whole rows and can wait until the rows are summed up: what they multiply needs
/// no more than 16 bits.
inline bool scalesSums(llm::WeightOp weight) {
  llm::QuantizedAttr quantized = weight.getQuantizedAttr();
  return quantized.getGroup() >= weight.getTensorType().getDimSize(1) && !quantized.getZeroPoints() &&
         quantized.getCodes() != llm::Codes::Nf4;
}
} // namespace inlay

#endif // INLAY_PASSES_LLM_TO_TILE_QUANTIZEDWEIGHTS_H

//===- QuantizedWeights.h - codes of quantized weights on a GPU ------------===//

#ifndef INLAY_PASSES_LLM_TO_TILE_QUANTIZEDWEIGHTS_H
#define INLAY_PASSES_LLM_TO_TILE_QUANTIZEDWEIGHTS_H

#include "dialects/llm/Llm.h"

#include <cstdint>
#include <numeric>

namespace inlay {
/// The columns that a block takes at a time, at most 64: `k` has whole tiles of them, and each has whole groups or lies
/// in one.
inline int64_t quantizedColumns(int64_t k, int64_t group) {
  constexpr int64_t most = 64;
  int64_t columns = std::gcd(k, most);
  return group < k && columns % group != 0 ? std::gcd(columns, group) : columns;
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

// Proposes draft tokens from n-grams of the sequence: the tokens that followed an earlier occurrence of the last tokens
// (prompt lookup: Saxena, 2023). Costs a few hash lookups per token for any length of sequence.
#ifndef INLAY_RUNTIME_SCHEDULE_NGRAM_INDEX_H_
#define INLAY_RUNTIME_SCHEDULE_NGRAM_INDEX_H_

#include "absl/container/flat_hash_map.h"

#include <array>
#include <cstdint>
#include <span>

namespace inlay {

class NgramIndex {
public:
  static constexpr size_t kShortest = 2, kLongest = 4; // tokens that must stand before

  // Brings the index up to date with `tokens`, which only grow from call to call, and returns at most `count` of the
  // tokens that followed their end at the latest earlier place with the longest common end. Empty if there is none.
  std::span<const int32_t> Propose(std::span<const int32_t> tokens, size_t count);

private:
  // By length: hash of the tokens -> the position after them.
  std::array<absl::flat_hash_map<uint64_t, size_t>, kLongest - kShortest + 1> places_;
  size_t indexed_ = 0; // ends of n-grams up to here, without the last, are in places_
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_NGRAM_INDEX_H_

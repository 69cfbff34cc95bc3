// Proposes draft tokens from n-grams of the sequence: the tokens that followed an earlier occurrence of the last tokens
// (prompt lookup: Saxena, 2023). The cost is a few hash lookups per token and does not depend on the sequence's length.
#ifndef INLAY_RUNTIME_SCHEDULE_NGRAM_INDEX_H_
#define INLAY_RUNTIME_SCHEDULE_NGRAM_INDEX_H_

#include "absl/container/flat_hash_map.h"

#include <array>
#include <cstdint>
#include <span>

namespace inlay {

class NgramIndex {
public:
  static constexpr size_t kShortest = 2, kLongest = 4; // tokens in an n-gram

  // Adds the new n-grams of `tokens` to the index. From call to call, tokens may only be appended. Then looks for the
  // longest n-gram at the end of `tokens` that also occurs earlier, and returns at most `count` of the tokens that
  // follow its latest earlier occurrence. The result is empty if there is no such n-gram.
  std::span<const int32_t> Propose(std::span<const int32_t> tokens, size_t count);

private:
  // For each length of n-grams: hash of the n-gram -> the position after its latest occurrence.
  std::array<absl::flat_hash_map<uint64_t, size_t>, kLongest - kShortest + 1> places_;
  size_t indexed_ = 0; // n-grams that end before this position are in places_
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_NGRAM_INDEX_H_

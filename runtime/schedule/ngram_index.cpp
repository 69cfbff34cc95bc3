#include "runtime/schedule/ngram_index.h"

#include <algorithm>

namespace inlay {
namespace {

// Hashes the `n` tokens before `end`. A collision only leads to draft tokens that the step rejects.
uint64_t HashBefore(std::span<const int32_t> tokens, size_t end, size_t n) {
  uint64_t hash = n;
  for (size_t i = end - n; i < end; ++i)
    hash = (hash ^ static_cast<uint32_t>(tokens[i])) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 32);
}

} // namespace

std::span<const int32_t> NgramIndex::Propose(std::span<const int32_t> tokens, size_t count) {
  // The n-gram at the end of `tokens` is not added yet, because no token follows it.
  for (; indexed_ < tokens.size(); ++indexed_)
    for (size_t n = kShortest; n <= std::min(kLongest, indexed_); ++n)
      places_[n - kShortest][HashBefore(tokens, indexed_, n)] = indexed_;
  for (size_t n = std::min(kLongest, tokens.size()); n >= kShortest; --n) {
    const auto &places = places_[n - kShortest];
    if (auto found = places.find(HashBefore(tokens, tokens.size(), n)); found != places.end())
      return tokens.subspan(found->second, std::min(count, tokens.size() - found->second));
  }
  return {};
}

} // namespace inlay

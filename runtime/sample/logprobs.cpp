#include "runtime/sample/logprobs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

namespace inlay {
namespace {

// The number of independent accumulators in the loops below, so that compilers vectorize them.
constexpr size_t kLanes = 16;
// Values are summed in single precision within a block of this many values. The sums of blocks are added in double
// precision.
constexpr size_t kBlock = 1024;

// Returns exp(x) for x in [-infinity, 0], and 0 where that is below exp(-87). exp(x) = 2^i * 2^f with an integer i and
// f in (-1, 0]. 2^f = 2^-0.5 * exp(y) with |y| <= ln(2) / 2. exp(y) is the Taylor series up to y^7, whose remainder is
// below 6e-9.
inline float ExpOfNegative(float x) {
  float t = std::max(x * 1.44269504088896341f, -126.0f);
  auto whole = static_cast<int32_t>(t); // rounds towards zero
  float y = (t - static_cast<float>(whole) + 0.5f) * 0.693147180559945309f;
  float series = 1.0f / 5040;
  for (float coefficient : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    series = series * y + coefficient;
  auto power = std::bit_cast<float>((whole + 127) << 23);
  return t > -126.0f ? series * 0.70710678118654752f * power : 0.0f;
}

float Largest(std::span<const float> values) {
  std::array<float, kLanes> lanes;
  lanes.fill(-INFINITY);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
  for (; i < values.size(); ++i)
    lanes[0] = std::max(lanes[0], values[i]);
  return *std::ranges::max_element(lanes);
}

double SumOfExponentials(std::span<const float> values, float largest) {
  double sum = 0;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    std::span<const float> block = values.subspan(begin, std::min(kBlock, values.size() - begin));
    std::array<float, kLanes> lanes{};
    size_t i = 0;
    for (; i + kLanes <= block.size(); i += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane)
        lanes[lane] += ExpOfNegative(block[i + lane] - largest);
    for (; i < block.size(); ++i)
      lanes[0] += ExpOfNegative(block[i] - largest);
    for (float lane : lanes)
      sum += static_cast<double>(lane);
  }
  return sum;
}

int32_t CountAtLeast(std::span<const float> values, float bound) {
  int32_t count = 0;
  for (float value : values)
    count += value >= bound;
  return count;
}

// Ids of the `count` largest values, the largest first.
std::vector<int32_t> Top(std::span<const float> values, size_t count) {
  // Whether a comes before b in the result.
  auto before = [&](int32_t a, int32_t b) {
    float x = values[static_cast<size_t>(a)], y = values[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::vector<int32_t> heap; // its front is the smallest, which is replaced next
  heap.reserve(count);
  for (size_t i = 0; i < count; ++i)
    heap.push_back(static_cast<int32_t>(i));
  std::ranges::make_heap(heap, before);
  float bound = values[static_cast<size_t>(heap.front())];
  // Ids ascend and smaller ids come first among equals, so a value equal to the bound does not replace one.
  for (size_t i = count; i < values.size(); ++i)
    if (values[i] > bound) {
      std::ranges::pop_heap(heap, before);
      heap.back() = static_cast<int32_t>(i);
      std::ranges::push_heap(heap, before);
      bound = values[static_cast<size_t>(heap.front())];
    }
  std::ranges::sort_heap(heap, before);
  return heap;
}

} // namespace

PromptLogprob LogprobOf(std::span<const float> logits, int32_t token, int32_t count) {
  float largest = Largest(logits);
  double offset = static_cast<double>(largest) + std::log(SumOfExponentials(logits, largest));
  // The sum is rounded, so the difference may be above 0, which is the log-probability of a certain token.
  auto of = [&](int32_t id) {
    return static_cast<float>(std::min(static_cast<double>(logits[static_cast<size_t>(id)]) - offset, 0.0));
  };
  PromptLogprob result{{token, of(token), CountAtLeast(logits, logits[static_cast<size_t>(token)])}, {}};
  if (count <= 0)
    return result;
  for (int32_t id : Top(logits, std::min(static_cast<size_t>(count), logits.size())))
    result.top.push_back({id, of(id), static_cast<int32_t>(result.top.size()) + 1});
  return result;
}

} // namespace inlay

// Limits on the cost of an untrusted grammar. The error of an exceeded limit names the limit.
#ifndef INLAY_RUNTIME_GUIDED_LIMITS_H_
#define INLAY_RUNTIME_GUIDED_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace inlay::guided {

struct Limits {
  size_t max_source_bytes = size_t(4) << 20; // of the schema, expression or grammar as it was sent
  int32_t max_source_depth = 64;             // groups, or values, inside each other
  int32_t max_rules = 50'000;                // of a grammar, or that a schema becomes
  int32_t max_states = 500'000;              // of the automaton that all rules become
  int32_t max_pattern_states = 50'000;       // of one string or number that has several conditions
  int32_t max_alternatives = 4096;           // of anyOf, oneOf and what else may hold, multiplied out
  int32_t max_repetitions = 1'000'000;       // the n of {m,n}, maxLength, maxItems
  int32_t max_stack_depth = 512;             // rules open at once while text is matched
  int32_t max_configurations = 4096;         // ways to read the same text
  size_t max_cache_bytes = size_t(64) << 20; // of states and masks kept for reuse, for each grammar
  std::chrono::milliseconds max_compile_time{1000};
  std::chrono::milliseconds max_mask_time{2000}; // of each step
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_LIMITS_H_

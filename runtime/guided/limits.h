// Limits on the cost of an untrusted grammar. The error of an exceeded limit names the limit.
#ifndef INLAY_RUNTIME_GUIDED_LIMITS_H_
#define INLAY_RUNTIME_GUIDED_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace inlay::guided {

struct Limits {
  size_t max_source_bytes = size_t(4) << 20; // size of the schema, expression or grammar
  int32_t max_source_depth = 64;             // nesting of groups or values
  int32_t max_rules = 50'000;                // rules of a grammar, or made from a schema
  int32_t max_states = 500'000;              // states of the automaton
  int32_t max_pattern_states = 50'000;       // states for a string or number with several conditions
  int32_t max_alternatives = 4096;           // after anyOf, oneOf and similar keywords are combined
  int32_t max_repetitions = 1'000'000;       // the n of {m,n}, maxLength, maxItems
  int32_t max_stack_depth = 512;             // nested rules while text is matched
  int32_t max_configurations = 4096;         // ways to parse the same text
  size_t max_cache_bytes = size_t(64) << 20; // cached states and masks per grammar
  std::chrono::milliseconds max_compile_time{1000};
  std::chrono::milliseconds max_mask_time{2000}; // per token
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_LIMITS_H_

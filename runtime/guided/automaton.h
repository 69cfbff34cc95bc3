// Compiles rules to an automaton: states with byte transitions, rule calls and counted repetitions. Every state can
// reach the end of its rule, so every prefix that the automaton accepts can be completed.
#ifndef INLAY_RUNTIME_GUIDED_AUTOMATON_H_
#define INLAY_RUNTIME_GUIDED_AUTOMATON_H_

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <array>
#include <vector>

namespace inlay::guided {

struct State {
  enum class Kind : uint8_t {
    kByte,   // reads one of `bytes` and continues at next[0]
    kSplit,  // continues at each state of `next`
    kCall,   // runs the rule at next[0] up to its kReturn, then continues at next[1]
    kRepeat, // as kCall, but runs next[0] `min` to `max` times; the body is never empty
    kReturn,
  };
  Kind kind = Kind::kReturn;
  bool is_unique = false; // kCall: the rule is the items of a list with uniqueItems
  int32_t bytes = 0;      // kByte: index in Automaton::byte_sets
  absl::InlinedVector<int32_t, 2> next;
  int32_t min = 0, max = kUnbounded;
};

struct Automaton {
  std::vector<State> states;
  int32_t start = 0;
  std::vector<ByteSet> byte_sets;
  // Bytes that are in the same sets of byte_sets form one class. class_byte has one byte of each class.
  std::array<uint8_t, 256> byte_class{};
  std::vector<uint8_t> class_byte;

  static absl::StatusOr<Automaton> Build(const Rules &rules, const Limits &limits);
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_AUTOMATON_H_

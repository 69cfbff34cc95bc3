// Compiles rules to an automaton: states with byte transitions, rule calls and counted repetitions. Every state can
// reach the end of its rule; states that cannot are removed. So every prefix that the automaton accepts can be
// completed.
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
    kByte,   // reads one of `bytes`, goes on at next[0]
    kSplit,  // goes on at each of `next`
    kCall,   // what begins at next[0], up to its kReturn, then next[1]
    kRepeat, // the same `min` to `max` times; never empty
    kReturn,
  };
  Kind kind = Kind::kReturn;
  bool is_unique = false; // kCall: of items that differ
  int32_t bytes = 0;      // in Automaton::byte_sets
  absl::InlinedVector<int32_t, 2> next;
  int32_t min = 0, max = kUnbounded;
};

struct Automaton {
  std::vector<State> states;
  int32_t start = 0;
  std::vector<ByteSet> byte_sets;
  // Bytes that no set tells apart have one class, and a representative.
  std::array<uint8_t, 256> byte_class{};
  std::vector<uint8_t> class_byte;

  static absl::StatusOr<Automaton> Build(const Rules &rules, const Limits &limits);
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_AUTOMATON_H_

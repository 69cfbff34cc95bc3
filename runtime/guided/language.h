// Several conditions on one text: patterns, formats, lengths, multiples. Each is an automaton over bytes; their
// intersection becomes one graph.
#ifndef INLAY_RUNTIME_GUIDED_LANGUAGE_H_
#define INLAY_RUNTIME_GUIDED_LANGUAGE_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"
#include "runtime/guided/work.h"

#include <array>
#include <functional>
#include <memory>
#include <span>

namespace inlay::guided {

// A deterministic reader of bytes whose states are numbers.
class Machine {
public:
  static constexpr int32_t kDead = -1;

  virtual ~Machine() = default;
  virtual absl::StatusOr<int32_t> Start() = 0;
  // kDead where no text goes on.
  virtual absl::StatusOr<int32_t> Step(int32_t state, uint8_t byte) = 0;
  virtual absl::StatusOr<bool> Accepts(int32_t state) = 0;
  // Bytes of one class take every state to the same place.
  virtual uint8_t ClassOf(uint8_t byte) const = 0;
};

using MachinePointer = std::unique_ptr<Machine>;

// Bytes before and behind the text, which no UTF-8 has: `^` and `$` of a pattern read them.
inline constexpr char kTextBegin = '\xFE', kTextEnd = '\xFF';

struct SimplePattern {
  std::string text;
  bool is_negated = false;
};
// A pattern that begins with ^(?!...) or ^(?=...), as patterns without look-ahead that all hold; others as they are.
std::vector<SimplePattern> WithoutLookAhead(const std::string &pattern);

// Texts in which an ECMA-262 pattern matches somewhere, or does not.
absl::StatusOr<MachinePointer> PatternMachine(std::string_view pattern, bool is_negated, const Limits &limits);
// Texts that `body` reads, or not. It makes an expression in the rules that it is given.
absl::StatusOr<MachinePointer> TextMachine(const std::function<ExpressionId(Rules &)> &body, bool is_negated,
                                           const Limits &limits);
// Texts of `min` to `max` characters.
MachinePointer LengthMachine(int32_t min, int32_t max);
// Decimal numbers without exponent that are, or are not, multiples of step / 10^decimals (step > 0).
MachinePointer MultipleMachine(int64_t step, int32_t decimals, bool is_negated);

// The texts that all machines accept. InvalidArgument beyond max_pattern_states.
absl::StatusOr<Graph> Intersect(std::span<const MachinePointer> machines, const Limits &limits, Work &work);

absl::StatusOr<bool> Reads(Machine &machine, std::string_view text);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_LANGUAGE_H_

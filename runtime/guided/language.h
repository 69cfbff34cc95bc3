// Combines several conditions on one text: patterns, formats, lengths, multiples. Each condition is an automaton over
// bytes. Their intersection becomes one graph.
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

// A deterministic automaton over bytes. Its states are integers.
class Machine {
public:
  static constexpr int32_t kDead = -1;

  virtual ~Machine() = default;
  virtual absl::StatusOr<int32_t> Start() = 0;
  // The state after `byte`. kDead if no text is accepted from there.
  virtual absl::StatusOr<int32_t> Step(int32_t state, uint8_t byte) = 0;
  virtual absl::StatusOr<bool> Accepts(int32_t state) = 0;
  // Bytes of the same class lead from every state to the same state.
  virtual uint8_t ClassOf(uint8_t byte) const = 0;
};

using MachinePointer = std::unique_ptr<Machine>;

// Marks before and after the text. They are bytes that do not occur in UTF-8; the anchors ^ and $ of a pattern match
// them.
inline constexpr char kTextBegin = '\xFE', kTextEnd = '\xFF';

struct SimplePattern {
  std::string text;
  bool is_negated = false;
};
// Splits a pattern that begins with ^(?!...) or ^(?=...) into patterns without look-ahead, all of which must hold.
// Returns other patterns unchanged.
std::vector<SimplePattern> WithoutLookAhead(const std::string &pattern);

// Accepts texts in which an ECMA-262 pattern matches somewhere; with `is_negated`, texts in which it does not match.
absl::StatusOr<MachinePointer> PatternMachine(std::string_view pattern, bool is_negated, const Limits &limits);
// Accepts texts that the expression of `body` matches; with `is_negated`, all others. `body` adds the expression to the
// given rules.
absl::StatusOr<MachinePointer> TextMachine(const std::function<ExpressionId(Rules &)> &body, bool is_negated,
                                           const Limits &limits);
// Accepts texts of `min` to `max` characters.
MachinePointer LengthMachine(int32_t min, int32_t max);
// Accepts decimal numbers without exponent that are multiples of step / 10^decimals (step > 0); with `is_negated`, that
// are not.
MachinePointer MultipleMachine(int64_t step, int32_t decimals, bool is_negated);

// The texts that all machines accept. InvalidArgument if more than max_pattern_states states are needed.
absl::StatusOr<Graph> Intersect(std::span<const MachinePointer> machines, const Limits &limits, Work &work);

absl::StatusOr<bool> Reads(Machine &machine, std::string_view text);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_LANGUAGE_H_

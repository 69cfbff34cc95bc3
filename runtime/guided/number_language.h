// Converts the conditions on a number (bounds, multiples) to a grammar of its decimal text.
#ifndef INLAY_RUNTIME_GUIDED_NUMBER_LANGUAGE_H_
#define INLAY_RUNTIME_GUIDED_NUMBER_LANGUAGE_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"
#include "runtime/guided/work.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace inlay::guided {

// The decimal digits of a number. A floating-point number becomes the shortest decimal that parses to the same value.
struct Decimal {
  bool is_negative = false;
  std::string whole = "0"; // without leading zeros
  std::string fraction;    // without trailing zeros

  static Decimal Of(const nlohmann::ordered_json &number);
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
// Returns a value below 0 if a < b, 0 if a == b, above 0 if a > b.
int Compare(const Decimal &a, const Decimal &b);

struct NumberBound {
  Decimal value;
  bool is_exclusive = false;
};

struct NumberConditions {
  bool is_integer = false, is_no_integer = false;
  std::optional<NumberBound> low, high;
  struct Multiple {
    int64_t step = 1; // in units of 10^-decimals
    int32_t decimals = 0;
    bool is_negated = false;
  };
  std::vector<Multiple> multiples;

  void AtLeast(const NumberBound &bound);
  void AtMost(const NumberBound &bound);
  // Whether the types or bounds exclude all numbers. Multiples are not considered.
  bool IsEmpty() const;
};

// Integers have at most 16 digits. Other numbers with conditions have no exponent and at most 15 digits, so that the
// text and its double are on the same side of each bound. Nothing() if no number is allowed.
absl::StatusOr<ExpressionId> NumberText(const NumberConditions &conditions, Rules &rules, const Limits &limits,
                                        Work &work);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_NUMBER_LANGUAGE_H_

// Numbers of a schema: bounds and multiples as a grammar of decimal texts.
#ifndef INLAY_RUNTIME_GUIDED_NUMBER_LANGUAGE_H_
#define INLAY_RUNTIME_GUIDED_NUMBER_LANGUAGE_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"
#include "runtime/guided/work.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace inlay::guided {

// A number as its digits. A floating-point number is the shortest decimal that reads back as it.
struct Decimal {
  bool is_negative = false;
  std::string whole = "0"; // without leading zeros
  std::string fraction;    // without trailing zeros

  static Decimal Of(const nlohmann::ordered_json &number);
  bool is_zero() const { return whole == "0" && fraction.empty(); }
};
// Below 0: a < b; above 0: a > b.
int Compare(const Decimal &a, const Decimal &b);

struct NumberBound {
  Decimal value;
  bool is_exclusive = false;
};

struct NumberConditions {
  bool is_integer = false, is_no_integer = false;
  std::optional<NumberBound> low, high;
  struct Multiple {
    int64_t step = 1; // of 10^-decimals
    int32_t decimals = 0;
    bool is_negated = false;
  };
  std::vector<Multiple> multiples;

  void AtLeast(const NumberBound &bound);
  void AtMost(const NumberBound &bound);
  // No number meets them, as far as the bounds show it.
  bool IsEmpty() const;
};

// Integers have at most 16 digits. Other numbers that have conditions are written without exponent and with at most 15
// digits, so that a reader's double is on the same side of each bound as the text. Nothing() if there is none.
absl::StatusOr<ExpressionId> NumberText(const NumberConditions &conditions, Rules &rules, const Limits &limits,
                                        Work &work);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_NUMBER_LANGUAGE_H_

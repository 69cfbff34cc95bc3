#include "runtime/guided/number_language.h"

#include "runtime/guided/json_text.h"
#include "runtime/guided/language.h"

#include <algorithm>
#include <cmath>

namespace inlay::guided {
namespace {

// 2^53 - 1. A double cannot represent every integer above 2^53.
constexpr int64_t kMaxInteger = 9'007'199'254'740'991;
constexpr int32_t kMaxDigits = 15; // decimals with up to 15 digits are distinct as doubles
constexpr int64_t kMaxWhole = 999'999'999'999'999;
constexpr int64_t kMaxListed = 10'000; // maximum number of multiples that are listed

// The digits after the point. `some`: one or more digits. `or_none`: no digits are allowed too.
struct Digits {
  ExpressionId some;
  bool or_none;
};

class DecimalRange {
public:
  DecimalRange(Rules &rules, int32_t max_decimals) : rules_(rules), text_(rules), max_decimals_(max_decimals) {}

  ExpressionId Between(const std::optional<NumberBound> &low, const std::optional<NumberBound> &high) {
    std::vector<ExpressionId> choices;
    const NumberBound zero, above_zero{{}, true};
    if (!high || !high->value.is_negative)
      choices.push_back(Magnitude(low && !low->value.is_negative ? *low : zero, high));
    if (!low || low->value.is_negative) {
      NumberBound from = high && high->value.is_negative ? Mirrored(*high) : above_zero;
      std::optional<NumberBound> to;
      if (low)
        to = Mirrored(*low);
      choices.push_back(rules_.Sequence({rules_.Literal("-"), Magnitude(from, to)}));
    }
    return rules_.Choice(std::move(choices));
  }

private:
  static NumberBound Mirrored(NumberBound bound) {
    bound.value.is_negative = !bound.value.is_negative;
    return bound;
  }

  ExpressionId Magnitude(const NumberBound &low, const std::optional<NumberBound> &high) {
    if (low.value.whole.size() > static_cast<size_t>(kMaxDigits))
      return rules_.Nothing();
    bool is_high_free = !high || high->value.whole.size() > static_cast<size_t>(kMaxDigits);
    int64_t from = std::stoll(low.value.whole), to = is_high_free ? kMaxWhole : std::stoll(high->value.whole);
    const std::string &least = low.value.fraction;
    auto with = [&](int64_t whole, Digits digits) {
      return rules_.Sequence({rules_.Literal(std::to_string(whole)), Fraction(digits)});
    };
    if (!is_high_free && from == to)
      return with(from, Between(least, low.is_exclusive, high->value.fraction, high->is_exclusive, max_decimals_));
    if (from > to)
      return rules_.Nothing();
    std::vector<ExpressionId> choices{with(from, AtLeast(least, low.is_exclusive, max_decimals_))};
    if (!is_high_free)
      choices.push_back(with(to--, AtMost(high->value.fraction, high->is_exclusive, max_decimals_)));
    if (from + 1 <= to)
      choices.push_back(rules_.Sequence({text_.IntegerBetween(from + 1, to), Fraction(Any(max_decimals_))}));
    return rules_.Choice(std::move(choices));
  }

  ExpressionId Fraction(Digits digits) {
    ExpressionId some = rules_.Sequence({rules_.Literal("."), digits.some});
    return digits.or_none ? rules_.Optional(some) : some;
  }

  ExpressionId Digit(char first, char last) {
    return first > last ? rules_.Nothing()
                        : rules_.Characters(CodePointSet::Of(static_cast<uint8_t>(first), static_cast<uint8_t>(last)));
  }
  Digits Any(int32_t count) { return {count > 0 ? rules_.Repeat(Digit('0', '9'), 1, count) : rules_.Nothing(), true}; }
  ExpressionId Then(ExpressionId digit, Digits rest) {
    return rules_.Sequence({digit, rest.or_none ? rules_.Optional(rest.some) : rest.some});
  }

  Digits AtLeast(const std::string &digits, bool is_exclusive, int32_t count) {
    if (digits.empty() && !is_exclusive)
      return Any(count);
    if (count == 0)
      return {rules_.Nothing(), false};
    char first = digits.empty() ? '0' : digits[0];
    return {rules_.Choice({Then(Digit(static_cast<char>(first + 1), '9'), Any(count - 1)),
                           Then(Digit(first, first),
                                AtLeast(digits.empty() ? digits : digits.substr(1), is_exclusive, count - 1))}),
            false};
  }

  Digits AtMost(const std::string &digits, bool is_exclusive, int32_t count) {
    if (digits.empty())
      return {is_exclusive || count == 0 ? rules_.Nothing() : rules_.Repeat(Digit('0', '0'), 1, count), !is_exclusive};
    if (count == 0)
      return {rules_.Nothing(), true};
    return {rules_.Choice({Then(Digit('0', static_cast<char>(digits[0] - 1)), Any(count - 1)),
                           Then(Digit(digits[0], digits[0]), AtMost(digits.substr(1), is_exclusive, count - 1))}),
            true};
  }

  Digits Between(const std::string &low, bool low_exclusive, const std::string &high, bool high_exclusive,
                 int32_t count) {
    if (low.empty() && !low_exclusive)
      return AtMost(high, high_exclusive, count);
    if (high.empty() || count == 0)
      return {rules_.Nothing(), false};
    char first = low.empty() ? '0' : low[0], last = high[0];
    std::string low_rest = low.empty() ? low : low.substr(1), high_rest = high.substr(1);
    if (first > last)
      return {rules_.Nothing(), false};
    if (first == last)
      return {Then(Digit(first, first), Between(low_rest, low_exclusive, high_rest, high_exclusive, count - 1)), false};
    return {rules_.Choice({Then(Digit(static_cast<char>(first + 1), static_cast<char>(last - 1)), Any(count - 1)),
                           Then(Digit(first, first), AtLeast(low_rest, low_exclusive, count - 1)),
                           Then(Digit(last, last), AtMost(high_rest, high_exclusive, count - 1))}),
            false};
  }

  Rules &rules_;
  JsonText text_;
  const int32_t max_decimals_;
};

// The smallest (or largest) integer that a bound allows, clamped to ±kMaxInteger.
int64_t WholeBound(const std::optional<NumberBound> &bound, bool is_low) {
  if (!bound)
    return is_low ? -kMaxInteger : kMaxInteger;
  const Decimal &value = bound->value;
  if (value.whole.size() > 16)
    return value.is_negative ? -kMaxInteger - (is_low ? 0 : 1) : kMaxInteger + (is_low ? 1 : 0);
  int64_t whole = std::stoll(value.whole) * (value.is_negative ? -1 : 1);
  if (!value.fraction.empty()) {
    if (is_low != value.is_negative)
      whole += is_low ? 1 : -1;
  } else if (bound->is_exclusive) {
    whole += is_low ? 1 : -1;
  }
  return is_low ? std::max(whole, -kMaxInteger) : std::min(whole, kMaxInteger);
}

ExpressionId IntegerText(Rules &rules, int64_t low, int64_t high) {
  return low > high ? rules.Nothing() : JsonText(rules).IntegerBetween(low, high);
}

} // namespace

Decimal Decimal::Of(const nlohmann::ordered_json &number) {
  std::string text = number.dump(), digits;
  Decimal result;
  int64_t exponent = 0;
  bool has_point = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') {
      result.is_negative = true;
    } else if (text[i] == '.') {
      has_point = true;
    } else if (text[i] == 'e' || text[i] == 'E') {
      exponent += std::stoll(text.substr(i + 1));
      break;
    } else {
      digits += text[i];
      exponent -= has_point;
    }
  }
  if (exponent > 0)
    digits.append(exponent, '0');
  size_t decimals = exponent < 0 ? static_cast<size_t>(-exponent) : 0;
  if (digits.size() <= decimals)
    digits.insert(0, decimals + 1 - digits.size(), '0');
  result.whole = digits.substr(0, digits.size() - decimals);
  result.fraction = digits.substr(digits.size() - decimals);
  result.whole.erase(0, std::min(result.whole.find_first_not_of('0'), result.whole.size() - 1));
  result.fraction.erase(result.fraction.find_last_not_of('0') + 1);
  if (result.is_zero())
    result.is_negative = false;
  return result;
}

int Compare(const Decimal &a, const Decimal &b) {
  if (a.is_negative != b.is_negative)
    return a.is_negative ? -1 : 1;
  int order = a.whole.size() != b.whole.size() ? (a.whole.size() < b.whole.size() ? -1 : 1) : a.whole.compare(b.whole);
  if (order == 0)
    order = a.fraction.compare(b.fraction);
  return a.is_negative ? -order : order;
}

void NumberConditions::AtLeast(const NumberBound &bound) {
  int order = low ? Compare(bound.value, low->value) : 1;
  if (order > 0 || (order == 0 && bound.is_exclusive))
    low = bound;
}

void NumberConditions::AtMost(const NumberBound &bound) {
  int order = high ? Compare(bound.value, high->value) : -1;
  if (order < 0 || (order == 0 && bound.is_exclusive))
    high = bound;
}

bool NumberConditions::IsEmpty() const {
  if (is_integer && is_no_integer)
    return true;
  if (is_integer)
    return WholeBound(low, true) > WholeBound(high, false);
  int order = low && high ? Compare(low->value, high->value) : -1;
  return order > 0 || (order == 0 && (low->is_exclusive || high->is_exclusive));
}

absl::StatusOr<ExpressionId> NumberText(const NumberConditions &conditions, Rules &rules, const Limits &limits,
                                        Work &work) {
  bool has_range = conditions.low || conditions.high;
  bool has_multiples = !conditions.multiples.empty() || conditions.is_no_integer;
  if (conditions.IsEmpty())
    return rules.Nothing();
  if (!has_range && !has_multiples)
    return conditions.is_integer ? JsonText(rules).Integer() : JsonText(rules).Number();
  int64_t low = WholeBound(conditions.low, true), high = WholeBound(conditions.high, false);
  if (conditions.is_integer && conditions.multiples.size() == 1 && conditions.multiples[0].decimals == 0 &&
      !conditions.multiples[0].is_negated) {
    int64_t step = conditions.multiples[0].step;
    if ((high - low) / step <= kMaxListed) {
      int64_t first = low / step * step;
      std::vector<std::string> texts;
      for (int64_t value = first < low ? first + step : first; value <= high; value += step)
        texts.push_back(std::to_string(value));
      return texts.empty() ? rules.Nothing() : rules.OneOf(std::move(texts));
    }
  }
  size_t whole = 1;
  for (const auto *bound : {&conditions.low, &conditions.high})
    if (*bound && (*bound)->value.whole.size() <= static_cast<size_t>(kMaxDigits))
      whole = std::max(whole, (*bound)->value.whole.size());
  auto range = [&](Rules &into) {
    if (conditions.is_integer)
      return IntegerText(into, low, high);
    return DecimalRange(into, kMaxDigits - static_cast<int32_t>(whole)).Between(conditions.low, conditions.high);
  };
  if (!has_multiples)
    return range(rules);
  std::vector<MachinePointer> machines;
  absl::StatusOr<MachinePointer> machine = TextMachine(range, /*is_negated=*/false, limits);
  if (!machine.ok())
    return machine.status();
  machines.push_back(*std::move(machine));
  for (const NumberConditions::Multiple &multiple : conditions.multiples)
    machines.push_back(MultipleMachine(multiple.step, multiple.decimals, multiple.is_negated));
  if (conditions.is_no_integer)
    machines.push_back(MultipleMachine(1, 0, /*is_negated=*/true));
  absl::StatusOr<Graph> graph = Intersect(machines, limits, work);
  if (!graph.ok())
    return graph.status();
  return rules.OfGraph(*std::move(graph));
}

} // namespace inlay::guided

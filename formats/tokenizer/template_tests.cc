// The tests of templates: `value is name(arguments)`.
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <utf8proc.h>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

template <Kind kKind> Value IsKind(const Value &value, const Bound &) { return Value::Bool(value.kind == kKind); }

// The tests for operators take a positional operand only.
#define INLAY_COMPARISON(NAME, OP)                                                                                     \
  Value NAME(const Value &value, const Bound &bound) {                                                                 \
    return Value::Bool(bound.engine.Compare(OP, value, bound.Get(0)));                                                 \
  }
INLAY_COMPARISON(IsEqual, "==")
INLAY_COMPARISON(IsUnequal, "!=")
INLAY_COMPARISON(IsLess, "<")
INLAY_COMPARISON(IsLessOrEqual, "<=")
INLAY_COMPARISON(IsGreater, ">")
INLAY_COMPARISON(IsGreaterOrEqual, ">=")
INLAY_COMPARISON(IsIn, "in")
#undef INLAY_COMPARISON

Value IsDefined(const Value &value, const Bound &) { return Value::Bool(!value.undefined()); }
Value IsNumber(const Value &value, const Bound &) {
  return Value::Bool(value.number() || value.kind == Kind::kWideInt);
}
Value IsInteger(const Value &value, const Bound &) {
  return Value::Bool(value.kind == Kind::kInt || value.kind == Kind::kWideInt);
}
template <bool kWanted> Value IsBool(const Value &value, const Bound &) {
  return Value::Bool(value.kind == Kind::kBool && (value.integer != 0) == kWanted);
}
Value IsSequence(const Value &value, const Bound &) {
  return Value::Bool(value.sequence() || value.string() || value.mapping() || value.undefined() ||
                     value.kind == Kind::kRange);
}
Value IsIterable(const Value &value, const Bound &) {
  return Value::Bool(value.sequence() || value.string() || value.mapping() || value.undefined() ||
                     value.kind == Kind::kRange || value.kind == Kind::kView || value.kind == Kind::kIterator ||
                     value.kind == Kind::kLoop);
}
// In jinja2 an undefined value is callable: it has __call__, which raises an error.
Value IsCallable(const Value &value, const Bound &) {
  return Value::Bool(value.kind == Kind::kCallable || value.kind == Kind::kLoop || value.undefined());
}
template <int kRest> Value HasRest(const Value &value, const Bound &bound) { // remainder of a division by 2
  Value rest = bound.engine.Binary("%", value, Value::Int(2));
  return Value::Bool(bound.engine.Equal(rest, Value::Int(kRest)));
}
Value IsDivisibleBy(const Value &value, const Bound &bound) {
  Value rest = bound.engine.Binary("%", value, bound.Get(0));
  return Value::Bool(bound.engine.Equal(rest, Value::Int(0)));
}
// Python's `is`: the same object. Equal scalars count as the same object.
Value IsSameAs(const Value &value, const Bound &bound) {
  const Value &other = bound.Get(0);
  if (value.kind != other.kind)
    return Value::Bool(false);
  switch (value.kind) {
  case Kind::kList:
  case Kind::kTuple:
    return Value::Bool(value.list == other.list ||
                       (value.kind == Kind::kTuple && value.list->empty() && other.list->empty()));
  case Kind::kDict:
    return Value::Bool(value.dict == other.dict);
  case Kind::kRange:
    return Value::Bool(value.range == other.range);
  case Kind::kView:
    return Value::Bool(value.view == other.view);
  default:
    return Value::Bool(bound.engine.Equal(value, other));
  }
}
template <utf8proc_category_t kWanted, utf8proc_category_t kOther>
Value HasCase(const Value &value, const Bound &bound) {
  std::string text = bound.engine.ToText(value);
  bool cased = false;
  for (std::string_view c : Characters(text)) {
    utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(ReadUtf8(c).code_point));
    if (category == kOther || category == UTF8PROC_CATEGORY_LT)
      return Value::Bool(false);
    cased = cased || category == kWanted;
  }
  return Value::Bool(cased);
}
Value IsEscaped(const Value &value, const Bound &) { return Value::Bool(value.string() && value.markup); }
Value IsFilter(const Value &value, const Bound &bound) {
  return Value::Bool(bound.engine.Hashable(value) && value.string() &&
                     (FindFilter(value.str()) || IsRefusedFilter(value.str())));
}
Value IsTest(const Value &value, const Bound &bound) {
  return Value::Bool(bound.engine.Hashable(value) && value.string() && FindTest(value.str()));
}

constexpr utf8proc_category_t kUpper = UTF8PROC_CATEGORY_LU, kLower = UTF8PROC_CATEGORY_LL;

constexpr Function kTests[] = {
    {"!=", "/other", IsUnequal},
    {"<", "/other", IsLess},
    {"<=", "/other", IsLessOrEqual},
    {"==", "/other", IsEqual},
    {">", "/other", IsGreater},
    {">=", "/other", IsGreaterOrEqual},
    {"boolean", "", IsKind<Kind::kBool>},
    {"callable", "", IsCallable},
    {"defined", "", IsDefined},
    {"divisibleby", "num", IsDivisibleBy},
    {"eq", "/other", IsEqual},
    {"equalto", "/other", IsEqual},
    {"escaped", "", IsEscaped},
    {"even", "", HasRest<0>},
    {"false", "", IsBool<false>},
    {"filter", "", IsFilter},
    {"float", "", IsKind<Kind::kFloat>},
    {"ge", "/other", IsGreaterOrEqual},
    {"greaterthan", "/other", IsGreater},
    {"gt", "/other", IsGreater},
    {"in", "seq", IsIn},
    {"integer", "", IsInteger},
    {"iterable", "", IsIterable},
    {"le", "/other", IsLessOrEqual},
    {"lessthan", "/other", IsLess},
    {"lower", "", HasCase<kLower, kUpper>},
    {"lt", "/other", IsLess},
    {"mapping", "", IsKind<Kind::kDict>},
    {"ne", "/other", IsUnequal},
    {"none", "", IsKind<Kind::kNone>},
    {"number", "", IsNumber},
    {"odd", "", HasRest<1>},
    {"sameas", "other", IsSameAs},
    {"sequence", "", IsSequence},
    {"string", "", IsKind<Kind::kString>},
    {"test", "", IsTest},
    {"true", "", IsBool<true>},
    {"undefined", "", IsKind<Kind::kUndefined>},
    {"upper", "", HasCase<kUpper, kLower>},
};

} // namespace

std::span<const Function> Tests() { return kTests; }

} // namespace inlay::tokenizer

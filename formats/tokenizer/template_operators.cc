// Python's operators on template values. Integers have 64 bits; an overflow is an error.
#include "formats/tokenizer/template_engine.h"
#include "formats/tokenizer/template_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace inlay::tokenizer {

using Kind = Value::Kind;

bool Engine::Truth(const Value &value) {
  switch (value.kind) {
  case Kind::kUndefined:
  case Kind::kNone:
    return false;
  case Kind::kBool:
  case Kind::kInt:
    return value.integer != 0;
  case Kind::kFloat:
    return value.real != 0;
  case Kind::kString:
    return !value.str().empty();
  case Kind::kDict:
    return !value.dict->empty();
  case Kind::kList:
  case Kind::kTuple:
  case Kind::kRange:
  case Kind::kView:
    return !Items(value)->empty();
  case Kind::kLoop:
    return Length(value).value_or(0) != 0;
  default:
    return true;
  }
}

Value Engine::Unary(std::string_view op, const Value &value) {
  if (failed())
    return {};
  if (op == "not")
    return Value::Bool(!Truth(value));
  if (value.undefined())
    return FailUndefined(value);
  int64_t negated = 0;
  if (value.kind == Kind::kFloat)
    return Value::Float(op == "-" ? -value.real : value.real);
  if (!value.integral() || __builtin_sub_overflow(int64_t{0}, value.integer, &negated))
    return Fail(fmt::format("found {} before a {}, expected a number of 64 bits", op, TypeName(value)));
  return Value::Int(op == "-" ? negated : value.integer);
}

Value Engine::Binary(std::string_view op, const Value &left, const Value &right) {
  if (failed())
    return {};
  if (op == "~") {
    std::string text = ToText(left);
    Append(text, ToText(right));
    return MakeString(std::move(text));
  }
  if (op == "%" && left.string())
    return PercentFormat(left, right);
  if (left.undefined() || right.undefined())
    return FailUndefined(left.undefined() ? left : right);
  if (op == "+" && left.string() && right.string()) {
    if (left.markup == right.markup)
      return MakeString(left.str() + right.str(), left.markup);
    return MakeString((left.markup ? left.str() : EscapedHtml(left.str())) +
                          (right.markup ? right.str() : EscapedHtml(right.str())),
                      true);
  }
  if (op == "+" && left.sequence() && left.kind == right.kind) {
    List items = *left.list;
    items.insert(items.end(), right.list->begin(), right.list->end());
    Charge(static_cast<int64_t>(items.size()));
    return left.kind == Kind::kTuple ? arena.MakeTuple(std::move(items)) : arena.MakeList(std::move(items));
  }
  auto repeats = [](const Value &value) { return value.string() || value.sequence(); };
  if (op == "*" && repeats(left) && right.integral())
    return Repeat(left, right.integer);
  if (op == "*" && repeats(right) && left.integral())
    return Repeat(right, left.integer);
  if (left.integral() && right.integral() && op != "/")
    return Integers(op, left.integer, right.integer);
  if (left.number() && right.number())
    return Reals(op, left.AsReal(), right.AsReal());
  return Fail(
      fmt::format("found {} {} {}, expected operands of compatible types", TypeName(left), op, TypeName(right)));
}

Value Engine::Repeat(const Value &value, int64_t count) {
  size_t size = value.string() ? value.str().size() : value.list->size();
  uint64_t times = count <= 0 || size == 0 ? 0 : static_cast<uint64_t>(count);
  if (value.string()) {
    if (times > output_limit() / std::max<size_t>(size, 1))
      return FailOutput();
    std::string out;
    out.reserve(times * size);
    for (uint64_t i = 0; i < times; ++i)
      out += value.str();
    return MakeString(std::move(out), value.markup);
  }
  if (times > 0 && times > static_cast<uint64_t>(INT32_MAX) / size)
    return Fail("found a list of more than 2147483647 items", absl::StatusCode::kResourceExhausted);
  if (!Charge(static_cast<int64_t>(times * size)))
    return {};
  List items;
  items.reserve(times * size);
  for (uint64_t i = 0; i < times; ++i)
    items.insert(items.end(), value.list->begin(), value.list->end());
  return value.kind == Kind::kTuple ? arena.MakeTuple(std::move(items)) : arena.MakeList(std::move(items));
}

Value Engine::Integers(std::string_view op, int64_t left, int64_t right) {
  int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(left, right, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(left, right, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(left, right, &out);
  } else if (op == "**") {
    if (right < 0)
      return Reals(op, static_cast<double>(left), static_cast<double>(right));
    out = 1;
    // With more than 64 factors, only 0, 1 and -1 do not overflow.
    int64_t factors = right > 64 && left >= -1 && left <= 1 ? 2 + right % 2 : right;
    for (int64_t i = 0; i < factors && !overflow; ++i)
      overflow = __builtin_mul_overflow(out, left, &out);
  } else {
    if (right == 0)
      return Fail("found a division by zero");
    overflow = left == INT64_MIN && right == -1;
    if (!overflow) {
      int64_t quotient = left / right, rest = left % right;
      if (rest != 0 && (rest < 0) != (right < 0)) { // Python rounds down
        --quotient;
        rest += right;
      }
      out = op == "//" ? quotient : rest;
    }
  }
  return overflow ? Fail(fmt::format("found {} {} {}, expected a result of 64 bits", left, op, right))
                  : Value::Int(out);
}

Value Engine::Reals(std::string_view op, double left, double right) {
  if (op == "+")
    return Value::Float(left + right);
  if (op == "-")
    return Value::Float(left - right);
  if (op == "*")
    return Value::Float(left * right);
  if (op == "**") {
    if (left == 0 && right < 0)
      return Fail("found a division by zero");
    double out = std::pow(left, right);
    if (std::isnan(out) && !std::isnan(left) && !std::isnan(right))
      return FailUnsupported("found the power of a negative number, expected a real result");
    if (std::isinf(out) && std::isfinite(left) && std::isfinite(right))
      return Fail("found a power that is too large for a float");
    return Value::Float(out);
  }
  if (right == 0)
    return Fail("found a division by zero");
  if (op == "/")
    return Value::Float(left / right);
  // The algorithm of CPython's float_divmod.
  double rest = std::fmod(left, right), quotient = (left - rest) / right;
  if (rest != 0) {
    if ((right < 0) != (rest < 0)) {
      rest += right;
      quotient -= 1;
    }
  } else {
    rest = std::copysign(0.0, right);
  }
  if (op == "%")
    return Value::Float(rest);
  if (quotient == 0)
    return Value::Float(std::copysign(0.0, left / right));
  double floored = std::floor(quotient);
  return Value::Float(quotient - floored > 0.5 ? floored + 1 : floored);
}

bool Engine::Equal(const Value &left, const Value &right, int nesting) {
  if (!Charge(1))
    return false;
  if (nesting > kMaxValueNesting) {
    Fail("found lists nested too deep to compare", absl::StatusCode::kResourceExhausted);
    return false;
  }
  if (left.integral() && right.integral())
    return left.integer == right.integer;
  if (left.number() && right.number())
    return left.AsReal() == right.AsReal();
  if (left.kind != right.kind)
    return false;
  auto same = [&](const List &a, const List &b) {
    if (a.size() != b.size())
      return false;
    for (size_t i = 0; i < a.size(); ++i)
      if (!Equal(a[i], b[i], nesting + 1))
        return false;
    return true;
  };
  switch (left.kind) {
  case Kind::kString:
  case Kind::kWideInt:
    ChargeBytes(std::min(left.str().size(), right.str().size()));
    return left.str() == right.str();
  case Kind::kList:
  case Kind::kTuple:
    return same(*left.list, *right.list);
  case Kind::kRange:
    return same(left.range->items, right.range->items);
  case Kind::kView: // keys and items compare as sets; values by identity
    if (left.view->type != right.view->type || left.view->type == "dict_values")
      return left.view == right.view;
    return left.view->items.size() == right.view->items.size() &&
           std::all_of(left.view->items.begin(), left.view->items.end(), [&](const Value &item) {
             return std::any_of(right.view->items.begin(), right.view->items.end(),
                                [&](const Value &other) { return Equal(item, other, nesting + 1); });
           });
  case Kind::kDict:
    if (left.dict->size() != right.dict->size())
      return false;
    for (const auto &[key, value] : *left.dict) {
      auto found = std::find_if(right.dict->begin(), right.dict->end(),
                                [&](const auto &entry) { return Equal(key, entry.first, nesting + 1); });
      if (found == right.dict->end() || !Equal(value, found->second, nesting + 1))
        return false;
    }
    return true;
  case Kind::kUndefined:
  case Kind::kNone:
    return true;
  case Kind::kNamespace:
    return left.dict == right.dict;
  case Kind::kCallable:
    return left.callable == right.callable;
  case Kind::kIterator:
    return left.iterator == right.iterator;
  default:
    return left.loop == right.loop;
  }
}

bool Engine::Less(const Value &left, const Value &right, bool or_equal, int nesting) {
  if (!Charge(1))
    return false;
  if (nesting > kMaxValueNesting) {
    Fail("found lists nested too deep to compare", absl::StatusCode::kResourceExhausted);
    return false;
  }
  if (left.integral() && right.integral())
    return or_equal ? left.integer <= right.integer : left.integer < right.integer;
  if (left.number() && right.number())
    return or_equal ? left.AsReal() <= right.AsReal() : left.AsReal() < right.AsReal();
  if (left.string() && right.string()) { // the order of UTF-8 is that of code points
    ChargeBytes(std::min(left.str().size(), right.str().size()));
    return or_equal ? left.str() <= right.str() : left.str() < right.str();
  }
  if (left.sequence() && left.kind == right.kind) {
    size_t shared = std::min(left.list->size(), right.list->size());
    for (size_t i = 0; i < shared; ++i)
      if (!Equal((*left.list)[i], (*right.list)[i], nesting + 1))
        return Less((*left.list)[i], (*right.list)[i], or_equal, nesting + 1);
    return or_equal ? left.list->size() <= right.list->size() : left.list->size() < right.list->size();
  }
  if (left.undefined() || right.undefined())
    FailUndefined(left.undefined() ? left : right);
  else
    Fail(fmt::format("found {} < {}, expected two numbers or two strings", TypeName(left), TypeName(right)));
  return false;
}

bool Engine::Contains(const Value &container, const Value &item) {
  if (container.string()) {
    if (!item.string()) {
      Fail(fmt::format("found {} in str, expected a str on the left", TypeName(item)));
      return false;
    }
    ChargeBytes(container.str().size());
    return container.str().find(item.str()) != std::string::npos;
  }
  if (container.kind == Kind::kView && container.view->type == "dict_keys" && !Hashable(item))
    return false;
  if (const List *items = Items(container)) {
    return std::any_of(items->begin(), items->end(), [&](const Value &candidate) { return Equal(candidate, item); });
  }
  if (container.mapping())
    return Hashable(item) && FindEntry(*container.dict, item) != nullptr;
  if (container.undefined()) // has no items
    return false;
  if (container.kind == Kind::kIterator) {
    for (Value candidate; Next(*container.iterator, candidate);)
      if (Equal(candidate, item))
        return true;
    return false;
  }
  Fail(fmt::format("found {} in {}, expected a list, a dict or a string on the right", TypeName(item),
                   TypeName(container)));
  return false;
}

bool Engine::Compare(std::string_view op, const Value &left, const Value &right) {
  if (op == "==")
    return Equal(left, right);
  if (op == "!=")
    return !Equal(left, right);
  if (op == "in")
    return Contains(right, left);
  if (op == "not in")
    return !Contains(right, left);
  if (op == "<" || op == "<=")
    return Less(left, right, op == "<=");
  return Less(right, left, op == ">="); // Python's reflected comparison; a NaN is in no order
}

} // namespace inlay::tokenizer

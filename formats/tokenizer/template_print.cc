// str(), repr() and json.dumps() of template values.
#include "formats/tokenizer/template_engine.h"
#include "formats/tokenizer/template_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <list>
#include <utility>

namespace inlay::tokenizer {

using Kind = Value::Kind;

std::string Engine::ToText(const Value &value) {
  if (value.string())
    return value.str();
  if (value.undefined())
    return {};
  return ToRepr(value);
}

std::string Engine::ToRepr(const Value &value, bool ascii) {
  std::string out;
  Represent(value, ascii, 0, out);
  return out;
}

void Engine::Represent(const Value &value, bool ascii, int nesting, std::string &out) {
  if (nesting > kMaxValueNesting)
    Fail("found lists nested too deep to print", absl::StatusCode::kResourceExhausted);
  if (!Charge(1))
    return;
  auto list = [&](const List &items) {
    for (size_t i = 0; i < items.size() && !failed(); ++i) {
      out += i ? ", " : "";
      Represent(items[i], ascii, nesting + 1, out);
    }
  };
  switch (value.kind) {
  case Kind::kUndefined:
    out += "Undefined";
    break;
  case Kind::kNone:
    out += "None";
    break;
  case Kind::kBool:
    out += value.integer ? "True" : "False";
    break;
  case Kind::kInt:
    out += fmt::format("{}", value.integer);
    break;
  case Kind::kWideInt:
    out += value.str();
    break;
  case Kind::kFloat:
    out += FloatText(value.real);
    break;
  case Kind::kString:
    out += (value.markup ? "Markup(" : "") + StringRepr(value.str(), ascii) + (value.markup ? ")" : "");
    ChargeBytes(value.str().size());
    break;
  case Kind::kList:
    out += '[';
    list(*value.list);
    out += ']';
    break;
  case Kind::kTuple:
    out += '(';
    list(*value.list);
    out += value.list->size() == 1 ? ",)" : ")";
    break;
  case Kind::kView:
    out += value.view->type;
    out += "([";
    list(value.view->items);
    out += "])";
    break;
  case Kind::kRange: {
    const Range &range = *value.range;
    out += range.step == 1 ? fmt::format("range({}, {})", range.start, range.stop)
                           : fmt::format("range({}, {}, {})", range.start, range.stop, range.step);
    break;
  }
  case Kind::kDict:
  case Kind::kNamespace: {
    out += value.mapping() ? "{" : "<Namespace {";
    bool first = true;
    for (const auto &[key, entry] : *value.dict) {
      if (failed())
        break;
      out += std::exchange(first, false) ? "" : ", ";
      Represent(key, ascii, nesting + 1, out);
      out += ": ";
      Represent(entry, ascii, nesting + 1, out);
    }
    out += value.mapping() ? "}" : "}>";
    break;
  }
  case Kind::kLoop:
    out += fmt::format("<LoopContext {}/{}>", value.loop->index0 + 1, Length(value).value_or(0));
    break;
  case Kind::kCallable:
    if (value.callable->kind == Callable::Kind::kMacro) {
      out += value.callable->name.empty() ? "<Macro anonymous>"
                                          : "<Macro " + StringRepr(value.callable->name, false) + ">";
      break;
    }
    [[fallthrough]];
  default:
    Fail(fmt::format("found a {} to print, expected a value; fix: call it, or convert it with |list", TypeName(value)));
  }
  if (out.size() > output_limit())
    FailOutput();
}

std::string Engine::ToJson(const Value &value, const JsonStyle &style) {
  std::string out;
  WriteJson(value, style, 0, out);
  return out;
}

void Engine::WriteJson(const Value &value, const JsonStyle &style, int nesting, std::string &out) {
  if (nesting > kMaxValueNesting)
    Fail("found lists nested too deep to print", absl::StatusCode::kResourceExhausted);
  if (!Charge(1))
    return;
  auto line = [&](int level) {
    if (!style.indent)
      return;
    out += '\n';
    ChargeBytes(style.indent->size() * static_cast<size_t>(level));
    for (int i = 0; i < level && out.size() <= output_limit(); ++i)
      out += *style.indent;
  };
  switch (value.kind) {
  case Kind::kNone:
    out += "null";
    break;
  case Kind::kBool:
    out += value.integer ? "true" : "false";
    break;
  case Kind::kInt:
    out += fmt::format("{}", value.integer);
    break;
  case Kind::kWideInt:
    out += value.str();
    break;
  case Kind::kFloat:
    out += std::isnan(value.real)   ? "NaN"
           : std::isinf(value.real) ? (value.real < 0 ? "-Infinity" : "Infinity")
                                    : FloatText(value.real);
    break;
  case Kind::kString:
    ChargeBytes(value.str().size());
    out += JsonString(value.str(), style.ascii);
    break;
  case Kind::kList:
  case Kind::kTuple:
    out += '[';
    for (size_t i = 0; i < value.list->size() && !failed(); ++i) {
      out += i ? style.item_separator : "";
      line(nesting + 1);
      WriteJson((*value.list)[i], style, nesting + 1, out);
    }
    if (!value.list->empty())
      line(nesting);
    out += ']';
    break;
  case Kind::kDict: {
    std::list<std::pair<Value, Value>> entries(value.dict->begin(), value.dict->end());
    if (style.sort_keys && entries.size() > 1) {
      for (const auto &[key, entry] : entries)
        Less(entries.front().first, key); // fails if the keys have different types
      if (!failed())
        entries.sort([&](const auto &a, const auto &b) { return Less(a.first, b.first); });
    }
    out += '{';
    bool first = true;
    for (const auto &[key, entry] : entries) {
      if (failed())
        break;
      out += std::exchange(first, false) ? "" : style.item_separator;
      line(nesting + 1);
      std::string name;
      if (key.string())
        name = key.str();
      else if (key.number() || key.none())
        WriteJson(key, style, nesting + 1, name);
      else
        Fail(fmt::format("found a {} as a key for tojson, expected a string or a number", TypeName(key)));
      out += JsonString(name, style.ascii);
      out += style.key_separator;
      WriteJson(entry, style, nesting + 1, out);
    }
    if (!entries.empty())
      line(nesting);
    out += '}';
    break;
  }
  case Kind::kUndefined:
    FailUndefined(value);
    break;
  default:
    Fail(fmt::format("found a {} for tojson, expected a value that JSON can represent", TypeName(value)));
  }
  if (out.size() > output_limit())
    FailOutput();
}

} // namespace inlay::tokenizer

// The template filters that apply a filter or a test to each item: map, select, reject, selectattr, rejectattr. They
// return generators: items are computed, and errors reported, only when an item is requested.
#include "formats/tokenizer/template_tables.h"

#include <fmt/format.h>

#include <utility>

namespace inlay::tokenizer {
namespace {

// Removes the first argument, the name of a filter or a test, and returns it.
std::string TakeName(Engine &engine, std::string_view filter, Arguments &arguments) {
  Value name = arguments.positional.front();
  arguments.positional.erase(arguments.positional.begin());
  if (name.string())
    return name.str();
  engine.Fail(fmt::format("{}: found a {}, expected the name of a filter or a test", filter, TypeName(name)));
  return {};
}

Value FilterMap(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  auto step = [&engine, value, arguments = bound.all, items = (Iterator *)nullptr, name = std::string(),
               attribute = std::optional<Value>(), otherwise = std::optional<Value>()](Value &out) mutable {
    if (!items) {
      if (!engine.Truth(value) || engine.failed())
        return false;
      if (arguments.positional.empty()) {
        for (const auto &[key, argument] : arguments.named) {
          if (key != "attribute" && key != "default")
            return engine.Fail(fmt::format("map: found the argument '{}', expected attribute and default", key)), false;
          (key == "attribute" ? attribute : otherwise) = argument;
        }
        if (!attribute)
          return engine.Fail("map: expected the name of a filter, or attribute=..."), false;
      } else {
        name = TakeName(engine, "map", arguments);
      }
      items = engine.Iterate(value);
    }
    Value item;
    if (!items || !engine.Next(*items, item))
      return false;
    out = attribute ? engine.AttributePath(item, *attribute, otherwise ? &*otherwise : nullptr)
                    : ApplyFilter(engine, name, item, arguments);
    return !engine.failed();
  };
  return engine.arena.MakeIterator("generator", std::move(step));
}

template <bool kWanted, bool kByAttribute> Value Choose(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  auto step = [&engine, value, arguments = bound.all, items = (Iterator *)nullptr, test = std::string(),
               attribute = Value::None()](Value &out) mutable {
    if (!items) {
      if (!engine.Truth(value) || engine.failed())
        return false;
      if (kByAttribute) {
        if (arguments.positional.empty())
          return engine.Fail("selectattr: expected the name of an attribute"), false;
        attribute = arguments.positional.front();
        arguments.positional.erase(arguments.positional.begin());
      }
      if (!arguments.positional.empty())
        test = TakeName(engine, "select", arguments);
      items = engine.Iterate(value);
    }
    while (items && engine.Next(*items, out)) {
      Value tested = kByAttribute ? engine.AttributePath(out, attribute) : out;
      bool passes =
          !engine.failed() && (test.empty() ? engine.Truth(tested) : ApplyTest(engine, test, tested, arguments));
      if (engine.failed())
        return false;
      if (passes == kWanted)
        return true;
    }
    return false;
  };
  return engine.arena.MakeIterator("generator", std::move(step));
}

constexpr Function kFilters[] = {
    {"map", "*", FilterMap},
    {"reject", "*", Choose<false, false>},
    {"rejectattr", "*", Choose<false, true>},
    {"select", "*", Choose<true, false>},
    {"selectattr", "*", Choose<true, true>},
};

} // namespace

std::span<const Function> ChoiceFilters() { return kFilters; }

} // namespace inlay::tokenizer

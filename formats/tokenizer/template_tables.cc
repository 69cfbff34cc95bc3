// Finds entries of the tables and binds arguments to parameters.
#include "formats/tokenizer/template_tables.h"

#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

const Function *Find(std::span<const Function> table, std::string_view name) {
  auto it = std::find_if(table.begin(), table.end(), [&](const Function &entry) { return entry.name == name; });
  return it == table.end() ? nullptr : &*it;
}

bool IsOneOf(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Names(std::initializer_list<std::span<const Function>> tables) {
  std::vector<std::string_view> names;
  for (std::span<const Function> table : tables)
    for (const Function &entry : table)
      names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  std::string out;
  for (std::string_view name : names)
    out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

} // namespace

int64_t Bound::Int(size_t i, int64_t otherwise) const {
  if (!values[i])
    return otherwise;
  if (!values[i]->integral())
    engine.Fail(fmt::format("{}: found a {} as argument {}, expected an int", function, TypeName(*values[i]), i + 1));
  return values[i]->integral() ? values[i]->integer : otherwise;
}

std::string Bound::Text(size_t i) const {
  if (values[i] && values[i]->string())
    return values[i]->str();
  engine.Fail(fmt::format("{}: found a {} as argument {}, expected a string", function,
                          values[i] ? TypeName(*values[i]) : "missing value", i + 1));
  return {};
}

bool Bind(Engine &engine, const Function &function, const Arguments &arguments, Bound &bound) {
  std::string_view parameters = function.parameters;
  if (parameters == "*")
    return !engine.failed();
  bool named = !parameters.starts_with('/');
  if (!named)
    parameters.remove_prefix(1);
  size_t used = 0;
  for (size_t i = 0; !parameters.empty(); ++i) {
    size_t end = std::min(parameters.find(','), parameters.size());
    std::string_view name = parameters.substr(0, end);
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
    bool optional = name.ends_with('=');
    if (optional)
      name.remove_suffix(1);
    const Value *value = i < arguments.positional.size() ? &arguments.positional[i] : nullptr;
    for (const auto &[key, given] : arguments.named) {
      if (!named || key != name)
        continue;
      if (value) {
        engine.Fail(fmt::format("{}: found two values for the argument {}", function.name, Quoted(key)));
        return false;
      }
      value = &given;
      ++used;
    }
    if (!value && !optional) {
      engine.Fail(fmt::format("{}: expected the argument {}", function.name, Quoted(name)));
      return false;
    }
    bound.values.push_back(value);
  }
  if (arguments.positional.size() > bound.values.size())
    engine.Fail(fmt::format("{}: found {} arguments, expected at most {}", function.name, arguments.positional.size(),
                            bound.values.size()));
  else if (used < arguments.named.size())
    engine.Fail(fmt::format("{}: found a named argument that it does not have, expected one of: {}", function.name,
                            named ? function.parameters : "none"));
  return !engine.failed();
}

Value CallFunction(Engine &engine, const Function &function, const Value &self, const Arguments &arguments) {
  Bound bound(engine, function.name, arguments);
  Engine::Nested nested(engine);
  if (engine.failed() || !engine.ChargeBytes(self.string() ? self.str().size() : 0) ||
      !Bind(engine, function, arguments, bound))
    return {};
  Value out = function.call(self, bound);
  return engine.failed() ? Value() : out;
}

const Function *FindFilter(std::string_view name) {
  for (std::span<const Function> table : {TextFilters(), SequenceFilters(), ChoiceFilters()})
    if (const Function *found = Find(table, name))
      return found;
  return nullptr;
}

const Function *FindTest(std::string_view name) { return Find(Tests(), name); }
const Function *FindGlobal(std::string_view name) { return Find(Globals(), name); }

const Function *FindMethod(const Value &self, std::string_view name) {
  switch (self.kind) {
  case Kind::kString:
    return Find(StringMethods(), name);
  case Kind::kList:
  case Kind::kTuple:
  case Kind::kRange:
    return name == "copy" && self.kind != Kind::kList ? nullptr : Find(SequenceMethods(), name);
  case Kind::kDict:
    return Find(DictMethods(), name);
  case Kind::kLoop:
    return Find(LoopMethods(), name);
  case Kind::kBool:
  case Kind::kInt:
    return IsOneOf({"as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes"}, name)
               ? Find(StringMethods(), "encode") // fails when it is called
               : nullptr;
  case Kind::kFloat:
    return IsOneOf({"as_integer_ratio", "conjugate", "fromhex", "hex", "is_integer"}, name)
               ? Find(StringMethods(), "encode")
               : nullptr;
  case Kind::kCallable: // the global `dict`
    return self.callable->kind == Callable::Kind::kGlobal && self.callable->name == "dict" && name == "fromkeys"
               ? Find(DictMethods(), name)
               : nullptr;
  default:
    return nullptr;
  }
}

bool IsHiddenAttribute(const Value &self, std::string_view name) {
  if (name.starts_with("__") && name.ends_with("__"))
    return IsOneOf({"__class__",       "__delattr__",      "__dir__",
                    "__doc__",         "__eq__",           "__format__",
                    "__ge__",          "__getattribute__", "__gt__",
                    "__hash__",        "__init__",         "__getstate__",
                    "__le__",          "__lt__",           "__ne__",
                    "__new__",         "__reduce__",       "__reduce_ex__",
                    "__repr__",        "__setattr__",      "__sizeof__",
                    "__str__",         "__contains__",     "__getitem__",
                    "__iter__",        "__len__",          "__init_subclass__",
                    "__subclasshook__"},
                   name);
  if (self.kind == Kind::kDict)
    return IsOneOf({"clear", "pop", "popitem", "setdefault", "update"}, name);
  if (self.kind == Kind::kList)
    return IsOneOf({"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}, name);
  return false;
}

bool IsRefusedFilter(std::string_view name) { return IsOneOf({"pprint", "random", "urlize"}, name); }
bool IsRefusedGlobal(std::string_view name) { return IsOneOf({"cycler", "joiner", "lipsum", "self"}, name); }
std::string FilterNames() { return Names({TextFilters(), SequenceFilters(), ChoiceFilters()}); }
std::string TestNames() { return Names({Tests()}); }

Value ApplyFilter(Engine &engine, const std::string &name, const Value &value, const Arguments &arguments) {
  if (const Function *filter = FindFilter(name))
    return CallFunction(engine, *filter, value, arguments);
  return engine.FailUnsupported(fmt::format("found the filter {}, supported: {}", Quoted(name), FilterNames()));
}

bool ApplyTest(Engine &engine, const std::string &name, const Value &value, const Arguments &arguments) {
  if (const Function *test = FindTest(name))
    return engine.Truth(CallFunction(engine, *test, value, arguments));
  engine.FailUnsupported(fmt::format("found the test {}, supported: {}", Quoted(name), TestNames()));
  return false;
}

} // namespace inlay::tokenizer

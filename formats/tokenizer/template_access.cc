// Attributes, items, slices and iteration of template values, with the rules of jinja2's ImmutableSandboxedEnvironment:
// methods that would change a list or a dict are undefined.
#include "formats/tokenizer/template_ast.h"
#include "formats/tokenizer/template_engine.h"
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace inlay::tokenizer {

using Kind = Value::Kind;

namespace {

Value PeekNext(Engine &engine, Loop &loop) {
  if (!loop.after && !loop.exhausted) {
    Value next;
    if (engine.Next(*loop.items, next))
      loop.after = std::move(next);
    else
      loop.exhausted = true;
  }
  return loop.after ? *loop.after : Value::Undefined("there is no next item");
}

int64_t LoopLength(Engine &engine, Loop &loop) {
  if (!loop.length) { // consumes the remaining items and buffers them
    List rest;
    for (Value item; !loop.exhausted && engine.Next(*loop.items, item);)
      rest.push_back(std::move(item));
    loop.length = static_cast<int64_t>(rest.size()) + loop.index0 + 1 + (loop.after ? 1 : 0);
    loop.items = engine.Iterate(engine.MakeList(std::move(rest)));
    if (!loop.items)
      loop.exhausted = true;
  }
  return *loop.length;
}

std::optional<Value> LoopAttribute(Engine &engine, Loop &loop, std::string_view name) {
  if (name == "index")
    return Value::Int(loop.index0 + 1);
  if (name == "index0")
    return Value::Int(loop.index0);
  if (name == "revindex")
    return Value::Int(LoopLength(engine, loop) - loop.index0);
  if (name == "revindex0")
    return Value::Int(LoopLength(engine, loop) - loop.index0 - 1);
  if (name == "first")
    return Value::Bool(loop.index0 == 0);
  if (name == "last") {
    PeekNext(engine, loop);
    return Value::Bool(!loop.after);
  }
  if (name == "length")
    return Value::Int(LoopLength(engine, loop));
  if (name == "depth")
    return Value::Int(loop.depth0 + 1);
  if (name == "depth0")
    return Value::Int(loop.depth0);
  if (name == "previtem")
    return loop.before ? *loop.before : Value::Undefined("there is no previous item");
  if (name == "nextitem")
    return PeekNext(engine, loop);
  return std::nullopt;
}

std::optional<Value> MacroAttribute(Arena &arena, const Callable &macro, std::string_view name) {
  if (name == "name")
    return macro.name.empty() ? Value::None() : Value::String(macro.name);
  if (name == "arguments") {
    List names;
    for (const std::string &parameter : macro.macro->names)
      names.push_back(Value::String(parameter));
    return arena.MakeTuple(std::move(names));
  }
  if (name == "catch_kwargs")
    return Value::Bool(macro.macro->uses_kwargs);
  if (name == "catch_varargs")
    return Value::Bool(macro.macro->uses_varargs);
  if (name == "caller")
    return Value::Bool(macro.macro->uses_caller);
  return std::nullopt;
}

} // namespace

// The result of Python's getattr(), or nullopt.
std::optional<Value> Engine::NativeAttribute(const Value &object, std::string_view name) {
  if (object.kind == Kind::kNamespace) {
    Value *found = FindEntry(*object.dict, Value::String(std::string(name)));
    return found ? std::optional(*found) : std::nullopt;
  }
  if (IsHiddenAttribute(object, name))
    return Value::Undefined(fmt::format("{}.{}", TypeName(object), name));
  if (FindMethod(object, name))
    return arena.MakeCallable({Callable::Kind::kMethod, std::string(name), object});
  switch (object.kind) {
  case Kind::kLoop:
    return LoopAttribute(*this, *object.loop, name);
  case Kind::kCallable:
    if (object.callable->kind == Callable::Kind::kMacro)
      return MacroAttribute(arena, *object.callable, name);
    return std::nullopt;
  case Kind::kRange:
    if (name == "start" || name == "stop" || name == "step")
      return Value::Int(name == "start"  ? object.range->start
                        : name == "stop" ? object.range->stop
                                         : object.range->step);
    return std::nullopt;
  case Kind::kBool:
  case Kind::kInt:
  case Kind::kFloat:
    if (name == "real" || (object.integral() && name == "numerator"))
      return object.integral() ? Value::Int(object.integer) : object;
    if (name == "imag")
      return object.integral() ? Value::Int(0) : Value::Float(0);
    if (object.integral() && name == "denominator")
      return Value::Int(1);
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

// The result of Python's object[index], or nullopt.
std::optional<Value> Engine::NativeItem(const Value &object, const Value &index) {
  auto absolute = [&](size_t size) -> std::optional<size_t> {
    int64_t at = index.integer, length = static_cast<int64_t>(size);
    at += at < 0 ? length : 0;
    return at >= 0 && at < length ? std::optional(static_cast<size_t>(at)) : std::nullopt;
  };
  if (object.mapping()) {
    if (index.kind == Kind::kList || index.kind == Kind::kDict)
      return std::nullopt;
    Value *found = FindEntry(*object.dict, index);
    return found ? std::optional(*found) : std::nullopt;
  }
  if (!index.integral())
    return std::nullopt;
  if (object.string()) {
    ChargeBytes(object.str().size());
    std::vector<std::string_view> characters = Characters(object.str());
    std::optional<size_t> at = absolute(characters.size());
    if (!at)
      return std::nullopt;
    Value out = Value::String(std::string(characters[*at]));
    out.markup = object.markup;
    return out;
  }
  const List *items = object.kind == Kind::kView ? nullptr : Items(object);
  std::optional<size_t> at = items ? absolute(items->size()) : std::nullopt;
  return at ? std::optional((*items)[*at]) : std::nullopt;
}

Value Engine::Attribute(const Value &object, std::string_view name) {
  if (failed())
    return {};
  if (object.undefined())
    return FailUndefined(object);
  if (std::optional<Value> found = NativeAttribute(object, name))
    return *found;
  if (object.mapping())
    if (std::optional<Value> found = NativeItem(object, Value::String(std::string(name))))
      return *found;
  return Value::Undefined(fmt::format("{}.{}", TypeName(object), name));
}

Value Engine::Index(const Value &object, const Value &index) {
  if (failed())
    return {};
  if (object.undefined())
    return FailUndefined(object);
  if (std::optional<Value> found = NativeItem(object, index))
    return *found;
  if (index.string()) {
    if (std::optional<Value> found = NativeAttribute(object, index.str()))
      return *found;
    return Value::Undefined(fmt::format("{}[{}]", TypeName(object), Quoted(index.str())));
  }
  if (index.integral())
    return Value::Undefined(fmt::format("{}[{}]", TypeName(object), index.integer));
  return Value::Undefined(fmt::format("{}[{}]", TypeName(object), TypeName(index)));
}

// Python's rules (PySlice_AdjustIndices).
Value Engine::Slice(const Value &object, const std::optional<int64_t> (&bounds)[3]) {
  if (object.undefined())
    return FailUndefined(object);
  const List *items = object.kind == Kind::kView ? nullptr : Items(object);
  if (!object.string() && !items)
    return Fail(fmt::format("found a slice of a {}, expected a str or a list", TypeName(object)));
  std::vector<std::string_view> characters;
  if (object.string()) {
    ChargeBytes(object.str().size());
    characters = Characters(object.str());
  }
  int64_t size = static_cast<int64_t>(items ? items->size() : characters.size());
  int64_t step = bounds[2].value_or(1);
  if (step == 0)
    return Fail("found a slice with step 0, expected another step");
  step = std::clamp(step, -size - 1, size + 1);
  int64_t lowest = step < 0 ? -1 : 0, highest = step < 0 ? size - 1 : size;
  auto adjust = [&](std::optional<int64_t> bound, int64_t otherwise) {
    if (!bound)
      return otherwise;
    return std::clamp(*bound < 0 ? *bound + size : *bound, lowest, highest);
  };
  int64_t begin = adjust(bounds[0], step < 0 ? highest : lowest);
  int64_t end = adjust(bounds[1], step < 0 ? lowest : highest);
  std::string text;
  List out;
  for (int64_t i = begin; step < 0 ? i > end : i < end; i += step) {
    if (items)
      out.push_back((*items)[static_cast<size_t>(i)]);
    else
      text += characters[static_cast<size_t>(i)];
  }
  if (!items)
    return MakeString(std::move(text), object.markup);
  Charge(static_cast<int64_t>(out.size()));
  if (object.kind == Kind::kRange) {
    const Range &range = *object.range;
    int64_t factor = bounds[2].value_or(1);
    return arena.MakeRange(
        {range.start + begin * range.step, range.start + end * range.step, range.step * factor, std::move(out)});
  }
  return object.kind == Kind::kTuple ? arena.MakeTuple(std::move(out)) : arena.MakeList(std::move(out));
}

Value Engine::AttributePath(const Value &item, const Value &path, const Value *otherwise) {
  auto step = [&](const Value &object, const Value &part) {
    Value found = Index(object, part);
    return found.undefined() && otherwise && !otherwise->none() && !failed() ? *otherwise : found;
  };
  if (path.none())
    return item;
  if (!path.string())
    return step(item, path);
  Value value = item;
  std::string_view rest = path.str();
  while (!failed()) {
    size_t dot = std::min(rest.find('.'), rest.size());
    std::string part(rest.substr(0, dot));
    bool overflow = false;
    bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    std::optional<int64_t> number = digits ? ParseInt(part, 10, overflow) : std::nullopt;
    value = step(value, number ? Value::Int(*number) : Value::String(part));
    if (dot == rest.size())
      return value;
    rest.remove_prefix(dot + 1);
  }
  return {};
}

Value *Engine::FindEntry(Dict &dict, const Value &key) {
  Charge(static_cast<int64_t>(dict.size() / 8));
  for (auto &[name, value] : dict) {
    if (failed())
      return nullptr;
    if (name.string() && key.string() ? name.str() == key.str() : Equal(name, key))
      return &value;
  }
  return nullptr;
}

bool Engine::Hashable(const Value &value, int nesting) {
  if (nesting > kMaxValueNesting)
    Fail("found tuples nested too deep for a key", absl::StatusCode::kResourceExhausted);
  else if (value.kind == Kind::kList || value.kind == Kind::kDict ||
           (value.kind == Kind::kView && value.view->type != "dict_values"))
    Fail(fmt::format("found a {} as the key of a dict, expected a string or a number", TypeName(value)));
  if (value.kind == Kind::kTuple)
    for (const Value &item : *value.list)
      if (failed() || !Charge(1) || !Hashable(item, nesting + 1))
        break;
  return !failed();
}

void Engine::SetEntry(Dict &dict, Value key, Value value) {
  if (!Hashable(key))
    return;
  Value *old = FindEntry(dict, key);
  if (old)
    *old = std::move(value);
  else if (!failed())
    dict.emplace_back(std::move(key), std::move(value));
}

std::optional<int64_t> Engine::Length(const Value &value) {
  if (value.string()) {
    ChargeBytes(value.str().size());
    return CountCharacters(value.str());
  }
  if (const List *items = Items(value))
    return static_cast<int64_t>(items->size());
  if (value.mapping())
    return static_cast<int64_t>(value.dict->size());
  if (value.undefined())
    return 0;
  if (value.kind == Kind::kLoop)
    return LoopLength(*this, *value.loop);
  return std::nullopt;
}

const List *Engine::Items(const Value &value) {
  return value.sequence()             ? value.list
         : value.kind == Kind::kRange ? &value.range->items
         : value.kind == Kind::kView  ? &value.view->items
                                      : nullptr;
}

Iterator *Engine::Iterate(const Value &value) {
  if (failed())
    return nullptr;
  if (value.kind == Kind::kIterator)
    return value.iterator;
  std::function<bool(Value &)> step;
  if (const List *items = Items(value)) {
    step = [items, at = size_t{0}](Value &out) mutable {
      if (at >= items->size())
        return false;
      out = (*items)[at++];
      return true;
    };
  } else if (value.string()) {
    step = [text = value.text, markup = value.markup, at = size_t{0}](Value &out) mutable {
      if (at >= text->size())
        return false;
      size_t length = ReadUtf8(std::string_view(*text).substr(at)).length;
      out = Value::String(text->substr(at, length));
      out.markup = markup;
      at += length;
      return true;
    };
  } else if (value.mapping()) {
    step = [dict = value.dict, at = size_t{0}](Value &out) mutable {
      if (at >= dict->size())
        return false;
      out = (*dict)[at++].first;
      return true;
    };
  } else if (value.undefined()) { // nothing
    step = [](Value &) { return false; };
  } else {
    Fail(fmt::format("found a {}, expected something to iterate over", TypeName(value)));
    return nullptr;
  }
  return arena.MakeIterator("iterator", std::move(step)).iterator;
}

bool Engine::Next(Iterator &iterator, Value &out) {
  Nested nested(*this);
  return Charge(1) && iterator.step(out) && !failed();
}

List Engine::ToList(const Value &value) {
  List out;
  if (const List *items = Items(value); items && !failed()) {
    out = *items;
    Charge(static_cast<int64_t>(out.size()));
    return out;
  }
  Iterator *iterator = Iterate(value);
  for (Value item; iterator && Next(*iterator, item);)
    out.push_back(std::move(item));
  return out;
}

} // namespace inlay::tokenizer

// The template methods of lists, dicts and loops, and the global functions. Names, parameters and meaning are those of
// Python and jinja2.
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

// ---- sequences and dicts

// Clips the range [start, end) of Python's find, count and index to `size` elements. Returns false if it is empty or
// invalid.
bool Window(const Bound &bound, size_t start_at, int64_t size, int64_t &start, int64_t &end) {
  auto clip = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, INT64_MAX); };
  start = bound.HasValue(start_at) ? clip(bound.Int(start_at)) : 0;
  end = bound.HasValue(start_at + 1) ? std::min(size, clip(bound.Int(start_at + 1))) : size;
  return start <= end && !bound.engine.failed();
}

template <bool kCount> Value ListFind(const Value &self, const Bound &bound) {
  Engine &engine = bound.engine;
  const List &items = *engine.Items(self);
  int64_t start = 0, end = 0, count = 0;
  bool any = kCount || Window(bound, 1, static_cast<int64_t>(items.size()), start, end);
  if (kCount)
    end = static_cast<int64_t>(items.size());
  for (int64_t i = start; any && i < end && !engine.failed(); ++i) {
    if (!engine.Equal(items[static_cast<size_t>(i)], bound.Get(0)))
      continue;
    if (!kCount)
      return Value::Int(i);
    ++count;
  }
  return kCount ? Value::Int(count) : engine.Fail("index: found no such item in the list");
}
Value ListCopy(const Value &self, const Bound &) { return self; }

Value DictGet(const Value &self, const Bound &bound) {
  if (!bound.engine.Hashable(bound.Get(0)))
    return {};
  Value *found = bound.engine.FindEntry(*self.dict, bound.Get(0));
  return found ? *found : bound.Has(1) ? bound.Get(1) : Value::None();
}
template <int kPart> Value DictView(const Value &self, const Bound &bound) { // 0 keys, 1 values, 2 items
  constexpr std::string_view kTypes[] = {"dict_keys", "dict_values", "dict_items"};
  List out;
  bound.engine.Charge(static_cast<int64_t>(self.dict->size()));
  for (const auto &[key, value] : *self.dict)
    out.push_back(kPart == 0 ? key : kPart == 1 ? value : bound.engine.arena.MakeTuple({key, value}));
  return bound.engine.arena.MakeView(kTypes[kPart], std::move(out));
}
Value DictFromKeys(const Value &, const Bound &bound) {
  Dict entries;
  for (const Value &key : bound.engine.ToList(bound.Get(0)))
    bound.engine.SetEntry(entries, key, bound.Has(1) ? bound.Get(1) : Value::None());
  return bound.engine.arena.MakeDict(std::move(entries));
}

Value LoopCycle(const Value &self, const Bound &bound) {
  const std::vector<Value> &values = bound.all.positional;
  if (values.empty() || !bound.all.named.empty())
    return bound.engine.Fail("loop.cycle: found no arguments, expected at least one");
  return values[static_cast<size_t>(self.loop->index0) % values.size()];
}
Value LoopChanged(const Value &self, const Bound &bound) {
  Engine &engine = bound.engine;
  if (!bound.all.named.empty())
    return engine.Fail("loop.changed: found a named argument, expected values");
  const List &values = bound.all.positional;
  if (self.loop->changed && engine.Equal(engine.arena.MakeTuple(*self.loop->changed), engine.arena.MakeTuple(values)))
    return Value::Bool(false);
  self.loop->changed = values;
  return Value::Bool(true);
}

constexpr Function kSequenceMethods[] = {
    {"copy", "", ListCopy},
    {"count", "/value", ListFind<true>},
    {"index", "/value,start=,stop=", ListFind<false>},
};
constexpr Function kDictMethods[] = {
    {"copy", "", ListCopy},
    {"fromkeys", "/iterable,value=", DictFromKeys},
    {"get", "/key,default=", DictGet},
    {"items", "", DictView<2>},
    {"keys", "", DictView<0>},
    {"values", "", DictView<1>},
};
constexpr Function kLoopMethods[] = {
    {"changed", "*", LoopChanged},
    {"cycle", "*", LoopCycle},
};

// ---- global functions

Value RaiseException(const Value &, const Bound &bound) {
  std::string text = bound.engine.ToText(bound.Get(0));
  std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20; }, ' ');
  return bound.engine.Fail("the template refuses the chat: " + text.substr(0, 500));
}
// Replaces what Python's datetime.strftime writes itself: %f by the microseconds, and %z and %Z by nothing, because
// datetime.now() has no time zone.
std::string WithoutPythonDirectives(std::string_view format, int64_t microseconds) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    std::string_view directive = format.substr(i, format[i] == '%' ? 2 : 1);
    i += directive.size() - 1;
    if (directive == "%f")
      out += fmt::format("{:06}", microseconds);
    else if (directive != "%z" && directive != "%Z")
      out += directive;
  }
  return out;
}
Value StrftimeNow(const Value &, const Bound &bound) {
  auto since_epoch =
      std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::string format = WithoutPythonDirectives(bound.Text(0), since_epoch % 1'000'000);
  if (format.find('\0') != std::string::npos)
    return bound.engine.Fail("strftime_now: found a zero byte in the format, expected text");
  std::time_t now = since_epoch / 1'000'000;
  std::tm local{};
  localtime_r(&now, &local);
  char buffer[512];
  size_t size = std::strftime(buffer, sizeof(buffer), format.c_str(), &local);
  if (size == 0 && !format.empty())
    return bound.engine.Fail("strftime_now: found a format of more than 511 bytes of text");
  return bound.engine.MakeString(std::string(buffer, size));
}
Value MakeRange(const Value &, const Bound &bound) {
  constexpr int64_t kMaxRange = 100'000; // jinja2's MAX_RANGE
  Engine &engine = bound.engine;
  Range range{0, bound.Int(0), 1, {}};
  if (bound.Has(1)) {
    range.start = range.stop;
    range.stop = bound.Int(1);
  }
  range.step = bound.Int(2, 1);
  if (range.step == 0)
    return engine.Fail("range: found step 0, expected another");
  for (int64_t i = range.start; (range.step > 0 ? i < range.stop : i > range.stop) && engine.Charge(1);) {
    if (range.items.size() == kMaxRange)
      return engine.Fail(fmt::format("range: found more than {} numbers", kMaxRange),
                         absl::StatusCode::kResourceExhausted);
    range.items.push_back(Value::Int(i));
    if (__builtin_add_overflow(i, range.step, &i))
      break;
  }
  return engine.arena.MakeRange(std::move(range));
}
// dict(mapping or pairs, name=value...) and namespace(...)
template <Kind kKind> Value MakeDict(const Value &, const Bound &bound) {
  Engine &engine = bound.engine;
  Dict entries;
  if (bound.all.positional.size() > 1)
    return engine.Fail(fmt::format("{}: found {} arguments, expected a dict or named ones", bound.function,
                                   bound.all.positional.size()));
  if (!bound.all.positional.empty()) {
    const Value &first = bound.all.positional[0];
    if (first.mapping()) {
      entries = *first.dict;
      engine.Charge(static_cast<int64_t>(entries.size()));
    } else {
      for (const Value &pair : engine.ToList(first)) {
        List both = engine.ToList(pair);
        if (!engine.failed() && both.size() != 2)
          engine.Fail(fmt::format("{}: found an item that is not a pair, expected a dict or pairs", bound.function));
        if (engine.failed())
          return {};
        engine.SetEntry(entries, both[0], both[1]);
      }
    }
  }
  for (const auto &[key, value] : bound.all.named)
    engine.SetEntry(entries, Value::String(key), value);
  if (kKind == Kind::kNamespace)
    for (const auto &[key, value] : entries)
      if (key.string() && key.str().starts_with('_'))
        return engine.Fail(
            fmt::format("namespace: found the attribute {}, expected a name that does not begin with an underscore",
                        Quoted(key.str())));
  return engine.arena.MakeDict(std::move(entries), kKind);
}

constexpr Function kGlobals[] = {
    {"dict", "*", MakeDict<Kind::kDict>},           {"namespace", "*", MakeDict<Kind::kNamespace>},
    {"raise_exception", "message", RaiseException}, {"range", "/start,stop=,step=", MakeRange},
    {"strftime_now", "format", StrftimeNow},
};

} // namespace

std::span<const Function> SequenceMethods() { return kSequenceMethods; }
std::span<const Function> DictMethods() { return kDictMethods; }
std::span<const Function> LoopMethods() { return kLoopMethods; }
std::span<const Function> Globals() { return kGlobals; }

} // namespace inlay::tokenizer

// The template filters that read or create sequences.
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <utility>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

Value FilterLength(const Value &value, const Bound &bound) {
  std::optional<int64_t> length = bound.engine.Length(value);
  return length ? Value::Int(*length)
                : bound.engine.Fail(fmt::format("length: found a {}, expected a string, a list or a dict; fix: make a "
                                                "list of it with |list",
                                                TypeName(value)));
}
Value FilterDefault(const Value &value, const Bound &bound) {
  if (value.undefined() || (bound.Flag(1) && !bound.engine.Truth(value)))
    return bound.Has(0) ? bound.Get(0) : Value::String("");
  return value;
}
Value FilterAttr(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::string name = bound.Text(0);
  if (engine.failed())
    return {};
  Value none = Value::Undefined(name);
  if (value.mapping() && !FindMethod(value, name)) // items are not searched
    return none;
  return engine.Attribute(value, name);
}
Value FilterJoin(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::string separator = bound.Has(0) ? engine.ToText(bound.Get(0)) : "", out;
  Iterator *items = engine.Iterate(value);
  bool first = true;
  for (Value item; items && engine.Next(*items, item);) {
    if (!std::exchange(first, false))
      engine.Append(out, separator);
    engine.Append(out, engine.ToText(bound.HasValue(1) ? engine.AttributePath(item, bound.Get(1)) : item));
  }
  return engine.MakeString(std::move(out));
}
Value FilterFirst(const Value &value, const Bound &bound) {
  Iterator *items = bound.engine.Iterate(value);
  Value item;
  return items && bound.engine.Next(*items, item) ? item : Value::Undefined("the first item of an empty sequence");
}
// nullopt if Python has no reversed() for the value.
std::optional<List> Reversed(Engine &engine, const Value &value) {
  if (!engine.Items(value) && !value.string() && !value.mapping() && !value.undefined())
    return std::nullopt;
  List items = engine.ToList(value);
  std::reverse(items.begin(), items.end());
  return items;
}
Value FilterLast(const Value &value, const Bound &bound) {
  std::optional<List> items = Reversed(bound.engine, value);
  if (!items)
    return bound.engine.Fail(
        fmt::format("last: found a {}, expected a string, a list or a dict; fix: make a list of it "
                    "with |list",
                    TypeName(value)));
  return items->empty() ? Value::Undefined("the last item of an empty sequence") : items->front();
}
Value FilterReverse(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::optional<List> items = Reversed(engine, value);
  if (value.string()) {
    std::string out;
    for (const Value &item : *items)
      out += item.str();
    return engine.MakeString(std::move(out), value.markup);
  }
  if (!items) { // an iterator has no reversed(), so jinja2 converts it to a list
    List all = engine.ToList(value);
    std::reverse(all.begin(), all.end());
    return engine.MakeList(std::move(all));
  }
  return engine.arena.MakeIterator("reversed", [items = *std::move(items), at = size_t{0}](Value &out) mutable {
    if (at >= items.size())
      return false;
    out = items[at++];
    return true;
  });
}
Value FilterList(const Value &value, const Bound &bound) {
  return bound.engine.arena.MakeList(bound.engine.ToList(value));
}
Value FilterItems(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  return engine.arena.MakeIterator("generator", [&engine, value, at = size_t{0}](Value &out) mutable {
    if (value.undefined())
      return false;
    if (!value.mapping())
      return engine.Fail(fmt::format("items: found a {}, expected a dict", TypeName(value))), false;
    if (at >= value.dict->size())
      return false;
    const auto &[key, entry] = (*value.dict)[at++];
    out = engine.arena.MakeTuple({key, entry});
    return true;
  });
}

// ---- order

// Ignores case unless `case_sensitive`, as in jinja2's filters.
Value FoldedKey(const Value &value, bool case_sensitive) {
  return value.string() && !case_sensitive ? Value::String(Lower(value.str())) : value;
}
struct Keyed {
  Value key, item;
};
// A stable sort. Like Python, compares the later item with the earlier one.
List Sorted(Engine &engine, std::list<Keyed> keyed, bool reverse) {
  // Keys of different types have no order. Fails before the sort, which needs one.
  if (keyed.size() > 1)
    for (const Keyed &each : keyed)
      engine.Less(keyed.front().key, each.key);
  List out;
  if (engine.failed())
    return out;
  keyed.sort(
      [&](const Keyed &a, const Keyed &b) { return reverse ? engine.Less(b.key, a.key) : engine.Less(a.key, b.key); });
  for (Keyed &each : keyed)
    out.push_back(std::move(each.item));
  return out;
}
// A list of keys, one for each part of 'a,b'. In a list, equal keys that have no order, such as none, are not an error.
Value SortKey(Engine &engine, const Value &item, const Value &attribute, bool case_sensitive) {
  List keys;
  std::string_view rest = attribute.string() ? std::string_view(attribute.str()) : std::string_view();
  while (!engine.failed()) {
    size_t comma = std::min(rest.find(','), rest.size());
    Value path = attribute.string() ? Value::String(std::string(rest.substr(0, comma))) : attribute;
    keys.push_back(FoldedKey(engine.AttributePath(item, path), case_sensitive));
    if (comma == rest.size())
      break;
    rest.remove_prefix(comma + 1);
  }
  return engine.arena.MakeList(std::move(keys));
}
Value FilterSort(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  std::list<Keyed> keyed;
  for (const Value &item : engine.ToList(value))
    keyed.push_back({SortKey(engine, item, bound.Has(2) ? bound.Get(2) : Value::None(), bound.Flag(1)), item});
  return engine.MakeList(Sorted(engine, std::move(keyed), bound.Flag(0)));
}
Value FilterDictSort(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  if (!value.mapping())
    return engine.Fail(fmt::format("dictsort: found a {}, expected a dict", TypeName(value)));
  std::string by = bound.Has(1) ? bound.Text(1) : "key";
  if (by != "key" && by != "value")
    return engine.Fail("dictsort: expected by='key' or by='value'");
  std::list<Keyed> keyed;
  for (const auto &[key, entry] : *value.dict)
    keyed.push_back({FoldedKey(by == "key" ? key : entry, bound.Flag(0)), engine.arena.MakeTuple({key, entry})});
  return engine.MakeList(Sorted(engine, std::move(keyed), bound.Flag(2)));
}
template <bool kMax> Value FilterExtreme(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  Iterator *items = engine.Iterate(value);
  Value best, best_key;
  bool found = false;
  for (Value item; items && engine.Next(*items, item);) {
    Value key = FoldedKey(bound.Has(1) ? engine.AttributePath(item, bound.Get(1)) : item, bound.Flag(0));
    if (!found || (kMax ? engine.Less(best_key, key) : engine.Less(key, best_key))) {
      best = item;
      best_key = std::move(key);
    }
    found = true;
  }
  return found ? best : Value::Undefined("the extreme of an empty sequence");
}
Value FilterUnique(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  bool case_sensitive = bound.Flag(0);
  Value attribute = bound.Has(1) ? bound.Get(1) : Value::None();
  auto step = [&engine, value, case_sensitive, attribute, items = (Iterator *)nullptr,
               seen = List()](Value &out) mutable {
    if (!items && !(items = engine.Iterate(value)))
      return false;
    while (engine.Next(*items, out)) {
      Value key = FoldedKey(engine.AttributePath(out, attribute), case_sensitive);
      if (engine.failed() || !engine.Hashable(key))
        return false;
      if (std::any_of(seen.begin(), seen.end(), [&](const Value &old) { return engine.Equal(old, key); }))
        continue;
      seen.push_back(std::move(key));
      return true;
    }
    return false;
  };
  return engine.arena.MakeIterator("generator", std::move(step));
}
Value FilterGroupBy(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  const Value *otherwise = bound.Has(1) ? &bound.Get(1) : nullptr;
  bool case_sensitive = bound.Flag(2);
  auto key_of = [&](const Value &item) { return engine.AttributePath(item, bound.Get(0), otherwise); };
  std::list<Keyed> keyed;
  for (const Value &item : engine.ToList(value))
    keyed.push_back({FoldedKey(key_of(item), case_sensitive), item});
  List groups, group;
  Value key;
  auto close = [&] {
    if (group.empty())
      return;
    Value name = case_sensitive ? key : key_of(group[0]);
    groups.push_back(engine.arena.MakeTuple({name, engine.arena.MakeList(std::move(group))}));
    group.clear();
  };
  for (const Value &item : Sorted(engine, std::move(keyed), false)) {
    Value next = FoldedKey(key_of(item), case_sensitive);
    if (!group.empty() && !engine.Equal(key, next))
      close();
    if (group.empty())
      key = next;
    group.push_back(item);
  }
  close();
  return engine.MakeList(std::move(groups));
}

// ---- parts

Value FilterBatch(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  int64_t count = bound.Int(0);
  Value fill = bound.Has(1) ? bound.Get(1) : Value::None();
  auto step = [&engine, value, count, fill, items = (Iterator *)nullptr, held = std::optional<Value>(),
               done = false](Value &out) mutable {
    if (done || (!items && !(items = engine.Iterate(value))))
      return false;
    List batch;
    if (held)
      batch.push_back(*std::exchange(held, std::nullopt));
    for (Value item; engine.Next(*items, item);) {
      if (static_cast<int64_t>(batch.size()) == count) {
        held = item;
        out = engine.MakeList(std::move(batch));
        return !engine.failed();
      }
      batch.push_back(item);
    }
    done = true;
    int64_t missing = count - static_cast<int64_t>(batch.size());
    if (batch.empty() || engine.failed())
      return false;
    if (!fill.none() && missing > 0) {
      if (!engine.Charge(missing))
        return false;
      batch.insert(batch.end(), static_cast<size_t>(missing), fill);
    }
    out = engine.MakeList(std::move(batch));
    return !engine.failed();
  };
  return engine.arena.MakeIterator("generator", std::move(step));
}
Value FilterSlice(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  int64_t slices = bound.Int(0);
  Value fill = bound.Has(1) ? bound.Get(1) : Value::None();
  auto step = [&engine, value, slices, fill, items = std::optional<List>(), number = int64_t{0},
               begin = int64_t{0}](Value &out) mutable {
    if (!items)
      items = engine.ToList(value);
    if (engine.failed())
      return false;
    if (slices == 0)
      return engine.Fail("slice: found 0 slices, expected at least 1"), false;
    if (number >= slices)
      return false;
    int64_t length = static_cast<int64_t>(items->size()), more = length % slices;
    int64_t end = begin + length / slices + (number < more ? 1 : 0);
    List part(items->begin() + begin, items->begin() + end);
    if (!fill.none() && number >= more)
      part.push_back(fill);
    begin = end;
    ++number;
    out = engine.MakeList(std::move(part));
    return !engine.failed();
  };
  return engine.arena.MakeIterator("generator", std::move(step));
}
Value FilterSum(const Value &value, const Bound &bound) {
  Engine &engine = bound.engine;
  Value sum = bound.Has(1) ? bound.Get(1) : Value::Int(0);
  if (sum.string())
    return engine.Fail("sum: found a string, expected numbers or lists; fix: use |join");
  Iterator *items = engine.Iterate(value);
  for (Value item; items && engine.Next(*items, item);)
    sum = engine.Binary("+", sum, bound.HasValue(0) ? engine.AttributePath(item, bound.Get(0)) : item);
  return sum;
}

constexpr Function kFilters[] = {
    {"attr", "name", FilterAttr},
    {"batch", "linecount,fill_with=", FilterBatch},
    {"count", "", FilterLength},
    {"d", "default_value=,boolean=", FilterDefault},
    {"default", "default_value=,boolean=", FilterDefault},
    {"dictsort", "case_sensitive=,by=,reverse=", FilterDictSort},
    {"first", "", FilterFirst},
    {"groupby", "attribute,default=,case_sensitive=", FilterGroupBy},
    {"items", "", FilterItems},
    {"join", "d=,attribute=", FilterJoin},
    {"last", "", FilterLast},
    {"length", "", FilterLength},
    {"list", "", FilterList},
    {"max", "case_sensitive=,attribute=", FilterExtreme<true>},
    {"min", "case_sensitive=,attribute=", FilterExtreme<false>},
    {"reverse", "", FilterReverse},
    {"slice", "slices,fill_with=", FilterSlice},
    {"sort", "reverse=,case_sensitive=,attribute=", FilterSort},
    {"sum", "attribute=,start=", FilterSum},
    {"unique", "case_sensitive=,attribute=", FilterUnique},
};

} // namespace

std::span<const Function> SequenceFilters() { return kFilters; }

} // namespace inlay::tokenizer

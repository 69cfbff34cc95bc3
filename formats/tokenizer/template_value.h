// The values of chat templates: the subset of Python's values that templates can see. Containers are owned by an arena
// that lives as long as a rendering, because a namespace may contain itself. Lists and dicts are immutable, as in
// jinja2's ImmutableSandboxedEnvironment; only namespaces can be changed.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_VALUE_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

struct Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>; // in the order of insertion
struct Callable;
struct Loop;
struct Range;
struct View;
struct Iterator;

struct Value {
  enum class Kind {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kNamespace,
    kCallable,
    kLoop,
    kRange,
    kView,
    kIterator,
    kWideInt // an int of more than 64 bits; it can only be printed and compared for equality
  };
  Kind kind = Kind::kUndefined;
  bool markup = false; // kString: markupsafe's Markup, which escapes text that is added to it
  union {
    int64_t integer = 0; // kBool too
    double real;
    const List *list;
    Dict *dict; // kNamespace too; only namespaces are changed
    const Callable *callable;
    Loop *loop;
    const Range *range;
    const View *view;
    Iterator *iterator;
  };
  std::shared_ptr<const std::string> text; // kString; kUndefined: the undefined name; kWideInt: its digits

  static Value None() { return Of(Kind::kNone); }
  static Value Bool(bool value) {
    Value out = Of(Kind::kBool);
    out.integer = value;
    return out;
  }
  static Value Int(int64_t value) {
    Value out = Of(Kind::kInt);
    out.integer = value;
    return out;
  }
  static Value WideInt(std::string digits) {
    Value out = String(std::move(digits));
    out.kind = Kind::kWideInt;
    return out;
  }
  static Value Float(double value) {
    Value out = Of(Kind::kFloat);
    out.real = value;
    return out;
  }
  static Value String(std::string value) {
    Value out = Of(Kind::kString);
    out.text = std::make_shared<const std::string>(std::move(value));
    return out;
  }
  static Value Markup(std::string value) {
    Value out = String(std::move(value));
    out.markup = true;
    return out;
  }
  // `name` is the expression that is undefined, for the error message.
  static Value Undefined(std::string name) {
    Value out;
    out.text = std::make_shared<const std::string>(std::move(name));
    return out;
  }
  static Value Of(Kind kind) {
    Value out;
    out.kind = kind;
    return out;
  }

  bool undefined() const { return kind == Kind::kUndefined; }
  bool none() const { return kind == Kind::kNone; }
  bool string() const { return kind == Kind::kString; }
  bool sequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  bool mapping() const { return kind == Kind::kDict; }
  bool integral() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool number() const { return integral() || kind == Kind::kFloat; }
  double AsReal() const { return kind == Kind::kFloat ? real : static_cast<double>(integer); }
  const std::string &str() const { return *text; }
};

struct Stmt;
struct Scope;

struct Callable {
  enum class Kind { kGlobal, kMethod, kMacro };
  Kind kind;
  std::string name;
  Value self;                  // the object of a method
  const Stmt *macro = nullptr; // a macro, or a call block whose body is `caller`
  Scope *scope = nullptr;      // the scope in which the macro is defined
};

// Python's range.
struct Range {
  int64_t start, stop, step;
  List items;
};

// The result of dict.keys(), .values() and .items().
struct View {
  std::string_view type; // "dict_keys", "dict_values", "dict_items"
  List items;
};

// A generator or another iterator. It can be iterated once.
struct Iterator {
  std::function<bool(Value &)> step; // writes the next value; false at the end and after an error
  std::string_view type;             // Python's name of the type
};

// jinja2's LoopContext.
struct Loop {
  const Stmt *stmt = nullptr; // the statement of the loop
  Scope *scope = nullptr;     // the scope around the loop
  Iterator *items = nullptr;
  std::optional<int64_t> length; // set if the iterable has a length, or when first requested
  int64_t index0 = -1;
  int64_t depth0 = 0;
  std::optional<Value> before, current, after; // after: a peeked item
  bool exhausted = false;
  std::optional<List> changed; // the last arguments of loop.changed
};

struct Scope {
  Scope *parent = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  Value *Find(std::string_view name) {
    for (auto &[key, value] : variables)
      if (key == name)
        return &value;
    return parent ? parent->Find(name) : nullptr;
  }
  void Set(std::string_view name, Value value) {
    for (auto &[key, old] : variables) {
      if (key == name) {
        old = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }
};

class Arena {
public:
  Value MakeList(List items) {
    Value out = Value::Of(Value::Kind::kList);
    out.list = &lists_.emplace_back(std::move(items));
    return out;
  }
  Value MakeTuple(List items) {
    Value out = MakeList(std::move(items));
    out.kind = Value::Kind::kTuple;
    return out;
  }
  Value MakeDict(Dict entries, Value::Kind kind = Value::Kind::kDict) {
    Value out = Value::Of(kind);
    out.dict = &dicts_.emplace_back(std::move(entries));
    return out;
  }
  Value MakeCallable(Callable callable) {
    Value out = Value::Of(Value::Kind::kCallable);
    out.callable = &callables_.emplace_back(std::move(callable));
    return out;
  }
  Value MakeRange(Range range) {
    Value out = Value::Of(Value::Kind::kRange);
    out.range = &ranges_.emplace_back(std::move(range));
    return out;
  }
  Value MakeView(std::string_view type, List items) {
    Value out = Value::Of(Value::Kind::kView);
    out.view = &views_.emplace_back(View{type, std::move(items)});
    return out;
  }
  Value MakeIterator(std::string_view type, std::function<bool(Value &)> step) {
    Value out = Value::Of(Value::Kind::kIterator);
    out.iterator = &iterators_.emplace_back(Iterator{std::move(step), type});
    return out;
  }
  Value MakeLoop(Loop *loop) {
    Value out = Value::Of(Value::Kind::kLoop);
    out.loop = loop;
    return out;
  }
  Loop *NewLoop() { return &loops_.emplace_back(); }
  Scope *NewScope(Scope *parent) {
    Scope *scope = &scopes_.emplace_back();
    scope->parent = parent;
    return scope;
  }

private:
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Callable> callables_;
  std::deque<Loop> loops_;
  std::deque<Range> ranges_;
  std::deque<View> views_;
  std::deque<Iterator> iterators_;
  std::deque<Scope> scopes_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_VALUE_H_

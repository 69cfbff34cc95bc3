// What a chat template computes with: Python's values, as far as templates see
// them. Containers belong to an arena that lives as long as a rendering, so
// that a namespace may hold itself.
#ifndef INLAY_FRONTENDS_TOKENIZER_TEMPLATE_VALUE_H_
#define INLAY_FRONTENDS_TOKENIZER_TEMPLATE_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
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
    kLoop
  };
  Kind kind = Kind::kUndefined;
  union {
    int64_t integer = 0; // kBool too
    double real;
    const List *list;
    Dict *dict; // kNamespace too; only those change
    const Callable *callable;
    const Loop *loop;
  };
  std::shared_ptr<const std::string> text; // kString; of kUndefined: what was not defined

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
  Value self; // of a method
  const Stmt *macro = nullptr;
  Scope *scope = nullptr; // where the macro stands
};

struct Loop {
  const List *items;
  size_t index = 0;
  int depth = 1;
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
  Value MakeLoop(const Loop *loop) {
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
  std::deque<Scope> scopes_;
};

} // namespace inlay::tokenizer

#endif // INLAY_FRONTENDS_TOKENIZER_TEMPLATE_VALUE_H_

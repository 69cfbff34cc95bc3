#include "frontends/tokenizer/template_eval.h"

#include "frontends/tokenizer/unicode.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <utility>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

constexpr int kMaxNesting = 400;      // of evaluation, through macros
constexpr int kMaxValueNesting = 128; // of lists in lists, where they are walked
constexpr int64_t kBytesAStep = 64;   // bytes copied count as steps

// ---- strings
// ---------------------------------------------------------------------------------------------------------

// What Python's str.strip takes.
bool IsPythonSpace(uint32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    size_t length = ReadUtf8(text).length;
    out.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out;
}

// `chars`: what to strip; white space if it isn't there.
std::string_view Stripped(std::string_view text, bool left, bool right, std::optional<std::string_view> chars) {
  auto strips = [&](std::string_view c) {
    return chars ? chars->find(c) != chars->npos : IsPythonSpace(ReadUtf8(c).code_point);
  };
  while (left && !text.empty()) {
    size_t length = ReadUtf8(text).length;
    if (!strips(text.substr(0, length)))
      break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80)
      --begin;
    if (!strips(text.substr(begin)))
      break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

template <class Map> std::string MapCharacters(std::string_view text, const Map &map) {
  std::string out;
  while (!text.empty()) {
    Utf8Prefix c = ReadUtf8(text);
    if (c.valid)
      AppendUtf8(static_cast<uint32_t>(map(static_cast<utf8proc_int32_t>(c.code_point))), out);
    text.remove_prefix(c.length);
  }
  return out;
}
std::string Upper(std::string_view text) { return MapCharacters(text, utf8proc_toupper); }
std::string Lower(std::string_view text) { return MapCharacters(text, utf8proc_tolower); }
// The first letter of each word is large; `words` false: of the text only.
std::string Title(std::string_view text, bool words) {
  bool inside = false;
  return MapCharacters(text, [&](utf8proc_int32_t c) {
    utf8proc_int32_t out = inside ? utf8proc_tolower(c) : utf8proc_toupper(c);
    inside = !words || utf8proc_toupper(c) != c || utf8proc_tolower(c) != c;
    return out;
  });
}

std::string FloatText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

// A JSON string, not escaped to ASCII unless asked for.
std::string JsonString(std::string_view text, bool ascii) {
  std::string out = "\"";
  while (!text.empty()) {
    Utf8Prefix c = ReadUtf8(text);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    if (size_t at = c.code_point < 0x80 ? kEscaped.find(text[0]) : kEscaped.npos; at != kEscaped.npos) {
      out += '\\';
      out += kLetters[at];
    } else if (c.code_point < 0x20 || (ascii && c.code_point > 0x7E && c.code_point <= 0xFFFF)) {
      out += fmt::format("\\u{:04x}", c.code_point);
    } else if (ascii && c.code_point > 0xFFFF) {
      uint32_t rest = c.code_point - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      out += text.substr(0, c.length);
    }
    text.remove_prefix(c.length);
  }
  return out + '"';
}

const char *TypeName(const Value &value) {
  constexpr const char *kNames[] = {"undefined", "none",  "bool", "int",       "float",    "str",
                                    "list",      "tuple", "dict", "namespace", "callable", "loop"};
  return kNames[static_cast<int>(value.kind)];
}

enum class Flow { kNext, kBreak, kContinue };

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

// The first error sticks: from then on nothing is evaluated, and every loop ends.
class Evaluator {
public:
  Evaluator(std::string_view file, Scope globals, Arena &arena, const TemplateLimits &limits)
      : file_(file), arena_(arena), limits_(limits), globals_(std::move(globals)), scope_(&globals_) {}

  absl::StatusOr<std::string> Run(const Block &block) {
    std::string out;
    Execute(block, out);
    if (!status_.ok())
      return status_;
    return out;
  }

private:
  // ---- limits and errors

  bool failed() const { return !status_.ok(); }

  Value Fail(std::string_view message, absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    if (!failed()) {
      std::string text = fmt::format("{}: line {}: {}", file_, line_, message);
      status_ = absl::Status(code, text);
    }
    return {};
  }
  Value FailUnsupported(std::string_view what, std::string_view name, std::string_view supported) {
    return Fail(fmt::format("found the {} {}, supported: {}", what, Quoted(name), supported),
                absl::StatusCode::kUnimplemented);
  }

  bool Charge(int64_t steps) {
    steps_ += steps;
    if (steps_ > limits_.steps)
      Fail(fmt::format("found more than {} steps, expected a template that ends; fix: shorten the chat or correct the "
                       "template",
                       limits_.steps),
           absl::StatusCode::kResourceExhausted);
    return !failed();
  }
  bool ChargeBytes(size_t bytes) { return Charge(1 + static_cast<int64_t>(bytes) / kBytesAStep); }

  Value MakeString(std::string text) {
    if (text.size() > limits_.output_bytes)
      return FailOutput();
    ChargeBytes(text.size());
    return Value::String(std::move(text));
  }
  Value FailOutput() {
    return Fail(fmt::format("found more than {} bytes of text, expected a shorter prompt", limits_.output_bytes),
                absl::StatusCode::kResourceExhausted);
  }
  void Append(std::string &out, std::string_view text) {
    if (text.size() > limits_.output_bytes - std::min(limits_.output_bytes, out.size()))
      FailOutput();
    else if (ChargeBytes(text.size()))
      out += text;
  }

  struct Nested {
    explicit Nested(Evaluator &evaluator) : evaluator(evaluator) {
      if (++evaluator.nesting_ > kMaxNesting)
        evaluator.Fail(fmt::format("found macros and blocks nested deeper than {}", kMaxNesting),
                       absl::StatusCode::kResourceExhausted);
    }
    ~Nested() { --evaluator.nesting_; }
    Evaluator &evaluator;
  };

  // ---- statements

  Flow Execute(const Block &block, std::string &out) {
    Nested nested(*this);
    for (const auto &stmt : block) {
      if (failed())
        break;
      line_ = stmt->line;
      if (!Charge(1))
        break;
      if (Flow flow = Execute(*stmt, out); flow != Flow::kNext)
        return flow;
    }
    return Flow::kNext;
  }

  Flow Execute(const Stmt &stmt, std::string &out) {
    switch (stmt.kind) {
    case Stmt::Kind::kText:
      Append(out, stmt.text);
      break;
    case Stmt::Kind::kOutput:
      if (Value value = Evaluate(*stmt.value); !failed())
        Append(out, ToText(value));
      break;
    case Stmt::Kind::kIf:
      for (const Stmt::Branch &branch : stmt.branches) {
        if (branch.condition && !Truth(Evaluate(*branch.condition)))
          continue;
        return failed() ? Flow::kNext : Execute(branch.body, out);
      }
      break;
    case Stmt::Kind::kFor:
      ExecuteFor(stmt, out);
      break;
    case Stmt::Kind::kSet:
      ExecuteSet(stmt);
      break;
    case Stmt::Kind::kSetBlock: {
      std::string text;
      Scope *outer = std::exchange(scope_, arena_.NewScope(scope_));
      Execute(stmt.branches[0].body, text);
      scope_ = outer;
      scope_->Set(stmt.names[0], Value::String(std::move(text)));
      break;
    }
    case Stmt::Kind::kMacro:
      scope_->Set(stmt.text, arena_.MakeCallable({Callable::Kind::kMacro, stmt.text, {}, &stmt, scope_}));
      break;
    case Stmt::Kind::kBreak:
      return Flow::kBreak;
    case Stmt::Kind::kContinue:
      return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void ExecuteFor(const Stmt &stmt, std::string &out) {
    Value iterated = Evaluate(*stmt.value);
    List items = Iterate(iterated);
    Scope *outer = scope_;
    if (stmt.condition) {
      List kept;
      for (const Value &item : items) {
        scope_ = arena_.NewScope(outer);
        Bind(stmt.names, item);
        if (failed())
          break;
        if (Truth(Evaluate(*stmt.condition)))
          kept.push_back(item);
      }
      items = std::move(kept);
    }
    Value list = arena_.MakeList(std::move(items));
    Loop *loop = arena_.NewLoop();
    loop->items = list.list;
    loop->depth = ++loop_depth_;
    for (; loop->index < list.list->size() && !failed(); ++loop->index) {
      scope_ = arena_.NewScope(outer);
      scope_->Set("loop", arena_.MakeLoop(loop));
      Bind(stmt.names, (*list.list)[loop->index]);
      if (Execute(stmt.branches[0].body, out) == Flow::kBreak)
        break;
    }
    --loop_depth_;
    scope_ = outer;
    if (list.list->empty() && stmt.branches.size() > 1)
      Execute(stmt.branches[1].body, out);
  }

  void Bind(const std::vector<std::string> &names, const Value &value) {
    if (names.size() == 1) {
      scope_->Set(names[0], value);
      return;
    }
    List parts = Iterate(value);
    if (failed())
      return;
    if (parts.size() != names.size()) {
      Fail(fmt::format("found {} values, expected {} for {}", parts.size(), names.size(), fmt::join(names, ", ")));
      return;
    }
    for (size_t i = 0; i < names.size(); ++i)
      scope_->Set(names[i], parts[i]);
  }

  void ExecuteSet(const Stmt &stmt) {
    Value value = Evaluate(*stmt.value);
    if (failed())
      return;
    if (stmt.text.empty())
      return Bind(stmt.names, value);
    Value *target = scope_->Find(stmt.names[0]);
    if (!target || target->kind != Kind::kNamespace) {
      Fail(fmt::format("found an assignment to {}.{}, expected a namespace on the left", stmt.names[0], stmt.text));
      return;
    }
    if (Value *old = FindEntry(*target->dict, stmt.text))
      *old = value;
    else
      target->dict->emplace_back(Value::String(stmt.text), value);
  }

  // ---- expressions

  Value Evaluate(const Expr &expr) {
    Nested nested(*this);
    line_ = expr.line;
    if (failed() || !Charge(1))
      return {};
    switch (expr.kind) {
    case Expr::Kind::kNone:
      return Value::None();
    case Expr::Kind::kBool:
      return Value::Bool(expr.integer != 0);
    case Expr::Kind::kInt:
      return Value::Int(expr.integer);
    case Expr::Kind::kFloat:
      return Value::Float(expr.real);
    case Expr::Kind::kString:
      return MakeString(expr.text);
    case Expr::Kind::kName:
      return Lookup(expr.text);
    case Expr::Kind::kList:
    case Expr::Kind::kTuple: {
      List items;
      for (const auto &child : expr.children)
        items.push_back(Evaluate(*child));
      return expr.kind == Expr::Kind::kList ? arena_.MakeList(std::move(items)) : arena_.MakeTuple(std::move(items));
    }
    case Expr::Kind::kDict: {
      Dict entries;
      for (size_t i = 0; i + 1 < expr.children.size(); i += 2) {
        Value key = Evaluate(*expr.children[i]);
        Value value = Evaluate(*expr.children[i + 1]);
        SetEntry(entries, std::move(key), std::move(value));
      }
      return arena_.MakeDict(std::move(entries));
    }
    case Expr::Kind::kAttribute:
      return Attribute(Evaluate(*expr.children[0]), expr.text);
    case Expr::Kind::kIndex: {
      Value object = Evaluate(*expr.children[0]);
      Value index = Evaluate(*expr.children[1]);
      return failed() ? Value() : Index(object, index);
    }
    case Expr::Kind::kSlice:
      return Slice(expr);
    case Expr::Kind::kCall: {
      Value callee = Evaluate(*expr.children[0]);
      Arguments arguments = EvaluateArguments(expr);
      return failed() ? Value() : Call(callee, arguments);
    }
    case Expr::Kind::kFilter: {
      Value value = Evaluate(*expr.children[0]);
      Arguments arguments = EvaluateArguments(expr);
      return failed() ? Value() : Filter(expr.text, value, arguments);
    }
    case Expr::Kind::kTest: {
      Value value = Evaluate(*expr.children[0]);
      Arguments arguments = EvaluateArguments(expr);
      return failed() ? Value() : Value::Bool(Test(expr.text, value, arguments.positional));
    }
    case Expr::Kind::kUnary:
      return Unary(expr.text, Evaluate(*expr.children[0]));
    case Expr::Kind::kBinary:
      return Binary(expr);
    case Expr::Kind::kCompare: {
      Value left = Evaluate(*expr.children[0]);
      for (size_t i = 0; i < expr.operators.size(); ++i) {
        Value right = Evaluate(*expr.children[i + 1]);
        if (failed() || !Compare(expr.operators[i], left, right))
          return Value::Bool(false);
        left = std::move(right);
      }
      return Value::Bool(true);
    }
    case Expr::Kind::kConditional:
      if (Truth(Evaluate(*expr.children[1])))
        return Evaluate(*expr.children[0]);
      return expr.children[2] ? Evaluate(*expr.children[2]) : Value::Undefined("the missing else");
    }
    return {};
  }

  Arguments EvaluateArguments(const Expr &expr) {
    Arguments out;
    for (size_t i = 1; i < expr.children.size(); ++i)
      out.positional.push_back(Evaluate(*expr.children[i]));
    for (const auto &[name, value] : expr.keywords)
      out.named.emplace_back(name, Evaluate(*value));
    return out;
  }

  Value Lookup(const std::string &name) {
    if (Value *value = scope_->Find(name))
      return *value;
    for (std::string_view global : {"range", "namespace", "dict", "raise_exception", "strftime_now"})
      if (name == global)
        return arena_.MakeCallable({Callable::Kind::kGlobal, name, {}});
    return Value::Undefined(name);
  }

  Value FailUndefined(const Value &value) { return Fail(fmt::format("{} is undefined", Quoted(*value.text))); }

  Value *FindEntry(Dict &dict, std::string_view key) {
    Charge(static_cast<int64_t>(dict.size() / 8));
    for (auto &[name, value] : dict)
      if (name.string() && name.str() == key)
        return &value;
    return nullptr;
  }
  void SetEntry(Dict &dict, Value key, Value value) {
    Charge(static_cast<int64_t>(dict.size() / 8));
    if (failed())
      return;
    if (key.undefined() || key.kind == Kind::kList || key.kind == Kind::kDict) {
      Fail(fmt::format("found a {} as the key of a dict, expected a string or a number", TypeName(key)));
      return;
    }
    for (auto &[name, old] : dict) {
      if (Equal(name, key)) {
        old = std::move(value);
        return;
      }
    }
    dict.emplace_back(std::move(key), std::move(value));
  }

  static constexpr std::string_view kStringMethods =
      "strip, lstrip, rstrip, split, rsplit, splitlines, startswith, endswith, replace, upper, lower, title, "
      "capitalize, find, count, join, isdigit, removeprefix, removesuffix";
  static constexpr std::string_view kDictMethods = "items, keys, values, get";
  static constexpr std::string_view kListMethods = "index, count";

  static bool Names(std::string_view list, std::string_view name) {
    for (size_t at = 0; at < list.size();) {
      size_t end = std::min(list.find(", ", at), list.size());
      if (list.substr(at, end - at) == name)
        return true;
      at = end + 2;
    }
    return false;
  }

  // object.name: a method, else an entry.
  Value Attribute(const Value &object, const std::string &name) {
    if (failed())
      return {};
    if (object.undefined())
      return FailUndefined(object);
    if (object.kind == Kind::kLoop)
      return LoopAttribute(*object.loop, name);
    std::string_view methods = object.string()     ? kStringMethods
                               : object.mapping()  ? kDictMethods
                               : object.sequence() ? kListMethods
                                                   : std::string_view();
    if (Names(methods, name))
      return arena_.MakeCallable({Callable::Kind::kMethod, name, object});
    if (object.mapping() || object.kind == Kind::kNamespace)
      if (Value *value = FindEntry(*object.dict, name))
        return *value;
    return Value::Undefined(fmt::format("{}.{}", TypeName(object), name));
  }

  Value LoopAttribute(const Loop &loop, const std::string &name) {
    int64_t index = static_cast<int64_t>(loop.index), size = static_cast<int64_t>(loop.items->size());
    if (name == "index")
      return Value::Int(index + 1);
    if (name == "index0")
      return Value::Int(index);
    if (name == "revindex")
      return Value::Int(size - index);
    if (name == "revindex0")
      return Value::Int(size - index - 1);
    if (name == "first")
      return Value::Bool(index == 0);
    if (name == "last")
      return Value::Bool(index + 1 == size);
    if (name == "length")
      return Value::Int(size);
    if (name == "depth")
      return Value::Int(loop.depth);
    if (name == "depth0")
      return Value::Int(loop.depth - 1);
    if (name == "previtem")
      return index > 0 ? (*loop.items)[index - 1] : Value::Undefined("loop.previtem");
    if (name == "nextitem")
      return index + 1 < size ? (*loop.items)[index + 1] : Value::Undefined("loop.nextitem");
    if (name == "cycle") {
      Value self = arena_.MakeLoop(&loop);
      return arena_.MakeCallable({Callable::Kind::kMethod, name, self});
    }
    return FailUnsupported("attribute of loop", name,
                           "index, index0, revindex, revindex0, first, last, length, depth, depth0, previtem, "
                           "nextitem, cycle");
  }

  // object[index]: an entry, else a method.
  Value Index(const Value &object, const Value &index) {
    if (object.undefined())
      return FailUndefined(object);
    if (object.mapping()) {
      Charge(static_cast<int64_t>(object.dict->size() / 8));
      for (const auto &[key, value] : *object.dict)
        if (Equal(key, index))
          return value;
    }
    if (index.integral() && (object.sequence() || object.string())) {
      int64_t at = index.integer;
      if (object.string()) {
        ChargeBytes(object.str().size());
        std::vector<std::string_view> characters = Characters(object.str());
        int64_t size = static_cast<int64_t>(characters.size());
        at += at < 0 ? size : 0;
        return at >= 0 && at < size ? Value::String(std::string(characters[at])) : Value::Undefined("str[index]");
      }
      int64_t size = static_cast<int64_t>(object.list->size());
      at += at < 0 ? size : 0;
      return at >= 0 && at < size ? (*object.list)[at] : Value::Undefined(fmt::format("list[{}]", index.integer));
    }
    if (index.string())
      return Attribute(object, index.str());
    return Value::Undefined(fmt::format("{}[{}]", TypeName(object), TypeName(index)));
  }

  Value Slice(const Expr &expr) {
    Value object = Evaluate(*expr.children[0]);
    std::optional<int64_t> bounds[3];
    for (int i = 0; i < 3; ++i) {
      if (!expr.children[i + 1])
        continue;
      Value bound = Evaluate(*expr.children[i + 1]);
      if (failed())
        return {};
      if (bound.integral())
        bounds[i] = bound.integer;
      else if (!bound.none())
        return Fail(fmt::format("found a {} as the bound of a slice, expected an int", TypeName(bound)));
    }
    if (failed())
      return {};
    if (object.undefined())
      return FailUndefined(object);
    if (!object.string() && !object.sequence())
      return Fail(fmt::format("found a slice of a {}, expected a str or a list", TypeName(object)));
    std::vector<std::string_view> characters;
    if (object.string()) {
      ChargeBytes(object.str().size());
      characters = Characters(object.str());
    }
    int64_t size = static_cast<int64_t>(object.string() ? characters.size() : object.list->size());
    int64_t step = bounds[2].value_or(1);
    if (step == 0)
      return Fail("found a slice with step 0, expected another step");
    step = std::clamp(step, -size - 1, size + 1);
    // Python's rules (PySlice_AdjustIndices).
    int64_t lowest = step < 0 ? -1 : 0, highest = step < 0 ? size - 1 : size;
    auto adjust = [&](std::optional<int64_t> bound, int64_t otherwise) {
      if (!bound)
        return otherwise;
      return std::clamp(*bound < 0 ? *bound + size : *bound, lowest, highest);
    };
    int64_t begin = adjust(bounds[0], step < 0 ? highest : lowest);
    int64_t end = adjust(bounds[1], step < 0 ? lowest : highest);
    std::string text;
    List items;
    for (int64_t i = begin; step < 0 ? i > end : i < end; i += step) {
      if (object.string())
        text += characters[i];
      else
        items.push_back(object.list->at(i));
    }
    Charge(static_cast<int64_t>(items.size()));
    if (object.string())
      return MakeString(std::move(text));
    return object.kind == Kind::kTuple ? arena_.MakeTuple(std::move(items)) : arena_.MakeList(std::move(items));
  }

  // ---- operators

  bool Truth(const Value &value) {
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
    case Kind::kList:
    case Kind::kTuple:
      return !value.list->empty();
    case Kind::kDict:
      return !value.dict->empty();
    default:
      return true;
    }
  }

  Value Unary(const std::string &op, const Value &value) {
    if (failed())
      return {};
    if (op == "not")
      return Value::Bool(!Truth(value));
    int64_t negated = 0;
    if (value.kind == Kind::kFloat)
      return Value::Float(op == "-" ? -value.real : value.real);
    if (!value.integral() || __builtin_sub_overflow(int64_t{0}, value.integer, &negated))
      return Fail(fmt::format("found {} before a {}, expected a number of 64 bits", op, TypeName(value)));
    return Value::Int(op == "-" ? negated : value.integer);
  }

  Value Binary(const Expr &expr) {
    const std::string &op = expr.text;
    Value left = Evaluate(*expr.children[0]);
    if (op == "and" || op == "or")
      return Truth(left) == (op == "and") ? Evaluate(*expr.children[1]) : left;
    Value right = Evaluate(*expr.children[1]);
    if (failed())
      return {};
    line_ = expr.line;
    if (op == "~")
      return MakeString(ToText(left) + ToText(right));
    if (left.undefined() || right.undefined())
      return FailUndefined(left.undefined() ? left : right);
    if (op == "+" && left.string() && right.string())
      return MakeString(left.str() + right.str());
    if (op == "+" && left.sequence() && left.kind == right.kind) {
      List items = *left.list;
      items.insert(items.end(), right.list->begin(), right.list->end());
      Charge(static_cast<int64_t>(items.size()));
      return left.kind == Kind::kTuple ? arena_.MakeTuple(std::move(items)) : arena_.MakeList(std::move(items));
    }
    if (op == "*" && (left.string() || right.string()) && (left.integral() || right.integral()))
      return Repeat(left.string() ? left.str() : right.str(), left.string() ? right.integer : left.integer);
    if (left.integral() && right.integral() && op != "/")
      return Integers(op, left.integer, right.integer);
    if (left.number() && right.number())
      return Reals(op, left.AsReal(), right.AsReal());
    return Fail(fmt::format("found {} {} {}, expected operands that go together", TypeName(left), op, TypeName(right)));
  }

  Value Repeat(const std::string &text, int64_t count) {
    if (count <= 0 || text.empty())
      return Value::String("");
    if (static_cast<uint64_t>(count) > limits_.output_bytes / text.size())
      return FailOutput();
    std::string out;
    for (int64_t i = 0; i < count; ++i)
      out += text;
    return MakeString(std::move(out));
  }

  Value Integers(const std::string &op, int64_t left, int64_t right) {
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
      // Past 64 factors only 0, 1 and -1 don't overflow.
      if (right > 64 && left >= -1 && left <= 1)
        right = 2 + right % 2;
      for (int64_t i = 0; i < right && !overflow; ++i)
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

  Value Reals(const std::string &op, double left, double right) {
    if (op == "+")
      return Value::Float(left + right);
    if (op == "-")
      return Value::Float(left - right);
    if (op == "*")
      return Value::Float(left * right);
    if (op == "**")
      return Value::Float(std::pow(left, right));
    if (right == 0)
      return Fail("found a division by zero");
    if (op == "/")
      return Value::Float(left / right);
    double quotient = std::floor(left / right);
    return Value::Float(op == "//" ? quotient : left - quotient * right);
  }

  bool Equal(const Value &left, const Value &right, int nesting = 0) {
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
    switch (left.kind) {
    case Kind::kString:
      ChargeBytes(std::min(left.str().size(), right.str().size()));
      return left.str() == right.str();
    case Kind::kList:
    case Kind::kTuple:
      if (left.list->size() != right.list->size())
        return false;
      for (size_t i = 0; i < left.list->size(); ++i)
        if (!Equal((*left.list)[i], (*right.list)[i], nesting + 1))
          return false;
      return true;
    case Kind::kDict:
      if (left.dict->size() != right.dict->size())
        return false;
      for (const auto &[key, value] : *left.dict) {
        auto same = std::find_if(right.dict->begin(), right.dict->end(),
                                 [&](const auto &entry) { return Equal(key, entry.first, nesting + 1); });
        if (same == right.dict->end() || !Equal(value, same->second, nesting + 1))
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
    default:
      return left.loop == right.loop;
    }
  }

  bool Less(const Value &left, const Value &right) {
    Charge(1);
    if (left.integral() && right.integral())
      return left.integer < right.integer;
    if (left.number() && right.number())
      return left.AsReal() < right.AsReal();
    if (left.string() && right.string())
      return left.str() < right.str(); // the order of UTF-8 is that of code points
    Fail(fmt::format("found {} < {}, expected two numbers or two strings", TypeName(left), TypeName(right)));
    return false;
  }

  bool Contains(const Value &container, const Value &item) {
    if (container.string() && item.string()) {
      ChargeBytes(container.str().size());
      return container.str().find(item.str()) != std::string::npos;
    }
    if (container.sequence()) {
      for (const Value &candidate : *container.list)
        if (Equal(candidate, item))
          return true;
      return false;
    }
    if (container.mapping()) {
      for (const auto &[key, value] : *container.dict)
        if (Equal(key, item))
          return true;
      return false;
    }
    if (container.undefined())
      FailUndefined(container);
    else
      Fail(fmt::format("found {} in {}, expected a list, a dict or a string on the right", TypeName(item),
                       TypeName(container)));
    return false;
  }

  bool Compare(const std::string &op, const Value &left, const Value &right) {
    if (op == "==")
      return Equal(left, right);
    if (op == "!=")
      return !Equal(left, right);
    if (op == "in")
      return Contains(right, left);
    if (op == "not in")
      return !Contains(right, left);
    if (op == "<")
      return Less(left, right);
    if (op == ">")
      return Less(right, left);
    // Not the negation of the other: a NaN is in no order.
    return Equal(left, right) || (op == "<=" ? Less(left, right) : Less(right, left));
  }

  // ---- text of values

  std::string ToText(const Value &value) {
    if (value.string())
      return value.str();
    if (value.undefined())
      return {};
    std::string out;
    Represent(value, 0, out);
    return out;
  }

  bool EnterValue(int nesting) {
    if (nesting > kMaxValueNesting)
      Fail("found lists nested too deep to print", absl::StatusCode::kResourceExhausted);
    return Charge(1);
  }

  // Python's repr.
  void Represent(const Value &value, int nesting, std::string &out) {
    if (!EnterValue(nesting))
      return;
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
    case Kind::kFloat:
      out += FloatText(value.real);
      break;
    case Kind::kString: {
      const std::string &text = value.str();
      char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
      out += quote;
      for (char c : text) {
        if (c == quote || c == '\\')
          (out += '\\') += c;
        else if (c == '\n')
          out += "\\n";
        else if (c == '\r')
          out += "\\r";
        else if (c == '\t')
          out += "\\t";
        else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F)
          out += fmt::format("\\x{:02x}", c);
        else
          out += c;
      }
      out += quote;
      ChargeBytes(text.size());
      break;
    }
    case Kind::kList:
    case Kind::kTuple: {
      bool tuple = value.kind == Kind::kTuple;
      out += tuple ? '(' : '[';
      for (size_t i = 0; i < value.list->size() && !failed(); ++i) {
        out += i ? ", " : "";
        Represent((*value.list)[i], nesting + 1, out);
      }
      out += tuple ? (value.list->size() == 1 ? ",)" : ")") : "]";
      break;
    }
    case Kind::kDict: {
      out += '{';
      bool first = true;
      for (const auto &[key, entry] : *value.dict) {
        if (failed())
          break;
        out += std::exchange(first, false) ? "" : ", ";
        Represent(key, nesting + 1, out);
        out += ": ";
        Represent(entry, nesting + 1, out);
      }
      out += '}';
      break;
    }
    default:
      Fail(fmt::format("found a {} to print, expected a value", TypeName(value)));
    }
  }

  struct JsonStyle {
    bool ascii = false, sort_keys = false;
    std::optional<int64_t> indent;
    std::string item_separator = ", ", key_separator = ": ";
  };

  void WriteJson(const Value &value, const JsonStyle &style, int nesting, std::string &out) {
    if (!EnterValue(nesting))
      return;
    auto line = [&](int level) {
      if (style.indent) {
        out += '\n';
        out.append(static_cast<size_t>(level * *style.indent), ' ');
      }
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
      Dict entries = *value.dict;
      if (style.sort_keys) {
        std::list<std::pair<Value, Value>> keyed;
        for (const auto &[key, entry] : entries)
          keyed.emplace_back(key, arena_.MakeTuple({key, entry}));
        entries.clear();
        for (const Value &pair : Sorted(std::move(keyed), /*reverse=*/false))
          entries.emplace_back((*pair.list)[0], (*pair.list)[1]);
      }
      out += '{';
      for (size_t i = 0; i < entries.size() && !failed(); ++i) {
        out += i ? style.item_separator : "";
        line(nesting + 1);
        const Value &key = entries[i].first;
        std::string name;
        if (key.string())
          name = key.str();
        else
          WriteJson(key, style, nesting + 1, name);
        out += JsonString(name, style.ascii);
        out += style.key_separator;
        WriteJson(entries[i].second, style, nesting + 1, out);
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
      Fail(fmt::format("found a {} for tojson, expected a value that JSON knows", TypeName(value)));
    }
    if (out.size() > limits_.output_bytes)
      FailOutput();
  }

  // ---- iteration

  List Iterate(const Value &value) {
    List out;
    if (failed())
      return out;
    if (value.sequence()) {
      out = *value.list;
    } else if (value.string()) {
      for (std::string_view c : Characters(value.str()))
        out.push_back(Value::String(std::string(c)));
    } else if (value.mapping()) {
      for (const auto &[key, entry] : *value.dict)
        out.push_back(key);
    } else if (!value.undefined()) { // iterating over undefined gives nothing
      Fail(fmt::format("found a {}, expected something to iterate over", TypeName(value)));
    }
    Charge(static_cast<int64_t>(out.size()));
    return out;
  }

  // ---- calls

  const Value *Argument(const Arguments &arguments, size_t position, std::string_view name) {
    if (position < arguments.positional.size())
      return &arguments.positional[position];
    for (const auto &[key, value] : arguments.named)
      if (key == name)
        return &value;
    return nullptr;
  }
  bool Flag(const Arguments &arguments, size_t position, std::string_view name, bool otherwise = false) {
    const Value *value = Argument(arguments, position, name);
    return value ? Truth(*value) : otherwise;
  }
  // A string argument; an error unless it is one.
  std::string StringArgument(std::string_view function, const Arguments &arguments, size_t position,
                             std::string_view name) {
    const Value *value = Argument(arguments, position, name);
    if (value && value->string())
      return value->str();
    Fail(fmt::format("{}: found {}, expected a string for the argument {}", function,
                     value ? TypeName(*value) : "nothing", name));
    return {};
  }
  int64_t IntArgument(std::string_view function, const Arguments &arguments, size_t position, std::string_view name,
                      int64_t otherwise) {
    const Value *value = Argument(arguments, position, name);
    if (!value || value->none())
      return otherwise;
    if (!value->integral())
      Fail(fmt::format("{}: found {}, expected an int for the argument {}", function, TypeName(*value), name));
    return value->integral() ? value->integer : otherwise;
  }

  Value Call(const Value &callee, const Arguments &arguments) {
    if (callee.undefined())
      return FailUndefined(callee);
    if (callee.kind != Kind::kCallable)
      return Fail(fmt::format("found a call of a {}, expected a macro, a method or a function", TypeName(callee)));
    const Callable &callable = *callee.callable;
    switch (callable.kind) {
    case Callable::Kind::kGlobal:
      return CallGlobal(callable.name, arguments);
    case Callable::Kind::kMethod:
      if (callable.self.string())
        return CallString(callable.name, callable.self.str(), arguments);
      return callable.self.mapping() ? CallDict(callable.name, callable.self, arguments)
                                     : CallList(callable.name, callable.self, arguments);
    case Callable::Kind::kMacro:
      return CallMacro(callable, arguments);
    }
    return {};
  }

  Value CallGlobal(const std::string &name, const Arguments &arguments) {
    if (name == "raise_exception")
      return Fail(fmt::format("the template refuses the chat: {}",
                              arguments.positional.empty() ? "" : OneLine(ToText(arguments.positional[0]))));
    if (name == "strftime_now") {
      std::string format = StringArgument(name, arguments, 0, "format");
      std::time_t now = std::time(nullptr);
      std::tm local{};
      localtime_r(&now, &local);
      char buffer[512];
      return MakeString(std::string(buffer, std::strftime(buffer, sizeof(buffer), format.c_str(), &local)));
    }
    if (name == "range")
      return Range(arguments);
    // namespace(...) and dict(...)
    Dict entries;
    if (!arguments.positional.empty()) {
      const Value &first = arguments.positional[0];
      if (!first.mapping())
        return Fail(fmt::format("{}: found a {}, expected a dict or named arguments", name, TypeName(first)));
      entries = *first.dict;
    }
    for (const auto &[key, value] : arguments.named)
      SetEntry(entries, Value::String(std::string(key)), value);
    return arena_.MakeDict(std::move(entries), name == "namespace" ? Kind::kNamespace : Kind::kDict);
  }

  static std::string OneLine(std::string text) {
    std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20; }, ' ');
    return text.substr(0, 500);
  }

  Value Range(const Arguments &arguments) {
    int64_t begin = 0, step = 1, end = 0;
    size_t count = arguments.positional.size();
    if (count < 1 || count > 3)
      return Fail(fmt::format("range: found {} arguments, expected 1 to 3", count));
    if (count == 1) {
      end = IntArgument("range", arguments, 0, "stop", 0);
    } else {
      begin = IntArgument("range", arguments, 0, "start", 0);
      end = IntArgument("range", arguments, 1, "stop", 0);
      step = IntArgument("range", arguments, 2, "step", 1);
    }
    if (step == 0)
      return Fail("range: found step 0, expected another");
    List items;
    for (int64_t i = begin; (step > 0 ? i < end : i > end) && Charge(1);) {
      items.push_back(Value::Int(i));
      if (__builtin_add_overflow(i, step, &i))
        break;
    }
    return arena_.MakeList(std::move(items));
  }

  Value CallMacro(const Callable &callable, const Arguments &arguments) {
    Nested nested(*this);
    if (failed())
      return {};
    const Stmt &macro = *callable.macro;
    if (arguments.positional.size() > macro.names.size())
      return Fail(fmt::format("the macro {}: found {} arguments, expected at most {}", macro.text,
                              arguments.positional.size(), macro.names.size()));
    for (const auto &[key, value] : arguments.named)
      if (std::find(macro.names.begin(), macro.names.end(), key) == macro.names.end())
        return Fail(fmt::format("the macro {}: found the argument {}, expected one of {}", macro.text, Quoted(key),
                                fmt::join(macro.names, ", ")));
    Scope *outer = std::exchange(scope_, arena_.NewScope(callable.scope));
    for (size_t i = 0; i < macro.names.size(); ++i) {
      if (const Value *value = Argument(arguments, i, macro.names[i]))
        scope_->Set(macro.names[i], *value);
      else
        scope_->Set(macro.names[i],
                    macro.defaults[i] ? Evaluate(*macro.defaults[i]) : Value::Undefined(macro.names[i]));
    }
    std::string out;
    Execute(macro.branches[0].body, out);
    scope_ = outer;
    return failed() ? Value() : MakeString(std::move(out));
  }

  Value CallString(const std::string &name, const std::string &self, const Arguments &arguments) {
    if (!ChargeBytes(self.size()))
      return {};
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
      const Value *chars = Argument(arguments, 0, "chars");
      std::optional<std::string_view> stripped;
      if (chars && chars->string())
        stripped = chars->str();
      return MakeString(std::string(Stripped(self, name != "rstrip", name != "lstrip", stripped)));
    }
    if (name == "upper" || name == "lower")
      return MakeString(name == "upper" ? Upper(self) : Lower(self));
    if (name == "title" || name == "capitalize")
      return MakeString(Title(self, name == "title"));
    if (name == "split" || name == "rsplit")
      return SplitString(name, self, arguments);
    if (name == "splitlines") {
      List lines;
      for (size_t at = 0; at < self.size();) {
        size_t end = std::min(self.find_first_of("\r\n", at), self.size());
        lines.push_back(Value::String(self.substr(at, end - at)));
        at = end + (self.compare(end, 2, "\r\n") == 0 ? 2 : 1);
      }
      return arena_.MakeList(std::move(lines));
    }
    if (name == "startswith" || name == "endswith") {
      const Value *affix = Argument(arguments, 0, "prefix");
      List one;
      if (affix && affix->kind == Kind::kTuple)
        one = *affix->list;
      else
        one.push_back(Value::String(StringArgument(name, arguments, 0, "prefix")));
      return Value::Bool(std::any_of(one.begin(), one.end(), [&](const Value &value) {
        return value.string() && (name == "startswith" ? self.starts_with(value.str()) : self.ends_with(value.str()));
      }));
    }
    if (name == "join")
      return Join(arguments.positional.empty() ? Value() : arguments.positional[0], self);
    if (name == "isdigit")
      return Value::Bool(!self.empty() &&
                         std::all_of(self.begin(), self.end(), [](char c) { return c >= '0' && c <= '9'; }));
    std::string text = StringArgument(name, arguments, 0, "text");
    if (failed())
      return {};
    if (name == "replace")
      return ReplaceString(self, text, StringArgument(name, arguments, 1, "new"),
                           IntArgument(name, arguments, 2, "count", -1));
    if (name == "removeprefix")
      return MakeString(self.starts_with(text) ? self.substr(text.size()) : self);
    if (name == "removesuffix")
      return MakeString(self.ends_with(text) ? self.substr(0, self.size() - text.size()) : self);
    if (name == "find") {
      size_t at = self.find(text);
      return Value::Int(at == self.npos ? -1 : static_cast<int64_t>(Characters(self.substr(0, at)).size()));
    }
    // count
    if (text.empty())
      return Value::Int(static_cast<int64_t>(Characters(self).size()) + 1);
    int64_t count = 0;
    for (size_t at = self.find(text); at != self.npos; at = self.find(text, at + text.size()))
      ++count;
    return Value::Int(count);
  }

  Value SplitString(const std::string &name, const std::string &self, const Arguments &arguments) {
    const Value *separator = Argument(arguments, 0, "sep");
    int64_t limit = IntArgument(name, arguments, 1, "maxsplit", -1);
    uint64_t most = limit < 0 ? UINT64_MAX : static_cast<uint64_t>(limit);
    std::vector<std::string> parts;
    if (!separator || separator->none()) { // at runs of white space
      std::string_view rest = self;
      bool right = name == "rsplit";
      if (right && limit >= 0)
        return FailUnsupported("form of rsplit", "white space with maxsplit", "rsplit(separator, maxsplit)");
      for (rest = Stripped(rest, true, false, std::nullopt); !rest.empty();
           rest = Stripped(rest, true, false, std::nullopt)) {
        size_t end = 0;
        if (parts.size() == most) {
          parts.emplace_back(Stripped(rest, false, true, std::nullopt));
          break;
        }
        while (end < rest.size() && !IsPythonSpace(ReadUtf8(rest.substr(end)).code_point))
          end += ReadUtf8(rest.substr(end)).length;
        parts.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end);
      }
    } else {
      std::string sep = StringArgument(name, arguments, 0, "sep");
      if (failed() || sep.empty())
        return Fail(fmt::format("{}: found an empty separator, expected at least one character", name));
      if (name == "split") {
        size_t at = 0, end = self.find(sep);
        for (; end != self.npos && parts.size() < most; at = end + sep.size(), end = self.find(sep, at))
          parts.push_back(self.substr(at, end - at));
        parts.push_back(self.substr(at));
      } else {
        std::string_view rest = self;
        for (size_t at = rest.rfind(sep); at != rest.npos && parts.size() < most; at = rest.rfind(sep)) {
          parts.emplace_back(rest.substr(at + sep.size()));
          rest = rest.substr(0, at);
        }
        parts.emplace_back(rest);
        std::reverse(parts.begin(), parts.end());
      }
    }
    Charge(static_cast<int64_t>(parts.size()));
    List items;
    for (std::string &part : parts)
      items.push_back(Value::String(std::move(part)));
    return arena_.MakeList(std::move(items));
  }

  Value ReplaceString(const std::string &self, const std::string &from, const std::string &to, int64_t count) {
    std::string out;
    if (failed())
      return {};
    if (from.empty())
      return Fail("replace: found an empty string to replace, expected at least one character");
    size_t at = 0;
    for (size_t found = self.find(from); found != self.npos && count != 0; found = self.find(from, at), --count) {
      out.append(self, at, found - at);
      out += to;
      at = found + from.size();
      if (out.size() > limits_.output_bytes)
        return FailOutput();
    }
    out.append(self, at);
    return MakeString(std::move(out));
  }

  Value CallDict(const std::string &name, const Value &self, const Arguments &arguments) {
    Charge(static_cast<int64_t>(self.dict->size()));
    if (name == "get") {
      Value key = arguments.positional.empty() ? Value() : arguments.positional[0];
      for (const auto &[candidate, value] : *self.dict)
        if (Equal(candidate, key))
          return value;
      const Value *otherwise = Argument(arguments, 1, "default");
      return otherwise ? *otherwise : Value::None();
    }
    List out;
    for (const auto &[key, value] : *self.dict)
      out.push_back(name == "keys" ? key : name == "values" ? value : arena_.MakeTuple({key, value}));
    return arena_.MakeList(std::move(out));
  }

  Value CallList(const std::string &name, const Value &self, const Arguments &arguments) {
    if (self.kind == Kind::kLoop) { // cycle
      if (arguments.positional.empty())
        return Fail("loop.cycle: found no arguments, expected at least one");
      return arguments.positional[self.loop->index % arguments.positional.size()];
    }
    int64_t count = 0;
    Value item = arguments.positional.empty() ? Value() : arguments.positional[0];
    for (size_t i = 0; i < self.list->size(); ++i) {
      if (!Equal((*self.list)[i], item))
        continue;
      if (name == "index")
        return Value::Int(static_cast<int64_t>(i));
      ++count;
    }
    return name == "count" ? Value::Int(count) : Fail("index: found no such item in the list");
  }

  Value Join(const Value &value, const std::string &separator) {
    std::string out;
    bool first = true;
    for (const Value &item : Iterate(value)) {
      if (!std::exchange(first, false))
        Append(out, separator);
      Append(out, ToText(item));
      if (failed())
        break;
    }
    return MakeString(std::move(out));
  }

  // ---- filters

  using FilterFunction = Value (Evaluator::*)(const Value &, const Arguments &);
  static const std::map<std::string, FilterFunction, std::less<>> &Filters() {
    static const std::map<std::string, FilterFunction, std::less<>> table = {
        {"abs", &Evaluator::FilterAbs},
        {"capitalize", &Evaluator::FilterCapitalize},
        {"count", &Evaluator::FilterLength},
        {"d", &Evaluator::FilterDefault},
        {"default", &Evaluator::FilterDefault},
        {"dictsort", &Evaluator::FilterDictsort},
        {"first", &Evaluator::FilterFirst},
        {"float", &Evaluator::FilterFloat},
        {"indent", &Evaluator::FilterIndent},
        {"int", &Evaluator::FilterInt},
        {"items", &Evaluator::FilterItems},
        {"join", &Evaluator::FilterJoin},
        {"last", &Evaluator::FilterLast},
        {"length", &Evaluator::FilterLength},
        {"list", &Evaluator::FilterList},
        {"lower", &Evaluator::FilterLower},
        {"map", &Evaluator::FilterMap},
        {"reject", &Evaluator::FilterReject},
        {"rejectattr", &Evaluator::FilterRejectAttr},
        {"replace", &Evaluator::FilterReplace},
        {"reverse", &Evaluator::FilterReverse},
        {"safe", &Evaluator::FilterString},
        {"select", &Evaluator::FilterSelect},
        {"selectattr", &Evaluator::FilterSelectAttr},
        {"sort", &Evaluator::FilterSort},
        {"string", &Evaluator::FilterString},
        {"title", &Evaluator::FilterTitle},
        {"tojson", &Evaluator::FilterToJson},
        {"trim", &Evaluator::FilterTrim},
        {"unique", &Evaluator::FilterUnique},
        {"upper", &Evaluator::FilterUpper},
    };
    return table;
  }

  Value Filter(const std::string &name, const Value &value, const Arguments &arguments) {
    auto it = Filters().find(name);
    if (it != Filters().end())
      return (this->*it->second)(value, arguments);
    std::string supported;
    for (const auto &[known, function] : Filters())
      supported += (supported.empty() ? "" : ", ") + known;
    return FailUnsupported("filter", name, supported);
  }

  Value FilterTrim(const Value &value, const Arguments &arguments) {
    const Value *chars = Argument(arguments, 0, "chars");
    std::optional<std::string_view> stripped;
    if (chars && chars->string())
      stripped = chars->str();
    std::string text = ToText(value);
    return MakeString(std::string(Stripped(text, true, true, stripped)));
  }
  Value FilterUpper(const Value &value, const Arguments &) { return MakeString(Upper(ToText(value))); }
  Value FilterLower(const Value &value, const Arguments &) { return MakeString(Lower(ToText(value))); }
  Value FilterTitle(const Value &value, const Arguments &) { return MakeString(Title(ToText(value), true)); }
  Value FilterCapitalize(const Value &value, const Arguments &) { return MakeString(Title(ToText(value), false)); }
  Value FilterString(const Value &value, const Arguments &) { return MakeString(ToText(value)); }
  Value FilterReplace(const Value &value, const Arguments &arguments) {
    return ReplaceString(ToText(value), StringArgument("replace", arguments, 0, "old"),
                         StringArgument("replace", arguments, 1, "new"),
                         IntArgument("replace", arguments, 2, "count", -1));
  }
  Value FilterIndent(const Value &value, const Arguments &arguments) {
    int64_t width = std::clamp<int64_t>(IntArgument("indent", arguments, 0, "width", 4), 0, 1000);
    bool first = Flag(arguments, 1, "first"), blank = Flag(arguments, 2, "blank");
    std::string text = ToText(value), margin(static_cast<size_t>(width), ' '), out = first ? margin : "";
    for (size_t at = 0; at <= text.size() && out.size() <= limits_.output_bytes;) {
      size_t end = std::min(text.find('\n', at), text.size());
      if (at > 0 && (blank || end > at))
        out += margin;
      out += text.substr(at, end - at);
      if (end < text.size())
        out += '\n';
      at = end + 1;
    }
    return MakeString(std::move(out));
  }
  Value FilterToJson(const Value &value, const Arguments &arguments) {
    JsonStyle style;
    style.ascii = Flag(arguments, 0, "ensure_ascii");
    style.sort_keys = Flag(arguments, 3, "sort_keys");
    if (const Value *indent = Argument(arguments, 1, "indent"); indent && !indent->none()) {
      style.indent = std::clamp<int64_t>(IntArgument("tojson", arguments, 1, "indent", 0), 0, 64);
      style.item_separator = ",";
    }
    if (const Value *separators = Argument(arguments, 2, "separators"); separators && !separators->none()) {
      List both = Iterate(*separators);
      if (both.size() != 2 || !both[0].string() || !both[1].string())
        return Fail("tojson: found separators that are not two strings");
      style.item_separator = both[0].str();
      style.key_separator = both[1].str();
    }
    std::string out;
    WriteJson(value, style, 0, out);
    return MakeString(std::move(out));
  }
  Value FilterLength(const Value &value, const Arguments &) {
    if (value.string()) {
      ChargeBytes(value.str().size());
      return Value::Int(static_cast<int64_t>(Characters(value.str()).size()));
    }
    if (value.sequence())
      return Value::Int(static_cast<int64_t>(value.list->size()));
    if (value.mapping())
      return Value::Int(static_cast<int64_t>(value.dict->size()));
    if (value.undefined())
      return Value::Int(0);
    return Fail(fmt::format("length: found a {}, expected a string, a list or a dict", TypeName(value)));
  }
  Value FilterDefault(const Value &value, const Arguments &arguments) {
    if (!value.undefined() && !(Flag(arguments, 1, "boolean") && !Truth(value)))
      return value;
    const Value *otherwise = Argument(arguments, 0, "default_value");
    return otherwise ? *otherwise : Value::String("");
  }
  Value FilterJoin(const Value &value, const Arguments &arguments) {
    const Value *separator = Argument(arguments, 0, "d"), *attribute = Argument(arguments, 1, "attribute");
    std::string text = separator ? ToText(*separator) : "";
    if (!attribute)
      return Join(value, text);
    List items;
    for (const Value &item : Iterate(value))
      items.push_back(AttributePath(item, *attribute));
    return Join(arena_.MakeList(std::move(items)), text);
  }
  Value FilterFirst(const Value &value, const Arguments &) {
    List items = Iterate(value);
    return items.empty() ? Value::Undefined("the first of nothing") : items.front();
  }
  Value FilterLast(const Value &value, const Arguments &) {
    List items = Iterate(value);
    return items.empty() ? Value::Undefined("the last of nothing") : items.back();
  }
  Value FilterList(const Value &value, const Arguments &) { return arena_.MakeList(Iterate(value)); }
  Value FilterReverse(const Value &value, const Arguments &) {
    List items = Iterate(value);
    std::reverse(items.begin(), items.end());
    if (!value.string())
      return arena_.MakeList(std::move(items));
    return Join(arena_.MakeList(std::move(items)), "");
  }
  Value FilterItems(const Value &value, const Arguments &arguments) {
    if (value.undefined())
      return arena_.MakeList({});
    if (!value.mapping())
      return Fail(fmt::format("items: found a {}, expected a dict", TypeName(value)));
    return CallDict("items", value, arguments);
  }
  Value FilterAbs(const Value &value, const Arguments &) {
    if (value.kind == Kind::kFloat)
      return Value::Float(std::fabs(value.real));
    return value.integral() && value.integer >= 0 ? Value::Int(value.integer) : Unary("-", value);
  }
  Value FilterInt(const Value &value, const Arguments &arguments) {
    const Value *otherwise = Argument(arguments, 0, "default");
    Value fallback = otherwise ? *otherwise : Value::Int(0);
    if (value.integral())
      return Value::Int(value.integer);
    if (value.kind == Kind::kFloat)
      return std::fabs(value.real) < 9.2e18 ? Value::Int(static_cast<int64_t>(value.real)) : fallback;
    if (!value.string())
      return fallback;
    Value number = FilterFloat(value, {});
    std::string_view text = Stripped(value.str(), true, true, std::nullopt);
    text.remove_prefix(text.starts_with('+') ? 1 : 0);
    int64_t integer = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
    if (error == std::errc() && end == text.data() + text.size() && !text.empty())
      return Value::Int(integer);
    return number.real != 0 && std::fabs(number.real) < 9.2e18 ? Value::Int(static_cast<int64_t>(number.real))
                                                               : fallback;
  }
  Value FilterFloat(const Value &value, const Arguments &arguments) {
    const Value *otherwise = Argument(arguments, 0, "default");
    Value fallback = otherwise ? *otherwise : Value::Float(0);
    if (value.number())
      return Value::Float(value.AsReal());
    if (!value.string())
      return fallback;
    std::string_view text = Stripped(value.str(), true, true, std::nullopt);
    double real = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), real);
    return error == std::errc() && end == text.data() + text.size() && !text.empty() ? Value::Float(real) : fallback;
  }

  // Small letters and capitals are one, as in Jinja's sort, unique and dictsort unless asked otherwise.
  Value SortKey(const Value &value, bool case_sensitive) {
    return value.string() && !case_sensitive ? Value::String(Lower(value.str())) : value;
  }
  Value FilterSort(const Value &value, const Arguments &arguments) {
    bool reverse = Flag(arguments, 0, "reverse"), case_sensitive = Flag(arguments, 1, "case_sensitive");
    const Value *attribute = Argument(arguments, 2, "attribute");
    std::list<std::pair<Value, Value>> keyed;
    for (const Value &item : Iterate(value))
      keyed.emplace_back(SortKey(attribute ? AttributePath(item, *attribute) : item, case_sensitive), item);
    return arena_.MakeList(Sorted(std::move(keyed), reverse));
  }
  Value FilterDictsort(const Value &value, const Arguments &arguments) {
    if (!value.mapping())
      return Fail(fmt::format("dictsort: found a {}, expected a dict", TypeName(value)));
    bool case_sensitive = Flag(arguments, 0, "case_sensitive"), reverse = Flag(arguments, 2, "reverse");
    const Value *by = Argument(arguments, 1, "by");
    bool by_value = by && by->string() && by->str() == "value";
    std::list<std::pair<Value, Value>> keyed;
    for (const auto &[key, entry] : *value.dict)
      keyed.emplace_back(SortKey(by_value ? entry : key, case_sensitive), arena_.MakeTuple({key, entry}));
    return arena_.MakeList(Sorted(std::move(keyed), reverse));
  }
  // A list's sort is stable, and safe with NaN, which is in no order.
  List Sorted(std::list<std::pair<Value, Value>> keyed, bool reverse) {
    // Keys of several types have no order: refused before the sort relies on one.
    for (const auto &[key, item] : keyed)
      Less(keyed.front().first, key);
    List out;
    if (failed())
      return out;
    keyed.sort([&](const auto &a, const auto &b) { return reverse ? Less(b.first, a.first) : Less(a.first, b.first); });
    for (auto &[key, item] : keyed)
      out.push_back(std::move(item));
    return out;
  }
  Value FilterUnique(const Value &value, const Arguments &arguments) {
    bool case_sensitive = Flag(arguments, 0, "case_sensitive");
    List seen, out;
    for (const Value &item : Iterate(value)) {
      Value key = SortKey(item, case_sensitive);
      if (failed() || std::any_of(seen.begin(), seen.end(), [&](const Value &old) { return Equal(old, key); }))
        continue;
      seen.push_back(std::move(key));
      out.push_back(item);
    }
    return arena_.MakeList(std::move(out));
  }

  // item.a.b for 'a.b'.
  Value AttributePath(const Value &item, const Value &path) {
    if (path.integral())
      return Index(item, path);
    if (!path.string())
      return Fail(fmt::format("found a {}, expected the name of an attribute", TypeName(path)));
    Value value = item;
    std::string_view rest = path.str();
    while (!failed()) {
      size_t dot = std::min(rest.find('.'), rest.size());
      value = Index(value, Value::String(std::string(rest.substr(0, dot))));
      if (dot == rest.size())
        return value;
      rest.remove_prefix(dot + 1);
      if (value.undefined())
        return value;
    }
    return {};
  }

  Value FilterMap(const Value &value, const Arguments &arguments) {
    List out;
    const Value *attribute = nullptr;
    if (arguments.positional.empty())
      attribute = Argument(arguments, SIZE_MAX, "attribute");
    if (!attribute && arguments.positional.empty())
      return Fail("map: found no arguments, expected the name of a filter or attribute=...");
    const Value *otherwise = attribute ? Argument(arguments, SIZE_MAX, "default") : nullptr;
    Arguments rest = arguments;
    if (!attribute)
      rest.positional.erase(rest.positional.begin());
    for (const Value &item : Iterate(value)) {
      if (failed())
        break;
      if (attribute) {
        Value found = AttributePath(item, *attribute);
        out.push_back(found.undefined() && otherwise ? *otherwise : found);
      } else {
        out.push_back(Filter(StringArgument("map", arguments, 0, "filter"), item, rest));
      }
    }
    return arena_.MakeList(std::move(out));
  }

  // select, reject (of the item) and selectattr, rejectattr (of an attribute of it).
  Value Choose(const Value &value, const Arguments &arguments, bool wanted, bool by_attribute) {
    List out;
    size_t used = by_attribute ? 1 : 0;
    if (arguments.positional.size() < used)
      return Fail("selectattr: found no arguments, expected the name of an attribute");
    bool tested = arguments.positional.size() > used;
    std::string test = tested ? StringArgument("select", arguments, used, "test") : "";
    std::vector<Value> operands;
    if (tested)
      operands.assign(arguments.positional.begin() + used + 1, arguments.positional.end());
    for (const Value &item : Iterate(value)) {
      if (failed())
        break;
      Value tested_value = by_attribute ? AttributePath(item, arguments.positional[0]) : item;
      if ((tested ? Test(test, tested_value, operands) : Truth(tested_value)) == wanted)
        out.push_back(item);
    }
    return arena_.MakeList(std::move(out));
  }
  Value FilterSelect(const Value &value, const Arguments &arguments) { return Choose(value, arguments, true, false); }
  Value FilterReject(const Value &value, const Arguments &arguments) { return Choose(value, arguments, false, false); }
  Value FilterSelectAttr(const Value &value, const Arguments &arguments) {
    return Choose(value, arguments, true, true);
  }
  Value FilterRejectAttr(const Value &value, const Arguments &arguments) {
    return Choose(value, arguments, false, true);
  }

  // ---- tests

  bool Test(const std::string &name, const Value &value, const std::vector<Value> &operands) {
    struct Comparison {
      std::string_view name, op;
    };
    constexpr Comparison kComparisons[] = {{"eq", "=="}, {"equalto", "=="}, {"==", "=="},      {"ne", "!="},
                                           {"!=", "!="}, {"lt", "<"},       {"lessthan", "<"}, {"<", "<"},
                                           {"le", "<="}, {"<=", "<="},      {"gt", ">"},       {"greaterthan", ">"},
                                           {">", ">"},   {"ge", ">="},      {">=", ">="},      {"in", "in"}};
    for (const Comparison &comparison : kComparisons) {
      if (name != comparison.name)
        continue;
      if (operands.size() != 1) {
        Fail(fmt::format("the test {}: found {} operands, expected 1", name, operands.size()));
        return false;
      }
      return Compare(std::string(comparison.op), value, operands[0]);
    }
    if (name == "defined")
      return !value.undefined();
    if (name == "undefined")
      return value.undefined();
    if (name == "none")
      return value.none();
    if (name == "string")
      return value.string();
    if (name == "number")
      return value.number();
    if (name == "integer")
      return value.kind == Kind::kInt;
    if (name == "float")
      return value.kind == Kind::kFloat;
    if (name == "boolean")
      return value.kind == Kind::kBool;
    if (name == "true" || name == "false")
      return value.kind == Kind::kBool && (value.integer != 0) == (name == "true");
    if (name == "mapping")
      return value.mapping();
    if (name == "sequence")
      return value.sequence() || value.string() || value.mapping() || value.undefined();
    if (name == "iterable")
      return value.sequence() || value.string() || value.mapping() || value.undefined();
    if (name == "callable")
      return value.kind == Kind::kCallable;
    if (name == "odd" || name == "even") {
      if (!value.integral())
        Fail(fmt::format("the test {}: found a {}, expected an int", name, TypeName(value)));
      return !failed() && (value.integer % 2 != 0) == (name == "odd");
    }
    if (name == "divisibleby") {
      if (!value.integral() || operands.size() != 1 || !operands[0].integral() || operands[0].integer == 0)
        Fail("the test divisibleby: expected an int and a divisor other than 0");
      return !failed() && (operands[0].integer == -1 || value.integer % operands[0].integer == 0);
    }
    if (name == "sameas" && operands.size() == 1)
      return value.kind == operands[0].kind && Equal(value, operands[0]);
    if (name == "lower" || name == "upper") {
      std::string text = ToText(value);
      return text == (name == "lower" ? Lower(text) : Upper(text)) && Lower(text) != Upper(text);
    }
    FailUnsupported(
        "test", name,
        "defined, undefined, none, string, number, integer, float, boolean, true, false, mapping, sequence, "
        "iterable, callable, odd, even, divisibleby, sameas, lower, upper, in, eq, ne, lt, le, gt, ge");
    return false;
  }

  std::string file_;
  Arena &arena_;
  TemplateLimits limits_;
  Scope globals_;
  Scope *scope_;
  absl::Status status_;
  int64_t steps_ = 0;
  int nesting_ = 0;
  int loop_depth_ = 0;
  int line_ = 1;
};

} // namespace

absl::StatusOr<std::string> EvaluateTemplate(const Block &block, std::string_view file, Scope globals, Arena &arena,
                                             const TemplateLimits &limits) {
  return Evaluator(file, std::move(globals), arena, limits).Run(block);
}

} // namespace inlay::tokenizer

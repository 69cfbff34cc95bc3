// Evaluates the syntax tree of a template: statements, scopes, expressions, macros and loops.
#include "formats/tokenizer/template_eval.h"

#include "formats/tokenizer/template_engine.h"
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace inlay::tokenizer {
namespace {

using Kind = Value::Kind;

constexpr int64_t kScopeSteps = 4; // the cost of a scope's memory in steps

enum class Flow { kNext, kBreak, kContinue };

class Evaluator : public Engine {
public:
  Evaluator(std::string_view file, Scope globals, Arena &arena, const TemplateLimits &limits)
      : Engine(file, arena, limits), globals_(std::move(globals)), scope_(&globals_) {}

  absl::StatusOr<std::string> Run(const Block &block) {
    std::string out;
    Execute(block, out);
    if (failed())
      return status();
    return out;
  }

private:
  // Sets the current scope and restores the previous one.
  struct InScope {
    InScope(Evaluator &evaluator, Scope *scope) : evaluator(evaluator), outer(std::exchange(evaluator.scope_, scope)) {}
    ~InScope() { evaluator.scope_ = outer; }
    InScope(const InScope &) = delete;
    InScope &operator=(const InScope &) = delete;
    Evaluator &evaluator;
    Scope *outer;
  };
  Scope *NewScope(Scope *parent) {
    Charge(kScopeSteps);
    return arena.NewScope(parent);
  }

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
      return Flow::kNext;
    case Stmt::Kind::kOutput:
      if (Value value = Evaluate(*stmt.value); !failed())
        Append(out, ToText(value));
      return Flow::kNext;
    case Stmt::Kind::kIf:
      for (const Stmt::Branch &branch : stmt.branches) {
        if (branch.condition && !Truth(Evaluate(*branch.condition)))
          continue;
        return failed() ? Flow::kNext : Execute(branch.body, out);
      }
      return Flow::kNext;
    case Stmt::Kind::kFor:
      return ExecuteLoop(stmt, Evaluate(*stmt.value), 0, scope_, out);
    case Stmt::Kind::kSet: {
      Value value = Evaluate(*stmt.value);
      Bind(*stmt.target, value);
      return Flow::kNext;
    }
    case Stmt::Kind::kSetBlock:
    case Stmt::Kind::kFilterBlock:
      return ExecuteFiltered(stmt, out);
    case Stmt::Kind::kMacro:
      scope_->Set(stmt.text, arena.MakeCallable({Callable::Kind::kMacro, stmt.text, {}, &stmt, scope_}));
      return Flow::kNext;
    case Stmt::Kind::kCall: {
      Value callee = Evaluate(*stmt.value->children[0]);
      Arguments arguments = EvaluateArguments(*stmt.value);
      AddNamed(arguments, "caller", arena.MakeCallable({Callable::Kind::kMacro, "", {}, &stmt, scope_}));
      if (Value value = failed() ? Value() : Call(callee, arguments); !failed())
        Append(out, ToText(value));
      return Flow::kNext;
    }
    case Stmt::Kind::kWith: {
      Scope *inner = NewScope(scope_);
      for (const auto &[target, value] : stmt.assignments) {
        Value computed = Evaluate(*value);
        InScope scope(*this, inner);
        Bind(*target, computed);
      }
      InScope scope(*this, inner);
      return Execute(stmt.branches[0].body, out);
    }
    case Stmt::Kind::kGeneration: {
      InScope scope(*this, NewScope(scope_));
      return Execute(stmt.branches[0].body, out);
    }
    case Stmt::Kind::kBreak:
      return Flow::kBreak;
    case Stmt::Kind::kContinue:
      return Flow::kContinue;
    }
    return Flow::kNext;
  }

  // {% set x %} and {% filter %}: evaluates the body to text in a new scope, then applies the filters.
  Flow ExecuteFiltered(const Stmt &stmt, std::string &out) {
    Value value;
    {
      InScope scope(*this, NewScope(scope_));
      std::string text;
      if (Flow flow = Execute(stmt.branches[0].body, text); flow != Flow::kNext)
        return flow;
      value = failed() ? Value() : MakeString(std::move(text));
      if (stmt.value) {
        Value outer = std::exchange(block_text_, value);
        value = Evaluate(*stmt.value);
        block_text_ = std::move(outer);
      }
    }
    if (failed())
      return Flow::kNext;
    if (stmt.kind == Stmt::Kind::kFilterBlock)
      Append(out, ToText(value));
    else
      Bind(*stmt.target, value);
    return Flow::kNext;
  }

  void Bind(const Expr &target, const Value &value) {
    if (failed())
      return;
    if (target.kind == Expr::Kind::kName) {
      scope_->Set(target.text, value);
      return;
    }
    if (target.kind == Expr::Kind::kAttribute)
      return BindAttribute(target.children[0]->text, target.text, value);
    List parts = ToList(value);
    if (!failed() && parts.size() != target.children.size())
      Fail(fmt::format("found {} values, expected {}, one for each name", parts.size(), target.children.size()));
    for (size_t i = 0; i < target.children.size() && !failed(); ++i)
      Bind(*target.children[i], parts[i]);
  }

  void BindAttribute(const std::string &name, const std::string &attribute, const Value &value) {
    Value *target = scope_->Find(name);
    if (!target || target->kind != Kind::kNamespace)
      Fail(fmt::format("found an assignment to {}.{}, expected a namespace on the left", name, attribute));
    else if (attribute.starts_with('_'))
      Fail(fmt::format("found an assignment to {}.{}, expected a name that does not begin with an underscore", name,
                       attribute));
    else
      SetEntry(*target->dict, Value::String(attribute), value);
  }

  // ---- loops

  // A generator of the items that satisfy the loop's condition.
  Iterator *Filtered(const Stmt &stmt, Iterator *items, Scope *outer) {
    auto step = [this, &stmt, items, outer](Value &out) {
      while (Next(*items, out)) {
        InScope scope(*this, NewScope(outer));
        Bind(*stmt.target, out);
        bool passes = Truth(Evaluate(*stmt.condition));
        if (failed())
          return false;
        if (passes)
          return true;
      }
      return false;
    };
    return arena.MakeIterator("generator", std::move(step)).iterator;
  }

  static std::optional<Value> TakeNext(Engine &engine, Loop &loop) {
    if (loop.after)
      return std::exchange(loop.after, std::nullopt);
    Value next;
    if (!loop.exhausted && engine.Next(*loop.items, next))
      return next;
    loop.exhausted = true;
    return std::nullopt;
  }

  Flow ExecuteLoop(const Stmt &stmt, const Value &iterated, int64_t depth0, Scope *outer, std::string &out) {
    Nested nested(*this);
    Iterator *items = Iterate(iterated);
    if (!items)
      return Flow::kNext;
    Loop *loop = arena.NewLoop();
    loop->stmt = &stmt;
    loop->scope = outer;
    loop->depth0 = depth0;
    loop->items = stmt.condition ? Filtered(stmt, items, outer) : items;
    if (!stmt.condition && iterated.kind != Kind::kIterator)
      loop->length = Length(iterated);
    bool completed = false; // as in jinja2: true if one iteration reached the end of the body
    while (!failed()) {
      std::optional<Value> item = TakeNext(*this, *loop);
      if (!item)
        break;
      ++loop->index0;
      loop->before = std::exchange(loop->current, item);
      InScope scope(*this, NewScope(outer));
      scope_->Set("loop", arena.MakeLoop(loop));
      Bind(*stmt.target, *item);
      Flow flow = failed() ? Flow::kNext : Execute(stmt.branches[0].body, out);
      if (flow == Flow::kBreak)
        break;
      completed = completed || flow == Flow::kNext;
    }
    if (completed || failed() || stmt.branches.size() < 2)
      return Flow::kNext;
    InScope scope(*this, NewScope(outer));
    return Execute(stmt.branches[1].body, out);
  }

  Value CallLoop(Loop &loop, const Value &items) override {
    if (!loop.stmt->recursive)
      return Fail("found a call of 'loop', expected a loop with 'recursive'");
    std::string out;
    ExecuteLoop(*loop.stmt, items, loop.depth0 + 1, loop.scope, out);
    return failed() ? Value() : MakeString(std::move(out));
  }

  // ---- macros

  // Binds arguments like jinja2's Macro.__call__.
  Value CallMacro(const Callable &callable, const Arguments &arguments) override {
    const Stmt &macro = *callable.macro;
    InScope scope(*this, NewScope(callable.scope));
    std::vector<std::pair<std::string, Value>> named = arguments.named;
    auto take = [&](std::string_view name) -> std::optional<Value> {
      auto it = std::find_if(named.begin(), named.end(), [&](const auto &argument) { return argument.first == name; });
      if (it == named.end())
        return std::nullopt;
      Value value = it->second;
      named.erase(it);
      return value;
    };
    size_t given = std::min(arguments.positional.size(), macro.names.size());
    bool caller_found = false;
    for (size_t i = 0; i < macro.names.size(); ++i) {
      std::optional<Value> value = i < given ? std::optional(arguments.positional[i]) : take(macro.names[i]);
      caller_found = caller_found || macro.names[i] == "caller";
      if (!value && macro.defaults[i])
        value = Evaluate(*macro.defaults[i]);
      scope_->Set(macro.names[i], value ? *value : Value::Undefined(macro.names[i]));
      if (failed())
        return {};
    }
    if (macro.uses_caller && !caller_found)
      scope_->Set("caller", take("caller").value_or(Value::Undefined("caller")));
    if (macro.uses_kwargs) {
      Dict entries;
      for (const auto &[name, value] : named)
        entries.emplace_back(Value::String(name), value);
      scope_->Set("kwargs", arena.MakeDict(std::move(entries)));
    } else if (!named.empty()) {
      return Fail(fmt::format("the macro {}: found the argument {}, expected one of: {}", macro.text,
                              Quoted(named[0].first), fmt::join(macro.names, ", ")));
    }
    if (macro.uses_varargs)
      scope_->Set("varargs", arena.MakeTuple(List(arguments.positional.begin() + static_cast<ptrdiff_t>(given),
                                                  arguments.positional.end())));
    else if (arguments.positional.size() > given)
      return Fail(fmt::format("the macro {}: found {} arguments, expected at most {}", macro.text,
                              arguments.positional.size(), macro.names.size()));
    std::string out;
    Execute(macro.branches[0].body, out);
    return failed() ? Value() : MakeString(std::move(out));
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
    case Expr::Kind::kBlockText:
      return block_text_;
    case Expr::Kind::kName:
      return Lookup(expr.text);
    case Expr::Kind::kList:
    case Expr::Kind::kTuple: {
      List items;
      for (const auto &child : expr.children)
        items.push_back(Evaluate(*child));
      return expr.kind == Expr::Kind::kList ? arena.MakeList(std::move(items)) : arena.MakeTuple(std::move(items));
    }
    case Expr::Kind::kDict: {
      Dict entries;
      for (size_t i = 0; i + 1 < expr.children.size() && !failed(); i += 2) {
        Value key = Evaluate(*expr.children[i]);
        Value value = Evaluate(*expr.children[i + 1]);
        SetEntry(entries, std::move(key), std::move(value));
      }
      return arena.MakeDict(std::move(entries));
    }
    case Expr::Kind::kAttribute:
      return Attribute(Evaluate(*expr.children[0]), expr.text);
    case Expr::Kind::kIndex: {
      Value object = Evaluate(*expr.children[0]);
      Value index = Evaluate(*expr.children[1]);
      return Index(object, index);
    }
    case Expr::Kind::kSlice:
      return EvaluateSlice(expr);
    case Expr::Kind::kCall: {
      Value callee = Evaluate(*expr.children[0]);
      Arguments arguments = EvaluateArguments(expr);
      return failed() ? Value() : Call(callee, arguments);
    }
    case Expr::Kind::kFilter: {
      Value value = Evaluate(*expr.children[0]);
      Arguments arguments = EvaluateArguments(expr);
      return failed() ? Value() : ApplyFilter(*this, expr.text, value, arguments);
    }
    case Expr::Kind::kTest: {
      Value value = Evaluate(*expr.children[0]);
      Arguments arguments = EvaluateArguments(expr);
      return failed() ? Value() : Value::Bool(ApplyTest(*this, expr.text, value, arguments));
    }
    case Expr::Kind::kUnary:
      return Unary(expr.text, Evaluate(*expr.children[0]));
    case Expr::Kind::kBinary: {
      Value left = Evaluate(*expr.children[0]);
      if (expr.text == "and" || expr.text == "or")
        return Truth(left) == (expr.text == "and") ? Evaluate(*expr.children[1]) : left;
      Value right = Evaluate(*expr.children[1]);
      line_ = expr.line;
      return Binary(expr.text, left, right);
    }
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

  Value EvaluateSlice(const Expr &expr) {
    Value object = Evaluate(*expr.children[0]);
    std::optional<int64_t> bounds[3];
    for (size_t i = 0; i < 3; ++i) {
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
    return failed() ? Value() : Slice(object, bounds);
  }

  void AddNamed(Arguments &arguments, const std::string &name, const Value &value) {
    for (const auto &[other, old] : arguments.named)
      if (other == name)
        Fail(fmt::format("found two values for the argument {}", Quoted(name)));
    arguments.named.emplace_back(name, value);
  }

  Arguments EvaluateArguments(const Expr &expr) {
    Arguments out;
    for (size_t i = 1; i < expr.children.size(); ++i)
      out.positional.push_back(Evaluate(*expr.children[i]));
    for (const auto &[name, value] : expr.keywords)
      out.named.emplace_back(name, Evaluate(*value));
    if (expr.spread) {
      List more = ToList(Evaluate(*expr.spread));
      out.positional.insert(out.positional.end(), more.begin(), more.end());
    }
    if (expr.spread_named) {
      Value more = Evaluate(*expr.spread_named);
      if (!failed() && !more.mapping())
        Fail(fmt::format("found a {} after '**', expected a dict", TypeName(more)));
      for (size_t i = 0; !failed() && i < more.dict->size(); ++i) {
        const auto &[name, value] = (*more.dict)[i];
        if (!name.string())
          Fail(fmt::format("found a {} as the name of an argument, expected a string", TypeName(name)));
        else if (Charge(static_cast<int64_t>(out.named.size() / 8)))
          AddNamed(out, name.str(), value);
      }
    }
    return out;
  }

  Value Lookup(const std::string &name) {
    if (Value *value = scope_->Find(name))
      return *value;
    if (FindGlobal(name))
      return arena.MakeCallable({Callable::Kind::kGlobal, name, {}});
    if (IsRefusedGlobal(name))
      return FailUnsupported(fmt::format("found {}, which is not supported", Quoted(name)));
    return Value::Undefined(name);
  }

  Scope globals_;
  Scope *scope_;
  Value block_text_; // the text to which the filters of a block are applied
};

} // namespace

absl::StatusOr<std::string> EvaluateTemplate(const Block &block, std::string_view file, Scope globals, Arena &arena,
                                             const TemplateLimits &limits) {
  return Evaluator(file, std::move(globals), arena, limits).Run(block);
}

} // namespace inlay::tokenizer

// The errors that jinja2's compiler reports before a template runs.
#include "formats/tokenizer/template_ast.h"
#include "formats/tokenizer/template_tables.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace inlay::tokenizer {
namespace {

constexpr std::array<std::string_view, 3> kSpecialNames = {"varargs", "kwargs", "caller"};

// The context of a statement or an expression.
struct Place {
  bool conditional = false; // in an if: an unknown filter is an error only when it is evaluated
  bool in_loop = false;     // `break` is allowed
  bool below_loop = false;  // `loop` is the loop object and cannot be assigned
};

class Checker {
public:
  explicit Checker(std::string_view file) : file_(file) {}

  absl::Status Run(Block &block) {
    CheckBlock(block, {});
    return status_;
  }

private:
  void Fail(int line, std::string_view message, bool unsupported = false) {
    std::string text = fmt::format("{}: line {}: {}", file_, line, message);
    if (status_.ok())
      status_ = unsupported ? absl::UnimplementedError(text) : absl::InvalidArgumentError(text);
  }

  // ---- expressions

  void Check(const Expr *expr, const Place &place) {
    if (!expr || !status_.ok())
      return;
    Place inner = place;
    inner.conditional = place.conditional || expr->kind == Expr::Kind::kConditional;
    if (expr->kind == Expr::Kind::kName)
      Load(expr->text);
    if (expr->kind == Expr::Kind::kFilter && !FindFilter(expr->text) &&
        (!place.conditional || IsRefusedFilter(expr->text)))
      Fail(expr->line, fmt::format("found the filter {}, supported: {}", Quoted(expr->text), FilterNames()), true);
    if (expr->kind == Expr::Kind::kTest && !FindTest(expr->text) && !place.conditional)
      Fail(expr->line, fmt::format("found the test {}, supported: {}", Quoted(expr->text), TestNames()), true);
    for (const auto &child : expr->children)
      Check(child.get(), inner);
    for (const auto &[name, value] : expr->keywords)
      Check(value.get(), inner);
    Check(expr->spread.get(), inner);
    Check(expr->spread_named.get(), inner);
  }

  void CheckTarget(const Expr *target, const Place &place, bool store) {
    if (!target)
      return;
    if (target->kind == Expr::Kind::kTuple) {
      for (const auto &child : target->children)
        CheckTarget(child.get(), place, store);
    } else if (target->kind == Expr::Kind::kName) {
      if (store && place.below_loop && target->text == "loop")
        Fail(target->line,
             "found an assignment to 'loop', which is the name of the loop object; fix: use another name");
      Store(target->text);
    }
  }

  // ---- special names that the body of a macro uses

  struct Use {
    Stmt *macro;
    std::array<bool, 3> hidden = {};
  };
  static size_t Special(std::string_view name) {
    return static_cast<size_t>(std::find(kSpecialNames.begin(), kSpecialNames.end(), name) - kSpecialNames.begin());
  }
  void Load(std::string_view name) {
    size_t special = Special(name);
    for (Use &use : uses_) {
      if (special == kSpecialNames.size() || use.hidden[special])
        continue;
      (special == 0 ? use.macro->uses_varargs : special == 1 ? use.macro->uses_kwargs : use.macro->uses_caller) = true;
    }
  }
  void Store(std::string_view name) {
    size_t special = Special(name);
    for (Use &use : uses_)
      if (special < kSpecialNames.size())
        use.hidden[special] = true;
  }

  void CheckMacro(Stmt &stmt, const Place &place) {
    Place inner{false, false, place.below_loop};
    for (const std::string &name : stmt.names)
      Store(name);
    for (const auto &value : stmt.defaults)
      Check(value.get(), inner);
    uses_.push_back({&stmt});
    CheckBlock(stmt.branches[0].body, inner);
    uses_.pop_back();
    for (size_t i = 0; i < stmt.names.size(); ++i) {
      if (stmt.names[i] == "caller" && stmt.uses_caller && !stmt.defaults[i])
        Fail(stmt.line, "found the argument 'caller' without a default, expected one");
      stmt.uses_varargs = stmt.uses_varargs && stmt.names[i] != "varargs";
      stmt.uses_kwargs = stmt.uses_kwargs && stmt.names[i] != "kwargs";
    }
  }

  // ---- statements

  void CheckBlock(Block &block, const Place &place) {
    for (auto &stmt : block)
      if (status_.ok())
        CheckStatement(*stmt, place);
  }

  void CheckStatement(Stmt &stmt, const Place &place) {
    Place scope{false, place.in_loop, place.below_loop}; // for a body with its own variables
    switch (stmt.kind) {
    case Stmt::Kind::kText:
      break;
    case Stmt::Kind::kOutput:
      Check(stmt.value.get(), place);
      break;
    case Stmt::Kind::kIf: {
      Place inner = place;
      inner.conditional = true;
      for (Stmt::Branch &branch : stmt.branches) {
        Check(branch.condition.get(), inner);
        CheckBlock(branch.body, inner);
      }
      break;
    }
    case Stmt::Kind::kFor: {
      Place body{false, true, true}, otherwise{false, place.in_loop && !stmt.recursive, true};
      CheckTarget(stmt.target.get(), body, /*store=*/true);
      Check(stmt.value.get(), place);
      Check(stmt.condition.get(), scope);
      CheckBlock(stmt.branches[0].body, body);
      if (stmt.branches.size() > 1)
        CheckBlock(stmt.branches[1].body, otherwise);
      break;
    }
    case Stmt::Kind::kSet:
      CheckTarget(stmt.target.get(), place, /*store=*/true);
      Check(stmt.value.get(), place);
      break;
    case Stmt::Kind::kSetBlock:
    case Stmt::Kind::kFilterBlock:
      CheckTarget(stmt.target.get(), place, /*store=*/true);
      Check(stmt.value.get(), scope);
      CheckBlock(stmt.branches[0].body, scope);
      break;
    case Stmt::Kind::kMacro:
      CheckMacro(stmt, place);
      break;
    case Stmt::Kind::kCall:
      Check(stmt.value.get(), place);
      CheckMacro(stmt, place);
      break;
    case Stmt::Kind::kWith:
      for (const auto &[target, value] : stmt.assignments) {
        CheckTarget(target.get(), place, /*store=*/false);
        Check(value.get(), place);
      }
      CheckBlock(stmt.branches[0].body, scope);
      break;
    case Stmt::Kind::kGeneration:
      CheckBlock(stmt.branches[0].body, {false, false, place.below_loop});
      break;
    case Stmt::Kind::kBreak:
    case Stmt::Kind::kContinue:
      if (!place.in_loop)
        Fail(stmt.line,
             fmt::format("found '{}' outside of a loop", stmt.kind == Stmt::Kind::kBreak ? "break" : "continue"));
      break;
    }
  }

  std::string file_;
  std::vector<Use> uses_;
  absl::Status status_;
};

} // namespace

absl::Status CheckTemplate(Block &block, std::string_view file) { return Checker(file).Run(block); }

} // namespace inlay::tokenizer

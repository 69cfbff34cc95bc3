// Parses tokens to the syntax tree of a template, with the grammar of jinja2's parser.
#include "formats/tokenizer/template_ast.h"
#include "formats/tokenizer/template_lexer.h"
#include "formats/tokenizer/template_text.h"
#include "formats/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace inlay::tokenizer {
namespace {

using ExprPtr = std::unique_ptr<Expr>;

// Keeps the first error. After an error, the parser is at the end of the tokens, so that all functions return.
class Parser {
public:
  Parser(std::vector<Token> tokens, std::string_view file) : tokens_(std::move(tokens)), file_(file) {
    tokens_.push_back({Token::Kind::kText, tokens_.empty() ? 1 : tokens_.back().line, ""}); // the end
  }

  absl::StatusOr<Block> Run() {
    Block block = ParseBlock({});
    if (!status_.ok())
      return status_;
    return block;
  }

private:
  // ---- tokens
  const Token &Now() const { return tokens_[at_]; }
  bool AtEnd() const { return at_ + 1 >= tokens_.size(); }
  void Next() {
    if (!AtEnd())
      ++at_;
  }
  bool Is(Token::Kind kind, std::string_view text) const { return Now().kind == kind && Now().text == text; }
  bool IsOp(std::string_view op) const { return Is(Token::Kind::kOperator, op); }
  bool IsName(std::string_view name) const { return Is(Token::Kind::kName, name); }
  bool Skip(bool there) {
    if (there)
      Next();
    return there;
  }
  bool SkipOp(std::string_view op) { return Skip(IsOp(op)); }
  bool SkipName(std::string_view name) { return Skip(IsName(name)); }

  void Fail(std::string_view message, bool unsupported = false) {
    if (!status_.ok())
      return;
    std::string text = fmt::format("{}: line {}: {}", file_, Now().line, message);
    status_ = unsupported ? absl::UnimplementedError(text) : absl::InvalidArgumentError(text);
    at_ = tokens_.size() - 1;
  }
  void FailExpected(std::string_view expected) {
    std::string found = AtEnd() ? "the end of the template" : Quoted(Now().text);
    Fail(fmt::format("found {}, expected {}", found, expected));
  }
  void ExpectOp(std::string_view op) {
    if (!SkipOp(op))
      FailExpected(fmt::format("'{}'", op));
  }
  std::string ExpectName() {
    if (Now().kind != Token::Kind::kName) {
      FailExpected("a name");
      return {};
    }
    std::string name = Now().text;
    Next();
    return name;
  }
  void ExpectBlockEnd() {
    if (Now().kind != Token::Kind::kBlockEnd)
      return FailExpected("'%}'");
    Next();
  }

  // ---- statements

  // Parses up to a tag whose name is in `ends`. The caller reads the tag's name and the rest of the tag.
  Block ParseBlock(std::initializer_list<std::string_view> ends) {
    Block block;
    DepthGuard guard(*this);
    while (status_.ok() && !AtEnd()) {
      if (Now().kind == Token::Kind::kText) {
        auto text = Make(Stmt::Kind::kText);
        text->text = Now().text;
        block.push_back(std::move(text));
        Next();
      } else if (Now().kind == Token::Kind::kOutputBegin) {
        Next();
        auto output = Make(Stmt::Kind::kOutput);
        output->value = ParseTuple();
        if (Now().kind != Token::Kind::kOutputEnd)
          FailExpected("'}}'");
        Next();
        block.push_back(std::move(output));
      } else {
        Next(); // kBlockBegin
        if (Now().kind == Token::Kind::kName && std::find(ends.begin(), ends.end(), Now().text) != ends.end())
          return block;
        ParseStatement(block);
      }
    }
    if (ends.size() != 0)
      FailExpected(fmt::format("'{}'", *(ends.end() - 1)));
    return block;
  }

  std::unique_ptr<Stmt> Make(Stmt::Kind kind) {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = Now().line;
    return stmt;
  }

  // The body of a statement. ':' is allowed before its '%}'.
  Block ParseBody(std::initializer_list<std::string_view> ends) {
    SkipOp(":");
    ExpectBlockEnd();
    return ParseBlock(ends);
  }
  // The same, including the closing tag.
  Block ParseWholeBody(std::string_view end) {
    Block body = ParseBody({end});
    Next();
    ExpectBlockEnd();
    return body;
  }

  void ParseStatement(Block &block) {
    std::string name = ExpectName();
    if (!status_.ok())
      return;
    if (name == "if")
      block.push_back(ParseIf());
    else if (name == "for")
      block.push_back(ParseFor());
    else if (name == "set")
      block.push_back(ParseSet());
    else if (name == "macro")
      block.push_back(ParseMacro());
    else if (name == "call")
      block.push_back(ParseCallBlock());
    else if (name == "filter")
      block.push_back(ParseFilterBlock());
    else if (name == "with")
      block.push_back(ParseWith());
    else if (name == "print")
      ParsePrint(block);
    else if (name == "break" || name == "continue") {
      block.push_back(Make(name == "break" ? Stmt::Kind::kBreak : Stmt::Kind::kContinue));
      ExpectBlockEnd();
    } else if (name == "generation") { // marks the assistant's text for training
      auto stmt = Make(Stmt::Kind::kGeneration);
      stmt->branches.push_back({nullptr, ParseWholeBody("endgeneration")});
      block.push_back(std::move(stmt));
    } else {
      Fail(fmt::format("found the statement {}, supported: if, for, set, macro, call, filter, with, print, break, "
                       "continue, generation, raw",
                       Quoted(name)),
           /*unsupported=*/true);
    }
  }

  std::unique_ptr<Stmt> ParseIf() {
    auto stmt = Make(Stmt::Kind::kIf);
    bool last = false;
    while (status_.ok()) {
      Stmt::Branch branch;
      if (!last)
        branch.condition = ParseTuple(/*conditional=*/false);
      branch.body = last ? ParseBody({"endif"}) : ParseBody({"elif", "else", "endif"});
      stmt->branches.push_back(std::move(branch));
      if (SkipName("endif"))
        break;
      last = IsName("else");
      Next();
    }
    ExpectBlockEnd();
    return stmt;
  }

  std::unique_ptr<Stmt> ParseFor() {
    auto stmt = Make(Stmt::Kind::kFor);
    stmt->target = ParseTarget(/*namespaces=*/false);
    if (!SkipName("in"))
      FailExpected("'in'");
    stmt->value = ParseTuple(/*conditional=*/false);
    if (SkipName("if"))
      stmt->condition = ParseExpression();
    stmt->recursive = SkipName("recursive");
    stmt->branches.push_back({nullptr, ParseBody({"endfor", "else"})});
    if (SkipName("else"))
      stmt->branches.push_back({nullptr, ParseBody({"endfor"})});
    Next();
    ExpectBlockEnd();
    return stmt;
  }

  std::unique_ptr<Stmt> ParseSet() {
    auto stmt = Make(Stmt::Kind::kSet);
    stmt->target = ParseTarget(/*namespaces=*/true);
    if (SkipOp("=")) {
      stmt->value = ParseTuple();
      ExpectBlockEnd();
      return stmt;
    }
    stmt->kind = Stmt::Kind::kSetBlock;
    if (IsOp("|"))
      stmt->value = ParseFilterChain(MakeExpr(Expr::Kind::kBlockText));
    stmt->branches.push_back({nullptr, ParseWholeBody("endset")});
    return stmt;
  }

  // (names = defaults)
  void ParseSignature(Stmt &stmt) {
    ExpectOp("(");
    while (status_.ok() && !IsOp(")")) {
      if (!stmt.names.empty())
        ExpectOp(",");
      stmt.names.push_back(ExpectAssignableName());
      if (SkipOp("="))
        stmt.defaults.push_back(ParseExpression());
      else if (!stmt.defaults.empty() && stmt.defaults.back())
        FailExpected("a default, because the previous argument has one");
      else
        stmt.defaults.push_back(nullptr);
    }
    ExpectOp(")");
  }

  std::unique_ptr<Stmt> ParseMacro() {
    auto stmt = Make(Stmt::Kind::kMacro);
    stmt->text = ExpectAssignableName();
    ParseSignature(*stmt);
    stmt->branches.push_back({nullptr, ParseWholeBody("endmacro")});
    return stmt;
  }

  std::unique_ptr<Stmt> ParseCallBlock() {
    auto stmt = Make(Stmt::Kind::kCall);
    if (IsOp("("))
      ParseSignature(*stmt);
    stmt->value = ParseExpression();
    if (status_.ok() && stmt->value->kind != Expr::Kind::kCall)
      FailExpected("a call");
    stmt->branches.push_back({nullptr, ParseWholeBody("endcall")});
    return stmt;
  }

  std::unique_ptr<Stmt> ParseFilterBlock() {
    auto stmt = Make(Stmt::Kind::kFilterBlock);
    stmt->value = ParseFilterChain(ParseFilter(MakeExpr(Expr::Kind::kBlockText)));
    stmt->branches.push_back({nullptr, ParseWholeBody("endfilter")});
    return stmt;
  }

  std::unique_ptr<Stmt> ParseWith() {
    auto stmt = Make(Stmt::Kind::kWith);
    while (status_.ok() && Now().kind != Token::Kind::kBlockEnd && !IsOp(":")) {
      if (!stmt->assignments.empty())
        ExpectOp(",");
      ExprPtr target = ParseTarget(/*namespaces=*/false, /*tuple=*/false);
      ExpectOp("=");
      stmt->assignments.emplace_back(std::move(target), ParseExpression());
    }
    stmt->branches.push_back({nullptr, ParseWholeBody("endwith")});
    return stmt;
  }

  void ParsePrint(Block &block) {
    for (bool first = true; status_.ok() && Now().kind != Token::Kind::kBlockEnd; first = false) {
      if (!first)
        ExpectOp(",");
      auto output = Make(Stmt::Kind::kOutput);
      output->value = ParseExpression();
      block.push_back(std::move(output));
    }
    ExpectBlockEnd();
  }

  // ---- targets of assignments

  static bool IsConstantName(std::string_view name) {
    return name == "true" || name == "True" || name == "false" || name == "False" || name == "none" || name == "None";
  }

  std::string ExpectAssignableName() {
    if (Now().kind == Token::Kind::kName && IsConstantName(Now().text))
      FailExpected("a name that can be assigned to");
    return ExpectName();
  }

  ExprPtr ParseTarget(bool namespaces, bool tuple = true) {
    ExprPtr first = ParseOneTarget(namespaces);
    if (!tuple || !IsOp(","))
      return first;
    auto all = MakeExpr(Expr::Kind::kTuple);
    Push(*all, std::move(first));
    while (status_.ok() && SkipOp(",")) {
      if (IsOp("=") || IsOp(")") || IsName("in") || Now().kind == Token::Kind::kBlockEnd)
        break;
      Push(*all, ParseOneTarget(namespaces));
    }
    return all;
  }

  ExprPtr ParseOneTarget(bool namespaces) {
    DepthGuard guard(*this);
    if (SkipOp("(")) {
      ExprPtr inner = ParseTarget(/*namespaces=*/false);
      ExpectOp(")");
      return inner;
    }
    auto name = MakeExpr(Expr::Kind::kName, ExpectAssignableName());
    if (!namespaces || !SkipOp("."))
      return name;
    auto attribute = MakeExpr(Expr::Kind::kAttribute, ExpectName());
    Push(*attribute, std::move(name));
    return attribute;
  }

  // ---- expressions, from the lowest to the highest precedence

  struct DepthGuard {
    explicit DepthGuard(Parser &parser) : parser(parser) {
      if (++parser.depth_ > kMaxTemplateDepth)
        parser.Fail(fmt::format("found nesting deeper than {}", kMaxTemplateDepth));
    }
    ~DepthGuard() { --parser.depth_; }
    Parser &parser;
  };

  ExprPtr MakeExpr(Expr::Kind kind, std::string text = {}) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = Now().line;
    expr->text = std::move(text);
    return expr;
  }
  void Deepen(Expr &parent, const Expr *child) {
    if (!child)
      return;
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > kMaxTemplateDepth)
      Fail(fmt::format("found an expression deeper than {}", kMaxTemplateDepth));
  }
  void Push(Expr &parent, ExprPtr child) {
    Deepen(parent, child.get());
    parent.children.push_back(std::move(child));
  }
  ExprPtr MakeBinary(std::string op, ExprPtr left, ExprPtr right) {
    auto expr = MakeExpr(Expr::Kind::kBinary, std::move(op));
    Push(*expr, std::move(left));
    Push(*expr, std::move(right));
    return expr;
  }

  ExprPtr ParseTuple(bool conditional = true) {
    auto parse = [&] { return conditional ? ParseExpression() : ParseOr(); };
    ExprPtr first = parse();
    if (!IsOp(","))
      return first;
    auto tuple = MakeExpr(Expr::Kind::kTuple);
    Push(*tuple, std::move(first));
    while (status_.ok() && SkipOp(",")) {
      if (Now().kind == Token::Kind::kBlockEnd || Now().kind == Token::Kind::kOutputEnd || IsOp(")") ||
          IsName("recursive"))
        break;
      Push(*tuple, parse());
    }
    return tuple;
  }

  ExprPtr ParseExpression() {
    DepthGuard guard(*this);
    ExprPtr expr = ParseOr();
    while (status_.ok() && SkipName("if")) {
      auto conditional = MakeExpr(Expr::Kind::kConditional);
      Push(*conditional, std::move(expr));
      Push(*conditional, ParseOr());
      Push(*conditional, SkipName("else") ? ParseExpression() : nullptr);
      expr = std::move(conditional);
    }
    return expr;
  }

  ExprPtr ParseOr() {
    ExprPtr expr = ParseAnd();
    while (SkipName("or"))
      expr = MakeBinary("or", std::move(expr), ParseAnd());
    return expr;
  }

  ExprPtr ParseAnd() {
    ExprPtr expr = ParseNot();
    while (SkipName("and"))
      expr = MakeBinary("and", std::move(expr), ParseNot());
    return expr;
  }

  ExprPtr ParseNot() {
    if (!IsName("not"))
      return ParseCompare();
    DepthGuard guard(*this);
    auto expr = MakeExpr(Expr::Kind::kUnary, "not");
    Next();
    Push(*expr, ParseNot());
    return expr;
  }

  std::optional<std::string> SkipComparison() {
    for (std::string_view op : {"==", "!=", "<=", ">=", "<", ">"})
      if (SkipOp(op))
        return std::string(op);
    if (SkipName("in"))
      return "in";
    if (IsName("not") && tokens_[at_ + 1].kind == Token::Kind::kName && tokens_[at_ + 1].text == "in") {
      at_ += 2;
      return "not in";
    }
    return std::nullopt;
  }

  ExprPtr ParseCompare() {
    ExprPtr first = ParseSum();
    std::optional<std::string> op = SkipComparison();
    if (!op)
      return first;
    auto expr = MakeExpr(Expr::Kind::kCompare);
    Push(*expr, std::move(first));
    for (; op; op = SkipComparison()) {
      expr->operators.push_back(*op);
      Push(*expr, ParseSum());
    }
    return expr;
  }

  // One level of left-associative operators.
  template <class Operand>
  ExprPtr ParseLeft(std::initializer_list<std::string_view> operators, const Operand &operand) {
    ExprPtr expr = operand();
    for (bool found = true; found && status_.ok();) {
      found = false;
      for (std::string_view op : operators) {
        if (SkipOp(op)) {
          expr = MakeBinary(std::string(op), std::move(expr), operand());
          found = true;
          break;
        }
      }
    }
    return expr;
  }
  ExprPtr ParseSum() {
    return ParseLeft({"+", "-"}, [&] { return ParseConcat(); });
  }
  ExprPtr ParseConcat() {
    return ParseLeft({"~"}, [&] { return ParseProduct(); });
  }
  ExprPtr ParseProduct() {
    return ParseLeft({"*", "/", "//", "%"}, [&] { return ParsePower(); });
  }
  ExprPtr ParsePower() {
    return ParseLeft({"**"}, [&] { return ParseUnary(true); });
  }

  ExprPtr ParseUnary(bool with_filters) {
    DepthGuard guard(*this);
    ExprPtr expr;
    if (IsOp("-") || IsOp("+")) {
      expr = MakeExpr(Expr::Kind::kUnary, Now().text);
      Next();
      Push(*expr, ParseUnary(false));
    } else {
      expr = ParsePrimary();
    }
    expr = ParsePostfix(std::move(expr));
    return with_filters ? ParseFilters(std::move(expr)) : std::move(expr);
  }

  ExprPtr ParsePrimary() {
    const Token &token = Now();
    ExprPtr expr = MakeExpr(Expr::Kind::kNone);
    if (token.kind == Token::Kind::kName) {
      const std::string &name = token.text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        expr->kind = Expr::Kind::kBool;
        expr->integer = name == "true" || name == "True";
      } else if (name != "none" && name != "None") {
        expr->kind = Expr::Kind::kName;
        expr->text = name;
      }
      Next();
    } else if (token.kind == Token::Kind::kString) {
      expr->kind = Expr::Kind::kString;
      while (Now().kind == Token::Kind::kString) { // adjacent literals are concatenated
        expr->text += Now().text;
        Next();
      }
    } else if (token.kind == Token::Kind::kInt || token.kind == Token::Kind::kFloat) {
      bool real = token.kind == Token::Kind::kFloat;
      expr->kind = real ? Expr::Kind::kFloat : Expr::Kind::kInt;
      if (real) {
        expr->real = ParseFloat(token.text).value_or(0);
      } else {
        bool overflow = false;
        std::optional<int64_t> integer = ParseInt(token.text, 0, overflow);
        if (!integer)
          FailExpected("a number of 64 bits");
        expr->integer = integer.value_or(0);
      }
      Next();
    } else if (SkipOp("(")) {
      if (SkipOp(")")) {
        expr->kind = Expr::Kind::kTuple;
      } else {
        expr = ParseTuple();
        ExpectOp(")");
      }
    } else if (SkipOp("[")) {
      expr->kind = Expr::Kind::kList;
      while (status_.ok() && !IsOp("]")) {
        Push(*expr, ParseExpression());
        if (!SkipOp(","))
          break;
      }
      ExpectOp("]");
    } else if (SkipOp("{")) {
      expr->kind = Expr::Kind::kDict;
      while (status_.ok() && !IsOp("}")) {
        Push(*expr, ParseExpression());
        ExpectOp(":");
        Push(*expr, ParseExpression());
        if (!SkipOp(","))
          break;
      }
      ExpectOp("}");
    } else {
      FailExpected("an expression");
    }
    return expr;
  }

  ExprPtr ParsePostfix(ExprPtr expr) {
    while (status_.ok()) {
      if (SkipOp(".")) {
        ExprPtr attribute;
        if (Now().kind == Token::Kind::kInt) { // a.0 is a[0]
          attribute = MakeExpr(Expr::Kind::kIndex);
          Push(*attribute, std::move(expr));
          Push(*attribute, ParsePrimary());
        } else {
          attribute = MakeExpr(Expr::Kind::kAttribute);
          attribute->text = ExpectName();
          Push(*attribute, std::move(expr));
        }
        expr = std::move(attribute);
      } else if (SkipOp("[")) {
        expr = ParseSubscript(std::move(expr));
      } else if (IsOp("(")) {
        expr = ParseCall(std::move(expr));
      } else {
        break;
      }
    }
    return expr;
  }

  ExprPtr ParseCall(ExprPtr callee) {
    auto call = MakeExpr(Expr::Kind::kCall);
    Push(*call, std::move(callee));
    ParseArguments(*call);
    return call;
  }

  ExprPtr ParseSubscript(ExprPtr object) {
    auto expr = MakeExpr(Expr::Kind::kIndex);
    Push(*expr, std::move(object));
    if (IsOp(":"))
      return ParseSlice(std::move(expr), nullptr);
    ExprPtr index = ParseExpression();
    if (IsOp(":"))
      return ParseSlice(std::move(expr), std::move(index));
    if (IsOp(",")) {
      auto tuple = MakeExpr(Expr::Kind::kTuple);
      Push(*tuple, std::move(index));
      while (status_.ok() && SkipOp(","))
        if (!IsOp("]"))
          Push(*tuple, ParseExpression());
      index = std::move(tuple);
    }
    Push(*expr, std::move(index));
    ExpectOp("]");
    return expr;
  }

  // The part of a slice from the first ':' on.
  ExprPtr ParseSlice(ExprPtr expr, ExprPtr start) {
    expr->kind = Expr::Kind::kSlice;
    Push(*expr, std::move(start));
    for (int part = 1; part < 3; ++part)
      Push(*expr, SkipOp(":") && !IsOp(":") && !IsOp("]") ? ParseExpression() : nullptr);
    ExpectOp("]");
    return expr;
  }

  void ParseArguments(Expr &call) {
    ExpectOp("(");
    while (status_.ok() && !IsOp(")")) {
      if (SkipOp("*")) {
        if (call.spread || call.spread_named)
          return FailExpected("one '*' at the end of the arguments");
        call.spread = ParseExpression();
        Deepen(call, call.spread.get());
      } else if (SkipOp("**")) {
        if (call.spread_named)
          return FailExpected("one '**' at the end of the arguments");
        call.spread_named = ParseExpression();
        Deepen(call, call.spread_named.get());
      } else if (Now().kind == Token::Kind::kName && tokens_[at_ + 1].kind == Token::Kind::kOperator &&
                 tokens_[at_ + 1].text == "=") {
        if (call.spread_named)
          return FailExpected("no named argument after '**'");
        std::string name = ExpectName();
        Next();
        for (const auto &[other, value] : call.keywords)
          if (other == name)
            return FailExpected("each named argument once");
        ExprPtr value = ParseExpression();
        Deepen(call, value.get());
        call.keywords.emplace_back(std::move(name), std::move(value));
      } else {
        if (!call.keywords.empty() || call.spread || call.spread_named)
          return FailExpected("a named argument, because named arguments precede it");
        Push(call, ParseExpression());
      }
      if (!SkipOp(","))
        break;
    }
    ExpectOp(")");
  }

  ExprPtr ParseFilters(ExprPtr expr) {
    while (status_.ok()) {
      if (IsOp("|"))
        expr = ParseFilterChain(std::move(expr));
      else if (SkipName("is"))
        expr = ParseTest(std::move(expr));
      else if (IsOp("("))
        expr = ParseCall(std::move(expr));
      else
        break;
    }
    return expr;
  }

  ExprPtr ParseFilterChain(ExprPtr expr) {
    while (status_.ok() && SkipOp("|"))
      expr = ParseFilter(std::move(expr));
    return expr;
  }

  // A filter's name, after the '|', and its arguments.
  ExprPtr ParseFilter(ExprPtr value) {
    auto filter = MakeExpr(Expr::Kind::kFilter);
    filter->text = ExpectDottedName();
    Push(*filter, std::move(value));
    if (IsOp("("))
      ParseArguments(*filter);
    return filter;
  }

  std::string ExpectDottedName() {
    std::string name = ExpectName();
    while (status_.ok() && SkipOp("."))
      name += "." + ExpectName();
    return name;
  }

  ExprPtr ParseTest(ExprPtr expr) {
    bool negated = SkipName("not");
    auto test = MakeExpr(Expr::Kind::kTest);
    test->text = ExpectDottedName();
    Push(*test, std::move(expr));
    bool value = Now().kind == Token::Kind::kString || Now().kind == Token::Kind::kInt ||
                 Now().kind == Token::Kind::kFloat || IsOp("[") || IsOp("{");
    bool name = Now().kind == Token::Kind::kName && !IsName("else") && !IsName("or") && !IsName("and");
    if (IsOp("("))
      ParseArguments(*test);
    else if (IsName("is"))
      FailExpected("one test, because tests cannot be chained");
    else if (value || name)
      Push(*test, ParsePostfix(ParsePrimary()));
    if (!negated)
      return test;
    auto expr_not = MakeExpr(Expr::Kind::kUnary, "not");
    Push(*expr_not, std::move(test));
    return expr_not;
  }

  std::vector<Token> tokens_;
  std::string file_;
  size_t at_ = 0;
  int depth_ = 0;
  absl::Status status_;
};

} // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source, std::string_view file) {
  constexpr size_t kMaxBytes = 1 << 20;
  if (source.size() > kMaxBytes)
    return absl::InvalidArgumentError(
        fmt::format("{}: found a template of {} bytes, expected at most {}", file, source.size(), kMaxBytes));
  absl::StatusOr<std::vector<Token>> tokens = LexTemplate(source, file);
  if (!tokens.ok())
    return tokens.status();
  absl::StatusOr<Block> block = Parser(*std::move(tokens), file).Run();
  if (block.ok())
    if (absl::Status status = CheckTemplate(*block, file); !status.ok())
      return status;
  return block;
}

} // namespace inlay::tokenizer

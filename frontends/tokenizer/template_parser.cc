#include "frontends/tokenizer/template_ast.h"

#include "frontends/tokenizer/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace inlay::tokenizer {
namespace {

struct Token {
  enum class Kind { kText, kOutputBegin, kOutputEnd, kBlockBegin, kBlockEnd, kName, kInt, kFloat, kString, kOperator };
  Kind kind;
  int line;
  std::string text;
};

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// ---- source to tokens
// ------------------------------------------------------------------------------------------------

class Lexer {
public:
  Lexer(std::string_view source, std::string_view file) : file_(file) {
    for (size_t i = 0; i < source.size(); ++i) { // line ends as Jinja has them
      if (source[i] != '\r')
        source_ += source[i];
      else if (i + 1 == source.size() || source[i + 1] != '\n')
        source_ += '\n';
    }
    if (source_.ends_with('\n'))
      source_.pop_back();
  }

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size() && status_.ok()) {
      size_t tag = source_.find('{', at_);
      while (tag != source_.npos &&
             (tag + 1 >= source_.size() || std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos))
        tag = source_.find('{', tag + 1);
      ReadText(tag == source_.npos ? source_.size() : tag);
      if (tag == source_.npos)
        break;
      char kind = source_[tag + 1];
      at_ = tag + 2;
      if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+'))
        ++at_;
      if (kind == '#')
        ReadComment();
      else if (kind == '%' && !ReadRaw())
        ReadTag("%}", Token::Kind::kBlockBegin, Token::Kind::kBlockEnd);
      else if (kind == '{')
        ReadTag("}}", Token::Kind::kOutputBegin, Token::Kind::kOutputEnd);
    }
    if (!status_.ok())
      return status_;
    return std::move(tokens_);
  }

private:
  void Fail(std::string_view message) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(fmt::format("{}: line {}: {}", file_, line_, message));
  }

  void Add(Token::Kind kind, std::string_view text) { tokens_.push_back({kind, line_, std::string(text)}); }

  // Moves on, counting lines.
  void MoveTo(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + end, '\n'));
    at_ = end;
  }

  // The text before a tag (or before the end), less the white space that the tag takes.
  void ReadText(size_t end) {
    std::string_view text = std::string_view(source_).substr(at_, end - at_);
    char kind = end + 1 < source_.size() ? source_[end + 1] : '\0';
    char sign = end + 2 < source_.size() ? source_[end + 2] : '\0';
    if (end < source_.size() && sign == '-') {
      while (!text.empty() && IsSpace(text.back()))
        text.remove_suffix(1);
    } else if (end < source_.size() && sign != '+' && kind != '{') { // lstrip_blocks
      size_t line_begin = text.rfind('\n') + 1;                      // 0 if there is none
      if ((line_begin > 0 || line_starting_) && std::all_of(text.begin() + line_begin, text.end(), IsSpace))
        text = text.substr(0, line_begin);
    }
    if (!text.empty())
      Add(Token::Kind::kText, text);
    MoveTo(end);
  }

  // After the closing characters of a tag at `end`: trim_blocks, or what `-` takes.
  void EndTag(size_t end, char sign, bool trims) {
    size_t next = end;
    if (sign == '-') {
      while (next < source_.size() && IsSpace(source_[next]))
        ++next;
    } else if (trims && sign != '+' && next < source_.size() && source_[next] == '\n') {
      ++next;
    }
    line_starting_ = source_[next - 1] == '\n';
    MoveTo(next);
  }

  void ReadComment() {
    size_t end = source_.find("#}", at_);
    if (end == source_.npos)
      return Fail("found a comment without '#}', expected its end");
    char sign = end > at_ ? source_[end - 1] : '\0';
    EndTag(end + 2, sign, true);
  }

  // {% raw %} ... {% endraw %}: text as it stands.
  bool ReadRaw() {
    auto tag = [&](size_t at, std::string_view name, size_t &end, char &sign) {
      auto skip = [&] {
        while (at < source_.size() && IsSpace(source_[at]))
          ++at;
      };
      skip();
      if (std::string_view(source_).substr(std::min(at, source_.size()), name.size()) != name)
        return false;
      at += name.size();
      skip();
      sign = at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at++] : '\0';
      end = at + 2;
      return std::string_view(source_).substr(std::min(at, source_.size()), 2) == "%}";
    };
    size_t end = 0;
    char sign = '\0';
    if (!tag(at_, "raw", end, sign))
      return false;
    EndTag(end, sign, true);
    for (size_t begin = source_.find("{%", at_); begin != source_.npos; begin = source_.find("{%", begin + 2)) {
      size_t inner = begin + 2;
      if (inner < source_.size() && (source_[inner] == '-' || source_[inner] == '+'))
        ++inner;
      if (tag(inner, "endraw", end, sign)) {
        ReadText(begin);
        EndTag(end, sign, true);
        return true;
      }
    }
    Fail("found 'raw' without 'endraw'");
    return true;
  }

  void ReadTag(std::string_view close, Token::Kind begin_kind, Token::Kind end_kind) {
    Add(begin_kind, "");
    int brackets = 0;
    while (status_.ok()) {
      while (at_ < source_.size() && IsSpace(source_[at_]))
        MoveTo(at_ + 1);
      if (at_ == source_.size())
        return Fail(fmt::format("found the end of the template, expected '{}'", close));
      std::string_view rest = std::string_view(source_).substr(at_);
      if (brackets == 0) {
        bool output = end_kind == Token::Kind::kOutputEnd;
        char sign = rest[0] == '-' || (rest[0] == '+' && !output) ? rest[0] : '\0';
        if (rest.substr(sign ? 1 : 0).starts_with(close)) {
          Add(end_kind, close);
          return EndTag(at_ + (sign ? 1 : 0) + 2, sign, !output);
        }
      }
      char c = rest[0];
      if (IsNameStart(c)) {
        size_t size = 1;
        while (size < rest.size() && (IsNameStart(rest[size]) || IsDigit(rest[size])))
          ++size;
        Add(Token::Kind::kName, rest.substr(0, size));
        MoveTo(at_ + size);
      } else if (IsDigit(c)) {
        ReadNumber(rest);
      } else if (c == '\'' || c == '"') {
        ReadString(rest);
      } else {
        ReadOperator(rest, brackets);
      }
    }
  }

  void ReadNumber(std::string_view rest) {
    size_t size = 0;
    auto digits = [&] {
      while (size < rest.size() && (IsDigit(rest[size]) || rest[size] == '_'))
        ++size;
    };
    digits();
    bool real = false;
    if (size + 1 < rest.size() && rest[size] == '.' && IsDigit(rest[size + 1])) {
      real = true;
      ++size;
      digits();
    }
    if (size + 1 < rest.size() && (rest[size] == 'e' || rest[size] == 'E')) {
      size_t sign = rest[size + 1] == '-' || rest[size + 1] == '+' ? 1 : 0;
      if (size + 1 + sign < rest.size() && IsDigit(rest[size + 1 + sign])) {
        real = true;
        size += 1 + sign;
        digits();
      }
    }
    std::string number(rest.substr(0, size));
    std::erase(number, '_');
    Add(real ? Token::Kind::kFloat : Token::Kind::kInt, number);
    MoveTo(at_ + size);
  }

  void ReadString(std::string_view rest) {
    size_t end = 1;
    while (end < rest.size() && rest[end] != rest[0])
      end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size())
      return Fail("found a string without its closing quote");
    std::string_view body = rest.substr(1, end - 1);
    std::string text;
    for (size_t i = 0; i < body.size(); ++i) {
      if (body[i] != '\\') {
        text += body[i];
        continue;
      }
      char c = body[++i]; // there is one: the closing quote is not escaped
      constexpr std::string_view kNames = "abfnrtv\\'\"", kValues = "\a\b\f\n\r\t\v\\'\"";
      if (size_t simple = kNames.find(c); simple != kNames.npos) {
        text += kValues[simple];
      } else if (c == '\n') {
      } else if (c == 'x' || c == 'u' || c == 'U') {
        size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        std::string_view hex = body.substr(i + 1, digits);
        uint32_t value = 0;
        auto [last, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
        if (hex.size() != digits || error != std::errc() || last != hex.data() + hex.size() || value > 0x10FFFF ||
            (value >= 0xD800 && value < 0xE000))
          return Fail(fmt::format("found the escape '\\{}', expected it to name a character", c));
        AppendUtf8(value, text);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        uint32_t value = 0;
        for (int n = 0; n < 3 && i < body.size() && body[i] >= '0' && body[i] <= '7'; ++n)
          value = value * 8 + static_cast<uint32_t>(body[i++] - '0');
        --i;
        AppendUtf8(value, text);
      } else {
        text += '\\';
        text += c;
      }
    }
    Add(Token::Kind::kString, text);
    MoveTo(at_ + end + 1);
  }

  void ReadOperator(std::string_view rest, int &brackets) {
    for (std::string_view op : {"//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "<",
                                ">",  "=",  ".",  ",",  ":",  "|",  "(", ")", "[", "]", "{", "}"}) {
      if (!rest.starts_with(op))
        continue;
      if (op == "(" || op == "[" || op == "{")
        ++brackets;
      if ((op == ")" || op == "]" || op == "}") && --brackets < 0)
        return Fail(fmt::format("found '{}', which nothing opens", op));
      Add(Token::Kind::kOperator, op);
      return MoveTo(at_ + op.size());
    }
    Fail(fmt::format("found {}, expected an expression", Quoted(rest.substr(0, ReadUtf8(rest).length))));
  }

  std::string source_;
  std::string file_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
  absl::Status status_;
};

// ---- tokens to tree
// --------------------------------------------------------------------------------------------------

using ExprPtr = std::unique_ptr<Expr>;

// The first error sticks; from then on every reader returns at once.
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

  // Up to a tag that `ends` names, which is left for the caller (its name and what follows).
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
    else if (name == "break" || name == "continue") {
      if (loops_ == 0)
        return Fail(fmt::format("found '{}' outside of a loop", name));
      block.push_back(Make(name == "break" ? Stmt::Kind::kBreak : Stmt::Kind::kContinue));
      ExpectBlockEnd();
    } else if (name == "generation") { // marks what the assistant says, for training
      ExpectBlockEnd();
      Block body = ParseBlock({"endgeneration"});
      Next();
      ExpectBlockEnd();
      for (auto &stmt : body)
        block.push_back(std::move(stmt));
    } else {
      Fail(fmt::format("found the statement {}, supported: if, for, set, macro, break, continue, generation, raw",
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
        branch.condition = ParseTuple();
      ExpectBlockEnd();
      branch.body = last ? ParseBlock({"endif"}) : ParseBlock({"elif", "else", "endif"});
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
    bool bracket = SkipOp("(");
    do
      stmt->names.push_back(ExpectName());
    while (SkipOp(","));
    if (bracket)
      ExpectOp(")");
    if (!SkipName("in"))
      FailExpected("'in'");
    stmt->value = ParseOr();
    if (SkipOp(",")) { // a tuple without brackets
      auto tuple = MakeExpr(Expr::Kind::kTuple);
      Push(*tuple, std::move(stmt->value));
      do
        Push(*tuple, ParseOr());
      while (SkipOp(","));
      stmt->value = std::move(tuple);
    }
    if (SkipName("if"))
      stmt->condition = ParseExpression();
    if (IsName("recursive"))
      Fail("found a recursive loop, supported: loops and macros", /*unsupported=*/true);
    ExpectBlockEnd();
    ++loops_;
    Stmt::Branch body{nullptr, ParseBlock({"else", "endfor"})};
    --loops_;
    stmt->branches.push_back(std::move(body));
    if (SkipName("else")) {
      ExpectBlockEnd();
      stmt->branches.push_back({nullptr, ParseBlock({"endfor"})});
    }
    Next();
    ExpectBlockEnd();
    return stmt;
  }

  std::unique_ptr<Stmt> ParseSet() {
    auto stmt = Make(Stmt::Kind::kSet);
    bool bracket = SkipOp("(");
    do
      stmt->names.push_back(ExpectName());
    while (SkipOp(","));
    if (bracket)
      ExpectOp(")");
    if (stmt->names.size() == 1 && SkipOp("."))
      stmt->text = ExpectName();
    if (SkipOp("=")) {
      stmt->value = ParseTuple();
      ExpectBlockEnd();
      return stmt;
    }
    if (IsOp("|"))
      Fail("found a filter on a set block, supported: {% set name %} ... {% endset %}", /*unsupported=*/true);
    if (stmt->names.size() != 1 || !stmt->text.empty())
      FailExpected("'='");
    ExpectBlockEnd();
    stmt->kind = Stmt::Kind::kSetBlock;
    stmt->branches.push_back({nullptr, ParseBlock({"endset"})});
    Next();
    ExpectBlockEnd();
    return stmt;
  }

  std::unique_ptr<Stmt> ParseMacro() {
    auto stmt = Make(Stmt::Kind::kMacro);
    stmt->text = ExpectName();
    ExpectOp("(");
    while (status_.ok() && !IsOp(")")) {
      stmt->names.push_back(ExpectName());
      stmt->defaults.push_back(SkipOp("=") ? ParseExpression() : nullptr);
      if (!SkipOp(","))
        break;
    }
    ExpectOp(")");
    ExpectBlockEnd();
    int loops = std::exchange(loops_, 0);
    stmt->branches.push_back({nullptr, ParseBlock({"endmacro"})});
    loops_ = loops;
    Next();
    SkipName(stmt->text);
    ExpectBlockEnd();
    return stmt;
  }

  // ---- expressions, from the loosest to the tightest

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

  ExprPtr ParseTuple() {
    ExprPtr first = ParseExpression();
    if (!IsOp(","))
      return first;
    auto tuple = MakeExpr(Expr::Kind::kTuple);
    Push(*tuple, std::move(first));
    while (SkipOp(",")) {
      if (Now().kind == Token::Kind::kBlockEnd || Now().kind == Token::Kind::kOutputEnd || IsOp(")"))
        break;
      Push(*tuple, ParseExpression());
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

  // One level of operators that group to the left.
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
      while (Now().kind == Token::Kind::kString) { // neighbours are one
        expr->text += Now().text;
        Next();
      }
    } else if (token.kind == Token::Kind::kInt || token.kind == Token::Kind::kFloat) {
      bool real = token.kind == Token::Kind::kFloat;
      expr->kind = real ? Expr::Kind::kFloat : Expr::Kind::kInt;
      const char *begin = token.text.data(), *end = begin + token.text.size();
      auto result = real ? std::from_chars(begin, end, expr->real) : std::from_chars(begin, end, expr->integer);
      if (result.ec != std::errc())
        FailExpected("a number of 64 bits");
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
    ExprPtr parts[3];
    int count = 0;
    bool slice = false;
    while (status_.ok() && !IsOp("]")) {
      if (IsOp(":")) {
        slice = true;
        if (++count > 2)
          return FailExpected("']'"), std::move(expr);
        Next();
      } else {
        parts[count] = ParseExpression();
        if (!IsOp(":") && !IsOp("]"))
          FailExpected("']'");
      }
    }
    ExpectOp("]");
    if (!slice && !parts[0])
      FailExpected("an index");
    expr->kind = slice ? Expr::Kind::kSlice : Expr::Kind::kIndex;
    for (int i = 0; i < (slice ? 3 : 1); ++i)
      Push(*expr, std::move(parts[i]));
    return expr;
  }

  void ParseArguments(Expr &call) {
    ExpectOp("(");
    while (status_.ok() && !IsOp(")")) {
      if (IsOp("*") || IsOp("**"))
        Fail("found unpacked arguments, supported: positional and named ones", /*unsupported=*/true);
      if (Now().kind == Token::Kind::kName && tokens_[at_ + 1].kind == Token::Kind::kOperator &&
          tokens_[at_ + 1].text == "=") {
        std::string name = ExpectName();
        Next();
        ExprPtr value = ParseExpression();
        Deepen(call, value.get());
        call.keywords.emplace_back(std::move(name), std::move(value));
      } else {
        if (!call.keywords.empty())
          FailExpected("a named argument, since one stands before");
        Push(call, ParseExpression());
      }
      if (!SkipOp(","))
        break;
    }
    ExpectOp(")");
  }

  ExprPtr ParseFilters(ExprPtr expr) {
    while (status_.ok()) {
      if (SkipOp("|")) {
        auto filter = MakeExpr(Expr::Kind::kFilter);
        filter->text = ExpectName();
        Push(*filter, std::move(expr));
        if (IsOp("("))
          ParseArguments(*filter);
        expr = std::move(filter);
      } else if (SkipName("is")) {
        expr = ParseTest(std::move(expr));
      } else if (IsOp("(")) {
        expr = ParseCall(std::move(expr));
      } else {
        break;
      }
    }
    return expr;
  }

  ExprPtr ParseTest(ExprPtr expr) {
    bool negated = SkipName("not");
    auto test = MakeExpr(Expr::Kind::kTest);
    test->text = ExpectName();
    Push(*test, std::move(expr));
    bool value = Now().kind == Token::Kind::kString || Now().kind == Token::Kind::kInt ||
                 Now().kind == Token::Kind::kFloat || IsOp("[") || IsOp("{");
    bool name = Now().kind == Token::Kind::kName;
    for (std::string_view keyword : {"else", "or", "and", "is", "if", "in", "not"})
      name = name && Now().text != keyword;
    if (IsOp("("))
      ParseArguments(*test);
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
  int loops_ = 0;
  absl::Status status_;
};

} // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source, std::string_view file) {
  constexpr size_t kMaxBytes = 1 << 20;
  if (source.size() > kMaxBytes)
    return absl::InvalidArgumentError(
        fmt::format("{}: found a template of {} bytes, expected at most {}", file, source.size(), kMaxBytes));
  absl::StatusOr<std::vector<Token>> tokens = Lexer(source, file).Run();
  if (!tokens.ok())
    return tokens.status();
  return Parser(*std::move(tokens), file).Run();
}

} // namespace inlay::tokenizer

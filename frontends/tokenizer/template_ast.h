// The syntax tree of a chat template and the reader that makes it. The tree is
// as deep as kMaxTemplateDepth at the most, so that walks may recurse.
#ifndef INLAY_FRONTENDS_TOKENIZER_TEMPLATE_AST_H_
#define INLAY_FRONTENDS_TOKENIZER_TEMPLATE_AST_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

inline constexpr int kMaxTemplateDepth = 128;

struct Expr {
  enum class Kind {
    kNone,
    kBool,        // integer
    kInt,         // integer
    kFloat,       // real
    kString,      // text
    kName,        // text
    kList,        // children
    kTuple,       // children
    kDict,        // children: key, value, key, value ...
    kAttribute,   // children[0].text
    kIndex,       // children[0][children[1]]
    kSlice,       // children[0][children[1]:children[2]:children[3]], null where left out
    kCall,        // children[0](the rest, keywords)
    kFilter,      // children[0] | text(the rest, keywords)
    kTest,        // children[0] is text(the rest)
    kUnary,       // text: not - +
    kBinary,      // text: + - * / // % ** ~ and or
    kCompare,     // children[0] operators[0] children[1] operators[1] ...
    kConditional, // children: then, condition, else or null
  };
  Kind kind;
  int line = 0;
  int depth = 1;
  int64_t integer = 0;
  double real = 0;
  std::string text;
  std::vector<std::unique_ptr<Expr>> children;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> keywords;
  std::vector<std::string> operators;
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

struct Stmt {
  enum class Kind {
    kText,     // text
    kOutput,   // value
    kIf,       // branches; the last may have no condition
    kFor,      // for names in value [if condition]: branches[0].body, else branches[1].body
    kSet,      // names = value, or names[0].text = value
    kSetBlock, // names[0] = the output of branches[0].body
    kMacro,    // text(names = defaults): branches[0].body
    kBreak,
    kContinue,
  };
  struct Branch {
    std::unique_ptr<Expr> condition;
    Block body;
  };
  Kind kind;
  int line = 0;
  std::string text;
  std::unique_ptr<Expr> value;
  std::unique_ptr<Expr> condition;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Expr>> defaults; // null where there is none
  std::vector<Branch> branches;
};

// `file` is named in errors. trim_blocks and lstrip_blocks are on, a newline at the end is dropped.
absl::StatusOr<Block> ParseTemplate(std::string_view source, std::string_view file);

} // namespace inlay::tokenizer

#endif // INLAY_FRONTENDS_TOKENIZER_TEMPLATE_AST_H_

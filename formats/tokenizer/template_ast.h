// The syntax tree of a chat template and its parser. The depth of the tree is at most kMaxTemplateDepth, so that it can
// be traversed recursively.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_AST_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_AST_H_

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
    kSlice,       // children[0][children[1]:children[2]:children[3]], null if omitted
    kCall,        // children[0](other children, keywords, *spread, **spread_named)
    kFilter,      // children[0] | text(arguments as in kCall)
    kTest,        // children[0] is text(arguments as in kCall)
    kBlockText,   // the text of the block to which a filter is applied
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
  std::unique_ptr<Expr> spread, spread_named; // null if absent
  std::vector<std::string> operators;
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

struct Stmt {
  enum class Kind {
    kText,        // text
    kOutput,      // value
    kIf,          // branches; the last may have no condition
    kFor,         // for target in value [if condition]: branches[0].body, else branches[1].body
    kSet,         // target = value
    kSetBlock,    // target = the output of branches[0].body, after the filters of value, if any
    kMacro,       // text(names = defaults): branches[0].body
    kCall,        // value is a call; caller(names = defaults) is the macro branches[0].body
    kFilterBlock, // value applies filters to the output of branches[0].body
    kWith,        // targets = values: branches[0].body, in a new scope
    kGeneration,  // branches[0].body, in a new scope
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
  std::unique_ptr<Expr> target; // kName, kTuple of targets, or kAttribute of a kName (a namespace)
  std::unique_ptr<Expr> value;
  std::unique_ptr<Expr> condition;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<Expr>> defaults;                                      // one per name, null if absent
  std::vector<std::pair<std::unique_ptr<Expr>, std::unique_ptr<Expr>>> assignments; // kWith
  std::vector<Branch> branches;
  bool recursive = false;                                              // kFor
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false; // kMacro and kCall: used in the body
};

// Reports the errors of jinja2's compiler (unknown filters and tests, `break` outside of loops, assignments to `loop`),
// and sets uses_varargs, uses_kwargs and uses_caller.
absl::Status CheckTemplate(Block &block, std::string_view file);

// `file` is the name for error messages. trim_blocks and lstrip_blocks are on. A newline at the end is dropped.
absl::StatusOr<Block> ParseTemplate(std::string_view source, std::string_view file);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_AST_H_

// The common base of template filters, tests, methods and statements: limits, errors, and Python's operations on
// values. The first error is kept. After an error, operations return an undefined value or false.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_ENGINE_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_ENGINE_H_

#include "formats/tokenizer/chat_template.h"
#include "formats/tokenizer/template_value.h"

#include "absl/status/status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::tokenizer {

inline constexpr int kMaxNesting = 400;      // nesting of evaluation, including macros and iterators
inline constexpr int kMaxValueNesting = 128; // nesting of lists that are traversed
inline constexpr int64_t kBytesAStep = 64;   // copied bytes per step

const char *TypeName(const Value &value);

// The arguments of a call as they were written.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct JsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ", key_separator = ": ";
};

class Engine {
public:
  Engine(std::string_view file, Arena &arena, const TemplateLimits &limits)
      : arena(arena), file_(file), limits_(limits) {}
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;
  virtual ~Engine() = default;

  Arena &arena;

  // ---- limits and errors (template_engine.cc)
  bool failed() const { return !status_.ok(); }
  const absl::Status &status() const { return status_; }
  size_t output_limit() const { return limits_.output_bytes; }

  Value Fail(std::string_view message, absl::StatusCode code = absl::StatusCode::kInvalidArgument);
  Value FailUnsupported(std::string_view message) { return Fail(message, absl::StatusCode::kUnimplemented); }
  Value FailUndefined(const Value &value);
  Value FailOutput();
  bool Charge(int64_t steps);
  bool ChargeBytes(size_t bytes) { return Charge(1 + static_cast<int64_t>(bytes) / kBytesAStep); }
  void Append(std::string &out, std::string_view text);
  Value MakeString(std::string text, bool markup = false);
  Value MakeList(List items);

  // Counts the depth of the C++ recursion that a template causes.
  struct Nested {
    explicit Nested(Engine &engine) : engine(engine) {
      if (++engine.nesting_ > kMaxNesting)
        engine.Fail("found macros and blocks nested deeper than 400", absl::StatusCode::kResourceExhausted);
    }
    ~Nested() { --engine.nesting_; }
    Nested(const Nested &) = delete;
    Nested &operator=(const Nested &) = delete;
    Engine &engine;
  };

  // ---- operators (template_operators.cc)
  bool Truth(const Value &value);
  bool Equal(const Value &left, const Value &right, int nesting = 0);
  bool Less(const Value &left, const Value &right, bool or_equal = false, int nesting = 0);
  bool Contains(const Value &container, const Value &item);
  bool Compare(std::string_view op, const Value &left, const Value &right);
  Value Unary(std::string_view op, const Value &value);
  Value Binary(std::string_view op, const Value &left, const Value &right); // not `and`, `or`

  // ---- text (template_print.cc)
  std::string ToText(const Value &value); // str()
  std::string ToRepr(const Value &value, bool ascii = false);
  std::string ToJson(const Value &value, const JsonStyle &style);

  // ---- attributes, items and iteration (template_access.cc)
  Value Attribute(const Value &object, std::string_view name); // object.name: attributes first, then items
  Value Index(const Value &object, const Value &index);        // object[index]: items first, then attributes
  Value Slice(const Value &object, const std::optional<int64_t> (&bounds)[3]);
  // `path` 'a.0.b' means item.a.0.b, an int is an index, none is the item itself. `otherwise` replaces undefined
  // values.
  Value AttributePath(const Value &item, const Value &path, const Value *otherwise = nullptr);
  Value *FindEntry(Dict &dict, const Value &key);
  void SetEntry(Dict &dict, Value key, Value value);
  bool Hashable(const Value &value, int nesting = 0); // fails unless the value is hashable

  std::optional<int64_t> Length(const Value &value); // nullopt if Python has no len() for the value
  const List *Items(const Value &value);             // items of a list, tuple, range or view; null for others
  Iterator *Iterate(const Value &value);             // null after an error
  bool Next(Iterator &iterator, Value &out);         // false at the end and after an error
  List ToList(const Value &value);

  // ---- formats (template_format.cc)
  Value PercentFormat(const Value &format, const Value &arguments); // str % arguments
  Value BraceFormat(const Value &format, const Arguments &arguments);

  // ---- calls
  Value Call(const Value &callee, const Arguments &arguments);
  virtual Value CallMacro(const Callable &macro, const Arguments &arguments) = 0;
  virtual Value CallLoop(Loop &loop, const Value &items) = 0; // calls a recursive loop

protected:
  int line_ = 1;

private:
  void Represent(const Value &value, bool ascii, int nesting, std::string &out);
  void WriteJson(const Value &value, const JsonStyle &style, int nesting, std::string &out);
  Value Integers(std::string_view op, int64_t left, int64_t right);
  Value Reals(std::string_view op, double left, double right);
  Value Repeat(const Value &value, int64_t count);
  std::optional<Value> NativeAttribute(const Value &object, std::string_view name);
  std::optional<Value> NativeItem(const Value &object, const Value &index);

  std::string file_;
  TemplateLimits limits_;
  absl::Status status_;
  int64_t steps_ = 0;
  int nesting_ = 0;
};

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_ENGINE_H_

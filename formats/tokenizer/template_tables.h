// Tables of the filters, tests, methods and global functions of templates: name, parameters, function. Names,
// parameters and meaning are those of jinja2 and Python.
#ifndef INLAY_FORMATS_TOKENIZER_TEMPLATE_TABLES_H_
#define INLAY_FORMATS_TOKENIZER_TEMPLATE_TABLES_H_

#include "formats/tokenizer/template_engine.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::tokenizer {

// Arguments bound to parameters. Reading an argument as the wrong type is an error.
class Bound {
public:
  Bound(Engine &engine, std::string_view function, const Arguments &all)
      : engine(engine), function(function), all(all) {}

  Engine &engine;
  std::string_view function;
  const Arguments &all;
  std::vector<const Value *> values; // by parameter; null: not given

  bool Has(size_t i) const { return values[i] != nullptr; }
  bool HasValue(size_t i) const { return values[i] && !values[i]->none(); } // given and not none
  const Value &Get(size_t i) const { return *values[i]; }
  bool Flag(size_t i, bool otherwise = false) const { return values[i] ? engine.Truth(*values[i]) : otherwise; }
  int64_t Int(size_t i, int64_t otherwise = 0) const; // int or bool
  std::string Text(size_t i) const;                   // str
};

struct Function {
  std::string_view name;
  // Comma-separated names. '=' after a name: optional. "/" before the first name: positional only. "*": the arguments
  // are not bound.
  std::string_view parameters;
  Value (*call)(const Value &self, const Bound &arguments);
};

// Returns false after an error.
bool Bind(Engine &engine, const Function &function, const Arguments &arguments, Bound &bound);
Value CallFunction(Engine &engine, const Function &function, const Value &self, const Arguments &arguments);

// Null if there is no such entry. The tables are sorted by name.
const Function *FindFilter(std::string_view name);
const Function *FindTest(std::string_view name); // returns a bool
const Function *FindGlobal(std::string_view name);
const Function *FindMethod(const Value &self, std::string_view name);

// Whether Python's type has an attribute with this name that templates may not use. Such an attribute hides an item of
// the same name.
bool IsHiddenAttribute(const Value &self, std::string_view name);

// Names of jinja2 that are not supported.
bool IsRefusedFilter(std::string_view name);
bool IsRefusedGlobal(std::string_view name);
std::string FilterNames();
std::string TestNames();

// The tables (template_filters.cc, template_sequence_filters.cc, template_choice_filters.cc, template_tests.cc,
// template_methods.cc).
std::span<const Function> TextFilters();
std::span<const Function> SequenceFilters();
std::span<const Function> ChoiceFilters();
std::span<const Function> Tests();
std::span<const Function> StringMethods();
std::span<const Function> SequenceMethods();
std::span<const Function> DictMethods();
std::span<const Function> LoopMethods();
std::span<const Function> Globals();

Value ApplyFilter(Engine &engine, const std::string &name, const Value &value, const Arguments &arguments);
bool ApplyTest(Engine &engine, const std::string &name, const Value &value, const Arguments &arguments);

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_TEMPLATE_TABLES_H_

// The parts of JSON that do not depend on a schema: strings, numbers, any value, integers in a range.
#ifndef INLAY_RUNTIME_GUIDED_JSON_TEXT_H_
#define INLAY_RUNTIME_GUIDED_JSON_TEXT_H_

#include "runtime/guided/expression.h"

#include <set>
#include <string>

namespace inlay::guided {

// Adds rules to `rules` when they are first used. `rules` must outlive this object.
class JsonText {
public:
  explicit JsonText(Rules &rules) : rules_(rules) {}

  ExpressionId Space();                              // optional white space between two parts
  ExpressionId Character();                          // a character of a string, plain or escaped
  ExpressionId CharacterOf(const CodePointSet &set); // a character of the set, escaped only if necessary
  ExpressionId Quoted(ExpressionId characters);      // between quotes
  ExpressionId String() { return Quoted(rules_.Repeat(Character(), 0, kUnbounded)); }
  ExpressionId KeyExcept(const std::set<std::string> &names); // a string without escapes that is not one of these
  ExpressionId Number();
  ExpressionId Integer();
  ExpressionId IntegerBetween(int64_t low, int64_t high);
  ExpressionId Pair(ExpressionId key, ExpressionId value);
  ExpressionId Value(); // any value
  ExpressionId Object();
  ExpressionId Array();
  // `min` to `max` items, separated by commas.
  ExpressionId List(ExpressionId item, int32_t min, int32_t max);
  ExpressionId CommaThen(ExpressionId item);

private:
  ExpressionId Named(RuleId &rule, const char *name, ExpressionId (JsonText::*body)());
  ExpressionId SpaceBody();
  ExpressionId CharacterBody();
  ExpressionId ValueBody();
  ExpressionId ObjectBody();
  ExpressionId ArrayBody();
  ExpressionId Digit(char first, char last);
  ExpressionId Natural(const std::string &low, const std::string &high);
  ExpressionId AtLeast(const std::string &digits);
  ExpressionId AtMost(const std::string &digits);

  Rules &rules_;
  RuleId space_ = -1, character_ = -1, value_ = -1, object_ = -1, array_ = -1;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_JSON_TEXT_H_

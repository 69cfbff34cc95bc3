// Parses grammars in llama.cpp's form of EBNF (GBNF): `name ::= alternatives`, "literals", [classes], `.`, groups, | *
// + ? {m,n}, # comments. The start rule is `root`.
#ifndef INLAY_RUNTIME_GUIDED_EBNF_H_
#define INLAY_RUNTIME_GUIDED_EBNF_H_

#include "absl/status/statusor.h"
#include "runtime/guided/expression.h"

#include <string_view>

namespace inlay::guided {

absl::StatusOr<Rules> ParseEbnf(std::string_view grammar, const Limits &limits);

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_EBNF_H_

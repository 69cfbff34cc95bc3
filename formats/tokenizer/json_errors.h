// What the readers of a tokenizer's JSON files share to report errors. Only .cc files of this directory include this.
#ifndef INLAY_FORMATS_TOKENIZER_JSON_ERRORS_H_
#define INLAY_FORMATS_TOKENIZER_JSON_ERRORS_H_

#include "formats/tokenizer/unicode.h"

#include "absl/status/status.h"

#include <nlohmann/json.hpp>

#include <string>

#define INLAY_RETURN_IF_ERROR(expression)                                                                              \
  if (absl::Status status_ = (expression); !status_.ok())                                                              \
  return status_

namespace inlay::tokenizer {

// A value as an error shows it: one line of bounded length.
inline std::string Shown(const nlohmann::json &json) {
  if (json.is_null())
    return "nothing";
  if (json.is_structured())
    return json.is_array() ? "a list" : "an object";
  return Quoted(json.is_string() ? json.get_ref<const std::string &>()
                                 : json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

} // namespace inlay::tokenizer

#endif // INLAY_FORMATS_TOKENIZER_JSON_ERRORS_H_

// Reads the fields of an untrusted JSON object: checks types and ranges, and refuses or reports unknown names.
#ifndef INLAY_RUNTIME_SERVE_FIELDS_H_
#define INLAY_RUNTIME_SERVE_FIELDS_H_

#include "nlohmann/json.hpp"
#include "runtime/serve/api_error.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

using Json = nlohmann::ordered_json;

// The largest sizes of strings: of a name, and of a text that only Limits::body_bytes limits.
inline constexpr size_t kName = 256;
inline constexpr size_t kAnyText = size_t{1} << 30;

// Parses `text` as a JSON object. Refuses text that is not JSON, a value other than an object, nesting deeper than
// `depth`, a name that occurs twice in one object, and strings that are not Unicode (invalid UTF-8, lone surrogates).
std::optional<ApiError> ParseObject(std::string_view text, int depth, Json &object);

// Describes a value for error messages, for example `the string "a"` or `a list of 3`.
std::string Describe(const Json &value);

// The fields of one request that are ignored: unknown names, and known fields without effect.
class IgnoredFields {
public:
  explicit IgnoredFields(bool refuses_unknown) : refuses_unknown_(refuses_unknown) {}

  bool refuses_unknown() const { return refuses_unknown_; }
  // Keeps the first kMost paths.
  void Add(std::string path) {
    if (paths_.size() < kMost)
      paths_.push_back(std::move(path));
  }
  // Paths such as "top_q" and "messages[3].x".
  const std::vector<std::string> &paths() const { return paths_; }

private:
  static constexpr size_t kMost = 16;
  bool refuses_unknown_;
  std::vector<std::string> paths_;
};

// Reads the fields of an object one by one. Keeps the first error; later reads have no effect. A field with the value
// null counts as absent.
class Fields {
public:
  // `path` names the object in error messages: "" or "messages[3]". Without `ignored`, unknown names are refused.
  // `ignored` must outlive this object.
  Fields(const Json &object, std::string path, IgnoredFields *ignored = nullptr)
      : object_(object), path_(std::move(path)), ignored_(ignored) {}

  // The value of the field; null if it is absent or null, or after an error. Marks the name as known.
  const Json *Find(std::string_view name);

  void Bool(std::string_view name, bool &out);
  void Number(std::string_view name, float &out, double low, double high, bool low_is_in = true);
  void Integer(std::string_view name, int64_t &out, int64_t low, int64_t high);
  template <class Int> void Integer(std::string_view name, Int &out, int64_t low, int64_t high) {
    int64_t value = static_cast<int64_t>(out);
    Integer(name, value, low, high);
    out = static_cast<Int>(value);
  }
  // A list of at most `limit` strings that are not empty, of at most `bytes` bytes each.
  void Strings(std::string_view name, std::vector<std::string> &out, size_t limit, size_t bytes);
  // A string of at most `limit` bytes.
  void String(std::string_view name, std::string &out, size_t limit);
  // A list of at most `limit` token ids in [0, vocab_size).
  void TokenIds(std::string_view name, std::vector<int32_t> &out, size_t limit, int32_t vocab_size);
  // A field of the API that this server does not support: refused unless its value is `value`, which has no effect.
  // `why` is the end of the error message.
  void OnlyDefault(std::string_view name, const Json &value, std::string_view why);
  // A known field that has no effect, whatever its value is.
  void Ignore(std::string_view name);

  void Fail(std::string_view name, std::string message, std::string code = "");
  void Fail(ApiError error) {
    if (!error_)
      error_ = std::move(error);
  }
  std::string PathTo(std::string_view name) const;

  // Returns the first error. If there is none, fields that were not read are refused or added to the ignored fields.
  std::optional<ApiError> Finish();
  const std::optional<ApiError> &error() const { return error_; }
  // The names of all fields that were read, present or not.
  const std::set<std::string, std::less<>> &known() const { return known_; }
  IgnoredFields *ignored() const { return ignored_; }

private:
  const Json &object_;
  std::string path_;
  IgnoredFields *ignored_;
  std::set<std::string, std::less<>> known_;
  std::optional<ApiError> error_;
};

// Reads token ids from a list. `path` names the list in error messages.
std::optional<ApiError> ReadTokenIds(const Json &list, const std::string &path, size_t limit, int32_t vocab_size,
                                     std::vector<int32_t> &out);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_FIELDS_H_

// Reads the fields of an untrusted JSON object: checks types and ranges, and refuses or reports unknown names.
#ifndef INLAY_RUNTIME_SERVE_FIELDS_H_
#define INLAY_RUNTIME_SERVE_FIELDS_H_

#include "nlohmann/json.hpp"
#include "runtime/serve/api_error.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::serve {

using Json = nlohmann::ordered_json;

// The object that `text` holds. Refused: no JSON, another value than an object, nested deeper than `depth`, a name
// given twice, strings that are no Unicode (bytes that are no UTF-8, lone surrogates).
std::optional<ApiError> ParseObject(std::string_view text, int depth, Json &object);

// "a string", "the number 3": what stands there, for messages.
std::string Describe(const Json &value);

// Fields of one request that change nothing: names that no reader knows, and known ones without effect.
class IgnoredFields {
public:
  explicit IgnoredFields(bool refuses_unknown) : refuses_unknown_(refuses_unknown) {}

  bool refuses_unknown() const { return refuses_unknown_; }
  // Keeps the first few.
  void Add(std::string path) {
    if (paths_.size() < kMost)
      paths_.push_back(std::move(path));
  }
  // As "top_q" and "messages[3].x".
  const std::vector<std::string> &paths() const { return paths_; }

private:
  static constexpr size_t kMost = 16;
  bool refuses_unknown_;
  std::vector<std::string> paths_;
};

// Takes fields one by one; the first mistake is kept, and what comes after it does nothing. A null is a field that is
// absent.
class Fields {
public:
  // `path` leads to the object in messages: "" or "messages[3]". Unknown names are refused without `ignored`, which
  // outlives this.
  Fields(const Json &object, std::string path, IgnoredFields *ignored = nullptr)
      : object_(object), path_(std::move(path)), ignored_(ignored) {}

  // The value if it is there and not null; it counts as known.
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
  // A list of token ids; `vocab_size` bounds them.
  void TokenIds(std::string_view name, std::vector<int32_t> &out, size_t limit, int32_t vocab_size);
  // Known to the API but not to this server: refused unless it has the value that changes nothing.
  void OnlyDefault(std::string_view name, const Json &value, std::string_view why);
  // Known and without effect on the answer, whatever its value is.
  void Ignore(std::string_view name);

  void Fail(std::string_view name, std::string message, std::string code = "");
  void Fail(ApiError error) {
    if (!error_)
      error_ = std::move(error);
  }
  std::string PathTo(std::string_view name) const;

  // The first mistake. If there is none, fields that nobody asked for are refused or added to the ignored ones.
  std::optional<ApiError> Finish();
  const std::optional<ApiError> &error() const { return error_; }
  // All that were asked for, whether they are there or not.
  const std::set<std::string, std::less<>> &known() const { return known_; }
  IgnoredFields *ignored() const { return ignored_; }

private:
  const Json &object_;
  std::string path_;
  IgnoredFields *ignored_;
  std::set<std::string, std::less<>> known_;
  std::optional<ApiError> error_;
};

// Token ids from a list; `path` names it in messages.
std::optional<ApiError> ReadTokenIds(const Json &list, const std::string &path, size_t limit, int32_t vocab_size,
                                     std::vector<int32_t> &out);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_FIELDS_H_

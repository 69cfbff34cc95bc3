#include "runtime/serve/fields.h"

#include "fmt/format.h"
#include "formats/json/json_shape.h"
#include "formats/json/repeated_names.h"

#include <cmath>
#include <functional>

namespace inlay::serve {
namespace {

// The maximum number of bytes of a value that a message shows.
constexpr size_t kShown = 60;

std::string Shown(const Json &value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  return text.size() <= kShown ? text : text.substr(0, kShown) + "...";
}

// ordered_json finds a name by linear search, so the number of names is limited.
constexpr int kMaxNames = 10'000;

} // namespace

std::optional<ApiError> ParseObject(std::string_view text, int depth, Json &object) {
  auto fail = [](std::string message) { return ApiError{.message = std::move(message), .code = "invalid_json"}; };
  JsonShape shape = ShapeOfJson(text);
  if (shape.depth > depth)
    return fail(fmt::format("the body is JSON nested deeper than {} levels", depth));
  if (shape.names > kMaxNames)
    return fail(fmt::format("the body has {} field names, expected at most {}", shape.names, kMaxNames));
  RepeatedNames names;
  try {
    object = Json::parse(text, std::ref(names));
  } catch (const Json::exception &error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = error.what();
    what.remove_prefix(std::min(what.find("] ") + 2, what.size()));
    return fail(fmt::format("the body is not valid JSON: {}", what.substr(0, 300)));
  }
  if (!object.is_object())
    return fail(fmt::format("the body is {}, expected a JSON object", Describe(object)));
  if (names.first()) {
    ApiError error = fail(fmt::format("the name '{}' occurs twice in one object", names.first()->substr(0, kShown)));
    error.param = names.first()->substr(0, kShown);
    return error;
  }
  return std::nullopt;
}

std::string Describe(const Json &value) {
  switch (value.type()) {
  case Json::value_t::null:
    return "null";
  case Json::value_t::boolean:
    return value.get<bool>() ? "true" : "false";
  case Json::value_t::string:
    return fmt::format("the string {}", Shown(value));
  case Json::value_t::array:
    return fmt::format("a list of {}", value.size());
  case Json::value_t::object:
    return "an object";
  default:
    return Shown(value);
  }
}

std::string Fields::PathTo(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

void Fields::Fail(std::string_view name, std::string message, std::string code) {
  if (!error_)
    error_ = ApiError{.message = std::move(message), .param = PathTo(name), .code = std::move(code)};
}

const Json *Fields::Find(std::string_view name) {
  known_.insert(std::string(name));
  auto found = object_.find(name);
  return found == object_.end() || found->is_null() || error_ ? nullptr : &*found;
}

void Fields::Bool(std::string_view name, bool &out) {
  const Json *value = Find(name);
  if (!value)
    return;
  if (!value->is_boolean())
    return Fail(name, fmt::format("'{}' is {}, expected true or false", PathTo(name), Describe(*value)));
  out = value->get<bool>();
}

void Fields::Number(std::string_view name, float &out, double low, double high, bool low_is_in) {
  const Json *value = Find(name);
  if (!value)
    return;
  double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!((low_is_in ? number >= low : number > low) && number <= high)) // false for NaN
    return Fail(name, fmt::format("'{}' is {}, expected a number in {}{}, {}]", PathTo(name), Describe(*value),
                                  low_is_in ? '[' : '(', low, high));
  out = static_cast<float>(number);
}

void Fields::Integer(std::string_view name, int64_t &out, int64_t low, int64_t high) {
  const Json *value = Find(name);
  if (!value)
    return;
  bool fits = value->is_number_integer() &&
              !(value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  int64_t number = fits ? value->get<int64_t>() : 0;
  if (!fits || number < low || number > high)
    return Fail(name,
                fmt::format("'{}' is {}, expected an integer in [{}, {}]", PathTo(name), Describe(*value), low, high));
  out = number;
}

void Fields::String(std::string_view name, std::string &out, size_t limit) {
  const Json *value = Find(name);
  if (!value)
    return;
  if (!value->is_string())
    return Fail(name, fmt::format("'{}' is {}, expected a string", PathTo(name), Describe(*value)));
  const auto &text = value->get_ref<const std::string &>();
  if (text.size() > limit)
    return Fail(name, fmt::format("'{}' has {} bytes, expected at most {}", PathTo(name), text.size(), limit));
  out = text;
}

void Fields::Strings(std::string_view name, std::vector<std::string> &out, size_t limit, size_t bytes) {
  const Json *value = Find(name);
  if (!value)
    return;
  if (!value->is_array())
    return Fail(name, fmt::format("'{}' is {}, expected a list of strings", PathTo(name), Describe(*value)));
  if (value->size() > limit)
    return Fail(name, fmt::format("'{}' has {} strings, expected at most {}", PathTo(name), value->size(), limit));
  out.clear();
  for (const Json &one : *value) {
    if (!one.is_string() || one.get_ref<const std::string &>().empty() ||
        one.get_ref<const std::string &>().size() > bytes)
      return Fail(name, fmt::format("'{}[{}]' is {}, expected a string of 1 to {} bytes", PathTo(name), out.size(),
                                    Describe(one), bytes));
    out.push_back(one.get<std::string>());
  }
}

void Fields::TokenIds(std::string_view name, std::vector<int32_t> &out, size_t limit, int32_t vocab_size) {
  const Json *value = Find(name);
  if (!value)
    return;
  if (!value->is_array())
    return Fail(name, fmt::format("'{}' is {}, expected a list of token ids", PathTo(name), Describe(*value)));
  if (std::optional<ApiError> wrong = ReadTokenIds(*value, PathTo(name), limit, vocab_size, out))
    error_ = std::move(wrong);
}

void Fields::OnlyDefault(std::string_view name, const Json &value, std::string_view why) {
  const Json *given = Find(name);
  if (given && *given != value)
    Fail(name, fmt::format("'{}' is {}, but {}", PathTo(name), Describe(*given), why), "not_supported");
  else if (given && ignored_)
    ignored_->Add(PathTo(name));
}

void Fields::Ignore(std::string_view name) {
  if (Find(name) && ignored_)
    ignored_->Add(PathTo(name));
}

std::optional<ApiError> Fields::Finish() {
  for (const auto &[name, value] : object_.items()) {
    if (error_)
      return error_;
    if (known_.contains(name))
      continue;
    std::string shown = name.size() <= kShown ? name : name.substr(0, kShown) + "...";
    if (!ignored_)
      Fail(shown, fmt::format("'{}' is not a known field", PathTo(shown)), "unknown_field");
    else if (ignored_->refuses_unknown())
      Fail(shown, fmt::format("'{}' is not a known field (--strict-fields)", PathTo(shown)), "unknown_field");
    else
      ignored_->Add(PathTo(shown));
  }
  return error_;
}

std::optional<ApiError> ReadTokenIds(const Json &list, const std::string &path, size_t limit, int32_t vocab_size,
                                     std::vector<int32_t> &out) {
  if (list.size() > limit)
    return ApiError{.message = fmt::format("'{}' has {} ids, expected at most {}", path, list.size(), limit),
                    .param = path};
  out.clear();
  out.reserve(list.size());
  for (const Json &id : list) {
    bool fits = id.is_number_integer() && (!id.is_number_unsigned() || id.get<uint64_t>() < (uint64_t{1} << 31));
    if (!fits || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size)
      return ApiError{.message = fmt::format("'{}[{}]' is {}, expected a token id in [0, {})", path, out.size(),
                                             Describe(id), vocab_size),
                      .param = path};
    out.push_back(id.get<int32_t>());
  }
  return std::nullopt;
}

} // namespace inlay::serve

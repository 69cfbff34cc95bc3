// Finds names that occur twice in one object of a JSON text. The parser does not report them and keeps only one of the
// values.
#ifndef INLAY_FORMATS_JSON_REPEATED_NAMES_H_
#define INLAY_FORMATS_JSON_REPEATED_NAMES_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace inlay {

// A callback for the parser of nlohmann::json, passed as std::ref(names). It keeps all values. operator() is a
// template, so that this header does not include the library.
class RepeatedNames {
public:
  template <typename Event, typename Json> bool operator()(int /*depth*/, Event event, const Json &parsed) {
    if (event == Event::object_start)
      seen_.emplace_back();
    else if (event == Event::object_end)
      seen_.pop_back();
    else if (event == Event::key)
      See(parsed.template get_ref<const std::string &>());
    return true;
  }

  // The first repeated name in the text.
  const std::optional<std::string> &first() const { return first_; }

private:
  void See(const std::string &name) {
    if (!seen_.back().insert(name).second && !first_)
      first_ = name;
  }

  std::vector<std::set<std::string>> seen_; // names of each open object
  std::optional<std::string> first_;
};

} // namespace inlay

#endif // INLAY_FORMATS_JSON_REPEATED_NAMES_H_

#include "frontends/hf/ModulePatterns.h"

#include <fmt/format.h>

#include <algorithm>

namespace inlay::hf {
namespace {

using nlohmann::json;

// More than any published list has; it bounds the work for a module.
constexpr size_t kMaxPatterns = 8192;

bool MatchesWildcard(std::string_view pattern, std::string_view text) {
  // Greedy, with one place to return to: the last *.
  size_t p = 0, t = 0, star = std::string_view::npos, from = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  return pattern.substr(p).find_first_not_of('*') == std::string_view::npos;
}

bool ContainsComponents(std::string_view name, std::string_view components) {
  for (size_t at = name.find(components); at != std::string_view::npos; at = name.find(components, at + 1)) {
    size_t end = at + components.size();
    if ((at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.'))
      return true;
  }
  return false;
}

} // namespace

ModulePatterns ModulePatterns::Read(ConfigReader &keys, std::string_view key, Style style) {
  ModulePatterns result;
  const json *list = keys.Find(key);
  if (!list)
    return result;
  const bool is_list =
      list->is_array() && std::all_of(list->begin(), list->end(), [](const json &item) { return item.is_string(); });
  if (!is_list || list->size() > kMaxPatterns) {
    keys.Error(key, Describe(*list), fmt::format("a list of at most {} names of modules", kMaxPatterns),
               "correct the value");
    return result;
  }
  for (const json &item : *list)
    result.Add(keys, key, item.get<std::string>(), style);
  return result;
}

void ModulePatterns::Add(ConfigReader &keys, std::string_view key, std::string_view pattern, Style style) {
  constexpr std::string_view kRegexMark = "re:";
  Pattern added{style, std::string(pattern), {}};
  if (style == Style::kWildcard && pattern.find('[') != std::string_view::npos)
    return keys.Error(key, Describe(json(pattern)), "a name in which only * and ? are special", "list the modules");
  const bool is_regex =
      style == Style::kRegex || (style == Style::kCompressedTensors && pattern.starts_with(kRegexMark));
  if (is_regex) {
    std::string_view text = style == Style::kRegex ? pattern : pattern.substr(kRegexMark.size());
    absl::StatusOr<tokenizer::Regex> regex = tokenizer::Regex::Compile(text, std::string(key));
    if (!regex.ok())
      return keys.Error(key, Describe(json(pattern)), "a valid regular expression", "correct the pattern");
    added.regex.push_back(*std::move(regex));
  } else if (pattern.empty()) {
    return keys.Error(key, "\"\"", "the name of a module", "remove the empty name");
  }
  patterns_.push_back(std::move(added));
}

void ModulePatterns::Add(const ModulePatterns &others) {
  patterns_.insert(patterns_.end(), others.patterns_.begin(), others.patterns_.end());
}

bool ModulePatterns::Match(std::string_view module) const {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const Pattern &pattern) { return Matches(pattern, module); });
}

bool ModulePatterns::Matches(const Pattern &pattern, std::string_view module) {
  if (!pattern.regex.empty()) {
    absl::StatusOr<std::vector<tokenizer::TextRange>> found = pattern.regex.front().FindAll(module);
    // A pattern that costs too much names nothing. The tensors then show whether that was meant.
    return found.ok() && !found->empty() && (pattern.style == Style::kRegex || found->front().begin == 0);
  }
  switch (pattern.style) {
  case Style::kCompressedTensors:
    return pattern.text == "Linear" || pattern.text == module;
  case Style::kPath:
    return ContainsComponents(module, pattern.text);
  case Style::kWildcard:
    return MatchesWildcard(pattern.text, module);
  case Style::kRegex:
    break;
  }
  return false;
}

} // namespace inlay::hf

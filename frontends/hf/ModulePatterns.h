// Which modules a list of a quantization configuration names: `ignore`, `targets`, `modules_to_not_convert`.

#ifndef INLAY_FRONTENDS_HF_MODULE_PATTERNS_H
#define INLAY_FRONTENDS_HF_MODULE_PATTERNS_H

#include <string>
#include <string_view>
#include <vector>

#include "formats/tokenizer/regex.h"
#include "frontends/hf/ConfigReader.h"

namespace inlay::hf {

class ModulePatterns {
public:
  enum class Style {
    kCompressedTensors, // "re:" and a regular expression that matches from the first character on (Python's re.match);
                        // otherwise the whole name of a module, or of its class: "Linear"
    kPath,              // components of the name: "lm_head", "model.layers.0", "mlp.gate"
    kWildcard,          // the whole name, in which * stands for any text and ? for one character (Python's fnmatch)
    kRegex,             // a regular expression that matches anywhere
  };

  // Reads the list of strings under `key`, which may be absent. What is no list of valid patterns is reported.
  static ModulePatterns Read(ConfigReader &keys, std::string_view key, Style style);
  void Add(const ModulePatterns &others);
  // Adds one pattern. `key` is named if it is no valid one.
  void Add(ConfigReader &keys, std::string_view key, std::string_view pattern, Style style);

  bool IsEmpty() const { return patterns_.empty(); }
  // Whether a pattern names the matrix `module`, such as "model.layers.0.mlp.down_proj".
  bool Match(std::string_view module) const;

private:
  struct Pattern {
    Style style;
    std::string text;
    std::vector<tokenizer::Regex> regex; // One, or none where the pattern is text.
  };
  static bool Matches(const Pattern &pattern, std::string_view module);

  std::vector<Pattern> patterns_;
};

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_MODULE_PATTERNS_H

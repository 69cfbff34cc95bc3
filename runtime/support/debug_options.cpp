#include "runtime/support/debug_options.h"

#include "absl/status/status.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

namespace inlay {
namespace {

struct Word {
  std::string_view name;
  bool DebugOptions::*option;
};

constexpr std::array<Word, 6> kWords = {{{"guard-end", &DebugOptions::guard_end},
                                         {"guard-begin", &DebugOptions::guard_begin},
                                         {"poison", &DebugOptions::poison},
                                         {"sync-launches", &DebugOptions::sync_launches},
                                         {"graph-launches", &DebugOptions::graph_launches},
                                         {"check-steps", &DebugOptions::check_steps}}};

} // namespace

absl::StatusOr<DebugOptions> ParseDebugOptions(std::string_view words) {
  DebugOptions options;
  while (!words.empty()) {
    std::string_view word = words.substr(0, words.find(','));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    if (word.empty())
      continue;
    const auto *known = std::ranges::find(kWords, word, &Word::name);
    if (known == kWords.end()) {
      std::vector<std::string_view> names;
      for (const Word &one : kWords)
        names.push_back(one.name);
      return absl::InvalidArgumentError(
          fmt::format("INLAY_DEBUG: found '{}', expected one or more of {}", word, fmt::join(names, ", ")));
    }
    options.*known->option = true;
  }
  if (options.guard_begin && options.guard_end)
    return absl::InvalidArgumentError("INLAY_DEBUG: found guard-begin and guard-end; use only one of them per run");
  return options;
}

absl::StatusOr<DebugOptions> ReadDebugOptions() {
  const char *words = std::getenv("INLAY_DEBUG"); // NOLINT(concurrency-mt-unsafe): nothing sets it while tools run
  return ParseDebugOptions(words ? words : "");
}

} // namespace inlay

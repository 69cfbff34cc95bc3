// Everything that is wrong with a model directory, collected so that a person
// sees it all at once.

#ifndef INLAY_FRONTENDS_HF_PROBLEMS_H
#define INLAY_FRONTENDS_HF_PROBLEMS_H

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace inlay::hf {

enum class Severity { kError, kWarning };

// One thing that is wrong: where it stands, what is there, what should be.
struct Problem {
  std::string file;     // "config.json"
  std::string key;      // A key of the configuration or the name of a tensor; may be empty.
  std::string found;    // "-4"
  std::string expected; // "an integer from 1 to 4096"
  std::string fix;      // What the user does about it.
  Severity severity = Severity::kError;

  // One line: "FILE: KEY: found FOUND, expected EXPECTED; FIX".
  std::string ToString() const;
};

class Problems {
public:
  void Add(Problem problem);
  void Add(const absl::Status &status); // An error whose message says all.
  void Add(const Problems &others);     // Their notes too.

  // What is left out on purpose: "FILE: KEY: TEXT", such as "ignored: REASON". `key` may be empty.
  void AddNote(std::string_view file, std::string_view key, std::string_view text);
  void AddNote(std::string_view line);

  const std::vector<Problem> &items() const { return items_; }
  const std::vector<std::string> &notes() const { return notes_; } // Of one line each.
  size_t errors() const { return errors_; }
  bool HasErrors() const { return errors_ > 0; }

  // InvalidArgument with one line for each error, or OK when there is none.
  absl::Status ToStatus() const;

private:
  std::vector<Problem> items_;
  std::vector<std::string> notes_;
  size_t errors_ = 0;
};

} // namespace inlay::hf

#endif // INLAY_FRONTENDS_HF_PROBLEMS_H

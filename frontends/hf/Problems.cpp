#include "frontends/hf/Problems.h"

#include <fmt/format.h>

#include <utility>

namespace inlay::hf {

std::string Problem::ToString() const {
  if (expected.empty())
    return found;
  std::string line = file;
  if (!key.empty())
    line += ": " + key;
  line += fmt::format(": found {}, expected {}", found, expected);
  if (!fix.empty())
    line += "; " + fix;
  // Names come from the files and may hold anything; the message stays one line.
  for (char &c : line)
    if (static_cast<unsigned char>(c) < ' ')
      c = '?';
  return line;
}

void Problems::Add(Problem problem) {
  if (problem.severity == Severity::kError)
    ++errors_;
  items_.push_back(std::move(problem));
}

void Problems::Add(const absl::Status &status) {
  Problem problem;
  problem.found = std::string(status.message());
  Add(std::move(problem));
}

absl::Status Problems::ToStatus() const {
  std::string lines;
  for (const Problem &problem : items_) {
    if (problem.severity != Severity::kError)
      continue;
    if (!lines.empty())
      lines += '\n';
    lines += problem.ToString();
  }
  return lines.empty() ? absl::OkStatus() : absl::InvalidArgumentError(lines);
}

} // namespace inlay::hf

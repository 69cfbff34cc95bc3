#include "frontends/hf/Problems.h"

#include <fmt/format.h>

#include <utility>

namespace inlay::hf {
namespace {

// Names come from the files and may hold anything; the message stays one line.
std::string OneLine(std::string line) {
  for (char &c : line)
    if (static_cast<unsigned char>(c) < ' ')
      c = '?';
  return line;
}

} // namespace

std::string Problem::ToString() const {
  if (expected.empty())
    return found;
  std::string line = file;
  if (!key.empty())
    line += ": " + key;
  line += fmt::format(": found {}, expected {}", found, expected);
  if (!fix.empty())
    line += "; " + fix;
  return OneLine(std::move(line));
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

void Problems::Add(const Problems &others) {
  for (const Problem &problem : others.items_)
    Add(problem);
  notes_.insert(notes_.end(), others.notes_.begin(), others.notes_.end());
}

void Problems::AddNote(std::string_view file, std::string_view key, std::string_view text) {
  AddNote(fmt::format("{}: {}{}{}", file, key, key.empty() ? "" : ": ", text));
}

void Problems::AddNote(std::string_view line) { notes_.push_back(OneLine(std::string(line))); }

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

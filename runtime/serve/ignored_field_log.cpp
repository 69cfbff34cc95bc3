#include "runtime/serve/ignored_field_log.h"

#include "fmt/format.h"

#include <cstdio>

namespace inlay::serve {
namespace {

constexpr size_t kMostNames = 256;

// The name that the log shows: "messages[3].x" becomes "messages[].x", and bytes other than printable ASCII become
// \xNN.
std::string NameOf(std::string_view path) {
  std::string name;
  for (size_t i = 0; i < path.size(); ++i) {
    auto byte = static_cast<unsigned char>(path[i]);
    if (byte < 0x20 || byte >= 0x7f || byte == '\\' || byte == '\'')
      name += fmt::format("\\x{:02x}", byte);
    else
      name += path[i];
    if (size_t end = path.find_first_not_of("0123456789", i + 1);
        byte == '[' && end != std::string_view::npos && path[end] == ']')
      i = end - 1;
  }
  return name;
}

} // namespace

IgnoredFieldLog::IgnoredFieldLog()
    : write_([](std::string_view line) { fmt::print(stderr, "serve-model: {}\n", line); }) {}

void IgnoredFieldLog::Report(std::span<const std::string> paths) {
  if (paths.empty())
    return;
  std::lock_guard lock(mutex_);
  for (const std::string &path : paths) {
    if (named_.size() >= kMostNames)
      return;
    std::string name = NameOf(path);
    if (!named_.insert(name).second)
      continue;
    write_(fmt::format("the request field '{}' is ignored (logged once; docs/api.md lists the fields)", name));
    if (named_.size() == kMostNames)
      write_("further ignored fields are not logged");
  }
}

} // namespace inlay::serve

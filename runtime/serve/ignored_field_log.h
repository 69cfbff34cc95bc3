// Logs the names of request fields that are ignored.
#ifndef INLAY_RUNTIME_SERVE_IGNORED_FIELD_LOG_H_
#define INLAY_RUNTIME_SERVE_IGNORED_FIELD_LOG_H_

#include <functional>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace inlay::serve {

// Logs each field once, in one line, and at most 256 fields, because clients choose the names. Thread-safe.
class IgnoredFieldLog {
public:
  // Writes to the standard error stream.
  IgnoredFieldLog();
  // `write` receives a line without its newline. Calls are serialized.
  explicit IgnoredFieldLog(std::function<void(std::string_view)> write) : write_(std::move(write)) {}
  // Logs `paths` such as "top_q" and "messages[3].x". A field of several list items is logged once.
  void Report(std::span<const std::string> paths);

private:
  std::function<void(std::string_view)> write_;
  std::mutex mutex_; // guards named_ and calls of write_
  std::set<std::string> named_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_IGNORED_FIELD_LOG_H_

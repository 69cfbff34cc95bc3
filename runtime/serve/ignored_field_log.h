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

// Names each field once, in one line, and no more than 256 of them: clients choose the names. May be called from
// several threads.
class IgnoredFieldLog {
public:
  // To the standard error stream.
  IgnoredFieldLog();
  // `write` gets a line without its end; one thread at a time calls it.
  explicit IgnoredFieldLog(std::function<void(std::string_view)> write) : write_(std::move(write)) {}
  // `paths` as "top_q" and "messages[3].x"; all items of a list are one.
  void Report(std::span<const std::string> paths);

private:
  std::function<void(std::string_view)> write_;
  std::mutex mutex_; // of what follows
  std::set<std::string> named_;
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_IGNORED_FIELD_LOG_H_

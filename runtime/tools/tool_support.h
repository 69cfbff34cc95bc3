// Shared parts of the tools: engine options, messages, Ctrl-C.
#ifndef INLAY_RUNTIME_TOOLS_TOOL_SUPPORT_H_
#define INLAY_RUNTIME_TOOLS_TOOL_SUPPORT_H_

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/api/inlay.h"
#include "runtime/tools/command_line.h"

#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace inlay::tools {

// Prints "TOOL: message" on stderr and returns the exit code.
int Fail(const CLI::App &app, const absl::Status &status);

// Adds an option that may be repeated, with one value each time. Values are kept as written.
CLI::Option *AddRepeated(CLI::App &app, const std::string &name, const std::string &description);

// Adds the options of the engine.
void AddEngineFlags(CLI::App &app, EngineOptions &options);

// Parses "1,2,3"; errors name `flag` and say `what` the numbers are.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view flag, std::string_view text,
                                              std::string_view what = "token ids");

// JSON as text. Bytes that are not UTF-8 (for example in a path) become U+FFFD.
std::string Dump(const nlohmann::ordered_json &value);

// "1.5 GiB".
std::string HumanBytes(uint64_t bytes);

// `text` with an ANSI attribute ("1" bold, "2" dim) if `stream` is a terminal and NO_COLOR is not set.
std::string Styled(std::FILE *stream, std::string_view attribute, std::string_view text);

// Handles Ctrl-C. Must be created before the first thread is started.
class Interrupts {
public:
  Interrupts();
  ~Interrupts();
  // Sets the function that the next Ctrl-C calls, on another thread. Without one, and on the second Ctrl-C, the process
  // exits with 130.
  void OnInterrupt(std::function<void()> action);
  // Whether Ctrl-C was pressed since the last call of OnInterrupt.
  bool interrupted() const;

private:
  void Watch();

  mutable std::mutex mutex_;
  std::function<void()> action_;
  bool interrupted_ = false, stopping_ = false;
  std::thread thread_;
};

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_TOOL_SUPPORT_H_

// What the tools share: flags of the engine, messages, Ctrl-C.
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

// Prints "TOOL: message" and returns the exit code.
int Fail(const CLI::App &app, const absl::Status &status);

// An option that may be given several times, each time with one value, which is kept as it was written.
CLI::Option *AddRepeated(CLI::App &app, const std::string &name, const std::string &description);

// The flags that every tool with an engine has.
void AddEngineFlags(CLI::App &app, EngineOptions &options);

// "1,2,3"; `flag` is named in errors.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view flag, std::string_view text);

// JSON as text. Bytes that are no UTF-8 (a path may hold them) become U+FFFD.
std::string Dump(const nlohmann::ordered_json &value);

// "1.5 GiB".
std::string HumanBytes(uint64_t bytes);

// `text` with an ANSI attribute ("1" bold, "2" dim) if `stream` is a terminal and NO_COLOR is not set.
std::string Styled(std::FILE *stream, std::string_view attribute, std::string_view text);

// Lets Ctrl-C end what runs in an orderly way. Make it before the first thread is started.
class Interrupts {
public:
  Interrupts();
  ~Interrupts();
  // What the next Ctrl-C calls, from another thread; without it (or the second time) the process ends with 130.
  void OnInterrupt(std::function<void()> action);
  // Whether Ctrl-C was pressed since OnInterrupt was called last.
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

// How every tool reads its command line and answers a wrong one.
#ifndef INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_
#define INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <optional>

namespace inlay::tools {

inline constexpr int kDone = 0, kUsersInput = 1, kOurs = 2, kInterrupted = 130;

// Parses the command line; `-` and `_` are the same in names of flags. Returns the exit code if the tool is to end:
// after --help, --version or a wrong flag, which gets one line. The app's name is the tool's.
std::optional<int> Parse(CLI::App &app, int argc, char **argv);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_

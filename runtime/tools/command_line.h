// Parses the command line of a tool and reports wrong options.
#ifndef INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_
#define INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <optional>

namespace inlay::tools {

// Exit codes: success, invalid input, an internal error, Ctrl-C.
inline constexpr int kDone = 0, kUsersInput = 1, kOurs = 2, kInterrupted = 130;

// Parses the command line; `-` and `_` are equal in option names, -tp is --tensor-parallel-size, -pp
// --pipeline-parallel-size and -dev --device. Returns an exit code if the tool must exit: after --help, --version or an
// error. An error is printed as one line that begins with the app's name.
std::optional<int> Parse(CLI::App &app, int argc, char **argv);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_

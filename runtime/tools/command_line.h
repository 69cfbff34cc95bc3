// Parses the command line of every tool and reports wrong options.
#ifndef INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_
#define INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <optional>

namespace inlay::tools {

inline constexpr int kDone = 0, kUsersInput = 1, kOurs = 2, kInterrupted = 130;

// Parses the command line; `-` and `_` are equal in option names. Returns an exit code if the tool must exit: after
// --help,
// --version or an error, which is printed as one line that begins with the app's name.
std::optional<int> Parse(CLI::App &app, int argc, char **argv);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_COMMAND_LINE_H_

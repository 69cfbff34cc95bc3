#include "runtime/tools/command_line.h"

#include "fmt/format.h"
#include "runtime/support/version.h"

#include <algorithm>
#include <string>
#include <vector>

namespace inlay::tools {

std::optional<int> Parse(CLI::App &app, int argc, char **argv) {
  app.set_version_flag("--version", VersionLine(app.get_name()));
  std::vector<std::string> arguments(argv + 1, argv + argc);
  // vLLM's short name of the option, which CLI11 would read as -t -p.
  const bool has_ranks = app.get_option_no_throw("--tensor-parallel-size") != nullptr;
  for (std::string &argument : arguments) {
    if (has_ranks && (argument == "-tp" || argument.starts_with("-tp=")))
      argument.replace(0, 3, "--tensor-parallel-size");
    if (argument.starts_with("--"))
      std::replace(argument.begin(), std::find(argument.begin(), argument.end(), '='), '_', '-');
  }
  std::reverse(arguments.begin(), arguments.end()); // CLI11 expects the arguments in reverse order
  try {
    app.parse(arguments);
  } catch (const CLI::Success &success) { // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError &error) {
    fmt::print(stderr, "{}: {}; see {} --help for the options\n", app.get_name(), error.what(), app.get_name());
    return kUsersInput;
  }
  return std::nullopt;
}

} // namespace inlay::tools

#include "runtime/tools/command_line.h"

#include "fmt/format.h"
#include "runtime/support/version.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::tools {

std::optional<int> Parse(CLI::App &app, int argc, char **argv) {
  app.set_version_flag("--version", VersionLine(app.get_name()));
  std::vector<std::string> arguments(argv + 1, argv + argc);
  // Short names of vLLM and llama.cpp, which CLI11 would read as -t -p, -p -p and -d -e -v.
  constexpr std::pair<std::string_view, const char *> kShort[] = {
      {"-tp", "--tensor-parallel-size"}, {"-pp", "--pipeline-parallel-size"}, {"-dev", "--device"}};
  for (std::string &argument : arguments) {
    for (const auto &[name, option] : kShort)
      if (app.get_option_no_throw(option) && (argument == name || argument.starts_with(std::string(name) + "=")))
        argument.replace(0, name.size(), option);
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

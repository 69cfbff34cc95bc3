// What the tools share: flags of the engine and of sampling, and how they end.
#ifndef INLAY_RUNTIME_TOOLS_FLAGS_H_
#define INLAY_RUNTIME_TOOLS_FLAGS_H_

#include "CLI/CLI.hpp"
#include "runtime/api/inlay.h"

#include <string>

namespace inlay::tools {

// Exit codes of every tool.
inline constexpr int kDone = 0, kUserError = 1, kInternalError = 2;

// Parses the command line; users of vLLM write either - or _ in flags. Returns an exit code to end with, or -1.
int Parse(CLI::App &app, int argc, char **argv);

// Flags that lower the bundle's bounds or choose memory.
void AddEngineFlags(CLI::App &app, EngineOptions &options);

// Prints "TOOL: message" and says which exit code that is.
int Fail(const std::string &tool, const absl::Status &status);

// Ids written as 1,2,3.
absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string &text);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_FLAGS_H_

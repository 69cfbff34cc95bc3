// The processes that mpirun has started, each of which runs a rank of a bundle.
#ifndef INLAY_RUNTIME_TOOLS_LAUNCHER_H_
#define INLAY_RUNTIME_TOOLS_LAUNCHER_H_

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "runtime/api/inlay.h"

#include <optional>

namespace inlay::tools {

// Reads the rank of this process and the number of processes from what Open MPI sets in the environment. Without
// mpirun, or with one process, `ranks` of the result is 0: the process runs all ranks.
absl::StatusOr<ProcessOptions> ProcessesOfLauncher(const ProcessOptions &given);

// Sets options.process. If this is the process of rank 0 or the only one, returns nothing. Otherwise runs its rank
// until rank 0 ends, and returns the exit code.
std::optional<int> RunOtherRank(const CLI::App &app, const std::string &bundle, EngineOptions &options);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_LAUNCHER_H_

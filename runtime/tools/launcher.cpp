#include "runtime/tools/launcher.h"

#include "fmt/format.h"
#include "runtime/tools/tool_support.h"

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace inlay::tools {
namespace {

// Reads an integer of the environment.
absl::StatusOr<int32_t> ReadNumber(const char *name, int32_t least, int32_t most) {
  const char *found = std::getenv(name);
  const std::string_view text = found ? found : "";
  int32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return absl::InvalidArgumentError(
        fmt::format("{} is '{}', expected {} to {}: start the processes with mpirun of Open MPI, or remove the "
                    "variable OMPI_COMM_WORLD_SIZE to run all ranks in one process",
                    name, text, least, most));
  return value;
}

} // namespace

absl::StatusOr<ProcessOptions> ProcessesOfLauncher(const ProcessOptions &given) {
  constexpr int32_t kMost = 1 << 20;
  ProcessOptions result = given;
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) {
    if (given.rendezvous.empty())
      return result;
    return absl::InvalidArgumentError("--rendezvous has no effect without mpirun, which sets OMPI_COMM_WORLD_RANK and "
                                      "OMPI_COMM_WORLD_SIZE; remove the option");
  }
  absl::StatusOr<int32_t> size = ReadNumber("OMPI_COMM_WORLD_SIZE", 1, kMost);
  if (!size.ok())
    return size.status();
  absl::StatusOr<int32_t> rank = ReadNumber("OMPI_COMM_WORLD_RANK", 0, *size - 1);
  if (!rank.ok())
    return rank.status();
  if (*size == 1)
    return result;
  absl::StatusOr<int32_t> on_host = ReadNumber("OMPI_COMM_WORLD_LOCAL_SIZE", 1, *size);
  if (!on_host.ok())
    return on_host.status();
  if (*on_host != *size)
    return absl::InvalidArgumentError(
        fmt::format("mpirun has started {} processes, {} of them on this host; ranks exchange data through memory, so "
                    "start all of them on one host",
                    *size, *on_host));
  result.rank = *rank;
  result.ranks = *size;
  if (const char *job = std::getenv("PMIX_NAMESPACE"); job && result.rendezvous.empty())
    result.rendezvous = fmt::format("inlay-{}", job);
  if (result.rendezvous.empty())
    return absl::InvalidArgumentError("mpirun has not named its job (PMIX_NAMESPACE); give all processes the same name "
                                      "with --rendezvous");
  return result;
}

std::optional<int> RunOtherRank(const CLI::App &app, const std::string &bundle, EngineOptions &options) {
  absl::StatusOr<ProcessOptions> process = ProcessesOfLauncher(options.process);
  if (!process.ok())
    return Fail(app, process.status());
  options.process = *std::move(process);
  if (options.process.rank == 0)
    return std::nullopt;
  // Rank 0 decides when the engine ends: it finishes requests after SIGTERM, and a chat stops an answer at Ctrl-C.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  if (absl::Status status = Engine::RunRank(bundle, options); !status.ok())
    return Fail(app, status);
  return kDone;
}

} // namespace inlay::tools

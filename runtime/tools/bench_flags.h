// The options of bench-model without a subcommand.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_FLAGS_H_
#define INLAY_RUNTIME_TOOLS_BENCH_FLAGS_H_

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/api/inlay.h"
#include "runtime/tools/bench_runs.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace inlay::tools {

struct BenchFlags {
  std::string bundle;
  std::vector<int> prompt{512}, generate{128}, batch{1};
  std::vector<std::string> depth{"0"}; // "512", or "100:16384"
  int repetitions = 5;
  bool json = false, no_warmup = false;
  bool profile = false;
  uint32_t profile_rank = 0;
  std::string profile_trace, cupti;
  EngineOptions engine;
};

// Declares the options. Parsing `app` fills `flags`.
void AddBenchFlags(CLI::App &app, BenchFlags &flags);
// The tests that the options select, in the order of the table.
absl::StatusOr<std::vector<Test>> TestsOf(const BenchFlags &flags);
// The ranks that this process runs.
uint32_t RanksHere(const BenchFlags &flags, const EngineStats &stats);
// Checks the rank and the GPUs of --profile, for a bundle of `ranks` ranks, before the GPU's driver starts.
absl::Status CheckProfiledRank(const BenchFlags &flags, uint32_t ranks);
// Checks that --profile can show the kernels of the tests.
absl::Status CheckProfile(const BenchFlags &flags, std::span<const Test> tests, const EngineStats &stats);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_FLAGS_H_

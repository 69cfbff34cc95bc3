//===- RequestOptions.cpp - which options of a request fit each other ------===//

#include "compiler/pipelines/RequestOptions.h"

#include "dialects/tile/Tile.h"
#include "fmt/format.h"
#include "llvm/ADT/STLExtras.h"

using namespace inlay;

static bool isForGpu(const CompileRequest &request) {
  return llvm::any_of(request.targets, [](const std::string &target) { return target != "cpu"; });
}

absl::Status inlay::checkRanks(const CompileRequest &request) {
  if (absl::Status status = checkLimits(request.parallel); !status.ok())
    return status;
  if (request.tune && request.parallel.pipeline > 1)
    return absl::InvalidArgumentError(
        fmt::format("--tune is for --pipeline-parallel-size 1, found {}: tune without it, which measures the same "
                    "kernels, and compile with the tuning file then",
                    request.parallel.pipeline));
  if (isForGpu(request) && request.parallel.tensor > tile::kMostExchangeRanks)
    return absl::InvalidArgumentError(fmt::format("--tensor-parallel-size is {}, expected at most {} for GPU targets",
                                                  request.parallel.tensor, tile::kMostExchangeRanks));
  return absl::OkStatus();
}

absl::StatusOr<StepLimits> inlay::stepLimitsOf(const CompileRequest &request, const hf::ModelConfig &config) {
  StepLimits limits;
  limits.maxModelLen = config.max_model_len;
  limits.maxNumSeqs = request.maxNumSeqs.value_or(16);
  limits.maxNumBatchedTokens = request.maxNumBatchedTokens.value_or(2048);
  limits.pageSize = request.blockSize;
  if (limits.maxNumBatchedTokens < limits.maxNumSeqs)
    return absl::InvalidArgumentError(
        fmt::format("--max-num-batched-tokens is {}, expected at least --max-num-seqs ({})", limits.maxNumBatchedTokens,
                    limits.maxNumSeqs));
  return limits;
}

absl::Status inlay::checkSums(const CompileRequest &request, const StepLimits &limits) {
  for (auto [option, isGiven] : {std::pair("--overlap-collectives", request.sums.halvesRows != 0),
                                 std::pair("--sum-prologues", request.sums.sumPrologues)})
    if (isGiven && (!isForGpu(request) || request.parallel.tensor < 2))
      return absl::InvalidArgumentError(
          fmt::format("{} is for --tensor-parallel-size 2 or more on GPUs, found {} on {}; leave it out", option,
                      request.parallel.tensor, fmt::join(request.targets, ", ")));
  if (request.sums.halvesRows == 0)
    return absl::OkStatus();
  if (request.sums.halvesRows < kLeastHalvesRows)
    return absl::InvalidArgumentError(fmt::format("--overlap-collectives is {} rows, expected at least {}",
                                                  request.sums.halvesRows, kLeastHalvesRows));
  if (request.sums.halvesRows > limits.maxNumBatchedTokens)
    return absl::InvalidArgumentError(
        fmt::format("--overlap-collectives is {} rows, but a step has at most {}; lower it or raise "
                    "--max-num-batched-tokens",
                    request.sums.halvesRows, limits.maxNumBatchedTokens));
  return absl::OkStatus();
}

Ablation inlay::ablationOf(const CompileRequest &request) {
  Ablation without;
  for (const std::string &name : request.without)
    (name == "dependent-launch" ? without.dependentLaunch
     : name == "early-fill"     ? without.earlyFill
     : name == "fusion"         ? without.fusion
                                : without.normPrologues) = true;
  return without;
}

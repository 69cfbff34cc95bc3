// The measured runs of bench-model: B prompts of P tokens, or N steps of B sequences at a given context.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_RUNS_H_
#define INLAY_RUNTIME_TOOLS_BENCH_RUNS_H_

#include "absl/status/statusor.h"
#include "runtime/api/inlay.h"

#include <chrono>
#include <cstdint>
#include <random>
#include <string>

namespace inlay::tools {

// A row of the table.
struct Test {
  bool is_prompt = false;
  int tokens = 0; // P or N
  int batch = 1;
  int depth = 0;
  int depth_to = 0; // context of the last sequence; the others are spread evenly between `depth` and this

  std::string name() const;
  int steps() const { return is_prompt ? 1 : tokens; }
  // Tokens that a sequence generates. The measurement starts at the first one.
  int generated() const { return is_prompt ? 1 : tokens + 1; }
  // Positions of sequence `i` before the first step.
  int64_t prompt_size(int i) const;
};

class Bench {
public:
  Bench(Engine &engine, uint32_t vocab_size);

  // Checks that all sequences of a test can run at the same time.
  absl::Status Check(const Test &test) const;

  struct Result {
    std::chrono::steady_clock::time_point begin, end;
    // Positions of a sequence after a step, mean over the sequences and the measured steps.
    double mean_context = 0;
    double seconds() const { return std::chrono::duration<double>(end - begin).count(); }
  };
  absl::StatusOr<Result> Run(const Test &test);

private:
  int64_t PromptRows(const Test &test) const;
  int64_t MaxTokens(const Test &test) const;

  Engine &engine_;
  std::mt19937 random_{1}; // NOLINT(bugprone-random-generator-seed): every run measures the same prompts
  std::uniform_int_distribution<int32_t> ids_;
  EngineStats stats_;
};

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_RUNS_H_

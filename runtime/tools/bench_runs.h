// Runs of the engine that are measured: B prompts of P tokens, or N steps of B sequences at a depth.
#ifndef INLAY_RUNTIME_TOOLS_BENCH_RUNS_H_
#define INLAY_RUNTIME_TOOLS_BENCH_RUNS_H_

#include "absl/status/statusor.h"
#include "runtime/api/inlay.h"

#include <cstdint>
#include <functional>
#include <random>
#include <string>

namespace inlay::tools {

// A row of the table.
struct Test {
  bool is_prompt = false;
  int tokens = 0; // P or N
  int batch = 1;
  int depth = 0;

  std::string name() const;
  int steps() const { return is_prompt ? 1 : tokens; }
  // Tokens that a sequence generates: the first one begins the time of the steps.
  int generated() const { return is_prompt ? 1 : tokens + 1; }
  int prompt_size() const { return is_prompt ? tokens : depth > 0 ? depth : 1; }
};

class Bench {
public:
  Bench(Engine &engine, uint32_t vocab_size);

  // Whether all sequences of a test can run at the same time.
  absl::Status Check(const Test &test) const;

  // Called when the measured time begins and ends, on the measuring thread.
  struct Marks {
    std::function<void()> begin, end;
  };
  struct Result {
    double seconds = 0;
    // Positions of a sequence after a step, on average over the sequences and the steps measured.
    double mean_context = 0;
  };
  absl::StatusOr<Result> Run(const Test &test, const Marks &marks = {});

private:
  int64_t MaxTokens(const Test &test) const;

  Engine &engine_;
  std::mt19937 random_{1};
  std::uniform_int_distribution<int32_t> ids_;
  EngineStats stats_;
};

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_BENCH_RUNS_H_

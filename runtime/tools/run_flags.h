// What the command line of run-model asks for.
#ifndef INLAY_RUNTIME_TOOLS_RUN_FLAGS_H_
#define INLAY_RUNTIME_TOOLS_RUN_FLAGS_H_

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/api/inlay.h"

#include <optional>
#include <string>
#include <vector>

namespace inlay::tools {

struct RunFlags {
  std::string bundle, system, chat_template, logits_out;
  std::vector<Request> prompts; // text or ids
  bool tokenize = false, no_special_tokens = false, chat = false, json = false, quiet = false;
  EngineOptions engine;

  // Sampling parameters that were given; the others are the checkpoint's.
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k, max_tokens, logprobs;
  std::optional<uint32_t> seed;
  bool ignore_eos = false;
  std::string stop_token_ids;
  std::vector<std::string> stop;
  GuidedParams guided;
};

// Declares the flags, which are read into `flags` when `app` parses; texts of several flags and of files come after
// that.
void AddRunFlags(CLI::App &app, RunFlags &flags);
absl::Status ReadTexts(const CLI::App &app, RunFlags &flags);

// What was given, over the checkpoint's `params` and its number of tokens to generate, if it names one.
absl::StatusOr<SamplingParams> SamplingOf(const RunFlags &flags, SamplingParams params,
                                          std::optional<int32_t> default_max_tokens);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_RUN_FLAGS_H_

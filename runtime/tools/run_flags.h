// The options of run-model.
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

  // Sampling parameters given on the command line; the others keep the checkpoint's values.
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k, max_tokens, logprobs;
  std::optional<uint32_t> seed;
  bool ignore_eos = false;
  std::string stop_token_ids;
  std::vector<std::string> stop;
  GuidedParams guided;
};

// Declares the options. Parsing `app` fills `flags`, except prompts, stop strings and guided decoding, which ReadTexts
// reads afterwards.
void AddRunFlags(CLI::App &app, RunFlags &flags);
absl::Status ReadTexts(const CLI::App &app, RunFlags &flags);

// Returns the checkpoint's `params` with the values given on the command line. `default_max_tokens` is the checkpoint's
// max_new_tokens, if any.
absl::StatusOr<SamplingParams> SamplingOf(const RunFlags &flags, SamplingParams params,
                                          std::optional<int32_t> default_max_tokens);

} // namespace inlay::tools

#endif // INLAY_RUNTIME_TOOLS_RUN_FLAGS_H_

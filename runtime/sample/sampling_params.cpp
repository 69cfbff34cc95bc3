#include "runtime/sample/sampling_params.h"

#include "fmt/format.h"

#include <algorithm>

namespace inlay {

absl::Status ValidateSamplingParams(const SamplingParams &params, int32_t vocab_size) {
  auto check = [](std::string_view field, double value, double low, double high, bool low_is_in = true) {
    // NaN fails both comparisons.
    if ((low_is_in ? value >= low : value > low) && value <= high)
      return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{} is {}, expected {}{}, {}]", field, value, low_is_in ? "[" : "(", low, high));
  };
  for (const absl::Status &status : {
           check("temperature", params.temperature, 0, 100),
           check("top_k", params.top_k, 0, 1 << 30),
           check("top_p", params.top_p, 0, 1, /*low_is_in=*/false),
           check("min_p", params.min_p, 0, 1),
           check("repetition_penalty", params.repetition_penalty, 0, 100, /*low_is_in=*/false),
           check("presence_penalty", params.presence_penalty, -2, 2),
           check("frequency_penalty", params.frequency_penalty, -2, 2),
           check("n", params.n, 1, 256),
           check("best_of", params.best_of, params.best_of == 0 ? 0 : params.n, 256),
           check("max_tokens", params.max_tokens, 1, 1 << 30),
           check("min_tokens", params.min_tokens, 0, params.max_tokens),
           check("prompt_logprobs", params.prompt_logprobs, -1, std::min(vocab_size, 1024)),
           check("logprobs", params.logprobs, -1, std::min(vocab_size, 1024)),
           check("number of stop strings", static_cast<double>(params.stop.size()), 0, 64),
       })
    if (!status.ok())
      return status;
  if (params.logit_bias.size() > 1024)
    return absl::InvalidArgumentError(
        fmt::format("logit_bias has {} entries, expected at most 1024", params.logit_bias.size()));
  for (const auto &[id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab_size)
      return absl::InvalidArgumentError(
          fmt::format("logit_bias contains id {}, expected ids in [0, {})", id, vocab_size));
    if (absl::Status status = check("a logit_bias", bias, -100, 100); !status.ok())
      return status;
  }
  for (int32_t id : params.stop_token_ids)
    if (id < 0 || id >= vocab_size)
      return absl::InvalidArgumentError(
          fmt::format("stop_token_ids contains {}, expected ids in [0, {})", id, vocab_size));
  // As in vLLM, at most the size of the vocabulary. More ids than that must contain duplicates.
  if (params.allowed_token_ids.size() > static_cast<size_t>(vocab_size))
    return absl::InvalidArgumentError(
        fmt::format("allowed_token_ids has {} ids, expected at most {}, the size of the vocabulary",
                    params.allowed_token_ids.size(), vocab_size));
  for (int32_t id : params.allowed_token_ids)
    if (id < 0 || id >= vocab_size)
      return absl::InvalidArgumentError(
          fmt::format("allowed_token_ids contains {}, expected ids in [0, {})", id, vocab_size));
  if (params.bad_words.size() > 1024)
    return absl::InvalidArgumentError(
        fmt::format("bad_words has {} words, expected at most 1024", params.bad_words.size()));
  for (const std::string &word : params.bad_words)
    if (word.empty() || word.size() > 1024)
      return absl::InvalidArgumentError(fmt::format("a bad word has {} bytes, expected 1 to 1024", word.size()));
  for (const std::string &stop : params.stop)
    if (stop.empty() || stop.size() > 1024)
      return absl::InvalidArgumentError(fmt::format("a stop string has {} bytes, expected 1 to 1024", stop.size()));
  return absl::OkStatus();
}

} // namespace inlay

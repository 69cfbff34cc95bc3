#include "runtime/serve/sampling_fields.h"

#include "fmt/format.h"
#include "runtime/serve/form_fields.h"
#include "runtime/serve/request_log.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace inlay::serve {
namespace {

constexpr size_t kWordBytes = 1024; // the engine has the same limit

// `stop` is a string or a list of strings.
void ReadStops(Fields &fields, const Limits &limits, std::vector<std::string> &out) {
  const Json *stop = fields.Find("stop");
  if (!stop)
    return;
  Json list = stop->is_string() ? Json::array({*stop}) : *stop;
  if (!list.is_array())
    return fields.Fail("stop", fmt::format("'stop' is {}, expected a string or a list of strings", Describe(*stop)));
  if (list.size() > static_cast<size_t>(limits.stops))
    return fields.Fail("stop", fmt::format("'stop' has {} strings, expected at most {}", list.size(), limits.stops));
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string() || list[i].get_ref<const std::string &>().empty())
      return fields.Fail("stop",
                         fmt::format("'stop[{}]' is {}, expected a string that is not empty", i, Describe(list[i])));
    out.push_back(list[i].get<std::string>());
  }
}

// Any 64-bit integer is a seed and is folded to the 32 bits of the engine's seed. As in vLLM, -1 means no seed.
void ReadSeed(Fields &fields, SamplingParams &sampling) {
  if (!fields.Find("seed"))
    return;
  int64_t seed = 0;
  fields.Integer("seed", seed, INT64_MIN, INT64_MAX);
  if (seed == -1)
    return;
  auto bits = static_cast<uint64_t>(seed);
  sampling.seed = static_cast<uint32_t>(bits ^ (bits >> 32));
}

void ReadStreamOptions(Fields &fields, GenerationRequest &out) {
  const Json *options = fields.Find("stream_options");
  if (!options)
    return;
  if (!options->is_object())
    return fields.Fail("stream_options", fmt::format("'stream_options' is {}, expected an object", Describe(*options)));
  Fields inner(*options, "stream_options", fields.ignored());
  inner.Bool("include_usage", out.include_usage);
  inner.Bool("continuous_usage_stats", out.continuous_usage_stats);
  inner.Ignore("include_obfuscation"); // asks for padding of events, which is optional
  if (std::optional<ApiError> wrong = inner.Finish())
    return fields.Fail(*std::move(wrong));
  if (!out.stream && !options->empty()) // as in vLLM, an empty object counts as absent
    fields.Fail("stream_options",
                "'stream_options' is only allowed with 'stream': true; set 'stream' to true or remove it");
}

// logit_bias maps token ids (as strings) to biases, for example {"50256": -100}.
void ReadLogitBias(Fields &fields, const RequestContext &context, SamplingParams &sampling) {
  const Json *bias = fields.Find("logit_bias");
  if (!bias)
    return;
  if (!bias->is_object() || bias->size() > static_cast<size_t>(context.limits.bias_entries))
    return fields.Fail("logit_bias", fmt::format("'logit_bias' is {}, expected an object of at most {} token ids",
                                                 Describe(*bias), context.limits.bias_entries));
  for (const auto &[name, value] : bias->items()) {
    int32_t id = -1;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || end != name.data() + name.size() || id < 0 || id >= context.vocab_size)
      return fields.Fail("logit_bias", fmt::format("'logit_bias' names '{}', expected a token id in [0, {})",
                                                   name.substr(0, 60), context.vocab_size));
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 100))
      return fields.Fail("logit_bias",
                         fmt::format("'logit_bias.{}' is {}, expected a number in [-100, 100]", id, Describe(value)));
    sampling.logit_bias[id] = value.get<float>();
  }
}

// max_completion_tokens is OpenAI's newer name. It overrides max_tokens.
void ReadMaxTokens(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  for (std::string_view name : {"max_tokens", "max_completion_tokens"}) {
    if (!fields.Find(name))
      continue;
    // 0 is allowed for `echo`, which then returns only the prompt.
    bool may_be_none = out.echo && !out.is_chat;
    fields.Integer(name, out.sampling.max_tokens, may_be_none ? 0 : 1, context.max_model_len);
    out.max_tokens_given = true;
    out.echo_only = out.sampling.max_tokens == 0;
    out.sampling.max_tokens = std::max(out.sampling.max_tokens, 1);
  }
}

void ReadTopK(Fields &fields, SamplingParams &sampling) {
  const Json *top_k = fields.Find("top_k");
  if (top_k && *top_k == -1)
    sampling.top_k = 0; // as in vLLM, -1 means off
  else
    fields.Integer("top_k", sampling.top_k, 0, 1 << 30);
}

void ReadAllowedTokens(Fields &fields, const RequestContext &context, SamplingParams &sampling) {
  const Json *allowed = fields.Find("allowed_token_ids");
  fields.TokenIds("allowed_token_ids", sampling.allowed_token_ids, static_cast<size_t>(context.vocab_size),
                  context.vocab_size);
  if (allowed && allowed->is_array() && allowed->empty())
    fields.Fail("allowed_token_ids",
                "'allowed_token_ids' is an empty list, which allows no token; add ids or remove it");
}

void ReadTruncation(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  if (const Json *size = fields.Find("truncate_prompt_tokens")) {
    int32_t value = 0;
    fields.Integer("truncate_prompt_tokens", value, -1, context.max_model_len);
    if (value == 0 && size->is_number())
      fields.Fail(
          "truncate_prompt_tokens",
          fmt::format("'truncate_prompt_tokens' is 0, expected -1 (as many tokens as fit) or a count in [1, {}]",
                      context.max_model_len));
    out.truncate_prompt_tokens = value;
  }
  std::string side = "left";
  fields.String("truncation_side", side, kName);
  if (side != "left" && side != "right")
    fields.Fail("truncation_side",
                fmt::format("'truncation_side' is '{}', expected left or right", side.substr(0, 60)));
  out.truncates_right = side == "right";
}

// The id becomes part of the response id, so only characters that are safe in headers and logs are allowed.
void ReadRequestId(Fields &fields, GenerationRequest &out) {
  fields.String("request_id", out.request_id, 128);
  if (!out.request_id.empty() && !IsRequestId(out.request_id))
    fields.Fail("request_id", "'request_id' may contain only letters, digits, '-', '_' and '.'");
}

// Known fields of vLLM and other servers that this server does not support.
void ReadNotSupported(Fields &fields) {
  fields.OnlyDefault("use_beam_search", false, "beam search is not supported");
  fields.OnlyDefault("length_penalty", 1.0, "it applies to beam search, which is not supported");
  fields.OnlyDefault("early_stopping", false, "it applies to beam search, which is not supported");
  fields.OnlyDefault("watermarking", false, "watermarking is not supported");
  fields.OnlyDefault("logprob_token_ids", Json(), "log-probabilities are returned for the most likely tokens only");
  fields.OnlyDefault("repetition_detection", Json(),
                     "stopping at repetitions is not supported; use repetition_penalty");
  fields.OnlyDefault("thinking_token_budget", -1, "the length of the reasoning cannot be limited");
  fields.OnlyDefault("logits_processors", Json::array(), "the server does not run code from requests");
  fields.OnlyDefault("kv_transfer_params", Json(), "transferring the KV cache is not supported");
  fields.OnlyDefault("ec_transfer_params", Json(), "transferring an encoder cache is not supported");
  fields.OnlyDefault("vllm_xargs", Json::object(), "extensions are not supported");
  fields.OnlyDefault("return_token_offsets", false, "token offsets are not supported");
  fields.OnlyDefault("stream_interval", 1, "each token is sent when it is generated");
}

} // namespace

void ReadSamplingFields(Fields &fields, const RequestContext &context, GenerationRequest &out) {
  const Limits &limits = context.limits;
  out.sampling = context.default_sampling;
  SamplingParams &sampling = out.sampling;
  sampling.max_tokens = 16;
  sampling.logprobs = -1;
  fields.String("model", out.model, kName);
  fields.Bool("stream", out.stream);
  ReadStreamOptions(fields, out);
  fields.Integer("n", out.n, 1, limits.sequences);
  fields.Number("temperature", sampling.temperature, 0, 2);
  fields.Number("top_p", sampling.top_p, 0, 1, /*low_is_in=*/false);
  fields.Number("presence_penalty", sampling.presence_penalty, -2, 2);
  fields.Number("frequency_penalty", sampling.frequency_penalty, -2, 2);
  ReadMaxTokens(fields, context, out);
  ReadStops(fields, limits, sampling.stop);
  ReadSeed(fields, sampling);
  ReadForms(fields, limits, sampling.guided);
  ReadLogitBias(fields, context, sampling);

  // Fields of vLLM.
  ReadTopK(fields, sampling);
  fields.Number("min_p", sampling.min_p, 0, 1);
  fields.Number("repetition_penalty", sampling.repetition_penalty, 0, 100, /*low_is_in=*/false);
  fields.Bool("ignore_eos", sampling.ignore_eos);
  fields.TokenIds("stop_token_ids", sampling.stop_token_ids, static_cast<size_t>(limits.stop_token_ids),
                  context.vocab_size);
  fields.Integer("min_tokens", sampling.min_tokens, 0, context.max_model_len);
  fields.Bool("include_stop_str_in_output", sampling.include_stop_str_in_output);
  fields.Bool("skip_special_tokens", sampling.skip_special_tokens);
  // The field has no effect if special tokens are skipped.
  bool spaces = true;
  fields.Bool("spaces_between_special_tokens", spaces);
  if (!spaces && !sampling.skip_special_tokens)
    fields.Fail(
        "spaces_between_special_tokens",
        "'spaces_between_special_tokens' is false, but the tokenizer's decoder determines the spaces; remove it",
        "not_supported");
  ReadAllowedTokens(fields, context, sampling);
  fields.Strings("bad_words", sampling.bad_words, static_cast<size_t>(limits.bad_words), kWordBytes);
  fields.Integer("prompt_logprobs", sampling.prompt_logprobs, 0, limits.logprobs);
  out.prompt_logprobs = sampling.prompt_logprobs;
  if (out.stream && out.prompt_logprobs > 0)
    fields.Fail("prompt_logprobs", "'prompt_logprobs' cannot be streamed; set 'stream' to false");
  ReadTruncation(fields, context, out);
  fields.Integer("priority", out.priority, INT32_MIN, INT32_MAX);
  if (out.priority != 0 && !context.has_priorities)
    fields.Fail("priority",
                fmt::format("'priority' is {}, but this server runs requests in order of arrival; remove it, or start "
                            "the server with --scheduling-policy priority",
                            out.priority),
                "not_supported");
  fields.String("cache_salt", out.cache_salt, 1024);
  ReadRequestId(fields, out);
  fields.Bool("return_token_ids", out.return_token_ids);
  fields.Bool("return_tokens_as_token_ids", out.return_tokens_as_token_ids);
  ReadNotSupported(fields);

  // These fields identify the user or control storage and caching. They do not change the answer.
  for (std::string_view name : {"user", "metadata", "store", "service_tier", "safety_identifier", "session_id",
                                "prompt_cache_key", "prompt_cache_retention", "prediction"})
    fields.Ignore(name);
}

} // namespace inlay::serve

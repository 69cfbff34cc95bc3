// Requests of the C interface: submitting, receiving tokens, cancelling.
#include "runtime/c/handles.h"
#include "runtime/c/support.h"

namespace inlay::c {
namespace {

// Converts all fields except for the seed and the pointers.
inlay_sampling_params ToC(const SamplingParams &params) {
  inlay_sampling_params result{};
  result.n = params.n;
  result.best_of = params.best_of;
  result.temperature = params.temperature;
  result.top_k = params.top_k;
  result.top_p = params.top_p;
  result.min_p = params.min_p;
  result.repetition_penalty = params.repetition_penalty;
  result.presence_penalty = params.presence_penalty;
  result.frequency_penalty = params.frequency_penalty;
  result.max_tokens = params.max_tokens;
  result.min_tokens = params.min_tokens;
  result.ignore_eos = params.ignore_eos;
  result.logprobs = params.logprobs;
  result.prompt_logprobs = params.prompt_logprobs;
  result.include_stop_str_in_output = params.include_stop_str_in_output;
  result.skip_special_tokens = params.skip_special_tokens;
  return result;
}

// Copies a program's list of texts. `name` is used in errors.
absl::Status TextsFromC(const char *const *texts, size_t count, std::string_view name,
                        std::vector<std::string> &result) {
  if (count)
    if (absl::Status status = NotNull(texts, name); !status.ok())
      return status;
  for (size_t i = 0; i < count; ++i) {
    if (absl::Status status = NotNull(texts[i], fmt::format("{}[{}]", name, i)); !status.ok())
      return status;
    result.emplace_back(texts[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<SamplingParams> FromC(const inlay_sampling_params *given) {
  inlay_sampling_params params = ToC({});
  if (absl::Status status = Read("inlay_sampling_params", given, &params); !status.ok())
    return status;
  SamplingParams result;
  result.n = params.n;
  result.best_of = params.best_of;
  result.temperature = params.temperature;
  result.top_k = params.top_k;
  result.top_p = params.top_p;
  result.min_p = params.min_p;
  result.repetition_penalty = params.repetition_penalty;
  result.presence_penalty = params.presence_penalty;
  result.frequency_penalty = params.frequency_penalty;
  if (params.has_seed)
    result.seed = params.seed;
  result.max_tokens = params.max_tokens;
  result.min_tokens = params.min_tokens;
  result.ignore_eos = params.ignore_eos != 0;
  result.logprobs = params.logprobs;
  result.prompt_logprobs = params.prompt_logprobs;
  result.include_stop_str_in_output = params.include_stop_str_in_output != 0;
  result.skip_special_tokens = params.skip_special_tokens != 0;
  struct Ids {
    const char *name;
    const int32_t *given;
    size_t count;
    std::vector<int32_t> *read;
  };
  for (const Ids &ids :
       {Ids{"stop_token_ids", params.stop_token_ids, params.stop_token_id_count, &result.stop_token_ids},
        {"allowed_token_ids", params.allowed_token_ids, params.allowed_token_id_count, &result.allowed_token_ids}}) {
    if (ids.count == 0)
      continue;
    if (absl::Status status = NotNull(ids.given, ids.name); !status.ok())
      return status;
    ids.read->assign(ids.given, ids.given + ids.count);
  }
  if (params.logit_bias_count)
    if (absl::Status status = NotNull(params.logit_bias, "logit_bias"); !status.ok())
      return status;
  for (size_t i = 0; i < params.logit_bias_count; ++i)
    result.logit_bias[params.logit_bias[i].id] = params.logit_bias[i].bias;
  if (absl::Status status = TextsFromC(params.stop, params.stop_count, "stop", result.stop); !status.ok())
    return status;
  if (absl::Status status = TextsFromC(params.bad_words, params.bad_word_count, "bad_words", result.bad_words);
      !status.ok())
    return status;
  struct Form {
    const char *name, *given;
    std::string *read;
  };
  for (const Form &form : {Form{"guided_json", params.guided_json, &result.guided.json_schema},
                           {"guided_regex", params.guided_regex, &result.guided.regex},
                           {"guided_grammar", params.guided_grammar, &result.guided.grammar}}) {
    if (!form.given)
      continue;
    if (!*form.given)
      return absl::InvalidArgumentError(
          fmt::format("{} is empty, expected a constraint on the text; write one, or pass NULL", form.name));
    *form.read = form.given;
  }
  if (absl::Status status =
          TextsFromC(params.guided_choice, params.guided_choice_count, "guided_choice", result.guided.choice);
      !status.ok())
    return status;
  return result;
}

std::vector<inlay_token_logprob> ToC(const std::vector<TokenLogprob> &top) {
  std::vector<inlay_token_logprob> result;
  for (const TokenLogprob &one : top)
    result.push_back({one.id, one.logprob});
  return result;
}

// Returns the log-probabilities at a token of the prompt. The first call fetches those of all tokens from the engine.
absl::StatusOr<const inlay_request::PromptToken *> PromptTokenAt(inlay_request &request, size_t position) {
  if (request.prompt.empty())
    for (const PromptLogprob &one : request.handle->prompt_logprobs())
      request.prompt.push_back({{one.token.id, one.token.logprob}, ToC(one.top), one.token.rank});
  if (position < 1 || position > request.prompt.size())
    return absl::InvalidArgumentError(fmt::format(
        "position is {}, expected 1 to {}; set prompt_logprobs, and call this after the first token was returned",
        position, request.prompt.size()));
  return &request.prompt[position - 1];
}

inlay_request_params DefaultRequest() {
  inlay_request_params result{};
  result.add_special_tokens = Request{}.add_special_tokens;
  result.enable_prefix_caching = Request{}.enable_prefix_caching;
  return result;
}

absl::StatusOr<Request> FromC(const inlay_request_params *given, std::shared_ptr<Reporter> &reporter) {
  inlay_request_params params = DefaultRequest();
  if (absl::Status status = Read("inlay_request_params", given, &params); !status.ok())
    return status;
  Request result;
  if (params.prompt_size) {
    if (absl::Status status = NotNull(params.prompt, "prompt"); !status.ok())
      return status;
    result.prompt.assign(params.prompt, params.prompt_size);
  }
  if (params.prompt_token_id_count) {
    if (absl::Status status = NotNull(params.prompt_token_ids, "prompt_token_ids"); !status.ok())
      return status;
    result.prompt_token_ids.assign(params.prompt_token_ids, params.prompt_token_ids + params.prompt_token_id_count);
  }
  result.add_special_tokens = params.add_special_tokens != 0;
  if (params.sampling) {
    absl::StatusOr<SamplingParams> sampling = FromC(params.sampling);
    if (!sampling.ok())
      return sampling.status();
    result.sampling = *std::move(sampling);
  }
  result.priority = params.priority;
  result.enable_prefix_caching = params.enable_prefix_caching != 0;
  if (params.cache_salt)
    result.cache_salt = params.cache_salt;
  if (!(params.deadline_seconds >= 0))
    return absl::InvalidArgumentError(
        fmt::format("deadline_seconds is {}, expected 0 (never) or more", params.deadline_seconds));
  if (params.deadline_seconds > 0)
    result.deadline = *DeadlineIn(params.deadline_seconds);
  reporter = std::make_shared<Reporter>(params.on_progress, params.user_data);
  result.on_progress = [reporter] { reporter->OnProgress(); };
  return result;
}

} // namespace
} // namespace inlay::c

using inlay::c::Call;

inlay_status inlay_sampling_params_init(inlay_sampling_params *params, size_t struct_size, int32_t program_version) {
  return inlay::c::Init("inlay_sampling_params", inlay::c::ToC(inlay::SamplingParams{}), params, struct_size,
                        program_version);
}

inlay_status inlay_engine_default_sampling(const inlay_engine *engine, inlay_sampling_params *params) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(engine, "engine"); !status.ok())
      return status;
    return inlay::c::Write("inlay_sampling_params", inlay::c::ToC(engine->engine->default_sampling()), params);
  });
}

inlay_status inlay_request_params_init(inlay_request_params *params, size_t struct_size, int32_t program_version) {
  return inlay::c::Init("inlay_request_params", inlay::c::DefaultRequest(), params, struct_size, program_version);
}

inlay_status inlay_submit(inlay_engine *engine, const inlay_request_params *params, inlay_request **request) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(request, "request"); !status.ok())
      return status;
    *request = nullptr;
    if (absl::Status status = inlay::c::NotNull(engine, "engine"); !status.ok())
      return status;
    std::shared_ptr<inlay::c::Reporter> reporter;
    absl::StatusOr<inlay::Request> given = inlay::c::FromC(params, reporter);
    if (!given.ok())
      return given.status();
    absl::StatusOr<std::unique_ptr<inlay::RequestHandle>> handle = engine->engine->Submit(*given);
    if (!handle.ok())
      return handle.status();
    *request = new inlay_request{*std::move(handle), std::move(reporter), {}, {}, {}, std::max(1, given->sampling.n)};
    return absl::OkStatus();
  });
}

void inlay_request_free(inlay_request *request) {
  if (request)
    request->reporter->Stop();
  delete request;
}

void inlay_request_cancel(inlay_request *request) {
  if (request)
    request->handle->Cancel();
}

inlay_status inlay_request_next(inlay_request *request, double timeout_seconds, inlay_piece *piece) {
  return Call([&]() -> inlay_status {
    if (absl::Status status = inlay::c::NotNull(request, "request"); !status.ok())
      return inlay::c::Report(status);
    // Check the arguments before taking a token, so that no token is lost.
    inlay_piece result{};
    if (absl::Status status = inlay::c::Write("inlay_piece", result, piece); !status.ok())
      return inlay::c::Report(status);
    absl::StatusOr<inlay::c::Deadline> deadline = inlay::c::DeadlineIn(timeout_seconds);
    if (!deadline.ok())
      return inlay::c::Report(deadline.status());
    absl::StatusOr<std::optional<inlay::Piece>> next = request->handle->Next(*deadline);
    if (absl::IsDeadlineExceeded(next.status()))
      return INLAY_TIMEOUT;
    if (!next.ok())
      return inlay::c::Report(next.status());
    request->piece = *std::move(next);
    if (!request->piece) {
      absl::Status why = request->handle->status();
      return why.ok() ? INLAY_END : inlay::c::Report(why);
    }
    const inlay::Piece &found = *request->piece;
    request->top = inlay::c::ToC(found.top);
    result.index = found.index;
    result.token_id = found.token_id;
    result.logprob = found.logprob;
    result.text = found.text.c_str();
    result.text_size = found.text.size();
    result.top = request->top.data();
    result.top_count = request->top.size();
    result.rank = found.rank;
    return inlay::c::Report(inlay::c::Write("inlay_piece", result, piece));
  });
}

inlay_finish_reason inlay_request_finish_reason(const inlay_request *request, int32_t index) {
  static_assert(INLAY_FINISH_STOP == static_cast<int>(inlay::FinishReason::kStop) &&
                INLAY_FINISH_LENGTH == static_cast<int>(inlay::FinishReason::kLength) &&
                INLAY_FINISH_CANCELLED == static_cast<int>(inlay::FinishReason::kCancelled) &&
                INLAY_FINISH_ERROR == static_cast<int>(inlay::FinishReason::kError));
  if (!request || index < 0 || index >= request->n)
    return INLAY_FINISH_NONE;
  return static_cast<inlay_finish_reason>(request->handle->finish_reason(index));
}

inlay_status inlay_request_stop_reason(inlay_request *request, int32_t index, int32_t *token_id, const char **text) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull({{request, "request"}, {token_id, "token_id"}, {text, "text"}});
        !status.ok())
      return status;
    inlay::StopReason reason = request->handle->stop_reason(index);
    *token_id = reason.token_id.value_or(-1);
    *text = nullptr;
    if (!reason.text.empty())
      *text = (request->stop_texts[index] = std::move(reason.text)).c_str();
    return absl::OkStatus();
  });
}

const int32_t *inlay_request_prompt_token_ids(const inlay_request *request, size_t *count) {
  if (count)
    *count = request ? request->handle->prompt_token_ids().size() : 0;
  return request ? request->handle->prompt_token_ids().data() : nullptr;
}

inlay_status inlay_request_prompt_logprob(inlay_request *request, size_t position, inlay_token_logprob *token,
                                          const inlay_token_logprob **top, size_t *top_count) {
  return Call([&]() -> absl::Status {
    if (absl::Status status =
            inlay::c::NotNull({{request, "request"}, {token, "token"}, {top, "top"}, {top_count, "top_count"}});
        !status.ok())
      return status;
    absl::StatusOr<const inlay_request::PromptToken *> found = inlay::c::PromptTokenAt(*request, position);
    if (!found.ok())
      return found.status();
    *token = (*found)->token;
    *top = (*found)->top.data();
    *top_count = (*found)->top.size();
    return absl::OkStatus();
  });
}

inlay_status inlay_request_prompt_rank(inlay_request *request, size_t position, int32_t *rank) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull({{request, "request"}, {rank, "rank"}}); !status.ok())
      return status;
    absl::StatusOr<const inlay_request::PromptToken *> found = inlay::c::PromptTokenAt(*request, position);
    if (!found.ok())
      return found.status();
    *rank = (*found)->rank;
    return absl::OkStatus();
  });
}

inlay_status inlay_request_get_stats(const inlay_request *request, inlay_request_stats *stats) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(request, "request"); !status.ok())
      return status;
    inlay::RequestTimings timings = request->handle->timings();
    auto seconds = [&](const std::optional<inlay::RequestTimings::Time> &time) {
      return time ? std::chrono::duration<double>(*time - timings.queued).count() : -1;
    };
    inlay_request_stats result{};
    result.scheduled_seconds = seconds(timings.scheduled);
    result.first_token_seconds = seconds(timings.first_token);
    result.finished_seconds = seconds(timings.finished);
    result.cached_prompt_tokens = request->handle->cached_prompt_tokens();
    return inlay::c::Write("inlay_request_stats", result, stats);
  });
}

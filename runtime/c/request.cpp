// Requests of the C interface: submitting, tokens as they come, cancelling.
#include "runtime/c/handles.h"
#include "runtime/c/support.h"

namespace inlay::c {
namespace {

// The seed and the pointers are left for the caller.
inlay_sampling_params ToC(const SamplingParams &params) {
  inlay_sampling_params result{};
  result.temperature = params.temperature;
  result.top_k = params.top_k;
  result.top_p = params.top_p;
  result.min_p = params.min_p;
  result.repetition_penalty = params.repetition_penalty;
  result.presence_penalty = params.presence_penalty;
  result.frequency_penalty = params.frequency_penalty;
  result.max_tokens = params.max_tokens;
  result.ignore_eos = params.ignore_eos;
  result.logprobs = params.logprobs;
  return result;
}

absl::StatusOr<SamplingParams> FromC(const inlay_sampling_params *given) {
  inlay_sampling_params params = ToC({});
  if (absl::Status status = Read("inlay_sampling_params", given, &params); !status.ok())
    return status;
  SamplingParams result;
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
  result.ignore_eos = params.ignore_eos != 0;
  result.logprobs = params.logprobs;
  if (params.stop_token_id_count) {
    if (absl::Status status = NotNull(params.stop_token_ids, "stop_token_ids"); !status.ok())
      return status;
    result.stop_token_ids.assign(params.stop_token_ids, params.stop_token_ids + params.stop_token_id_count);
  }
  if (params.stop_count)
    if (absl::Status status = NotNull(params.stop, "stop"); !status.ok())
      return status;
  for (size_t i = 0; i < params.stop_count; ++i) {
    if (absl::Status status = NotNull(params.stop[i], fmt::format("stop[{}]", i)); !status.ok())
      return status;
    result.stop.emplace_back(params.stop[i]);
  }
  return result;
}

inlay_request_params DefaultRequest() {
  inlay_request_params result{};
  result.add_special_tokens = Request{}.add_special_tokens;
  return result;
}

absl::StatusOr<Request> FromC(const inlay_request_params *given) {
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
    absl::StatusOr<inlay::Request> given = inlay::c::FromC(params);
    if (!given.ok())
      return given.status();
    absl::StatusOr<std::unique_ptr<inlay::RequestHandle>> handle = engine->engine->Submit(*given);
    if (!handle.ok())
      return handle.status();
    *request = new inlay_request{*std::move(handle), {}, {}};
    return absl::OkStatus();
  });
}

void inlay_request_free(inlay_request *request) { delete request; }

void inlay_request_cancel(inlay_request *request) {
  if (request)
    request->handle->Cancel();
}

inlay_status inlay_request_next(inlay_request *request, double timeout_seconds, inlay_piece *piece) {
  return Call([&]() -> inlay_status {
    if (absl::Status status = inlay::c::NotNull(request, "request"); !status.ok())
      return inlay::c::Report(status);
    // Wrong arguments must not cost a token.
    inlay_piece result{};
    if (absl::Status status = inlay::c::Write("inlay_piece", result, piece); !status.ok())
      return inlay::c::Report(status);
    request->piece = request->handle->Next();
    if (!request->piece) {
      absl::Status why = request->handle->status();
      return why.ok() ? INLAY_END : inlay::c::Report(why);
    }
    const inlay::Piece &found = *request->piece;
    request->top.clear();
    for (const inlay::TokenLogprob &one : found.top)
      request->top.push_back({one.id, one.logprob});
    result.token_id = found.token_id;
    result.logprob = found.logprob;
    result.text = found.text.c_str();
    result.text_size = found.text.size();
    result.top = request->top.data();
    result.top_count = request->top.size();
    return inlay::c::Report(inlay::c::Write("inlay_piece", result, piece));
  });
}

inlay_finish_reason inlay_request_finish_reason(const inlay_request *request) {
  static_assert(INLAY_FINISH_STOP == static_cast<int>(inlay::FinishReason::kStop) &&
                INLAY_FINISH_LENGTH == static_cast<int>(inlay::FinishReason::kLength) &&
                INLAY_FINISH_CANCELLED == static_cast<int>(inlay::FinishReason::kCancelled) &&
                INLAY_FINISH_ERROR == static_cast<int>(inlay::FinishReason::kError));
  return request ? static_cast<inlay_finish_reason>(request->handle->finish_reason()) : INLAY_FINISH_NONE;
}

const int32_t *inlay_request_prompt_token_ids(const inlay_request *request, size_t *count) {
  if (count)
    *count = request ? request->handle->prompt_token_ids().size() : 0;
  return request ? request->handle->prompt_token_ids().data() : nullptr;
}

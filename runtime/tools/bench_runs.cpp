#include "runtime/tools/bench_runs.h"

#include "fmt/format.h"

#include <algorithm>

namespace inlay::tools {

using Clock = std::chrono::steady_clock;

std::string Test::name() const {
  std::string name = fmt::format("{}{}", is_prompt ? "pp" : "tg", tokens);
  if (depth_to > depth)
    return fmt::format("{} @ d{}:{}", name, depth, depth_to);
  return depth > 0 ? fmt::format("{} @ d{}", name, depth) : name;
}

int64_t Test::prompt_size(int i) const {
  int64_t spread = batch > 1 ? int64_t{depth_to - depth} * i / (batch - 1) : 0;
  return is_prompt ? tokens : std::max<int64_t>(1, depth + spread);
}

Bench::Bench(Engine &engine, uint32_t vocab_size)
    : engine_(engine), ids_(0, static_cast<int32_t>(vocab_size) - 1), stats_(engine.Stats()) {}

absl::Status Bench::Check(const Test &test) const {
  if (test.batch > stats_.max_num_seqs)
    return absl::InvalidArgumentError(
        fmt::format("-b {}: the engine runs at most {} sequences; compile with a larger --max-num-seqs", test.batch,
                    stats_.max_num_seqs));
  // With several cache groups: the tokens of a sequence at full length for each of its pages.
  int64_t page_size = std::max<int64_t>(1, stats_.kv_cache_tokens / stats_.total_pages), pages = 0;
  for (int i = 0; i < test.batch; ++i) {
    int64_t length = test.prompt_size(i) + MaxTokens(test);
    if (length > stats_.max_model_len)
      return absl::InvalidArgumentError(
          fmt::format("{} with -b {}: needs {} positions per sequence, but the engine's limit is {}; lower -p, -n or "
                      "-d, or compile with a larger --max-model-len",
                      test.name(), test.batch, length, stats_.max_model_len));
    pages += (length + page_size - 1) / page_size;
  }
  if (pages > stats_.total_pages)
    return absl::ResourceExhaustedError(fmt::format(
        "{} with -b {}: needs {} KV pages of {} tokens, but the KV cache has {}; raise --kv-cache-memory-bytes or "
        "--gpu-memory-utilization, or lower -b or -d",
        test.name(), test.batch, pages, page_size, stats_.total_pages));
  return absl::OkStatus();
}

// Rows of a step that remain for prompts while all other sequences generate.
int64_t Bench::PromptRows(const Test &test) const {
  return std::max<int64_t>(1, stats_.max_num_batched_tokens - test.batch);
}

// Tokens that the first sequence may generate before the last one has its first token: one per step in between.
int64_t Bench::MaxTokens(const Test &test) const {
  if (test.is_prompt || test.batch == 1)
    return test.generated();
  int64_t prompts = 0, rows = PromptRows(test);
  for (int i = 0; i < test.batch; ++i)
    prompts += test.prompt_size(i);
  return test.generated() + (prompts + rows - 1) / rows + test.batch;
}

absl::StatusOr<Bench::Result> Bench::Run(const Test &test) {
  std::vector<Request> requests(static_cast<size_t>(test.batch));
  int64_t later = 0; // prompt tokens that are processed while sequence i already generates
  double prompts = 0;
  for (int i = test.batch - 1; i >= 0; --i) {
    Request &request = requests[static_cast<size_t>(i)];
    // Shorten a prompt by the tokens generated until all sequences are ready, so that each then has its depth.
    int64_t size = test.prompt_size(i), ahead = test.is_prompt ? 0 : later / PromptRows(test);
    later += size;
    prompts += static_cast<double>(std::max<int64_t>(1, size - ahead));
    for (int64_t k = 0; k < std::max<int64_t>(1, size - ahead); ++k)
      request.prompt_token_ids.push_back(ids_(random_));
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = static_cast<int32_t>(MaxTokens(test));
  }
  // The last sequence becomes ready last; the others continue until it ends.
  requests.back().sampling.max_tokens = test.generated();
  Result result;
  result.begin = Clock::now();
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (const Request &request : requests) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine_.Submit(request);
    if (!handle.ok())
      return handle.status();
    handles.push_back(*std::move(handle));
  }
  // Use the engine's times, because this thread may wake up late.
  std::vector<Clock::time_point> times;
  while (std::optional<Piece> piece = handles.back()->Next())
    times.push_back(piece->time);
  for (auto &handle : handles)
    handle->Cancel();
  auto tokens = static_cast<int>(times.size());
  if (tokens == test.generated()) {
    result.begin = test.is_prompt ? result.begin : times.front();
    result.end = times.back();
  }
  int64_t before = test.is_prompt ? 0 : 1, during = test.is_prompt ? 0 : test.tokens;
  for (size_t i = 0; i + 1 < handles.size(); ++i)
    while (std::optional<Piece> piece = handles[i]->Next()) {
      before += piece->time <= result.begin;
      during += piece->time > result.begin && piece->time <= result.end;
    }
  for (auto &handle : handles)
    if (handle->finish_reason() == FinishReason::kError)
      return handle->status();
  if (tokens != test.generated())
    return absl::InternalError(
        fmt::format("{}: {} tokens were generated, expected {}", test.name(), tokens, test.generated()));
  result.mean_context = prompts / test.batch;
  if (test.is_prompt)
    return result;
  // The keys of the newest token are computed in the next step.
  result.mean_context += static_cast<double>(before) / test.batch - 1 + (test.tokens + 1) / 2.0;
  // The tokens of a step are delivered one after another, so one token per sequence may be missing at either end.
  if (during < int64_t{test.batch} * (test.tokens - 1))
    return absl::InternalError(fmt::format(
        "{} with -b {}: only {} tokens were generated in {} steps, so some steps had fewer rows; raise -n or lower -b",
        test.name(), test.batch, during, test.tokens));
  return result;
}

} // namespace inlay::tools

#include "runtime/tools/bench_runs.h"

#include "fmt/format.h"

#include <chrono>

namespace inlay::tools {

using Clock = std::chrono::steady_clock;

std::string Test::name() const {
  std::string name = fmt::format("{}{}", is_prompt ? "pp" : "tg", tokens);
  return depth > 0 ? fmt::format("{} @ d{}", name, depth) : name;
}

Bench::Bench(Engine &engine, uint32_t vocab_size)
    : engine_(engine), ids_(0, static_cast<int32_t>(vocab_size) - 1), stats_(engine.Stats()) {}

absl::Status Bench::Check(const Test &test) const {
  if (test.batch > stats_.max_num_seqs)
    return absl::InvalidArgumentError(
        fmt::format("-b {}: the engine runs at most {} sequences; compile with a larger --max-num-seqs", test.batch,
                    stats_.max_num_seqs));
  int64_t length = test.prompt_size() + MaxTokens(test);
  if (length > stats_.max_model_len)
    return absl::InvalidArgumentError(
        fmt::format("{} with -b {}: needs {} positions a sequence, the engine has {}; lower -p, -n or -d, or compile "
                    "with a larger --max-model-len",
                    test.name(), test.batch, length, stats_.max_model_len));
  int64_t page_size = stats_.kv_cache_tokens / stats_.total_pages;
  int64_t pages = (length + page_size - 1) / page_size * test.batch;
  if (pages > stats_.total_pages)
    return absl::ResourceExhaustedError(
        fmt::format("{} with -b {}: needs {} KV pages of {} positions, there are {}; raise --kv-cache-memory-bytes or "
                    "--gpu-memory-utilization, or lower -b or -d",
                    test.name(), test.batch, pages, page_size, stats_.total_pages));
  return absl::OkStatus();
}

// Tokens that the sequences ready first may generate until the last one has its own: one for each step in between.
int64_t Bench::MaxTokens(const Test &test) const {
  if (test.is_prompt || test.batch == 1)
    return test.generated();
  // Rows of a step that are left for prompts while the others generate.
  int64_t rows = std::max<int64_t>(1, stats_.max_num_batched_tokens - test.batch);
  return test.generated() + (test.prompt_size() * test.batch + rows - 1) / rows + test.batch;
}

absl::StatusOr<Bench::Result> Bench::Run(const Test &test, const Marks &marks) {
  std::vector<Request> requests(static_cast<size_t>(test.batch));
  for (Request &request : requests) {
    for (int64_t i = 0; i < test.prompt_size(); ++i)
      request.prompt_token_ids.push_back(ids_(random_));
    request.sampling.temperature = 0;
    request.sampling.ignore_eos = true;
    request.sampling.max_tokens = static_cast<int32_t>(MaxTokens(test));
  }
  // The sequence submitted last is the last to be ready; the others run on until it is done.
  requests.back().sampling.max_tokens = test.generated();
  // Sequences that are ready earlier are deeper when the time begins: by what was generated until then.
  int64_t generated_before = engine_.Stats().generation_tokens;
  double mean_depth = test.prompt_size();
  Clock::time_point begin = Clock::now(), end = begin;
  if (test.is_prompt && marks.begin)
    marks.begin();
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (const Request &request : requests) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine_.Submit(request);
    if (!handle.ok())
      return handle.status();
    handles.push_back(*std::move(handle));
  }
  int tokens = 0;
  for (; handles.back()->Next(); ++tokens) {
    end = Clock::now();
    if (tokens == 0 && !test.is_prompt) {
      begin = end;
      auto generated = static_cast<double>(engine_.Stats().generation_tokens - generated_before);
      mean_depth += generated / test.batch - 1; // the last token has no keys yet
      if (marks.begin)
        marks.begin();
    }
  }
  if (marks.end)
    marks.end();
  for (auto &handle : handles)
    handle->Cancel();
  for (auto &handle : handles)
    while (handle->Next()) {
    }
  for (auto &handle : handles)
    if (handle->finish_reason() == FinishReason::kError)
      return handle->status();
  if (tokens != test.generated())
    return absl::InternalError(
        fmt::format("{}: {} tokens were generated, expected {}", test.name(), tokens, test.generated()));
  return Result{std::chrono::duration<double>(end - begin).count(),
                test.is_prompt ? mean_depth : mean_depth + (test.tokens + 1) / 2.0};
}

} // namespace inlay::tools

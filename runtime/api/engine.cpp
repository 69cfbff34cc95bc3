// The public interface of the engine: validates requests before they reach the engine's thread, and tokenizes and
// renders text, which needs no device.
#include "runtime/api/chat_prompt.h"
#include "runtime/api/draft_model.h"
#include "runtime/api/engine_internal.h"
#include "runtime/api/engine_loop.h"
#include "runtime/api/engine_stats.h"
#include "runtime/api/plan_memory.h"
#include "runtime/device/cuda_ranks.h"
#include "runtime/sample/sampling_params.h"

#include "fmt/format.h"

#include <thread>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

// The seconds that one level of priority adds to a request's priority key. The delay is bounded, so no request starves.
constexpr double kSecondsOfPriority = 10;

class EngineImpl : public Engine {
public:
  ~EngineImpl() override;
  absl::Status Start(const std::string &path, const EngineOptions &options, const DeviceWrapper &wrap,
                     bool checks_invariants);

  absl::StatusOr<std::unique_ptr<RequestHandle>> Submit(const Request &request) override;
  absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string &text, bool add_special_tokens) const override;
  absl::StatusOr<std::string> Detokenize(const std::vector<int32_t> &ids) const override;
  absl::StatusOr<std::string> ApplyChatTemplate(const ChatRequest &chat) const override;
  SamplingParams default_sampling() const override { return model_->text().default_sampling; }
  std::optional<int32_t> default_max_tokens() const override { return model_->text().default_max_tokens; }
  EngineStats Stats() const override;
  absl::Status Shutdown(Clock::time_point deadline) override;

private:
  absl::Status CheckRequest(const Request &request) const;
  absl::StatusOr<std::vector<std::vector<int32_t>>> TokensOfBadWords(const SamplingParams &sampling) const;

  EngineOptions options_;
  Clock::time_point start_;
  double load_seconds_ = 0;
  std::shared_ptr<EngineLoop> loop_;
  LoadedModel *model_ = nullptr; // owned by loop_
  std::thread thread_;
};

} // namespace

absl::Status CheckOptions(const EngineOptions &options) {
  if (options.scheduling_policy != "fcfs" && options.scheduling_policy != "priority")
    return absl::InvalidArgumentError(
        fmt::format("--scheduling-policy is '{}', expected fcfs or priority", options.scheduling_policy));
  if (options.preemption_mode != "recompute" && options.preemption_mode != "swap")
    return absl::InvalidArgumentError(
        fmt::format("--preemption-mode is '{}', expected recompute or swap", options.preemption_mode));
  if (options.num_speculative_tokens < 0)
    return absl::InvalidArgumentError(
        fmt::format("--num-speculative-tokens is {}, expected 0 (none) or more", options.num_speculative_tokens));
  if (!options.speculative_model.empty() && options.num_speculative_tokens == 0)
    return absl::InvalidArgumentError("--speculative-model needs --num-speculative-tokens, the number of draft tokens "
                                      "per step; add it, for example --num-speculative-tokens 4");
  if (options.num_speculative_tokens > 0 && options.async_scheduling.value_or(false))
    return absl::InvalidArgumentError(
        "--num-speculative-tokens cannot be used with --async-scheduling; remove one of them");
  if (!(options.watchdog_seconds >= 0 && options.watchdog_seconds <= 1e6))
    return absl::InvalidArgumentError(
        fmt::format("--watchdog-seconds is {}, expected 0 (no limit) to 1000000", options.watchdog_seconds));
  for (auto [option, size] : {std::pair{"--tensor-parallel-size", options.tensor_parallel_size},
                              {"--pipeline-parallel-size", options.pipeline_parallel_size}})
    if (size < 0)
      return absl::InvalidArgumentError(fmt::format("{} is {}, expected 0 (that of the bundle) or more", option, size));
  if (!(options.distributed_timeout > 0 && options.distributed_timeout <= 1e6))
    return absl::InvalidArgumentError(
        fmt::format("--distributed-timeout is {}, expected seconds in (0, 1000000]", options.distributed_timeout));
  if (!ParseDistributedBackend(options.distributed_backend))
    return absl::InvalidArgumentError(
        fmt::format("--distributed-backend is '{}', expected auto, peer or nccl", options.distributed_backend));
  if (options.process.ranks < 0)
    return absl::InvalidArgumentError(
        fmt::format("the number of processes is {}, expected 0 (one for all ranks) or more", options.process.ranks));
  if (options.threads < 0)
    return absl::InvalidArgumentError(
        fmt::format("--threads is {}, expected 0 (one per core) or more", options.threads));
  if (options.max_waiting < 0)
    return absl::InvalidArgumentError(fmt::format("--max-waiting is {}, expected 0 or more", options.max_waiting));
  return absl::OkStatus();
}

namespace {

absl::Status EngineImpl::Start(const std::string &path, const EngineOptions &options, const DeviceWrapper &wrap,
                               bool checks_invariants) {
  start_ = Clock::now();
  if (absl::Status status = CheckOptions(options); !status.ok())
    return status;
  if (options.process.rank != 0)
    return absl::InvalidArgumentError(
        fmt::format("the process of rank {} cannot load the engine, that of rank 0 does; call Engine::RunRank",
                    options.process.rank));
  options_ = options;
  absl::StatusOr<OpenedModels> models = OpenModels(path, options, wrap);
  if (!models.ok())
    return models.status();
  std::unique_ptr<DraftModel> draft_model;
  if (models->draft) {
    absl::StatusOr<std::unique_ptr<DraftModel>> loaded = DraftModel::Load(std::move(models->draft), options);
    if (!loaded.ok())
      return loaded.status();
    draft_model = *std::move(loaded);
  }
  if (absl::Status status = models->target->Load(); !status.ok())
    return status;
  model_ = &models->target->first();
  loop_ = std::make_shared<EngineLoop>(std::move(models->target), std::move(draft_model), options, checks_invariants);
  if (absl::Status status = loop_->Prepare(); !status.ok())
    return status;
  load_seconds_ = Seconds(Clock::now() - start_);
  thread_ = std::thread([loop = loop_] { loop->Run(); });
  return absl::OkStatus();
}

EngineImpl::~EngineImpl() {
  if (!thread_.joinable())
    return;
  loop_->Stop();
  // A thread that does not return from a call into the device is detached. It keeps loop_ alive, which it may still
  // use.
  if (loop_->WaitForEnd())
    thread_.join();
  else
    thread_.detach();
}

EngineStats EngineImpl::Stats() const {
  EngineStats stats = loop_->Stats();
  stats.load_seconds = load_seconds_;
  return stats;
}

absl::Status EngineImpl::Shutdown(Clock::time_point deadline) {
  absl::Status status = loop_->Drain(deadline);
  loop_->Stop();
  return status;
}

absl::StatusOr<std::vector<int32_t>> EngineImpl::Tokenize(const std::string &text, bool add_special_tokens) const {
  if (!model_->text().tokenizer)
    return absl::FailedPreconditionError(fmt::format(
        "{}: was compiled from a directory without tokenizer.json; give token ids (--prompt-ids)", model_->path()));
  return model_->text().tokenizer->Encode(text, add_special_tokens);
}

absl::StatusOr<std::string> EngineImpl::Detokenize(const std::vector<int32_t> &ids) const {
  if (!model_->text().tokenizer)
    return std::string();
  return model_->text().tokenizer->Decode(ids);
}

absl::StatusOr<std::string> EngineImpl::ApplyChatTemplate(const ChatRequest &chat) const {
  const auto &renderer = model_->text().chat;
  if (absl::IsNotFound(renderer.status()))
    return absl::FailedPreconditionError(
        fmt::format("{}: has no chat template, so the model is not a chat model; send a prompt instead of messages",
                    model_->path()));
  if (!renderer.ok())
    return renderer.status();
  return RenderChat(**renderer, chat);
}

absl::Status EngineImpl::CheckRequest(const Request &request) const {
  const SamplingParams &sampling = request.sampling;
  if (absl::Status status = ValidateSamplingParams(sampling, static_cast<int32_t>(model_->model().vocab_size()));
      !status.ok())
    return status;
  if (!sampling.guided.empty() && (!model_->text().tokenizer || model_->text().eos_ids.empty()))
    return absl::InvalidArgumentError(
        fmt::format("guided decoding needs {}, but this bundle has none; do not use guided decoding, or compile the "
                    "model with its {}",
                    model_->text().tokenizer ? "an end-of-sequence token" : "a tokenizer",
                    model_->text().tokenizer ? "generation_config.json" : "tokenizer.json"));
  if (absl::Status status = CheckGuided(sampling.guided, {}); !status.ok())
    return status;
  if (request.prompt.empty() == request.prompt_token_ids.empty())
    return absl::InvalidArgumentError("the prompt is empty; give either a text or token ids");
  if (!model_->text().tokenizer && !sampling.stop.empty())
    return absl::InvalidArgumentError("stop strings need a tokenizer, but this bundle has none; use stop_token_ids");
  if (!model_->text().tokenizer && !sampling.bad_words.empty())
    return absl::InvalidArgumentError("bad_words need a tokenizer, but this bundle has none; use logit_bias");
  if (request.priority != 0 && options_.scheduling_policy != "priority")
    return absl::InvalidArgumentError(
        fmt::format("priority is {}, but the engine runs requests in order of arrival (--scheduling-policy fcfs); "
                    "remove priority, or load the engine with --scheduling-policy priority",
                    request.priority));
  return absl::OkStatus();
}

// Returns the tokens of each bad word as vLLM does: those of the word at the beginning of a text, and those of the word
// after a space if their number is the same and the first token differs.
absl::StatusOr<std::vector<std::vector<int32_t>>> EngineImpl::TokensOfBadWords(const SamplingParams &sampling) const {
  std::vector<std::vector<int32_t>> result;
  for (const std::string &word : sampling.bad_words) {
    std::string bare = word.substr(std::min(word.find_first_not_of(" \t\n\r\f\v"), word.size()));
    absl::StatusOr<std::vector<int32_t>> alone = Tokenize(bare, /*add_special_tokens=*/false);
    if (!alone.ok())
      return alone.status();
    if (alone->empty())
      return absl::InvalidArgumentError(fmt::format("bad_words contains '{}', which has no tokens; remove it", word));
    absl::StatusOr<std::vector<int32_t>> after_space = Tokenize(" " + bare, /*add_special_tokens=*/false);
    if (!after_space.ok())
      return after_space.status();
    bool is_another =
        after_space->size() == alone->size() && !after_space->empty() && after_space->front() != alone->front();
    result.push_back(*std::move(alone));
    if (is_another)
      result.push_back(*std::move(after_space));
  }
  return result;
}

absl::StatusOr<std::unique_ptr<RequestHandle>> EngineImpl::Submit(const Request &request) {
  if (absl::Status status = CheckRequest(request); !status.ok())
    return status;
  std::vector<int32_t> ids = request.prompt_token_ids;
  if (ids.empty()) {
    absl::StatusOr<std::vector<int32_t>> encoded = Tokenize(request.prompt, request.add_special_tokens);
    if (!encoded.ok())
      return encoded.status();
    ids = *std::move(encoded);
  }
  if (ids.empty())
    return absl::InvalidArgumentError("the prompt has no tokens; write some text");
  const MemoryPlan &memory = model_->memory();
  auto vocabulary = static_cast<int32_t>(model_->model().vocab_size());
  for (int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      return absl::InvalidArgumentError(
          fmt::format("the prompt contains token id {}, expected ids in [0, {})", id, vocabulary));
  auto size = static_cast<int64_t>(ids.size());
  if (size >= memory.max_model_len)
    return absl::InvalidArgumentError(fmt::format(
        "the prompt has {} tokens, expected fewer than {} (--max-model-len); shorten it or compile with a larger "
        "--max-model-len",
        size, memory.max_model_len));
  if (size > model_->text().max_prompt_len)
    return absl::InvalidArgumentError(
        fmt::format("the prompt has {} tokens, expected at most {}: the model uses dynamic rope scaling, which is not "
                    "supported for longer prompts; shorten the prompt",
                    size, model_->text().max_prompt_len));
  Request bounded = request;
  int32_t &max_tokens = bounded.sampling.max_tokens;
  max_tokens = static_cast<int32_t>(std::min<int64_t>(max_tokens, memory.max_model_len - size));
  int64_t pages = model_->cache_shape().PagesHeld(static_cast<int32_t>(size) + max_tokens,
                                                  static_cast<int64_t>(StepsInFlight(model_->model())) *
                                                      memory.max_num_batched_tokens);
  if (pages > memory.total_pages)
    return absl::ResourceExhaustedError(fmt::format("the request needs {} KV pages for its prompt and max_tokens, but "
                                                    "the KV cache has {}; lower max_tokens or raise "
                                                    "--kv-cache-memory-bytes",
                                                    pages, memory.total_pages));
  if (!options_.enable_prefix_caching)
    bounded.enable_prefix_caching = false;
  absl::StatusOr<std::vector<std::vector<int32_t>>> bad_words = TokensOfBadWords(request.sampling);
  if (!bad_words.ok())
    return bad_words.status();
  auto active =
      std::make_shared<ActiveRequest>(bounded, std::move(ids), model_->text().tokenizer.get(), model_->text().eos_ids);
  for (const auto &sequence : active->sequences())
    sequence->edits.bad_words = *bad_words;
  double priority_key = Seconds(Clock::now() - start_);
  if (options_.scheduling_policy == "priority")
    priority_key += kSecondsOfPriority * request.priority;
  for (const auto &sequence : active->sequences())
    sequence->priority_key = priority_key;
  if (absl::Status status = loop_->Add(active); !status.ok())
    return status;
  return MakeHandle(std::move(active));
}

} // namespace

absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const std::string &bundle, const EngineOptions &options,
                                                   const DeviceWrapper &wrap, bool checks_invariants) {
  auto engine = std::make_unique<EngineImpl>();
  if (absl::Status status = engine->Start(bundle, options, wrap, checks_invariants); !status.ok())
    return status;
  return std::unique_ptr<Engine>(std::move(engine));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const std::string &bundle, const EngineOptions &options) {
  return LoadEngine(bundle, options, nullptr, false);
}

absl::StatusOr<MemoryPlan> Engine::Plan(const std::string &bundle, const EngineOptions &options) {
  if (absl::Status status = CheckOptions(options); !status.ok())
    return status;
  EngineOptions own = options;
  own.process = {};
  absl::StatusOr<OpenedModels> models = OpenModels(bundle, own, nullptr);
  if (!models.ok())
    return models.status();
  return models->target->memory();
}

} // namespace inlay

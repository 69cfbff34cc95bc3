// The engine: one thread that admits requests, schedules steps and hands out tokens.
#include "runtime/api/inlay.h"

#include "fmt/format.h"
#include "frontends/tokenizer/chat_renderer.h"
#include "frontends/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/bundle.h"
#include "runtime/device/device.h"
#include "runtime/kv/page_pool.h"
#include "runtime/sample/sampling_params.h"
#include "runtime/schedule/step.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A request inside the engine, shared with its handle.
struct ActiveRequest {
  Sequence sequence; // the engine thread's alone once submitted
  std::unique_ptr<tokenizer::DetokenizeStream> text_stream;
  std::string text;      // all text so far, to find stop strings across tokens
  size_t text_given = 0; // of `text`, handed out

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Piece> pieces;
  FinishReason finished = FinishReason::kNone;
  absl::Status status;
  RequestTimings timings;
  std::atomic<bool> cancelled{false};
  std::optional<Clock::time_point> deadline;
  std::function<void()> on_progress;

  void Finish(FinishReason reason, absl::Status why = absl::OkStatus()) {
    {
      std::lock_guard lock(mutex);
      finished = reason;
      status = std::move(why);
      timings.finished = Clock::now();
    }
    Notify();
  }
  void Notify() {
    changed.notify_all();
    if (on_progress)
      on_progress();
  }
};

class Handle : public RequestHandle {
public:
  Handle(std::shared_ptr<ActiveRequest> request, std::vector<int32_t> prompt)
      : request_(std::move(request)), prompt_(std::move(prompt)) {}
  ~Handle() override { Cancel(); }

  std::optional<Piece> Next() override {
    std::unique_lock lock(request_->mutex);
    request_->changed.wait(lock,
                           [&] { return !request_->pieces.empty() || request_->finished != FinishReason::kNone; });
    if (request_->pieces.empty())
      return std::nullopt;
    Piece piece = std::move(request_->pieces.front());
    request_->pieces.pop_front();
    return piece;
  }
  absl::StatusOr<std::optional<Piece>> Next(Clock::time_point deadline) override {
    {
      std::unique_lock lock(request_->mutex);
      bool has_more = request_->changed.wait_until(
          lock, deadline, [&] { return !request_->pieces.empty() || request_->finished != FinishReason::kNone; });
      if (!has_more)
        return absl::DeadlineExceededError("no token came before the deadline of Next(); call it again");
    }
    return Next();
  }
  void Cancel() override { request_->cancelled = true; }
  FinishReason finish_reason(int32_t index) const override {
    std::lock_guard lock(request_->mutex);
    return request_->finished;
  }
  RequestTimings timings() const override {
    std::lock_guard lock(request_->mutex);
    return request_->timings;
  }
  int32_t cached_prompt_tokens() const override { return 0; }
  std::vector<PromptLogprob> prompt_logprobs() const override { return {}; }
  absl::Status status() const override {
    std::lock_guard lock(request_->mutex);
    return request_->status;
  }
  const std::vector<int32_t> &prompt_token_ids() const override { return prompt_; }

private:
  std::shared_ptr<ActiveRequest> request_;
  std::vector<int32_t> prompt_;
};

// An entry point with its launches ready on the device.
struct ReadyEntry {
  const plan::Entry *entry = nullptr;
  LaunchList model = 0, model_with_penalties = 0;
  LaunchList penalties = 0, sampling = 0;
};

class EngineImpl : public Engine {
public:
  ~EngineImpl() override;
  absl::Status Start(const std::string &path, const EngineOptions &options);

  absl::StatusOr<std::unique_ptr<RequestHandle>> Submit(const Request &request) override;
  absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string &text, bool add_special_tokens) const override;
  absl::StatusOr<std::string> Detokenize(const std::vector<int32_t> &ids) const override;
  absl::StatusOr<std::string> ApplyChatTemplate(const ChatRequest &chat) const override;
  SamplingParams default_sampling() const override { return default_sampling_; }
  EngineStats Stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  absl::Status Shutdown(Clock::time_point deadline) override;

private:
  absl::Status OpenTarget(const EngineOptions &options);
  absl::Status AllocateMemory(const EngineOptions &options);
  absl::Status LoadWeights();
  absl::Status PrepareEntries();
  absl::Status LoadTextParts();

  void Loop();
  void Admit();
  absl::Status RunStep();
  void TakeToken(ActiveRequest &request, int32_t token, std::span<const float> logits);
  void Retire();
  void FailAll(const absl::Status &status);

  EngineOptions options_;
  std::unique_ptr<Bundle> bundle_;
  const plan::Target *target_ = nullptr;
  std::unique_ptr<Device> device_;
  std::vector<void *> memory_; // all that was allocated
  std::vector<void *> weights_;
  std::vector<void *> key_cache_, value_cache_; // by layer
  void *workspace_ = nullptr, *metadata_ = nullptr, *logits_ = nullptr, *tokens_ = nullptr;
  std::unique_ptr<StepMetadata> step_;
  std::unique_ptr<PagePool> pages_;
  std::vector<ReadyEntry> entries_;
  int32_t kv_rows_ = 0;
  int32_t vocab_size_ = 0, page_size_ = 0;

  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  // Or why there is none; a template that cannot be read makes chats fail, not the bundle.
  absl::StatusOr<std::unique_ptr<tokenizer::ChatRenderer>> chat_ = absl::NotFoundError("no tokenizer");
  std::vector<int32_t> eos_ids_;
  SamplingParams default_sampling_;

  mutable std::mutex mutex_; // of what follows
  std::condition_variable wake_, idle_;
  std::deque<std::shared_ptr<ActiveRequest>> waiting_;
  EngineStats stats_;
  bool stopping_ = false, draining_ = false;
  absl::Status failure_; // after which nothing more runs

  std::vector<std::shared_ptr<ActiveRequest>> running_; // the engine thread's
  std::vector<float> host_logits_;
  std::vector<int32_t> host_tokens_;
  std::thread thread_;
};

EngineImpl::~EngineImpl() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable())
    thread_.join();
  if (device_)
    for (void *memory : memory_)
      device_->Free(memory);
}

absl::Status EngineImpl::Shutdown(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  bool is_idle = idle_.wait_until(lock, deadline, [&] { return stats_.running + stats_.waiting == 0; });
  stopping_ = true;
  lock.unlock();
  wake_.notify_all();
  return is_idle
             ? absl::OkStatus()
             : absl::DeadlineExceededError("requests were left at the deadline of the shutdown; they were cancelled");
}

// --- Loading ----------------------------------------------------------------

absl::Status CheckOptions(const EngineOptions &options);

absl::Status EngineImpl::Start(const std::string &path, const EngineOptions &options) {
  auto begin = Clock::now();
  if (absl::Status status = CheckOptions(options); !status.ok())
    return status;
  options_ = options;
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(path);
  if (!bundle.ok())
    return bundle.status();
  bundle_ = *std::move(bundle);
  for (const auto &part : {OpenTarget(options), LoadTextParts()})
    if (!part.ok())
      return part;
  if (absl::Status status = device_->LoadKernels(*bundle_, *target_); !status.ok())
    return status;
  if (absl::Status status = AllocateMemory(options); !status.ok())
    return status;
  if (absl::Status status = LoadWeights(); !status.ok())
    return status;
  if (absl::Status status = PrepareEntries(); !status.ok())
    return status;
  stats_.target = target_->name()->str();
  stats_.device = device_->Name();
  stats_.load_seconds = SecondsSince(begin);
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

// What the options ask for and the engine has not.
absl::Status CheckOptions(const EngineOptions &options) {
  if (options.scheduling_policy != "fcfs" && options.scheduling_policy != "priority")
    return absl::InvalidArgumentError(
        fmt::format("--scheduling-policy is '{}', expected fcfs or priority", options.scheduling_policy));
  if (options.preemption_mode != "recompute" && options.preemption_mode != "swap")
    return absl::InvalidArgumentError(
        fmt::format("--preemption-mode is '{}', expected recompute or swap", options.preemption_mode));
  if (options.max_waiting < 0)
    return absl::InvalidArgumentError(fmt::format("--max-waiting is {}, expected 0 or more", options.max_waiting));
  for (auto [is_set, flag] : {std::pair{options.scheduling_policy == "priority", "--scheduling-policy priority"},
                              {options.preemption_mode == "swap", "--preemption-mode swap"},
                              {options.deterministic && options.target != "cpu", "--deterministic"},
                              {options.async_scheduling.value_or(false), "--async-scheduling"},
                              {options.watchdog_seconds > 0, "--watchdog-seconds"},
                              {!options.trace_path.empty(), "--trace-path"}})
    if (is_set)
      return absl::UnimplementedError(fmt::format("{} is not supported yet; leave it out", flag));
  return absl::OkStatus();
}

absl::Status EngineImpl::OpenTarget(const EngineOptions &options) {
  std::vector<std::string> wanted;
  if (!options.target.empty())
    wanted.push_back(options.target);
  else
    for (const plan::Target *target : *bundle_->plan().targets())
      if (target->name()->string_view() != "cpu")
        wanted.insert(wanted.begin(), target->name()->str());
      else
        wanted.push_back("cpu");
  absl::Status first_error;
  for (const std::string &name : wanted) {
    target_ = bundle_->target(name);
    if (!target_)
      return absl::InvalidArgumentError(fmt::format("{}: has no target '{}', only {}; compile it with --target {}",
                                                    bundle_->path(), name, bundle_->TargetNames(), name));
    absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(name, options.threads);
    if (device.ok()) {
      device_ = *std::move(device);
      return absl::OkStatus();
    }
    if (first_error.ok())
      first_error = device.status();
  }
  return first_error;
}

absl::Status EngineImpl::LoadTextParts() {
  namespace fs = std::filesystem;
  std::string directory = bundle_->path() + "/tokenizer";
  if (fs::exists(directory + "/tokenizer.json")) {
    absl::StatusOr<std::unique_ptr<tokenizer::Tokenizer>> loaded = tokenizer::Tokenizer::Load(directory);
    if (!loaded.ok())
      return loaded.status();
    tokenizer_ = *std::move(loaded);
    chat_ = tokenizer::ChatRenderer::Load(directory, *tokenizer_);
  }
  default_sampling_ = SamplingParams{};
  json manifest = json::parse(bundle_->manifest(), nullptr, false);
  json generation;
  if (absl::StatusOr<std::string> text = ReadFile(directory + "/generation_config.json", 1 << 20); text.ok())
    generation = json::parse(*text, nullptr, false);
  auto number = [&](const char *key, auto &field) {
    if (generation.is_object() && generation.contains(key) && generation[key].is_number())
      field = generation[key].get<std::remove_reference_t<decltype(field)>>();
  };
  number("temperature", default_sampling_.temperature);
  number("top_k", default_sampling_.top_k);
  number("top_p", default_sampling_.top_p);
  number("min_p", default_sampling_.min_p);
  number("repetition_penalty", default_sampling_.repetition_penalty);
  if (generation.is_object() && generation.contains("do_sample") && generation["do_sample"] == false)
    default_sampling_.temperature = 0;
  auto add_eos = [&](const json &ids) {
    for (const json &id : ids.is_array() ? ids : json::array({ids}))
      if (id.is_number_integer())
        eos_ids_.push_back(id.get<int32_t>());
  };
  if (generation.is_object() && generation.contains("eos_token_id"))
    add_eos(generation["eos_token_id"]);
  if (manifest.contains("model") && manifest["model"].is_object() && manifest["model"].contains("eos_token_ids"))
    add_eos(manifest["model"]["eos_token_ids"]);
  return absl::OkStatus();
}

absl::Status EngineImpl::AllocateMemory(const EngineOptions &options) {
  const plan::Model &model = *bundle_->plan().model();
  auto lowered = [](std::string_view flag, int32_t wanted, uint32_t bound) -> absl::StatusOr<int32_t> {
    if (wanted < 0 || wanted > static_cast<int64_t>(bound))
      return absl::InvalidArgumentError(fmt::format(
          "{} is {}, the bundle was compiled for at most {}; compile it with a larger {}", flag, wanted, bound, flag));
    return wanted == 0 ? static_cast<int32_t>(bound) : wanted;
  };
  absl::StatusOr<int32_t> length = lowered("--max-model-len", options.max_model_len, model.max_model_len()),
                          sequences = lowered("--max-num-seqs", options.max_num_seqs, model.max_num_seqs()),
                          tokens = lowered("--max-num-batched-tokens", options.max_num_batched_tokens,
                                           model.max_num_batched_tokens());
  for (const auto *bound : {&length, &sequences, &tokens})
    if (!bound->ok())
      return bound->status();
  if (!(options.gpu_memory_utilization > 0 && options.gpu_memory_utilization <= 1))
    return absl::InvalidArgumentError(
        fmt::format("--gpu-memory-utilization is {}, expected (0, 1]", options.gpu_memory_utilization));
  stats_.max_model_len = *length;
  stats_.max_num_seqs = std::min(*sequences, *tokens);
  stats_.max_num_batched_tokens = *tokens;
  vocab_size_ = static_cast<int32_t>(model.vocab_size());
  page_size_ = static_cast<int32_t>(model.page_size());

  uint64_t usable = static_cast<uint64_t>(static_cast<double>(device_->FreeMemory()) * options.gpu_memory_utilization);
  auto allocate = [&](uint64_t bytes, std::string_view what, void *&memory) {
    absl::StatusOr<void *> allocated = device_->Allocate(bytes, what);
    if (!allocated.ok())
      return allocated.status();
    memory = *allocated;
    memory_.push_back(memory);
    usable -= std::min(usable, bytes);
    return absl::OkStatus();
  };
  uint32_t pages_per_sequence = (model.max_model_len() + model.page_size() - 1) / model.page_size();
  StepCapacity capacity{
      static_cast<int32_t>(model.max_num_batched_tokens()), static_cast<int32_t>(model.max_num_seqs()),
      static_cast<int32_t>(pages_per_sequence), page_size_,
      static_cast<int32_t>(std::min<uint64_t>(
          uint64_t{model.max_num_seqs()} * std::min(model.max_model_len(), model.vocab_size()), uint64_t{1} << 30))};
  capacity.tokens = std::max(capacity.tokens, capacity.sequences);
  step_ = std::make_unique<StepMetadata>(capacity);
  uint64_t workspace = 256;
  for (const plan::Entry *entry : *target_->entries())
    workspace = std::max(workspace, entry->workspace_bytes());
  stats_.workspace_bytes = workspace;
  weights_.resize(target_->weights() ? target_->weights()->size() : 0);
  uint64_t logits_bytes = uint64_t{model.max_num_seqs()} * model.vocab_size() * sizeof(float);
  // One allocation: a driver takes longer for hundreds.
  stats_.weights_bytes = WeightsBytes(*target_);
  void *weights = nullptr;
  if (absl::Status status = allocate(stats_.weights_bytes, "weights", weights); !status.ok())
    return status;
  for (uint32_t i = 0; i < weights_.size(); ++i)
    weights_[i] = static_cast<std::byte *>(weights) + target_->weights()->Get(i)->offset();
  struct {
    uint64_t bytes;
    const char *what;
    void *&memory;
  } parts[] = {{workspace, "activations (--max-num-batched-tokens lowers it)", workspace_},
               {step_->bytes(), "step metadata", metadata_},
               {logits_bytes, "logits (--max-num-seqs lowers it)", logits_},
               {uint64_t{model.max_num_seqs()} * sizeof(int32_t), "tokens", tokens_}};
  for (auto &part : parts)
    if (absl::Status status = allocate(part.bytes, part.what, part.memory); !status.ok())
      return status;

  // What is left is for the KV pages, up to what all sequences at full length can use.
  uint64_t page_bytes =
      uint64_t{model.kv_heads()} * model.page_size() * model.head_dim() * ElementSize(model.kv_type());
  uint64_t bytes_per_page = 2 * page_bytes * model.layers();
  uint64_t budget = options.kv_cache_bytes;
  if (budget == 0)
    budget = target_->name()->string_view() == "cpu" ? std::min<uint64_t>(usable / 2, uint64_t{4} << 30) : usable;
  uint64_t pages_needed = uint64_t{pages_per_sequence} * static_cast<uint64_t>(stats_.max_num_seqs);
  uint64_t pages = std::min<uint64_t>({budget / bytes_per_page, pages_needed, uint64_t{1} << 30,
                                       (uint64_t{1} << 31) / (model.kv_heads() * model.page_size()) - 1});
  if (pages < 1)
    return absl::ResourceExhaustedError(fmt::format(
        "KV pages need at least {} bytes, {} are left; lower --max-num-batched-tokens or --max-num-seqs, or "
        "raise --gpu-memory-utilization",
        bytes_per_page, budget));
  for (uint32_t layer = 0; layer < model.layers(); ++layer)
    for (std::vector<void *> *cache : {&key_cache_, &value_cache_}) {
      cache->push_back(nullptr);
      if (absl::Status status =
              allocate(page_bytes * pages, "KV pages (--gpu-memory-utilization or --kv-cache-memory-bytes lowers it)",
                       cache->back());
          !status.ok())
        return status;
      // Positions that were never written are masked, but must not be NaN.
      if (absl::Status status = device_->Clear(cache->back(), page_bytes * pages); !status.ok())
        return status;
    }
  pages_ = std::make_unique<PagePool>(static_cast<int32_t>(pages));
  kv_rows_ = static_cast<int32_t>(pages * model.kv_heads() * model.page_size());
  stats_.kv_cache_bytes = pages * bytes_per_page;
  stats_.kv_cache_tokens = static_cast<int64_t>(pages * model.page_size());
  stats_.total_pages = stats_.free_pages = static_cast<int32_t>(pages);
  return device_->Clear(workspace_, workspace);
}

absl::Status EngineImpl::LoadWeights() {
  auto begin = Clock::now();
  if (!weights_.empty())
    if (absl::Status status =
            inlay::LoadWeights(*bundle_, *target_, static_cast<std::byte *>(weights_.front()), *device_);
        !status.ok())
      return status;
  stats_.weights_seconds = SecondsSince(begin);
  return device_->Synchronize();
}

absl::Status EngineImpl::PrepareEntries() {
  auto address = [&](const plan::Argument &argument) -> void * {
    auto *workspace = static_cast<std::byte *>(workspace_), *metadata = static_cast<std::byte *>(metadata_);
    switch (argument.kind()) {
    case plan::BufferKind_Workspace:
      return workspace + argument.offset();
    case plan::BufferKind_Weight:
      return weights_[argument.index()];
    case plan::BufferKind_KeyCache:
      return key_cache_[argument.index()];
    case plan::BufferKind_ValueCache:
      return value_cache_[argument.index()];
    case plan::BufferKind_Metadata:
      return metadata + step_->OffsetOf(argument.metadata());
    case plan::BufferKind_Logits:
      return logits_;
    case plan::BufferKind_Tokens:
      return tokens_;
    }
    return nullptr;
  };
  using Launches = flatbuffers::Vector<flatbuffers::Offset<plan::Launch>>;
  auto prepare = [&](std::initializer_list<const Launches *> parts) {
    std::vector<BoundLaunch> bound;
    for (const Launches *part : parts)
      if (part)
        for (const plan::Launch *launch : *part) {
          BoundLaunch one{launch, {}};
          for (const plan::Argument *argument : *launch->arguments())
            one.arguments.push_back(address(*argument));
          bound.push_back(std::move(one));
        }
    return device_->Prepare(bound);
  };
  for (const plan::Entry *entry : *target_->entries()) {
    ReadyEntry ready{entry};
    absl::StatusOr<LaunchList> plain = prepare({entry->launches(), entry->sampling()}),
                               penalised = prepare({entry->launches(), entry->penalties(), entry->sampling()});
    if (!plain.ok())
      return plain.status();
    if (!penalised.ok())
      return penalised.status();
    ready.model = *plain;
    ready.model_with_penalties = *penalised;
    entries_.push_back(ready);
  }
  return absl::OkStatus();
}

// --- Requests ---------------------------------------------------------------

absl::StatusOr<std::vector<int32_t>> EngineImpl::Tokenize(const std::string &text, bool add_special_tokens) const {
  if (!tokenizer_)
    return absl::FailedPreconditionError(fmt::format(
        "{}: was compiled from a directory without tokenizer.json; give token ids (--prompt-ids)", bundle_->path()));
  return tokenizer_->Encode(text, add_special_tokens);
}

absl::StatusOr<std::string> EngineImpl::Detokenize(const std::vector<int32_t> &ids) const {
  if (!tokenizer_)
    return std::string();
  return tokenizer_->Decode(ids);
}

absl::StatusOr<std::string> EngineImpl::ApplyChatTemplate(const ChatRequest &chat) const {
  if (absl::IsNotFound(chat_.status()))
    return absl::FailedPreconditionError(fmt::format(
        "{}: has no chat template; the model was not made for chats, give the prompt itself", bundle_->path()));
  if (!chat_.ok())
    return chat_.status();
  return (*chat_)->Render(chat.messages_json, chat.variables_json, chat.add_generation_prompt);
}

absl::StatusOr<std::unique_ptr<RequestHandle>> EngineImpl::Submit(const Request &request) {
  if (absl::Status status = ValidateSamplingParams(request.sampling, vocab_size_); !status.ok())
    return status;
  const SamplingParams &wanted = request.sampling;
  for (auto [is_set, field] : {std::pair{wanted.n != 1, "n"},
                               {wanted.best_of != 0 && wanted.best_of != wanted.n, "best_of"},
                               {wanted.min_tokens != 0, "min_tokens"},
                               {wanted.prompt_logprobs >= 0, "prompt_logprobs"},
                               {!wanted.logit_bias.empty(), "logit_bias"},
                               {!wanted.guided.empty(), "guided"}})
    if (is_set)
      return absl::UnimplementedError(fmt::format("{} is not supported yet; leave it out", field));
  if (request.prompt.empty() == request.prompt_token_ids.empty())
    return absl::InvalidArgumentError("the prompt is empty; give either a text or token ids");
  std::vector<int32_t> ids = request.prompt_token_ids;
  if (ids.empty()) {
    absl::StatusOr<std::vector<int32_t>> encoded = Tokenize(request.prompt, request.add_special_tokens);
    if (!encoded.ok())
      return encoded.status();
    ids = *std::move(encoded);
  }
  if (ids.empty())
    return absl::InvalidArgumentError("the prompt gives no token; write some text");
  for (int32_t id : ids)
    if (id < 0 || id >= vocab_size_)
      return absl::InvalidArgumentError(
          fmt::format("the prompt holds token id {}, expected ids in [0, {})", id, vocab_size_));
  auto size = static_cast<int64_t>(ids.size());
  if (size >= stats_.max_model_len)
    return absl::InvalidArgumentError(fmt::format(
        "the prompt has {} tokens, expected fewer than {} (--max-model-len); shorten it or compile with a larger "
        "--max-model-len",
        size, stats_.max_model_len));
  auto active = std::make_shared<ActiveRequest>();
  Sequence &sequence = active->sequence;
  sequence.tokens = ids;
  sequence.prompt_size = static_cast<int32_t>(size);
  sequence.sampling = request.sampling;
  sequence.sampling.max_tokens =
      static_cast<int32_t>(std::min<int64_t>(request.sampling.max_tokens, stats_.max_model_len - size));
  sequence.seed = request.sampling.seed ? *request.sampling.seed : std::random_device{}();
  int64_t pages = (size + sequence.sampling.max_tokens + page_size_ - 1) / page_size_;
  if (pages > stats_.total_pages)
    return absl::ResourceExhaustedError(fmt::format(
        "the request needs {} KV pages for its prompt and max_tokens, there are {}; lower max_tokens or raise "
        "--kv-cache-memory-bytes",
        pages, stats_.total_pages));
  if (sequence.has_penalties())
    for (int32_t id : ids)
      sequence.counts.emplace(id, 0);
  active->deadline = request.deadline;
  active->on_progress = request.on_progress;
  active->timings.queued = Clock::now();
  if (tokenizer_)
    active->text_stream = std::make_unique<tokenizer::DetokenizeStream>(*tokenizer_);
  else if (!request.sampling.stop.empty())
    return absl::InvalidArgumentError("stop strings need a tokenizer, which this bundle has not; use stop_token_ids");
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok())
      return failure_;
    if (stopping_ || draining_)
      return absl::UnavailableError("the engine shuts down and takes no more requests");
    if (options_.max_waiting > 0 && static_cast<int32_t>(waiting_.size()) >= options_.max_waiting)
      return absl::ResourceExhaustedError(
          fmt::format("{} requests wait, as many as may (--max-waiting); try again later", waiting_.size()));
    waiting_.push_back(active);
    stats_.waiting = static_cast<int32_t>(waiting_.size());
  }
  wake_.notify_all();
  return std::unique_ptr<RequestHandle>(std::make_unique<Handle>(active, std::move(ids)));
}

// --- Steps ------------------------------------------------------------------

void EngineImpl::Loop() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !waiting_.empty() || !running_.empty(); });
      if (stopping_)
        break;
    }
    Admit();
    absl::Status status = running_.empty() ? absl::OkStatus() : RunStep();
    if (!status.ok()) {
      std::unique_lock lock(mutex_);
      failure_ = status;
      lock.unlock();
      FailAll(status);
    }
    Retire();
  }
  FailAll(absl::CancelledError("the engine was shut down"));
}

// Moves requests from the queue to the running ones, first come first served, while pages last for their whole life:
// what is admitted can always finish.
void EngineImpl::Admit() {
  std::lock_guard lock(mutex_);
  while (!waiting_.empty() && static_cast<int32_t>(running_.size()) < stats_.max_num_seqs) {
    Sequence &sequence = waiting_.front()->sequence;
    int32_t positions = sequence.prompt_size + sequence.sampling.max_tokens;
    std::optional<std::vector<int32_t>> pages = pages_->Take((positions + page_size_ - 1) / page_size_);
    if (!pages)
      break;
    sequence.pages = *std::move(pages);
    {
      std::lock_guard request(waiting_.front()->mutex);
      waiting_.front()->timings.scheduled = Clock::now();
    }
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  stats_.waiting = static_cast<int32_t>(waiting_.size());
  stats_.running = static_cast<int32_t>(running_.size());
  stats_.free_pages = pages_->free();
}

absl::Status EngineImpl::RunStep() {
  // Sequences that generate come first, what is left of the budget goes to prompts.
  std::vector<ScheduledRows> rows;
  std::vector<ActiveRequest *> owners;
  int32_t budget = stats_.max_num_batched_tokens, total = 0;
  bool all_decode = true;
  for (bool decoding : {true, false})
    for (const std::shared_ptr<ActiveRequest> &request : running_) {
      Sequence &sequence = request->sequence;
      auto left = static_cast<int32_t>(sequence.tokens.size()) - sequence.computed;
      if ((left == 1) != decoding || budget == 0)
        continue;
      int32_t count = std::min(left, budget);
      budget -= count;
      total += count;
      all_decode &= count == 1;
      rows.push_back({&sequence, sequence.computed, count});
      owners.push_back(request.get());
    }
  const ReadyEntry *chosen = nullptr;
  for (const ReadyEntry &ready : entries_) {
    const plan::Entry &entry = *ready.entry;
    bool fits = total <= static_cast<int32_t>(entry.max_tokens()) && rows.size() <= entry.max_sequences() &&
                (all_decode || entry.kind() == plan::EntryKind_Mixed);
    if (fits && (!chosen || entry.max_tokens() < chosen->entry->max_tokens()))
      chosen = &ready;
  }
  if (!chosen)
    return absl::InternalError(
        fmt::format("no entry point takes a step of {} rows of {} sequences", total, rows.size()));
  bool is_graph = all_decode && chosen->entry->kind() == plan::EntryKind_Decode &&
                  target_->name()->string_view() != "cpu" && !options_.enforce_eager;
  int32_t padded = total;
  if (is_graph && chosen->entry->graph_buckets())
    for (uint32_t bucket : *chosen->entry->graph_buckets())
      if (static_cast<int32_t>(bucket) >= total) {
        padded = static_cast<int32_t>(bucket);
        break;
      }
  absl::StatusOr<StepSizes> filled = step_->Fill(rows, padded, static_cast<int32_t>(chosen->entry->query_tile_rows()));
  if (!filled.ok())
    return filled.status();
  StepSizes sizes = *filled;
  sizes[plan::Extent_KvRows] = kv_rows_;
  bool has_penalties = sizes[plan::Extent_PenaltyEntries] > 0;
  if (absl::Status status = device_->CopyToDevice(metadata_, step_->block().data(), step_->used_bytes()); !status.ok())
    return status;
  if (absl::Status status =
          device_->Run(has_penalties ? chosen->model_with_penalties : chosen->model, sizes, is_graph && !has_penalties);
      !status.ok())
    return status;

  auto wanted =
      static_cast<size_t>(std::count_if(rows.begin(), rows.end(), [](const auto &r) { return r.wants_token(); }));
  host_tokens_.resize(wanted);
  if (absl::Status status = device_->CopyToHost(host_tokens_.data(), tokens_, wanted * sizeof(int32_t)); !status.ok())
    return status;
  bool needs_logits = options_.return_logits;
  for (ActiveRequest *owner : owners)
    needs_logits |= owner->sequence.sampling.logprobs >= 0;
  if (needs_logits) {
    host_logits_.resize(wanted * static_cast<size_t>(vocab_size_));
    if (absl::Status status = device_->CopyToHost(host_logits_.data(), logits_, host_logits_.size() * sizeof(float));
        !status.ok())
      return status;
  }
  size_t taken = 0;
  int64_t prompt_tokens = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    Sequence &sequence = *rows[i].sequence;
    bool wants = rows[i].wants_token();
    prompt_tokens += std::max(0, std::min(sequence.prompt_size, rows[i].first + rows[i].count) - rows[i].first);
    sequence.computed += rows[i].count;
    if (!wants)
      continue;
    std::span<const float> logits;
    if (needs_logits)
      logits =
          std::span(host_logits_).subspan(taken * static_cast<size_t>(vocab_size_), static_cast<size_t>(vocab_size_));
    TakeToken(*owners[i], host_tokens_[taken], logits);
    ++taken;
  }
  std::lock_guard lock(mutex_);
  ++stats_.steps;
  stats_.prompt_tokens += prompt_tokens;
  stats_.generation_tokens += static_cast<int64_t>(wanted);
  return absl::OkStatus();
}

// Fills in log-probabilities from a row of logits.
void AddLogprobs(std::span<const float> logits, int32_t count, Piece &piece) {
  float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits)
    sum += std::exp(static_cast<double>(x) - top);
  double offset = top + std::log(sum);
  piece.logprob = static_cast<float>(logits[static_cast<size_t>(piece.token_id)] - offset);
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(i);
  auto kept = std::min<size_t>(static_cast<size_t>(std::max(count, 0)), ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(kept), ids.end(), [&](int32_t a, int32_t b) {
    float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (size_t i = 0; i < kept; ++i)
    piece.top.push_back({ids[i], static_cast<float>(logits[static_cast<size_t>(ids[i])] - offset)});
}

void EngineImpl::TakeToken(ActiveRequest &request, int32_t token, std::span<const float> logits) {
  Sequence &sequence = request.sequence;
  const SamplingParams &sampling = sequence.sampling;
  sequence.tokens.push_back(token);
  if (sequence.has_penalties())
    ++sequence.counts[token];
  Piece piece;
  piece.token_id = token;
  piece.time = Clock::now();
  if (!logits.empty() && sampling.logprobs >= 0)
    AddLogprobs(logits, sampling.logprobs, piece);
  if (options_.return_logits)
    piece.logits.assign(logits.begin(), logits.end());
  auto generated = static_cast<int32_t>(sequence.tokens.size()) - sequence.prompt_size;
  bool is_stop = std::find(sampling.stop_token_ids.begin(), sampling.stop_token_ids.end(), token) !=
                     sampling.stop_token_ids.end() ||
                 (!sampling.ignore_eos && std::find(eos_ids_.begin(), eos_ids_.end(), token) != eos_ids_.end());
  bool is_last = is_stop || generated >= sampling.max_tokens;
  if (request.text_stream && !is_stop) {
    absl::StatusOr<std::string> text = request.text_stream->Push(token);
    if (text.ok())
      request.text += *text;
  }
  if (request.text_stream && is_last)
    if (absl::StatusOr<std::string> text = request.text_stream->Flush(); text.ok())
      request.text += *text;
  // Text that may be the beginning of a stop string is held back until it is certain.
  size_t end = request.text.size(), held = 0;
  for (const std::string &stop : sampling.stop) {
    size_t from = request.text_given > stop.size() ? request.text_given - stop.size() : 0;
    if (size_t at = request.text.find(stop, from); at != std::string::npos && at < end) {
      end = at;
      is_stop = is_last = true;
    }
    for (size_t n = std::min(stop.size() - 1, request.text.size()); n > held; --n)
      if (request.text.compare(request.text.size() - n, n, stop, 0, n) == 0)
        held = n;
  }
  if (!is_last)
    end = std::max(request.text_given, end - held);
  if (end > request.text_given)
    piece.text = request.text.substr(request.text_given, end - request.text_given);
  request.text_given = std::max(request.text_given, end);
  {
    std::lock_guard lock(request.mutex);
    if (!request.timings.first_token)
      request.timings.first_token = piece.time;
    if (is_last) {
      request.finished = is_stop ? FinishReason::kStop : FinishReason::kLength;
      request.timings.finished = piece.time;
    }
    request.pieces.push_back(std::move(piece));
  }
  request.Notify();
}

// Whether a request that is not done was cancelled or is late.
bool EndEarly(ActiveRequest &request) {
  if (request.cancelled)
    request.Finish(FinishReason::kCancelled);
  else if (request.deadline && Clock::now() >= *request.deadline)
    request.Finish(FinishReason::kError, absl::DeadlineExceededError("the request's deadline has passed"));
  else
    return false;
  return true;
}

// Lets go of requests that ended or were cancelled.
void EngineImpl::Retire() {
  std::erase_if(running_, [&](const std::shared_ptr<ActiveRequest> &request) {
    if (request->finished == FinishReason::kNone)
      EndEarly(*request);
    if (request->finished == FinishReason::kNone)
      return false;
    pages_->Return(request->sequence.pages);
    return true;
  });
  std::lock_guard lock(mutex_);
  std::erase_if(waiting_, [&](const std::shared_ptr<ActiveRequest> &request) { return EndEarly(*request); });
  stats_.running = static_cast<int32_t>(running_.size());
  stats_.waiting = static_cast<int32_t>(waiting_.size());
  stats_.free_pages = pages_->free();
  if (stats_.running + stats_.waiting == 0)
    idle_.notify_all();
}

void EngineImpl::FailAll(const absl::Status &status) {
  for (const std::shared_ptr<ActiveRequest> &request : running_)
    if (request->finished == FinishReason::kNone)
      request->Finish(FinishReason::kError, status);
  std::lock_guard lock(mutex_);
  for (const std::shared_ptr<ActiveRequest> &request : waiting_)
    request->Finish(FinishReason::kError, status);
  waiting_.clear();
}

} // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const std::string &bundle, const EngineOptions &options) {
  auto engine = std::make_unique<EngineImpl>();
  if (absl::Status status = engine->Start(bundle, options); !status.ok())
    return status;
  return std::unique_ptr<Engine>(std::move(engine));
}

absl::StatusOr<MemoryPlan> Engine::Plan(const std::string &bundle, const EngineOptions &options) {
  return absl::UnimplementedError("Engine::Plan is not supported yet; load the engine and ask Stats()");
}

} // namespace inlay

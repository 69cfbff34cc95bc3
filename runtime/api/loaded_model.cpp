#include "runtime/api/loaded_model.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/sample/sampling_params.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

namespace inlay {
namespace {

using nlohmann::json;

// The error for a value of the manifest whose type or range is wrong.
absl::Status BadManifest(const Bundle &bundle, std::string_view key) {
  return absl::InvalidArgumentError(
      fmt::format("{}/manifest.json: {}: found a value of the wrong type or out of range; compile the model again",
                  bundle.path(), key));
}

// Reads the sampling defaults of the checkpoint from `sampling` of the manifest. compile-model has checked them.
absl::Status ReadSampling(const Bundle &bundle, const json &manifest, TextParts &parts) {
  auto found = manifest.find("sampling");
  if (found == manifest.end()) {
    if (std::filesystem::exists(bundle.path() + "/tokenizer/generation_config.json"))
      return absl::FailedPreconditionError(
          fmt::format("{}/manifest.json: has no 'sampling', expected the contents of generation_config.json; the "
                      "bundle was written by an older compile-model, compile the model again",
                      bundle.path()));
    return absl::OkStatus();
  }
  if (!found->is_object())
    return BadManifest(bundle, "sampling");
  SamplingParams &sampling = parts.default_sampling;
  int32_t max_tokens = 0;
  for (auto [key, field] : {std::pair{"temperature", &sampling.temperature},
                            {"top_p", &sampling.top_p},
                            {"min_p", &sampling.min_p},
                            {"repetition_penalty", &sampling.repetition_penalty}})
    if (auto value = found->find(key); value != found->end() && value->is_number())
      *field = value->get<float>();
    else if (value != found->end())
      return BadManifest(bundle, key);
  for (auto [key, field] : {std::pair{"top_k", &sampling.top_k}, {"max_tokens", &max_tokens}})
    if (auto value = found->find(key); value != found->end() && value->is_number_integer())
      *field = value->get<int32_t>();
    else if (value != found->end())
      return BadManifest(bundle, key);
  if (found->contains("max_tokens")) {
    parts.default_max_tokens = max_tokens;
    sampling.max_tokens = max_tokens;
  }
  if (absl::Status status = ValidateSamplingParams(sampling, static_cast<int32_t>(bundle.plan().model()->vocab_size()));
      !status.ok())
    return absl::InvalidArgumentError(
        fmt::format("{}/manifest.json: sampling: {}", bundle.path(), std::string(status.message())));
  return absl::OkStatus();
}

absl::StatusOr<TextParts> LoadTextParts(const Bundle &bundle) {
  TextParts parts;
  std::string directory = bundle.path() + "/tokenizer";
  if (std::filesystem::exists(directory + "/tokenizer.json")) {
    absl::StatusOr<std::unique_ptr<tokenizer::Tokenizer>> loaded = tokenizer::Tokenizer::Load(directory);
    if (!loaded.ok())
      return loaded.status();
    parts.tokenizer = *std::move(loaded);
    parts.chat = tokenizer::ChatRenderer::Load(directory, *parts.tokenizer);
  }
  json manifest = json::parse(bundle.manifest(), nullptr, false);
  if (!manifest.is_object())
    return BadManifest(bundle, "the whole file");
  if (absl::Status status = ReadSampling(bundle, manifest, parts); !status.ok())
    return status;
  json model = manifest.value("model", json::object());
  if (!model.is_object())
    return BadManifest(bundle, "model");
  // compile-model writes those of generation_config.json or config.json, and the tokenizer's.
  for (const json &id : model.value("eos_token_ids", json::array()))
    if (id.is_number_integer())
      parts.eos_ids.push_back(id.get<int32_t>());
    else
      return BadManifest(bundle, "eos_token_ids");
  if (auto length = model.find("max_prompt_len"); length != model.end()) {
    if (!length->is_number_integer() || length->get<int64_t>() < 1)
      return BadManifest(bundle, "max_prompt_len");
    parts.max_prompt_len = length->get<int64_t>();
  }
  return parts;
}

struct OpenedTarget {
  const plan::Target *target = nullptr;
  std::unique_ptr<Device> device;
};

// Opens the requested target, or the first that this machine can run: GPU targets come before the cpu.
absl::StatusOr<OpenedTarget> OpenTarget(const Bundle &bundle, const EngineOptions &options) {
  std::vector<std::string> wanted;
  if (!options.target.empty())
    wanted.push_back(options.target);
  else
    for (const plan::Target *target : *bundle.plan().targets())
      if (target->name()->string_view() != "cpu")
        wanted.insert(wanted.begin(), target->name()->str());
      else
        wanted.push_back("cpu");
  absl::Status first_error;
  for (const std::string &name : wanted) {
    const plan::Target *target = bundle.target(name);
    if (!target)
      return absl::InvalidArgumentError(
          fmt::format("{}: has no target '{}', only {}; compile the model with --target {}", bundle.path(), name,
                      bundle.TargetNames(), name));
    absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(name, options.threads, options.cublaslt);
    if (device.ok())
      return OpenedTarget{target, *std::move(device)};
    if (first_error.ok())
      first_error = device.status();
  }
  return first_error;
}

uint64_t LogitsBytes(const plan::Model &model) {
  return uint64_t{model.max_num_seqs()} * model.vocab_size() * sizeof(float);
}

uint64_t TokensBytes(const plan::Model &model) { return uint64_t{model.max_num_seqs()} * sizeof(int32_t); }

CacheShape ShapeOf(const plan::Model &model) {
  CacheShape shape{.page_size = static_cast<int32_t>(model.cache_groups()->Get(0)->page_size()), .windows = {}};
  for (const plan::CacheGroup *group : *model.cache_groups())
    shape.windows.push_back(static_cast<int32_t>(group->window()));
  return shape;
}

// What sequences of `length` positions need of the KV cache.
struct PagesNeeded {
  int64_t per_sequence = 0; // while it generates
  int64_t for_prompts = 0;  // all sequences together, in addition: rows of the steps in flight in groups with a window
  int64_t all = 0;          // the most of `sequences` sequences
};

PagesNeeded CountPages(const CacheShape &shape, int32_t length, int64_t sequences, int64_t rows_of_step,
                       int64_t rows_of_decode) {
  PagesNeeded needed;
  needed.per_sequence = shape.PagesHeld(length, kStepsInFlight * rows_of_decode);
  auto without_window = [](int32_t window) { return window == 0; };
  int64_t rows = kStepsInFlight * rows_of_step;
  needed.for_prompts =
      (static_cast<int64_t>(shape.groups()) - std::ranges::count_if(shape.windows, without_window)) *
      ((rows + shape.page_size - 1) / shape.page_size);
  needed.all = std::min(sequences * needed.per_sequence + needed.for_prompts,
                        sequences * shape.PagesFor(length) * static_cast<int64_t>(shape.groups()));
  return needed;
}

absl::StatusOr<MemoryPlan> PlanMemory(const plan::Model &model, const plan::Target &target, const Device &device,
                                      const EngineOptions &options, const MemoryPlan *draft) {
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
  MemoryPlan memory;
  memory.target = target.name()->str();
  memory.device = device.Name();
  memory.max_model_len = *length;
  memory.max_num_seqs = std::min(*sequences, *tokens);
  memory.max_num_batched_tokens = *tokens;
  CacheShape shape = ShapeOf(model);
  memory.page_size = shape.page_size;
  memory.free_bytes = device.FreeMemory();
  memory.usable_bytes = static_cast<uint64_t>(static_cast<double>(memory.free_bytes) * options.gpu_memory_utilization);
  memory.weights_bytes = WeightsBytes(target);
  memory.workspace_bytes = 256;
  for (const plan::Entry *entry : *target.entries())
    memory.workspace_bytes = std::max(memory.workspace_bytes, entry->workspace_bytes());
  MetadataLayout layout(CapacityOf(model));
  memory.buffers_bytes =
      kStepsInFlight * (layout.bytes + TokensBytes(model)) + layout.penalty_bytes + LogitsBytes(model);
  if (draft)
    memory.draft_bytes = draft->weights_bytes + draft->workspace_bytes + draft->buffers_bytes;
  uint64_t fixed = memory.weights_bytes + memory.workspace_bytes + memory.buffers_bytes + memory.draft_bytes;
  constexpr double kMiB = 1 << 20;
  auto mib = [](uint64_t bytes) { return static_cast<double>(bytes) / kMiB; };
  if (fixed > memory.usable_bytes)
    return absl::ResourceExhaustedError(fmt::format(
        "weights ({:.1f} MiB), activations ({:.1f}){} step buffers ({:.1f}){} need {:.1f} MiB, expected at most "
        "{:.1f} of the {:.1f} MiB that are free on {}; raise --gpu-memory-utilization, free some memory, {}or compile "
        "with a lower "
        "--max-num-batched-tokens or --max-num-seqs",
        mib(memory.weights_bytes), mib(memory.workspace_bytes), draft ? "," : " and", mib(memory.buffers_bytes),
        draft ? fmt::format(" and the draft model ({:.1f})", mib(memory.draft_bytes)) : "", mib(fixed),
        mib(memory.usable_bytes), mib(memory.free_bytes), memory.device,
        draft ? "leave out --speculative-model, " : ""));
  uint64_t left = memory.usable_bytes - fixed;

  // The remaining memory is used for KV pages, up to the number that all sequences at full length can use.
  memory.bytes_per_page = uint64_t{2} * LayersOfPage(model) * LayerPageBytes(*model.cache_groups()->Get(0));
  uint64_t budget = options.kv_cache_bytes;
  const char *limit = "--kv-cache-memory-bytes";
  if (budget == 0 && memory.target == "cpu") {
    budget = std::min<uint64_t>(left / 2, uint64_t{4} << 30);
    limit = "half of the free memory, at most 4 GiB; --kv-cache-memory-bytes changes it";
  } else if (budget == 0) {
    budget = left;
    limit = "--gpu-memory-utilization";
  }
  PagesNeeded needed =
      CountPages(shape, *length, memory.max_num_seqs, memory.max_num_batched_tokens, 1 + options.num_speculative_tokens);
  // Tokens of a sequence at full length for each of its pages.
  double tokens_per_page =
      static_cast<double>(int64_t{shape.PagesFor(*length)} * shape.page_size) / static_cast<double>(needed.per_sequence);
  // Bytes of the draft model's pages for as many tokens as one page of this model has.
  double draft_share = 0;
  if (draft)
    draft_share = static_cast<double>(draft->bytes_per_page) * static_cast<double>(draft->total_pages) /
                  static_cast<double>(draft->kv_cache_tokens) * tokens_per_page;
  if (draft && options.kv_cache_bytes == 0) {
    auto page = static_cast<double>(memory.bytes_per_page);
    budget = static_cast<uint64_t>(static_cast<double>(budget) * page / (page + draft_share));
  }
  // Kernels index the rows of a cache with int32.
  uint64_t most = ((uint64_t{1} << 31) - 1) / RowsOfPage(model);
  uint64_t pages = std::min({budget / memory.bytes_per_page, static_cast<uint64_t>(needed.all), most});
  if (pages == static_cast<uint64_t>(needed.all))
    limit = "all sequences at full length (--max-num-seqs, --max-model-len)";
  if (pages < 1)
    return absl::ResourceExhaustedError(fmt::format(
        "KV pages need at least {} bytes, but only {} are left; lower --max-num-batched-tokens or --max-num-seqs, or "
        "raise --gpu-memory-utilization",
        memory.bytes_per_page, budget));
  memory.total_pages = static_cast<int32_t>(pages);
  memory.kv_cache_bytes = pages * memory.bytes_per_page;
  auto count = static_cast<int64_t>(pages);
  memory.kv_cache_tokens =
      count * shape.page_size * shape.PagesFor(*length) / needed.per_sequence;
  memory.full_length_sequences =
      std::max((count - needed.for_prompts) / needed.per_sequence,
               count / (int64_t{shape.PagesFor(*length)} * static_cast<int64_t>(shape.groups())));
  if (draft)
    memory.draft_bytes +=
        std::max(draft->bytes_per_page, static_cast<uint64_t>(draft_share * static_cast<double>(pages)));
  memory.explanation =
      fmt::format("{}: {:.0f} MiB free, {:.0f} usable; weights {:.1f}, activations {:.1f}, step buffers {:.1f} MiB{}; "
                  "{} pages of {} "
                  "tokens ({:.1f} MiB), limited by {}: {} tokens, {} sequences of {}",
                  memory.device, static_cast<double>(memory.free_bytes) / kMiB,
                  static_cast<double>(memory.usable_bytes) / kMiB, static_cast<double>(memory.weights_bytes) / kMiB,
                  static_cast<double>(memory.workspace_bytes) / kMiB, static_cast<double>(memory.buffers_bytes) / kMiB,
                  draft ? fmt::format(", draft model {:.1f} MiB", mib(memory.draft_bytes)) : "", pages,
                  memory.page_size, static_cast<double>(memory.kv_cache_bytes) / kMiB, limit, memory.kv_cache_tokens,
                  memory.full_length_sequences, memory.max_model_len);
  return memory;
}

} // namespace

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadedModel::Open(const std::string &path, const EngineOptions &options,
                                                               const DeviceWrapper &wrap) {
  std::unique_ptr<LoadedModel> model(new LoadedModel);
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(path, options.weights_source);
  if (!bundle.ok())
    return bundle.status();
  model->bundle_ = *std::move(bundle);
  absl::StatusOr<OpenedTarget> opened = OpenTarget(*model->bundle_, options);
  if (!opened.ok())
    return opened.status();
  model->target_ = opened->target;
  model->device_ = wrap ? wrap(std::move(opened->device)) : std::move(opened->device);
  return model;
}

absl::Status LoadedModel::PlanMemory(const EngineOptions &options, const MemoryPlan *draft) {
  absl::StatusOr<MemoryPlan> memory = inlay::PlanMemory(model(), *target_, *device_, options, draft);
  if (!memory.ok())
    return memory.status();
  memory_ = *std::move(memory);
  return absl::OkStatus();
}

absl::Status LoadedModel::Load() {
  absl::StatusOr<TextParts> text = LoadTextParts(*bundle_);
  if (!text.ok())
    return text.status();
  text_ = *std::move(text);
  if (absl::Status status = device_->LoadKernels(*bundle_, *target_); !status.ok())
    return status;
  if (absl::Status status = Allocate(); !status.ok())
    return status;
  if (absl::Status status = LoadWeights(); !status.ok())
    return status;
  return PrepareEntries();
}

CacheShape LoadedModel::cache_shape() const { return ShapeOf(model()); }

LoadedModel::~LoadedModel() {
  for (void *memory : allocated_)
    device_->Free(memory);
  for (void *memory : allocated_on_host_)
    device_->FreeHost(memory);
}

absl::Status LoadedModel::Allocate() {
  auto allocate = [&](uint64_t bytes, std::string_view what, void *&memory) {
    absl::StatusOr<void *> allocated = device_->Allocate(bytes, what);
    if (!allocated.ok())
      return allocated.status();
    memory = *allocated;
    allocated_.push_back(memory);
    return absl::OkStatus();
  };
  metadata_layout_.emplace(CapacityOf(model()));
  // The weights are one allocation, because hundreds of allocations take long in the driver.
  void *weights = nullptr;
  struct {
    uint64_t bytes;
    const char *what;
    void *&memory;
  } parts[] = {{memory_.weights_bytes, "weights", weights},
               {memory_.workspace_bytes, "activations (--max-num-batched-tokens lowers it)", workspace_},
               {metadata_layout_->penalty_bytes, "step metadata", penalties_},
               {LogitsBytes(model()), "logits (--max-num-seqs lowers it)", logits_}};
  for (auto &part : parts)
    if (absl::Status status = allocate(part.bytes, part.what, part.memory); !status.ok())
      return status;
  if (target_->weights())
    for (const plan::Weight *weight : *target_->weights())
      weights_.push_back(static_cast<std::byte *>(weights) + weight->offset());
  page_bytes_ = LayerPageBytes(*model().cache_groups()->Get(0));
  uint64_t cache_bytes = page_bytes_ * static_cast<uint64_t>(memory_.total_pages);
  caches_.resize(size_t{2} * LayersOfPage(model()));
  for (void *&cache : caches_) {
    if (absl::Status status =
            allocate(cache_bytes, "KV pages (--gpu-memory-utilization or --kv-cache-memory-bytes lowers it)", cache);
        !status.ok())
      return status;
    // Attention masks positions that were not written, but a NaN there would still change its result.
    if (absl::Status status = device_->Clear(cache, cache_bytes); !status.ok())
      return status;
  }
  if (absl::Status status = device_->Clear(workspace_, memory_.workspace_bytes); !status.ok())
    return status;
  return AllocateStepBuffers();
}

absl::Status LoadedModel::AllocateStepBuffers() {
  for (StepBuffers &buffers : buffers_) {
    absl::StatusOr<void *> metadata = device_->Allocate(metadata_layout_->bytes, "step metadata");
    if (!metadata.ok())
      return metadata.status();
    allocated_.push_back(*metadata);
    buffers.device_metadata = static_cast<std::byte *>(*metadata);
    absl::StatusOr<void *> tokens = device_->Allocate(TokensBytes(model()), "tokens");
    if (!tokens.ok())
      return tokens.status();
    allocated_.push_back(*tokens);
    buffers.device_tokens = static_cast<int32_t *>(*tokens);
    absl::StatusOr<void *> host_metadata = device_->AllocateHost(metadata_layout_->bytes, "step metadata");
    if (!host_metadata.ok())
      return host_metadata.status();
    allocated_on_host_.push_back(*host_metadata);
    buffers.metadata = std::make_unique<StepMetadata>(*metadata_layout_, *host_metadata);
    absl::StatusOr<void *> host_tokens = device_->AllocateHost(TokensBytes(model()), "sampled tokens");
    if (!host_tokens.ok())
      return host_tokens.status();
    allocated_on_host_.push_back(*host_tokens);
    buffers.tokens = static_cast<int32_t *>(*host_tokens);
    if (absl::Status status =
            device_->CopyToDevice(buffers.device_metadata, buffers.metadata->block(), metadata_layout_->bytes);
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::Status LoadedModel::LoadWeights() {
  auto begin = std::chrono::steady_clock::now();
  if (!weights_.empty())
    if (absl::Status status =
            inlay::LoadWeights(*bundle_, *target_, static_cast<std::byte *>(weights_.front()), *device_);
        !status.ok())
      return status;
  weights_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return device_->Synchronize();
}

void *LoadedModel::AddressOf(const plan::Argument &argument, const StepBuffers &buffers) const {
  switch (argument.kind()) {
  case plan::BufferKind_Workspace:
    return static_cast<std::byte *>(workspace_) + argument.offset();
  case plan::BufferKind_Weight:
    return weights_[argument.index()];
  case plan::BufferKind_KeyCache:
  case plan::BufferKind_ValueCache: {
    size_t place = PlaceInGroup(*GroupOfLayer(model(), argument.index()), argument.index());
    return caches_[2 * place + (argument.kind() == plan::BufferKind_ValueCache)];
  }
  case plan::BufferKind_Metadata:
    if (argument.metadata() == plan::Metadata_PageTable)
      return buffers.device_metadata + metadata_layout_->OffsetOfPageTable(argument.index());
    return (MetadataLayout::IsPenalty(argument.metadata()) ? penalties() : buffers.device_metadata) +
           metadata_layout_->OffsetOf(argument.metadata());
  case plan::BufferKind_Logits:
    return logits_;
  case plan::BufferKind_Tokens:
    return buffers.device_tokens;
  case plan::BufferKind_Source: // only used by the kernels that pack weights
    break;
  }
  return nullptr;
}

absl::Status LoadedModel::PrepareEntries() {
  using Launches = flatbuffers::Vector<flatbuffers::Offset<plan::Launch>>;
  auto prepare = [&](const StepBuffers &buffers, std::span<const Launches *const> parts) {
    std::vector<BoundLaunch> bound;
    for (const Launches *part : parts)
      if (part)
        for (const plan::Launch *launch : *part) {
          BoundLaunch one{launch, {}, page_bytes_ * static_cast<uint64_t>(memory_.total_pages)};
          for (const plan::Argument *argument : *launch->arguments())
            one.arguments.push_back(AddressOf(*argument, buffers));
          bound.push_back(std::move(one));
        }
    return device_->Prepare(bound);
  };
  for (const plan::Entry *entry : *target_->entries()) {
    ReadyEntry ready{.entry = entry};
    for (size_t slot = 0; slot < kStepsInFlight; ++slot) {
      ReadyEntry::Lists &lists = ready.lists[slot];
      const std::pair<LaunchList *, std::vector<const Launches *>> all[] = {
          {&lists.model, {entry->launches(), entry->sampling()}},
          {&lists.model_with_penalties, {entry->launches(), entry->penalties(), entry->sampling()}},
          {&lists.logits, {entry->launches()}},
          {&lists.sampling, {entry->sampling()}},
          {&lists.sampling_with_penalties, {entry->penalties(), entry->sampling()}}};
      for (const auto &[list, parts] : all) {
        absl::StatusOr<LaunchList> prepared = prepare(buffers_[slot], parts);
        if (!prepared.ok())
          return prepared.status();
        *list = *prepared;
      }
    }
    entries_.push_back(ready);
  }
  return absl::OkStatus();
}

} // namespace inlay

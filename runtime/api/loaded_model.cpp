#include "runtime/api/loaded_model.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/api/plan_memory.h"
#include "runtime/bundle/cache_groups.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/device/cuda_ranks.h"
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
absl::StatusOr<OpenedTarget> OpenTarget(const Bundle &bundle, const EngineOptions &options, const DeviceRank &rank) {
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
    if (name == "cpu" && !options.devices.empty())
      return !first_error.ok() ? first_error
                               : absl::InvalidArgumentError(
                                     fmt::format("--device names GPUs, but {} runs on the target cpu; remove the "
                                                 "option, or compile the model with --target sm_90a",
                                                 bundle.path()));
    absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(name, options.threads, options.cublaslt, rank);
    if (device.ok())
      return OpenedTarget{target, *std::move(device)};
    if (first_error.ok())
      first_error = device.status();
  }
  return first_error;
}

} // namespace

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadedModel::Open(std::shared_ptr<const Bundle> bundle,
                                                               const EngineOptions &options, const DeviceWrapper &wrap,
                                                               RankLinks links) {
  std::unique_ptr<LoadedModel> model(new LoadedModel);
  model->bundle_ = std::move(bundle);
  model->links_ = std::move(links);
  model->place_ = PlaceOfRank(model->bundle_->plan(), model->links_.rank);
  const RankLinks &own = model->links_;
  absl::StatusOr<OpenedTarget> opened = OpenTarget(
      *model->bundle_, options, {own.rank, model->bundle_->plan().ranks(), own.stage.get(), own.gpus, options.devices});
  if (!opened.ok())
    return opened.status();
  model->target_ = opened->target;
  model->device_ = wrap ? wrap(std::move(opened->device)) : std::move(opened->device);
  return model;
}

absl::StatusOr<MemoryPlan> LoadedModel::PlanMemory(const EngineOptions &options, const MemoryPlan *draft) const {
  // On the cpu, all ranks share the memory of the machine.
  const uint32_t sharing = is_cpu()       ? bundle_->plan().ranks()
                           : !links_.gpus ? 1
                                          : links_.gpus->RanksOnGpuOf(links_.rank);
  return inlay::PlanMemory(bundle_->plan(), *target_, place_.stage, *device_, options, draft,
                           links_.gpus ? links_.gpus->bytes(links_.rank) : 0, sharing);
}

absl::Status LoadedModel::Load() {
  if (links_.rank == 0) {
    absl::StatusOr<TextParts> text = LoadTextParts(*bundle_);
    if (!text.ok())
      return text.status();
    text_ = *std::move(text);
  }
  if (absl::Status status = device_->LoadKernels(*bundle_, *target_); !status.ok())
    return status;
  if (absl::Status status = Allocate(); !status.ok())
    return status;
  if (absl::Status status = LoadWeights(); !status.ok())
    return status;
  return PrepareEntries();
}

StageLink *LoadedModel::pipeline() const {
  return is_cpu() || !links_.gpus ? links_.pipeline.get() : links_.gpus->link(links_.rank);
}

CacheShape LoadedModel::cache_shape() const { return CacheShapeOf(model()); }

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
  struct {
    uint64_t bytes;
    const char *what;
    void *&memory;
  } parts[] = {{memory_.weights_bytes, "weights", weights_memory_},
               {memory_.workspace_bytes, "activations (--max-num-batched-tokens lowers it)", workspace_},
               {metadata_layout_->penalty_bytes, "step metadata", penalties_},
               {is_last_stage() ? LogitsBytes(model()) : 0, "logits (--max-num-seqs lowers it)", logits_},
               {sizeof(int32_t), "the number of the rank", rank_}};
  for (auto &part : parts)
    if (part.bytes > 0)
      if (absl::Status status = allocate(part.bytes, part.what, part.memory); !status.ok())
        return status;
  if (target_->weights())
    for (const plan::Weight *weight : *target_->weights())
      weights_.push_back(weight->stage() == place_.stage ? static_cast<std::byte *>(weights_memory_) + weight->offset()
                                                         : nullptr);
  const auto rank = static_cast<int32_t>(place_.of_stage.index);
  if (absl::Status status = device_->CopyToDevice(rank_, &rank, sizeof(rank)); !status.ok())
    return status;
  page_bytes_ = LayerPageBytes(*model().cache_groups()->Get(0));
  uint64_t cache_bytes = page_bytes_ * static_cast<uint64_t>(memory_.total_pages);
  caches_.resize(size_t{2} * LayersOfPage(model(), LayersOfStage(model(), place_.stage)));
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
  buffers_.resize(StepsInFlight(model()));
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
  if (weights_memory_)
    if (absl::Status status =
            inlay::LoadWeights(*bundle_, *target_, static_cast<std::byte *>(weights_memory_), *device_, links_.rank);
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
    size_t place =
        PlaceInGroup(*GroupOfLayer(model(), argument.index()), argument.index(), LayersOfStage(model(), place_.stage));
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
  case plan::BufferKind_Rank:
    return rank_;
  case plan::BufferKind_Source: // only used by the kernels that pack weights
    break;
  }
  return nullptr;
}

absl::Status LoadedModel::PrepareEntries() {
  using Launches = flatbuffers::Vector<flatbuffers::Offset<plan::Launch>>;
  auto prepare = [&](const StepBuffers &buffers, std::span<const Launches *const> parts, const HalvesOfSteps &halves) {
    std::vector<BoundLaunch> bound;
    for (const Launches *part : parts)
      if (part)
        for (const plan::Launch *launch : *part) {
          BoundLaunch one{launch, {}, page_bytes_ * static_cast<uint64_t>(memory_.total_pages), halves};
          for (const plan::Argument *argument : *launch->arguments())
            one.arguments.push_back(AddressOf(*argument, buffers));
          bound.push_back(std::move(one));
        }
    return device_->Prepare(bound);
  };
  for (const plan::Entry *entry : *target_->entries()) {
    if (entry->stage() != place_.stage)
      continue;
    ReadyEntry ready{.entry = entry, .lists = std::vector<ReadyEntry::Lists>(buffers_.size())};
    for (size_t slot = 0; slot < buffers_.size(); ++slot) {
      ReadyEntry::Lists &lists = ready.lists[slot];
      const std::pair<LaunchList *, std::vector<const Launches *>> all[] = {
          {&lists.model, {entry->launches(), entry->gathers(), entry->sampling()}},
          {&lists.model_with_penalties, {entry->launches(), entry->gathers(), entry->penalties(), entry->sampling()}},
          {&lists.logits, {entry->launches(), entry->gathers()}},
          {&lists.sampling, {entry->sampling()}},
          {&lists.sampling_with_penalties, {entry->penalties(), entry->sampling()}}};
      for (const auto &[list, parts] : all) {
        absl::StatusOr<LaunchList> prepared = prepare(buffers_[slot], parts, HalvesOf(*entry));
        if (!prepared.ok())
          return prepared.status();
        *list = *prepared;
      }
      if (!entry->part_sampling() || entry->part_sampling()->size() == 0)
        continue;
      absl::StatusOr<LaunchList> parts =
          prepare(buffers_[slot], std::array{entry->launches(), entry->part_sampling()}, HalvesOf(*entry));
      if (!parts.ok())
        return parts.status();
      lists.parts = *parts;
    }
    entries_.push_back(ready);
  }
  return absl::OkStatus();
}

} // namespace inlay

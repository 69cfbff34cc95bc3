// A bundle loaded on a device: kernels, weights, memory, entry points and tokenizer.
#ifndef INLAY_RUNTIME_API_LOADED_MODEL_H_
#define INLAY_RUNTIME_API_LOADED_MODEL_H_

#include "formats/tokenizer/chat_renderer.h"
#include "formats/tokenizer/tokenizer.h"
#include "runtime/api/inlay.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/stages.h"
#include "runtime/device/device.h"
#include "runtime/distributed/stage_link.h"
#include "runtime/kv/cache_shape.h"
#include "runtime/schedule/step.h"

#include <functional>
#include <limits>
#include <optional>

namespace inlay {

// Wraps the opened device in another one. Tests use one that fails, benchmarks one that does nothing.
using DeviceWrapper = std::function<std::unique_ptr<Device>(std::unique_ptr<Device>)>;

// The buffers of one step. There are several, so that a step can be prepared while the previous one runs.
struct StepBuffers {
  std::unique_ptr<StepMetadata> metadata; // in memory from Device::AllocateHost()
  std::byte *device_metadata = nullptr;
  int32_t *device_tokens = nullptr; // the sampled tokens on the device
  int32_t *tokens = nullptr;        // their copy in memory from Device::AllocateHost()
};

// An entry point with its launches ready on the device.
struct ReadyEntry {
  struct Lists {
    LaunchList model = 0, model_with_penalties = 0; // from token ids to sampled tokens
    std::optional<LaunchList> parts;                // the same through Entry::part_sampling; none with one rank
    LaunchList logits = 0;                          // from token ids to logits
    LaunchList sampling = 0, sampling_with_penalties = 0;
  };
  const plan::Entry *entry = nullptr;
  std::vector<Lists> lists = {}; // by LaunchedStep::slot
};

// The tokenizer, chat template and sampling defaults of a bundle.
struct TextParts {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer; // or null
  // The chat template, or the error. If the template cannot be parsed, only chat requests fail.
  absl::StatusOr<std::unique_ptr<tokenizer::ChatRenderer>> chat = absl::NotFoundError("no tokenizer");
  std::vector<int32_t> eos_ids;
  SamplingParams default_sampling;
  std::optional<int32_t> default_max_tokens;                    // max_new_tokens of generation_config.json
  int64_t max_prompt_len = std::numeric_limits<int64_t>::max(); // less than max_model_len with dynamic rope
};

// A rank of a bundle, and how it reaches the others.
struct RankLinks {
  uint32_t rank = 0;
  std::unique_ptr<Communicator> stage; // the ranks that run its stage together; null if the bundle is for one rank
  std::unique_ptr<StageLink> pipeline; // to its neighbours on the cpu; null if there is one stage
  CudaRanks *gpus = nullptr;           // of the ranks, if they run on GPUs; null if the bundle is for one rank
};

class LoadedModel {
public:
  // Opens a device for the bundle, and verifies that they fit. Nothing is allocated on the device.
  static absl::StatusOr<std::unique_ptr<LoadedModel>>
  Open(std::shared_ptr<const Bundle> bundle, const EngineOptions &options, const DeviceWrapper &wrap, RankLinks links);
  // Computes the memory that Load() needs. `draft` is the plan of a draft model on the same device. Its weights and
  // buffers are subtracted first. If the size of the KV cache is not given, the remaining memory is divided so that
  // both models' pages have room for the same number of tokens.
  absl::StatusOr<MemoryPlan> PlanMemory(const EngineOptions &options, const MemoryPlan *draft) const;
  // Sets memory(), which Load() allocates.
  void SetMemory(MemoryPlan memory) { memory_ = std::move(memory); }
  // Loads kernels and weights onto the device and allocates all memory.
  absl::Status Load();
  ~LoadedModel();

  const plan::Model &model() const { return *bundle_->plan().model(); }
  const std::string &path() const { return bundle_->path(); }
  bool is_cpu() const { return target_->name()->string_view() == "cpu"; }
  const plan::Target &target() const { return *target_; }
  std::string target_name() const { return target_->name()->str(); }
  // The number of the step that runs next, for the rank's communicators.
  void BeginStep(int64_t number) {
    if (links_.stage)
      links_.stage->BeginStep(number);
  }
  // The rank's stage. The first one takes token ids, the last one samples tokens, which the first one gets as well.
  bool is_first_stage() const { return place_.stage == 0; }
  bool is_last_stage() const { return place_.stage + 1 == StageCount(model()); }
  const RankPlace &place() const { return place_; }
  StageLink *pipeline() const; // null if there is one stage
  Device &device() { return *device_; }
  const MemoryPlan &memory() const { return memory_; }
  CacheShape cache_shape() const;
  const TextParts &text() const { return text_; } // of rank 0
  double weights_seconds() const { return weights_seconds_; }
  // Those of the rank's stage, in an order that is the same in all stages.
  const std::vector<ReadyEntry> &entries() const { return entries_; }
  const MetadataLayout &metadata_layout() const { return *metadata_layout_; }
  // There are StepsInFlight() of them.
  const StepBuffers &buffers(size_t slot) const { return buffers_[slot]; }
  size_t steps_in_flight() const { return buffers_.size(); }

  // The accessors below return device memory.
  std::byte *workspace() const { return static_cast<std::byte *>(workspace_); }
  std::byte *penalties() const { return static_cast<std::byte *>(penalties_); }
  float *logits() const { return static_cast<float *>(logits_); } // null before the last stage
  // The caches are in the order: keys of the stage's first layer of each cache group, values of these layers, keys of
  // the second layers, ... Each has memory().total_pages pages of page_bytes() bytes.
  const std::vector<void *> &caches() const { return caches_; }
  uint64_t page_bytes() const { return page_bytes_; }

private:
  LoadedModel() = default;
  absl::Status Allocate();
  absl::Status AllocateStepBuffers();
  void *AddressOf(const plan::Argument &argument, const StepBuffers &buffers) const;
  absl::Status LoadWeights();
  absl::Status PrepareEntries();

  std::shared_ptr<const Bundle> bundle_;
  const plan::Target *target_ = nullptr;
  RankLinks links_;
  RankPlace place_;
  std::unique_ptr<Device> device_;
  MemoryPlan memory_;
  TextParts text_;
  std::vector<void *> allocated_, allocated_on_host_;
  std::vector<void *> weights_; // by index in the plan; null of other stages
  std::vector<void *> caches_;
  uint64_t page_bytes_ = 0;
  void *weights_memory_ = nullptr, *workspace_ = nullptr, *penalties_ = nullptr, *logits_ = nullptr, *rank_ = nullptr;
  std::optional<MetadataLayout> metadata_layout_;
  std::vector<StepBuffers> buffers_;
  std::vector<ReadyEntry> entries_;
  double weights_seconds_ = 0;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_LOADED_MODEL_H_

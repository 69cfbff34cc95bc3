// The ranks that run a bundle together: a loaded model and a host thread for each.
#ifndef INLAY_RUNTIME_API_MODEL_RANKS_H_
#define INLAY_RUNTIME_API_MODEL_RANKS_H_

#include "runtime/api/loaded_model.h"
#include "runtime/distributed/rank_threads.h"

namespace inlay {

// A bundle for one rank has one model and no threads.
class ModelRanks {
public:
  ~ModelRanks();
  // Opens the bundle and the device of each rank. Nothing is allocated on the devices.
  static absl::StatusOr<std::unique_ptr<ModelRanks>> Open(const std::string &path, const EngineOptions &options,
                                                          const DeviceWrapper &wrap);
  // Plans the memory of all ranks (LoadedModel::PlanMemory). They have the same number of KV pages, that of the rank
  // with room for the fewest, because they share the scheduler's page tables. Pages have other sizes in other stages.
  absl::Status PlanMemory(const EngineOptions &options, const MemoryPlan *draft = nullptr);
  // Connects the GPUs and loads all ranks at once. Each reads its own part of the weights.
  absl::Status Load();
  // Where the ranks run and how they exchange values: EngineStats::distributed.
  std::string Describe() const;

  uint32_t size() const { return static_cast<uint32_t>(models_.size()); }
  LoadedModel &rank(uint32_t rank) const { return *models_[rank]; }
  // Rank 0, which plans the steps of all.
  LoadedModel &first() const { return *models_[0]; }
  const MemoryPlan &memory() const { return first().memory(); }
  // Bytes of a page on the rank where it has the most.
  uint64_t LargestPageBytes() const;

  // Stages of the pipeline: so many steps can be in flight.
  uint32_t stages() const { return StageCount(first().model()); }
  // Rank 0 of the last stage: its tokens and logits are used.
  uint32_t sampling_rank() const { return size() - size() / stages(); }

  // Runs body(rank) on the threads of all ranks: see RankThreads. With one rank, Post() returns the error of its body.
  absl::StatusOr<int64_t> Post(RankThreads::Body body, RankThreads::Limit limit);
  absl::Status Wait(int64_t job) { return threads_ ? threads_->Wait(job) : absl::OkStatus(); }
  // Sets the function that is called once when a rank fails, on any thread. Call it before steps run.
  void OnFailure(std::function<void(const absl::Status &)> listener);
  // Fails all ranks, which then run no more steps. Returns the status. With one rank it only returns the status.
  absl::Status Fail(const absl::Status &status);
  // Ends the threads of the other ranks. Post() must not be called afterwards.
  void Stop() { threads_.reset(); }

private:
  ModelRanks();

  std::shared_ptr<RankGroup> group_; // null with one rank
  std::unique_ptr<CudaRanks> gpus_;  // null with one rank; not used on the cpu
  bool is_deterministic_ = false;    // EngineOptions::deterministic
  std::vector<std::unique_ptr<LoadedModel>> models_;
  std::unique_ptr<RankThreads> threads_; // null with one rank; the last member, because its threads use the others
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_MODEL_RANKS_H_

// The ranks that run a bundle together: a loaded model and a host thread for each.
#ifndef INLAY_RUNTIME_API_MODEL_RANKS_H_
#define INLAY_RUNTIME_API_MODEL_RANKS_H_

#include "runtime/api/loaded_model.h"
#include "runtime/distributed/rank_threads.h"

namespace inlay {

// A bundle for one rank has one model and no threads.
class ModelRanks {
public:
  // Opens the bundle and the device of each rank. Nothing is allocated on the devices.
  static absl::StatusOr<std::unique_ptr<ModelRanks>> Open(const std::string &path, const EngineOptions &options,
                                                          const DeviceWrapper &wrap);
  // Plans the memory of all ranks (LoadedModel::PlanMemory). They have the same number of KV pages, that of the rank
  // with the least memory, because they share the scheduler's page tables.
  absl::Status PlanMemory(const EngineOptions &options, const MemoryPlan *draft = nullptr);
  // Loads all ranks at once. Each reads its own part of the weights.
  absl::Status Load();

  uint32_t size() const { return static_cast<uint32_t>(models_.size()); }
  LoadedModel &rank(uint32_t rank) const { return *models_[rank]; }
  // Rank 0: its tokens and logits are used.
  LoadedModel &first() const { return *models_[0]; }
  const MemoryPlan &memory() const { return first().memory(); }

  // Runs body(rank) on the threads of all ranks at once: see RankThreads::Run().
  absl::Status Run(const RankThreads::Body &body, RankThreads::Limit limit);
  // Sets the function that is called once when a rank fails, on any thread. Call it before steps run.
  void OnFailure(std::function<void(const absl::Status &)> listener);
  // Fails all ranks, which then run no more steps. Returns the status. With one rank it only returns the status.
  absl::Status Fail(const absl::Status &status);
  // Ends the threads of the other ranks. Run() must not be called afterwards.
  void Stop() { threads_.reset(); }

private:
  std::shared_ptr<RankGroup> group_; // null with one rank
  std::vector<std::unique_ptr<LoadedModel>> models_;
  std::unique_ptr<RankThreads> threads_; // null with one rank; the last member, because its threads use the others
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_MODEL_RANKS_H_

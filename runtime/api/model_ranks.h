// The ranks that run a bundle together: a loaded model and a host thread for each, or the one of this process.
#ifndef INLAY_RUNTIME_API_MODEL_RANKS_H_
#define INLAY_RUNTIME_API_MODEL_RANKS_H_

#include "runtime/api/loaded_model.h"
#include "runtime/api/step_message.h"
#include "runtime/distributed/rank_processes.h"
#include "runtime/distributed/rank_threads.h"

#include <map>

namespace inlay {

// A bundle for one rank has one model and no threads. If the ranks are processes (EngineOptions::process), each of them
// has the model of its rank. Rank 0 then sends what the others run.
class ModelRanks {
public:
  ~ModelRanks();
  ModelRanks(const ModelRanks &) = delete;
  ModelRanks &operator=(const ModelRanks &) = delete;
  // Opens the bundle and the device of each rank. Nothing is allocated on the devices. `is_draft`: the model proposes
  // draft tokens for another one, which options.devices are for. Its ranks have the first of them.
  static absl::StatusOr<std::unique_ptr<ModelRanks>> Open(const std::string &path, const EngineOptions &options,
                                                          const DeviceWrapper &wrap, bool is_draft = false);
  // Plans the memory of all ranks (LoadedModel::PlanMemory). They have the same number of KV pages, that of the rank
  // with room for the fewest, because they share the scheduler's page tables. Pages have other sizes in other stages.
  absl::Status PlanMemory(const EngineOptions &options, const MemoryPlan *draft = nullptr);
  // Connects the GPUs and loads all ranks at once. Each reads its own part of the weights.
  absl::Status Load();
  // Where the ranks run and how they exchange values: EngineStats::distributed.
  std::string Describe() const;

  // Of this process.
  uint32_t size() const { return static_cast<uint32_t>(models_.size()); }
  LoadedModel &rank(uint32_t index) const { return *models_[index]; }
  // Rank 0, which plans the steps of all; in the process of another rank, that rank.
  LoadedModel &first() const { return *models_[0]; }
  // Of all processes.
  uint32_t ranks() const { return group_ ? group_->size() : 1; }
  RankProcesses *processes() const { return processes_.get(); } // null if all ranks are in this process
  const MemoryPlan &memory() const { return first().memory(); }
  // Bytes of a page on the rank where it has the most.
  uint64_t LargestPageBytes() const;

  // Stages of the pipeline: so many steps can be in flight.
  uint32_t stages() const { return StageCount(first().model()); }
  // Rank 0 of the last stage: its tokens and logits are used.
  uint32_t sampling_rank() const { return ranks() - ranks() / stages(); }

  // Runs body(index) on the threads of the ranks of this process: see RankThreads. With one rank, Post() returns the
  // error of its body.
  absl::StatusOr<int64_t> Post(RankThreads::Body body, RankThreads::Limit limit);
  absl::Status Wait(int64_t job) { return threads_ ? threads_->Wait(job) : absl::OkStatus(); }
  // Sends a step to the other processes, if there are any. They run it after those before.
  absl::Status SendStep(const StepCommand &step);
  // Waits until the other processes have run the step. Returns their results, by rank; empty without other processes.
  absl::StatusOr<std::vector<RankResult>> TakeResults(int64_t step);
  // Sets the function that is called once when a rank fails, on any thread. Call it before steps run.
  void OnFailure(std::function<void(const absl::Status &)> listener);
  // Fails all ranks, which then run no more steps. Returns the status. With one rank it only returns the status.
  absl::Status Fail(const absl::Status &status);
  // Ends the threads and processes of the other ranks. Post() must not be called afterwards.
  void Stop();

private:
  ModelRanks();
  absl::Status OpenRank(std::shared_ptr<const Bundle> bundle, const EngineOptions &options, const DeviceWrapper &wrap);
  std::unique_ptr<CudaRanks> MakeGpus(const plan::Plan &plan, const EngineOptions &options) const;
  absl::Status ChooseExchange(const std::string &path, const EngineOptions &options);
  absl::Status TakeMessage(uint32_t rank, const Message &message);

  std::shared_ptr<RankGroup> group_; // null with one rank
  std::unique_ptr<CudaRanks> gpus_;  // null with one rank; not used on the cpu
  bool is_deterministic_ = false;    // EngineOptions::deterministic
  std::unique_ptr<RankProcesses> processes_;
  uint64_t largest_page_bytes_ = 0; // of all processes
  // By rank, of other processes: whether it has loaded the model, and the last step that it has run.
  std::vector<std::atomic<bool>> is_ready_;
  std::vector<std::atomic<int64_t>> steps_done_;
  std::mutex results_mutex_; // guards results_
  std::map<int64_t, std::vector<RankResult>> results_;
  std::vector<std::unique_ptr<LoadedModel>> models_;
  std::unique_ptr<RankThreads> threads_; // null with one rank; the last member, because its threads use the others
};

// Pages in host memory for preempted sequences (--swap-space). All ranks have as many.
int32_t HostPagesOf(const ModelRanks &ranks, const EngineOptions &options);

} // namespace inlay

#endif // INLAY_RUNTIME_API_MODEL_RANKS_H_

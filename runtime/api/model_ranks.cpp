#include "runtime/api/model_ranks.h"

#include "fmt/format.h"
#include "runtime/distributed/cpu_communicator.h"

#include <algorithm>
#include <thread>

namespace inlay {
namespace {

// Ranks on one machine share its cores.
int ThreadsOfRank(int threads, uint32_t ranks) {
  if (threads <= 0)
    threads = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, threads / static_cast<int>(ranks));
}

} // namespace

absl::StatusOr<std::unique_ptr<ModelRanks>> ModelRanks::Open(const std::string &path, const EngineOptions &options,
                                                             const DeviceWrapper &wrap) {
  absl::StatusOr<std::unique_ptr<Bundle>> opened = Bundle::Open(path, options.weights_source);
  if (!opened.ok())
    return opened.status();
  std::shared_ptr<const Bundle> bundle = *std::move(opened);
  const uint32_t ranks = bundle->plan().ranks();
  if (options.tensor_parallel_size != 0 && static_cast<uint32_t>(options.tensor_parallel_size) != ranks)
    return absl::InvalidArgumentError(
        fmt::format("--tensor-parallel-size is {}, but {} was compiled for {}; remove the option, or compile the model "
                    "with --tensor-parallel-size {}",
                    options.tensor_parallel_size, path, ranks, options.tensor_parallel_size));
  std::unique_ptr<ModelRanks> result(new ModelRanks);
  std::vector<std::unique_ptr<Communicator>> communicators(1);
  EngineOptions own = options;
  if (ranks > 1) {
    result->group_ =
        std::make_shared<RankGroup>(ranks, std::chrono::duration_cast<RankGroup::Clock::duration>(
                                               std::chrono::duration<double>(options.distributed_timeout)));
    communicators = MakeCpuCommunicators(result->group_);
    own.threads = ThreadsOfRank(options.threads, ranks);
  }
  for (std::unique_ptr<Communicator> &communicator : communicators) {
    absl::StatusOr<std::unique_ptr<LoadedModel>> model = LoadedModel::Open(bundle, own, wrap, std::move(communicator));
    if (!model.ok())
      return model.status();
    result->models_.push_back(*std::move(model));
    own.target = result->first().target_name(); // all ranks run the target of the first one
  }
  if (ranks > 1)
    result->threads_ = std::make_unique<RankThreads>(result->group_);
  return result;
}

absl::Status ModelRanks::PlanMemory(const EngineOptions &options, const MemoryPlan *draft) {
  MemoryPlan least;
  for (uint32_t rank = 0; rank < size(); ++rank) {
    absl::StatusOr<MemoryPlan> memory = models_[rank]->PlanMemory(options, draft);
    if (!memory.ok())
      return memory.status();
    if (rank == 0 || memory->total_pages < least.total_pages)
      least = *std::move(memory);
  }
  for (std::unique_ptr<LoadedModel> &model : models_)
    model->SetMemory(least);
  return absl::OkStatus();
}

absl::Status ModelRanks::Load() {
  // An error while loading is that of a file or of memory. It is returned as it is, without a log of all ranks.
  std::vector<absl::Status> statuses(size());
  absl::Status status = Run(
      [&](uint32_t rank) {
        statuses[rank] = models_[rank]->Load();
        return absl::OkStatus();
      },
      RankThreads::Limit::kNone);
  for (const absl::Status &of_rank : statuses)
    status.Update(of_rank);
  return status;
}

absl::Status ModelRanks::Run(const RankThreads::Body &body, RankThreads::Limit limit) {
  return threads_ ? threads_->Run(body, limit) : body(0);
}

absl::Status ModelRanks::Fail(const absl::Status &status) {
  if (group_)
    group_->Fail(status);
  return status;
}

void ModelRanks::OnFailure(std::function<void(const absl::Status &)> listener) {
  if (group_)
    group_->SetListener(std::move(listener));
}

} // namespace inlay

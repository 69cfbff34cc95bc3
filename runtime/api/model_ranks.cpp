#include "runtime/api/model_ranks.h"

#include "fmt/format.h"
#include "runtime/api/process_links.h"
#include "runtime/device/cuda_ranks.h"
#include "runtime/distributed/cpu_communicator.h"

#include <algorithm>
#include <numeric>
#include <thread>

namespace inlay {
namespace {

// Ranks on one machine share its cores.
int ThreadsOfRank(int threads, uint32_t ranks) {
  if (threads <= 0)
    threads = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, threads / static_cast<int>(ranks));
}

absl::Status CheckSize(const char *option, int32_t wanted, uint32_t found, const std::string &path) {
  if (wanted == 0 || static_cast<uint32_t>(wanted) == found)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {}, but {} was compiled for {}; remove the option, or compile the model with {} {}", option,
                  wanted, path, found, option, wanted));
}

absl::Status CheckDevices(const std::vector<int32_t> &devices, uint32_t ranks, bool is_draft, const std::string &path) {
  if (devices.empty() || devices.size() == ranks || (is_draft && devices.size() > ranks))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("--device names {} {}, but {} was compiled for {} {} (--tensor-parallel-size times "
                  "--pipeline-parallel-size); name one GPU for each rank, separated by commas",
                  devices.size(), devices.size() == 1 ? "GPU" : "GPUs", path, ranks, ranks == 1 ? "rank" : "ranks"));
}

// NCCL sums in an order that depends on how many rows a step has. The sum of two values has one order.
absl::Status CheckDeterministic(const CudaRanks &gpus, bool is_deterministic) {
  if (!is_deterministic || !gpus.uses_nccl() || gpus.ranks_of_stage() <= 2)
    return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "--deterministic: {} ranks exchange with NCCL, whose sums depend on the other requests of a step; use "
      "--distributed-backend peer, or remove --deterministic",
      gpus.ranks_of_stage()));
}

// How each rank of a plan for several reaches the others.
std::vector<RankLinks> Connect(const plan::Plan &plan, const std::shared_ptr<RankGroup> &group) {
  std::vector<RankLinks> links(plan.ranks());
  const uint32_t stages = StageCount(*plan.model()), of_stage = RanksOfStage(plan);
  for (uint32_t rank = 0; rank < links.size(); ++rank)
    links[rank].rank = rank;
  for (uint32_t stage = 0; stage < stages; ++stage) {
    std::vector<uint32_t> members(of_stage);
    std::iota(members.begin(), members.end(), stage * of_stage);
    std::vector<std::unique_ptr<Communicator>> made = MakeCpuCommunicators(group, members);
    for (uint32_t i = 0; i < of_stage; ++i)
      links[members[i]].stage = std::move(made[i]);
  }
  for (uint32_t place = 0; stages > 1 && place < of_stage; ++place) {
    std::vector<uint32_t> members;
    for (uint32_t stage = 0; stage < stages; ++stage)
      members.push_back(stage * of_stage + place);
    std::vector<std::unique_ptr<Communicator>> made = MakeCpuCommunicators(group, members);
    for (uint32_t stage = 0; stage < stages; ++stage)
      links[members[stage]].pipeline = MakeCpuStageLink(std::move(made[stage]));
  }
  return links;
}

RankGroup::Clock::duration TimeoutOf(const EngineOptions &options) {
  return std::chrono::duration_cast<RankGroup::Clock::duration>(
      std::chrono::duration<double>(options.distributed_timeout));
}

} // namespace

ModelRanks::ModelRanks() = default;

// Opens the device of the rank of this process.
absl::Status ModelRanks::OpenRank(std::shared_ptr<const Bundle> bundle, const EngineOptions &options,
                                  const DeviceWrapper &wrap) {
  EngineOptions own = options;
  own.threads = ThreadsOfRank(options.threads, bundle->plan().ranks());
  auto open = [&](RankLinks links) -> absl::Status {
    absl::StatusOr<std::unique_ptr<LoadedModel>> model = LoadedModel::Open(bundle, own, wrap, std::move(links));
    if (!model.ok())
      return model.status();
    models_.push_back(*std::move(model));
    return absl::OkStatus();
  };
  if (bundle->plan().ranks() == 1 && options.process.ranks == 1)
    return open({});
  absl::StatusOr<std::unique_ptr<RankProcesses>> processes =
      ConnectProcesses(*bundle, options.process, TimeoutOf(options));
  if (!processes.ok())
    return processes.status();
  processes_ = *std::move(processes);
  group_ = GroupOfProcesses(*processes_, TimeoutOf(options));
  gpus_ = MakeGpus(bundle->plan(), options);
  is_ready_ = std::vector<std::atomic<bool>>(ranks());
  steps_done_ = std::vector<std::atomic<int64_t>>(ranks());
  RankLinks links = LinksOfProcess(bundle->plan(), *processes_, group_);
  links.gpus = gpus_.get();
  absl::Status status = open(std::move(links));
  if (!status.ok() && processes_->rank() > 0)
    status = absl::Status(status.code(), fmt::format("rank {}: {}", processes_->rank(), std::string(status.message())));
  if (status = processes_->Agree(status); !status.ok())
    return status;
  if (status = CheckEqual(*processes_, {{"the target (--target)", first().target_name()},
                                        {"--distributed-backend", options.distributed_backend},
                                        {"--distributed-timeout", fmt::format("{} s", options.distributed_timeout)},
                                        {"--nccl", fmt::format("'{}'", options.nccl)},
                                        {"--deterministic", options.deterministic ? "set" : "not set"},
                                        {"the list of GPUs (--device, CUDA_VISIBLE_DEVICES)",
                                         first().is_cpu() ? "" : gpus_->Addresses()}});
      !status.ok())
    return status;
  if (status = ChooseExchange(bundle->path(), options); !status.ok())
    return status;
  threads_ = std::make_unique<RankThreads>(group_, processes_->rank(), 1);
  return absl::OkStatus();
}

std::unique_ptr<CudaRanks> ModelRanks::MakeGpus(const plan::Plan &plan, const EngineOptions &options) const {
  return std::make_unique<CudaRanks>(
      group_, StageCount(*plan.model()),
      ParseDistributedBackend(options.distributed_backend).value_or(DistributedBackend::kAuto), options.nccl,
      processes_.get());
}

// Decides how ranks on GPUs exchange values.
absl::Status ModelRanks::ChooseExchange(const std::string &path, const EngineOptions &options) {
  if (first().is_cpu()) {
    if (options.distributed_backend != "auto")
      return absl::InvalidArgumentError(
          fmt::format("--distributed-backend {} is for GPUs, but {} runs on the target cpu, whose ranks exchange in "
                      "host memory; remove the option",
                      options.distributed_backend, path));
    return absl::OkStatus();
  }
  if (absl::Status status = gpus_->Choose(first().target()); !status.ok())
    return status;
  is_deterministic_ = options.deterministic;
  return CheckDeterministic(*gpus_, options.deterministic);
}

absl::StatusOr<std::unique_ptr<ModelRanks>> ModelRanks::Open(const std::string &path, const EngineOptions &options,
                                                             const DeviceWrapper &wrap, bool is_draft) {
  absl::StatusOr<std::unique_ptr<Bundle>> opened = Bundle::Open(path, options.weights_source);
  if (!opened.ok())
    return opened.status();
  std::shared_ptr<const Bundle> bundle = *std::move(opened);
  const plan::Plan &plan = bundle->plan();
  if (absl::Status status = CheckSize("--tensor-parallel-size", options.tensor_parallel_size, RanksOfStage(plan), path);
      !status.ok())
    return status;
  if (absl::Status status =
          CheckSize("--pipeline-parallel-size", options.pipeline_parallel_size, StageCount(*plan.model()), path);
      !status.ok())
    return status;
  if (absl::Status status = CheckDevices(options.devices, plan.ranks(), is_draft, path); !status.ok())
    return status;
  if (StageCount(*plan.model()) > 1 && options.async_scheduling.value_or(false))
    return absl::InvalidArgumentError(
        fmt::format("--async-scheduling is for bundles with one stage, but {} was compiled with "
                    "--pipeline-parallel-size {}, and has as many steps in flight; remove the option",
                    path, StageCount(*plan.model())));
  std::unique_ptr<ModelRanks> result(new ModelRanks);
  if (options.process.ranks > 0) {
    if (absl::Status status = result->OpenRank(bundle, options, wrap); !status.ok())
      return status;
    return result;
  }
  std::vector<RankLinks> links(1);
  EngineOptions own = options;
  if (plan.ranks() > 1) {
    result->group_ = std::make_shared<RankGroup>(plan.ranks(), TimeoutOf(options));
    links = Connect(plan, result->group_);
    own.threads = ThreadsOfRank(options.threads, plan.ranks());
    result->gpus_ = result->MakeGpus(plan, options);
    for (RankLinks &of_rank : links)
      of_rank.gpus = result->gpus_.get();
  }
  for (RankLinks &of_rank : links) {
    absl::StatusOr<std::unique_ptr<LoadedModel>> model = LoadedModel::Open(bundle, own, wrap, std::move(of_rank));
    if (!model.ok())
      return model.status();
    result->models_.push_back(*std::move(model));
    own.target = result->first().target_name(); // all ranks run the target of the first one
  }
  if (plan.ranks() == 1)
    return result;
  if (absl::Status status = result->ChooseExchange(path, options); !status.ok())
    return status;
  result->threads_ = std::make_unique<RankThreads>(result->group_);
  return result;
}

// The thread of the processes uses the other members.
ModelRanks::~ModelRanks() {
  threads_.reset();
  processes_.reset();
}

absl::Status ModelRanks::PlanMemory(const EngineOptions &options, const MemoryPlan *draft) {
  std::vector<MemoryPlan> plans;
  for (const std::unique_ptr<LoadedModel> &model : models_) {
    absl::StatusOr<MemoryPlan> memory = model->PlanMemory(options, draft);
    if (!memory.ok())
      return memory.status();
    plans.push_back(*std::move(memory));
  }
  if (processes_) {
    absl::StatusOr<uint64_t> largest_page = ShareMemoryPlan(*processes_, options, plans[0]);
    if (!largest_page.ok())
      return largest_page.status();
    largest_page_bytes_ = *largest_page;
    first().SetMemory(std::move(plans[0]));
    return absl::OkStatus();
  }
  const MemoryPlan least = *std::ranges::min_element(plans, {}, &MemoryPlan::total_pages);
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    MemoryPlan &own = plans[rank];
    own.total_pages = least.total_pages;
    own.kv_cache_bytes = static_cast<uint64_t>(own.total_pages) * own.bytes_per_page;
    own.kv_cache_tokens = least.kv_cache_tokens;
    own.full_length_sequences = least.full_length_sequences;
    own.draft_bytes = least.draft_bytes;
    own.explanation = least.explanation;
    models_[rank]->SetMemory(std::move(own));
  }
  return absl::OkStatus();
}

uint64_t ModelRanks::LargestPageBytes() const {
  uint64_t bytes = largest_page_bytes_;
  for (const std::unique_ptr<LoadedModel> &model : models_)
    bytes = std::max(bytes, model->memory().bytes_per_page);
  return bytes;
}

std::string ModelRanks::Describe() const {
  if (ranks() == 1)
    return "";
  if (processes_)
    return first().is_cpu() ? fmt::format("{} processes of ranks in shared memory", ranks())
                            : fmt::format("{} processes on {}", ranks(), gpus_->Describe());
  return first().is_cpu() ? fmt::format("{} threads of ranks in host memory", size()) : gpus_->Describe();
}

absl::Status ModelRanks::Load() {
  if (gpus_ && !first().is_cpu()) {
    if (absl::Status status = gpus_->Connect(); !status.ok())
      return status;
    // Ranks whose memory was found wrong use NCCL now.
    if (absl::Status status = CheckDeterministic(*gpus_, is_deterministic_); !status.ok())
      return status;
  }
  if (processes_)
    processes_->Start(group_, [this](uint32_t rank, const Message &message) { return TakeMessage(rank, message); });
  // An error while loading is that of a file or of memory. It is returned as it is, without a log of all ranks.
  std::vector<absl::Status> statuses(size());
  absl::StatusOr<int64_t> job = Post(
      [&](uint32_t index) {
        statuses[index] = models_[index]->Load();
        return absl::OkStatus();
      },
      RankThreads::Limit::kNone);
  absl::Status status = job.ok() ? Wait(*job) : job.status();
  for (const absl::Status &of_rank : statuses)
    status.Update(of_rank);
  if (!processes_)
    return status;
  if (!status.ok())
    return Fail(
        absl::Status(status.code(), fmt::format("rank {}: {}", processes_->rank(), std::string(status.message()))));
  if (processes_->rank() > 0)
    return processes_->Send(static_cast<uint32_t>(RankMessage::kReady), {});
  // Others may take longer to read their weights.
  group_->WaitForever([&] {
    return group_->has_failed() ||
           std::all_of(is_ready_.begin() + 1, is_ready_.end(), [](auto &ready) { return ready.load(); });
  });
  return group_->has_failed() ? group_->failure() : absl::OkStatus();
}

absl::StatusOr<int64_t> ModelRanks::Post(RankThreads::Body body, RankThreads::Limit limit) {
  if (processes_) {
    // The number of a rank is not its index in this process.
    return threads_->Post([body = std::move(body)](uint32_t) { return body(0); }, limit);
  }
  if (threads_)
    return threads_->Post(std::move(body), limit);
  if (absl::Status status = body(0); !status.ok())
    return status;
  return 0;
}

absl::Status ModelRanks::SendStep(const StepCommand &step) {
  if (!processes_)
    return absl::OkStatus();
  if (group_->has_failed())
    return group_->failure();
  return processes_->SendToAll(static_cast<uint32_t>(RankMessage::kStep), EncodeStep(step));
}

// On the thread that reads what the other processes send.
absl::Status ModelRanks::TakeMessage(uint32_t rank, const Message &message) {
  switch (static_cast<RankMessage>(message.kind)) {
  case RankMessage::kReady:
    is_ready_[rank] = true;
    break;
  case RankMessage::kDone: {
    absl::StatusOr<RankResult> result = DecodeResult(message.payload);
    if (!result.ok())
      return result.status();
    const int64_t step = result->step;
    if (step != steps_done_[rank] + 1)
      return absl::InternalError(
          fmt::format("it has sent a result of step {}, expected step {}", step, steps_done_[rank] + 1));
    {
      std::lock_guard lock(results_mutex_);
      std::vector<RankResult> &results = results_[step];
      results.resize(ranks());
      results[rank] = *std::move(result);
    }
    steps_done_[rank] = step;
    break;
  }
  default:
    return absl::InternalError(fmt::format("it has sent a message of kind {}", message.kind));
  }
  group_->Notify();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RankResult>> ModelRanks::TakeResults(int64_t step) {
  if (!processes_)
    return std::vector<RankResult>();
  auto is_done = [&](const std::atomic<int64_t> &done) { return done.load() >= step; };
  absl::Status status = group_->Wait(
      [&] { return std::all_of(steps_done_.begin() + 1, steps_done_.end(), is_done); },
      [&] {
        std::string missing;
        for (uint32_t rank = 1; rank < ranks(); ++rank)
          if (!is_done(steps_done_[rank]))
            missing += (missing.empty() ? "" : " and ") + group_->Describe(rank);
        return fmt::format(
            "rank 0 has waited {:.3g} s (--distributed-timeout) for the end of {}; the engine cannot continue",
            std::chrono::duration<double>(group_->timeout()).count(), missing);
      });
  if (!status.ok())
    return status;
  std::lock_guard lock(results_mutex_);
  std::vector<RankResult> results = std::move(results_[step]);
  results_.erase(step);
  return results;
}

void ModelRanks::Stop() {
  if (processes_ && processes_->rank() == 0)
    processes_->End(static_cast<uint32_t>(RankMessage::kEnd));
  threads_.reset();
}

int32_t HostPagesOf(const ModelRanks &ranks, const EngineOptions &options) {
  if (options.preemption_mode != "swap")
    return 0;
  uint64_t most = uint64_t{1} << 30;
  return static_cast<int32_t>(std::min(options.swap_space_bytes / ranks.LargestPageBytes(), most));
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

#include "runtime/device/cuda_ranks.h"

#include "fmt/format.h"
#include "runtime/bundle/collective.h"
#include "runtime/bundle/elements.h"
#include "runtime/device/peer_table.h"

#include <algorithm>
#include <thread>

namespace inlay {

using namespace cuda_driver;

namespace {

using Clock = std::chrono::steady_clock;

// How much longer than the timeout, after which kernels give up, the end of an engine waits for GPUs after a failure.
constexpr std::chrono::seconds kLastWait{2};

// Calls `use` with each collective operation of the target: the kernel and the most rows that a launch has.
template <class Use> void ForEachCollective(const plan::Target &target, const Use &use) {
  for (const plan::Kernel *kernel : *target.kernels()) {
    const plan::Collective *collective = kernel->body_as_Collective();
    if (!collective)
      continue;
    uint64_t rows = 0;
    for (const plan::Entry *entry : *target.entries())
      rows = std::max<uint64_t>(rows, collective->rows() == plan::Extent_Tokens ? entry->max_tokens()
                                                                                : entry->max_sequences());
    use(*kernel, *collective, rows);
  }
}

} // namespace

CudaRanks::CudaRanks(std::shared_ptr<RankGroup> group, uint32_t stages, DistributedBackend backend, std::string nccl,
                     RankProcesses *processes)
    : group_(std::move(group)), of_stage_(group_->size() / stages), backend_(backend), nccl_path_(std::move(nccl)),
      processes_(processes), gpus_(group_->size()), is_open_(gpus_.size()), exchange_(gpus_.size()),
      tables_(gpus_.size()), gathered_(gpus_.size()) {}

CudaRanks::~CudaRanks() = default;

void CudaRanks::Open(uint32_t rank, const Api &api, std::span<const FoundGpu> found, Context context, Stream stream) {
  api_ = &api;
  for (uint32_t other = 0; other < size(); ++other) {
    gpus_[other].device = found[other].device;
    gpus_[other].ordinal = found[other].ordinal;
  }
  gpus_[rank].context = context;
  gpus_[rank].stream = stream;
  is_open_[rank] = true;
  // The context must be there until all ranks are closed.
  Context same = nullptr;
  api.PrimaryContextRetain(&same, gpus_[rank].device);
}

uint32_t CudaRanks::RanksOnGpuOf(uint32_t rank) const {
  return static_cast<uint32_t>(std::ranges::count(gpus_, gpus_[rank].device, &RankGpu::device));
}

uint32_t CudaRanks::RanksThatMeet(uint32_t rank) const {
  return static_cast<uint32_t>(std::ranges::count_if(GpusOfStage(first_of_stage(rank)), [&](const RankGpu &other) {
    return other.is_here() && other.device == gpus_[rank].device;
  }));
}

bool CudaRanks::SharesContext(uint32_t rank) const {
  return std::ranges::any_of(gpus_, [&](const RankGpu &other) {
    return &other != &gpus_[rank] && other.is_here() && other.device == gpus_[rank].device;
  });
}

std::string CudaRanks::DescribeSharing() const {
  std::vector<std::string> all;
  for (uint32_t first = 0; first < size(); ++first) {
    std::vector<uint32_t> ranks;
    for (uint32_t rank = 0; rank < size(); ++rank)
      if (gpus_[rank].device == gpus_[first].device)
        ranks.push_back(rank);
    if (ranks.front() == first && ranks.size() > 1)
      all.push_back(fmt::format("ranks {} and {} share GPU {}", fmt::join(ranks.begin(), ranks.end() - 1, ", "),
                                ranks.back(), gpus_[first].ordinal));
  }
  return fmt::format("{}", fmt::join(all, ", "));
}

std::string CudaRanks::Addresses() const {
  std::string all;
  for (const RankGpu &gpu : gpus_) {
    char address[32] = {};
    api_->DeviceGetPciBusId(address, sizeof address, gpu.device);
    all += fmt::format("{}{}", all.empty() ? "" : ", ", address);
  }
  return all;
}

absl::Status CudaRanks::Check(Result result, uint32_t rank, std::string_view doing) const {
  return CheckOfRank(*api_, gpus_[rank], rank, result, doing);
}

std::string CudaRanks::WhyNoPeerAccessInStages() const {
  if (of_stage_ > kMaxExchangeRanks)
    return fmt::format("the kernels exchange between at most {} ranks", kMaxExchangeRanks);
  for (uint32_t first = 0; first < size(); first += of_stage_)
    if (std::string why = WhyNoPeerAccess(*api_, GpusOfStage(first)); !why.empty())
      return why;
  return "";
}

absl::Status CudaRanks::Choose(const plan::Target &target) {
  target_ = &target;
  const std::string sharing = DescribeSharing();
  if (!sharing.empty() && IsFirst())
    fmt::print(stderr, "inlay: {}: this is for checking, not for speed\n", sharing);
  const std::string no_access = WhyNoPeerAccessInStages();
  std::string with_code, without_code;
  ForEachCollective(target, [&](const plan::Kernel &kernel, const plan::Collective &collective, uint64_t) {
    (collective.code() ? with_code : without_code) = kernel.name()->str();
    round_bytes_ = std::max(round_bytes_, (collective.exchange_bytes() + 255) / 256 * 256);
  });
  if (!without_code.empty())
    without_code = fmt::format("kernel '{}' has no code for peer memory", without_code);
  if (backend_ == DistributedBackend::kPeer)
    for (const std::string &why : {no_access, without_code})
      if (!why.empty())
        return absl::FailedPreconditionError(
            fmt::format("--distributed-backend peer: {}; use --distributed-backend auto or nccl", why));
  uses_peers_ = backend_ != DistributedBackend::kNccl && no_access.empty() && !with_code.empty();
  if (with_code.empty() && without_code.empty())
    why_nccl_ = ""; // there is nothing to exchange in a stage
  else
    why_nccl_ = backend_ == DistributedBackend::kNccl ? kNcclIsWanted
                : !with_code.empty() && !uses_peers_  ? no_access
                                                      : without_code;
  if (!sharing.empty() && (uses_nccl() || backend_ == DistributedBackend::kNccl))
    return absl::FailedPreconditionError(
        fmt::format("the ranks need NCCL because {}, but {}, which NCCL refuses; name a GPU for each rank (--device){}",
                    uses_nccl() ? why_nccl_ : kNcclIsWanted, sharing,
                    backend_ == DistributedBackend::kNccl ? ", or use --distributed-backend peer" : ""));
  if (backend_ == DistributedBackend::kAuto && !with_code.empty() && !uses_peers_ && IsFirst())
    fmt::print(stderr, "inlay: {}, so the ranks exchange with NCCL, which takes longer for small steps\n", no_access);
  if (!HasStages())
    return absl::OkStatus();
  stages_ = std::make_unique<CudaStages>(*group_, *api_, gpus_, of_stage_, processes_);
  return stages_->Choose(target, backend_);
}

uint64_t CudaRanks::gathered_bytes() const {
  uint64_t most = 0;
  if (!why_nccl_.empty())
    ForEachCollective(*target_, [&](const plan::Kernel &, const plan::Collective &collective, uint64_t rows) {
      if (!IsKernel(collective) && collective.op() == plan::CollectiveOp_AllGather)
        most = std::max(most, rows * collective.columns() * ElementSize(collective.type()) * of_stage_);
    });
  return most;
}

uint64_t CudaRanks::exchange_bytes() const {
  return uses_peers_ ? std::max(kExchangeRounds * round_bytes_, 2 * kPeerCheckBytes) : 0;
}

uint64_t CudaRanks::bytes(uint32_t rank) const {
  if (!target_)
    return 0;
  return exchange_bytes() + gathered_bytes() + (uses_peers_ ? sizeof(PeerTable) : 0) +
         (stages_ ? stages_->bytes(rank) : 0);
}

std::string CudaRanks::Describe() const {
  std::string ordinals;
  for (const RankGpu &gpu : gpus_)
    ordinals += fmt::format("{}{}", ordinals.empty() ? "" : ", ", gpu.ordinal);
  auto between_stages = [&](RowsTransport transport) { return stages_ && stages_->Uses(transport); };
  std::vector<std::string> ways;
  if (uses_peers_ || between_stages(RowsTransport::kPeerMemory))
    ways.emplace_back("peer memory");
  if (between_stages(RowsTransport::kHostMemory))
    ways.emplace_back("host memory");
  auto here = std::ranges::find_if(nccl_, [](const auto &nccl) { return nccl != nullptr; });
  if (const Nccl *nccl = messages_ ? messages_.get() : here == nccl_.end() ? nullptr : here->get())
    ways.push_back("NCCL " + nccl->Version());
  return fmt::format("GPUs {} through {}", ordinals, fmt::join(ways, " and "));
}

absl::Status CudaRanks::Run(uint32_t rank, const plan::Collective &collective, std::span<void *const> arguments,
                            int32_t rows, Stream stream) {
  const uint64_t element = ElementSize(collective.type()), columns = collective.columns();
  const auto count = static_cast<uint64_t>(std::max(rows, 0));
  if (count == 0)
    return absl::OkStatus();
  if (!stream)
    stream = gpus_[rank].stream;
  Nccl &nccl = *nccl_[rank / of_stage_];
  const uint32_t in_stage = rank % of_stage_;
  if (collective.op() == plan::CollectiveOp_AllReduce) {
    void *to = arguments[collective.epilogue() ? 0 : 1]; // an epilogue reads the sum where its rows were
    return nccl.AllReduce(in_stage, arguments[0], to, count * columns, collective.type(), stream);
  }
  const uint64_t row_bytes = columns * element, result_bytes = ResultColumns(collective, of_stage_) * element;
  if (absl::Status status =
          nccl.AllGather(in_stage, arguments[0], reinterpret_cast<void *>(gathered_[rank]), count * row_bytes, stream);
      !status.ok())
    return status;
  // NCCL puts the rows of one rank after those of the other.
  for (uint32_t other = 0; other < of_stage_ && other * row_bytes < result_bytes; ++other) {
    RowsCopy copy{};
    copy.from_type = copy.to_type = kDeviceMemory;
    copy.from_device = gathered_[rank] + other * count * row_bytes;
    copy.from_pitch = row_bytes;
    copy.to_device = reinterpret_cast<Pointer>(arguments[1]) + other * row_bytes;
    copy.to_pitch = result_bytes;
    copy.bytes = std::min(row_bytes, result_bytes - other * row_bytes);
    copy.rows = count;
    if (absl::Status status = Check(api_->MemcpyRowsAsync(&copy, stream), rank, "putting gathered rows together");
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::Status CudaRanks::Wait(uint32_t rank, Event event, int64_t step) {
  return Poll(rank, step, [&] { return api_->EventQuery(event); });
}

absl::Status CudaRanks::WaitForStream(uint32_t rank, Stream stream) {
  return Poll(rank, group_->step(rank), [&] { return api_->StreamQuery(stream); });
}

// Says what a rank has waited for that has not finished a step in time.
std::string CudaRanks::WhyLate(uint32_t rank, int64_t step) const {
  if (!stages_)
    return fmt::format("GPU {} has not finished the step", gpus_[rank].ordinal);
  std::string why = stages_->WhyLate(rank, step);
  return why.empty()
             ? fmt::format("GPU {} of stage {} has not finished step {}", gpus_[rank].ordinal, rank / of_stage_, step)
             : why;
}

template <class Query> absl::Status CudaRanks::Poll(uint32_t rank, int64_t step, const Query &query) {
  // Kernels that wait for a peer give up after the timeout. Then they say for which one, so this waits a little longer.
  const Clock::time_point end = Clock::now() + group_->timeout() + group_->timeout() / 10;
  constexpr int kPollsOfNccl = 1024, kSpins = 20000;
  for (int polls = 1;; ++polls) {
    if (Result result = query(); result != kNotReady)
      return Check(result, rank, "running kernels");
    absl::Status status;
    if (group_->has_failed())
      status = group_->failure();
    else if (has_expired_ || Clock::now() > end)
      status = absl::DeadlineExceededError(fmt::format("{} after {:.3g} s (--distributed-timeout)", WhyLate(rank, step),
                                                       std::chrono::duration<double>(group_->timeout()).count()));
    else if (!nccl_.empty() && polls % kPollsOfNccl == 0)
      status = nccl_[rank / of_stage_]->AsyncError(rank % of_stage_);
    if (status.ok() && messages_ && polls % kPollsOfNccl == 0)
      status = messages_->AsyncError(rank);
    if (!status.ok()) {
      has_expired_ = true;
      AbortNccl();
      return status;
    }
    if (polls > kSpins)
      std::this_thread::yield();
  }
}

void CudaRanks::AbortNccl() {
  for (const std::unique_ptr<Nccl> &nccl : nccl_)
    if (nccl)
      nccl->Abort();
  if (messages_)
    messages_->Abort();
}

bool CudaRanks::IsStuck() {
  if (!group_->has_failed() && !has_expired_)
    return false;
  std::lock_guard lock(ending_);
  if (is_stuck_)
    return *is_stuck_;
  AbortNccl();
  const Clock::time_point end = Clock::now() + group_->timeout() + kLastWait;
  auto runs = [&](const RankGpu &gpu) {
    return gpu.stream && (api_->ContextSetCurrent(gpu.context), api_->StreamQuery(gpu.stream) == kNotReady);
  };
  while (std::ranges::any_of(gpus_, runs) && Clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  is_stuck_ = std::ranges::any_of(gpus_, runs);
  if (*is_stuck_)
    fmt::print(stderr, "inlay: a GPU still runs kernels of the failed step; its memory is not freed\n");
  return *is_stuck_;
}

void CudaRanks::Close(uint32_t rank) {
  // Kernels of other ranks write to the memory of this one until they have ended.
  if (!IsStuck())
    for (const RankGpu &gpu : gpus_)
      if (gpu.stream) {
        api_->ContextSetCurrent(gpu.context);
        api_->StreamSynchronize(gpu.stream);
      }
  gpus_[rank].stream = nullptr;
  is_open_[rank] = false;
  if (std::ranges::none_of(is_open_, [](bool is_open) { return is_open; }))
    CloseAll();
}

void CudaRanks::CloseAll() {
  for (const std::unique_ptr<Nccl> &nccl : nccl_)
    if (nccl)
      nccl->Close(*api_);
  if (messages_)
    messages_->Close(*api_);
  const bool has_freed_events = !stages_ || stages_->Close(IsStuck());
  if (shared_ && !IsStuck())
    shared_->Close();
  for (uint32_t rank = 0; rank < size(); ++rank) {
    ClosePeers(rank);
    if (!gpus_[rank].is_here())
      continue;
    if (gathered_[rank] && !IsStuck())
      api_->MemFree(gathered_[rank]);
    gathered_[rank] = 0;
    // After a failure NCCL may still be ending in the background.
    if (has_freed_events && ((nccl_.empty() && !messages_) || !group_->has_failed()))
      api_->PrimaryContextRelease(gpus_[rank].device);
    gpus_[rank].context = nullptr;
  }
}

} // namespace inlay

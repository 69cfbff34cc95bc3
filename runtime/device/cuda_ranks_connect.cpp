// How CudaRanks gets and checks its connections: peer memory and NCCL.
#include "fmt/format.h"
#include "runtime/device/cuda_ranks.h"
#include "runtime/device/peer_table.h"

#include <algorithm>
#include <cstdlib>

namespace inlay {

using namespace cuda_driver;

absl::Status CudaRanks::Connect() {
  if (uses_peers_)
    if (absl::Status status = ConnectPeers(); !status.ok()) {
      for (uint32_t rank = 0; rank < size(); ++rank)
        ClosePeers(rank);
      uses_peers_ = false;
      // NCCL refuses ranks that share a GPU.
      if (!absl::IsDataLoss(status) || backend_ == DistributedBackend::kPeer || !DescribeSharing().empty())
        return status;
      if (IsFirst())
        fmt::print(stderr, "inlay: {}. The ranks exchange with NCCL instead\n", std::string(status.message()));
      why_nccl_ = std::string(status.message());
      setenv("NCCL_P2P_DISABLE", "1", /*replace=*/0); // NCCL would find the same GPUs able, and compute wrong sums
    }
  if (!why_nccl_.empty())
    if (absl::Status status = ConnectCollectives(); !status.ok())
      return status;
  bool is_shared = false;
  for (uint32_t rank = 0; rank < size(); ++rank)
    is_shared |= SharesContext(rank);
  if (is_shared) {
    shared_ = std::make_unique<CudaSharedLaunches>(*group_, *api_, gpus_, of_stage_);
    if (absl::Status status = shared_->Open(); !status.ok())
      return status;
  }
  return stages_ ? ConnectStages() : absl::OkStatus();
}

absl::Status CudaRanks::ConnectPeers() {
  OwnedFile own;
  if (absl::Status status = Agree(AllocatePeers(processes_ ? &own : nullptr)); !status.ok())
    return status;
  if (processes_) {
    absl::StatusOr<std::vector<OwnedFile>> files = processes_->ExchangeFiles(own);
    if (absl::Status status = Agree(files.ok() ? ImportPeers(*files) : files.status()); !status.ok())
      return status;
  }
  if (absl::Status status = CheckPairs(); !status.ok())
    return status;
  // No kernel runs before all memory is poisoned.
  return Agree(FillPeers());
}

// Allocates the exchange memory of the ranks of this process. `file`: of one rank, for other processes.
absl::Status CudaRanks::AllocatePeers(OwnedFile *file) {
  for (uint32_t rank = 0; rank < size(); ++rank) {
    if (!gpus_[rank].is_here())
      continue;
    api_->ContextSetCurrent(gpus_[rank].context);
    exchange_[rank] = std::make_unique<CudaPeerMemory>(*api_);
    Result result = exchange_[rank]->Allocate(gpus_[rank], GpusOfStage(first_of_stage(rank)), exchange_bytes(), file);
    if (result == kOutOfMemory)
      return absl::ResourceExhaustedError(
          fmt::format("memory for exchange between ranks needs {} MiB, which are not free on GPU {} of rank {}",
                      exchange_bytes() >> 20, gpus_[rank].ordinal, rank));
    if (absl::Status status = Check(result, rank, "allocating memory that other GPUs access"); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

// Maps the exchange memory of the ranks of the stage that are in other processes.
absl::Status CudaRanks::ImportPeers(std::span<const OwnedFile> files) {
  const uint32_t own = processes_->rank(), first = first_of_stage(own);
  api_->ContextSetCurrent(gpus_[own].context);
  for (uint32_t rank = first; rank < first + of_stage_; ++rank) {
    if (rank == own)
      continue;
    exchange_[rank] = std::make_unique<CudaPeerMemory>(*api_);
    if (absl::Status status =
            Check(exchange_[rank]->Import(gpus_[rank], GpusOfStage(first), exchange_bytes(), files[rank]), own,
                  fmt::format("mapping memory of GPU {}, which the process of rank {} has allocated",
                              gpus_[rank].ordinal, rank));
        !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::Status CudaRanks::CheckPairs() const {
  auto address = [&](uint32_t rank) { return exchange_[rank] ? exchange_[rank]->address() : 0; };
  for (uint32_t from = 0; from < size(); ++from)
    for (uint32_t to = 0; to < size(); ++to)
      if (from != to && first_of_stage(from) == first_of_stage(to))
        if (absl::Status status =
                CheckPeerAccess(*api_, gpus_[from], gpus_[to], address(from), address(to), processes_);
            !status.ok())
          return status;
  return absl::OkStatus();
}

// Poisons the exchange memory and writes the tables.
absl::Status CudaRanks::FillPeers() {
  PeerTable table{};
  table.round_bytes = round_bytes_;
  table.timeout_ns =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(group_->timeout()).count());
  for (uint32_t rank = 0; rank < size(); ++rank) {
    const RankGpu &gpu = gpus_[rank];
    if (!gpu.is_here())
      continue;
    api_->ContextSetCurrent(gpu.context);
    // A table counts the ranks of its stage.
    for (uint32_t i = 0; i < of_stage_; ++i)
      table.exchange[i] = exchange_[first_of_stage(rank) + i]->address();
    table.rank = rank - first_of_stage(rank);
    for (Result result : {api_->MemsetWordsAsync(exchange_[rank]->address(), kPeerPoison,
                                                 exchange_bytes() / sizeof kPeerPoison, gpu.stream),
                          api_->MemAlloc(&tables_[rank], sizeof table),
                          api_->MemcpyToDeviceAsync(tables_[rank], &table, sizeof table, gpu.stream),
                          api_->StreamSynchronize(gpu.stream)})
      if (absl::Status status = Check(result, rank, "filling the memory for exchange between ranks"); !status.ok())
        return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Nccl>> CudaRanks::OpenNccl(const std::string &why) const {
  absl::StatusOr<std::unique_ptr<Nccl>> opened = Nccl::Open(nccl_path_);
  if (opened.ok())
    return opened;
  return absl::Status(
      opened.status().code(),
      fmt::format("the ranks need NCCL because {}, but {}", why, std::string(opened.status().message())) +
          (backend_ == DistributedBackend::kNccl ? ", or use --distributed-backend peer" : ""));
}

// Connects `count` ranks from `first` on. Returns null if none of them is in this process.
absl::StatusOr<std::unique_ptr<Nccl>> CudaRanks::ConnectNccl(uint32_t first, uint32_t count,
                                                             const std::string &why) const {
  absl::StatusOr<std::unique_ptr<Nccl>> opened = OpenNccl(why);
  absl::StatusOr<std::string> id = "";
  if (!opened.ok())
    id = opened.status();
  else if (!processes_ || processes_->rank() == first) // NCCL listens for the ranks where the id is made
    id = (*opened)->MakeId();
  if (absl::Status status = Agree(id.status()); !status.ok())
    return status;
  if (processes_) { // that of the first rank
    absl::StatusOr<std::vector<std::string>> ids = processes_->ExchangeTexts(*id);
    if (!ids.ok())
      return ids.status();
    id = (*ids)[first];
    if (id->size() != Nccl::kIdBytes)
      return absl::InternalError(fmt::format("rank {} has sent an id of NCCL that is not valid", first));
  }
  const std::span<const RankGpu> gpus = std::span(gpus_).subspan(first, count);
  absl::Status status;
  if (std::ranges::none_of(gpus, &RankGpu::is_here))
    opened->reset();
  else
    status = (*opened)->Connect(*api_, gpus, *id,
                                std::max<RankGroup::Clock::duration>(group_->timeout(), std::chrono::minutes(1)),
                                group_->timeout());
  status = Agree(status);
  if (status.ok())
    return opened;
  if (*opened)
    (*opened)->Abort();
  return status;
}

// Connects the ranks of each stage.
absl::Status CudaRanks::ConnectCollectives() {
  absl::Status status;
  for (uint32_t rank = 0; rank < size() && gathered_bytes() > 0; ++rank) {
    if (!gpus_[rank].is_here())
      continue;
    api_->ContextSetCurrent(gpus_[rank].context);
    status.Update(
        Check(api_->MemAlloc(&gathered_[rank], gathered_bytes()), rank, "allocating memory for what ranks gather"));
  }
  if (status = Agree(status); !status.ok())
    return status;
  for (uint32_t first = 0; first < size(); first += of_stage_) {
    absl::StatusOr<std::unique_ptr<Nccl>> connected = ConnectNccl(first, of_stage_, why_nccl_);
    if (!connected.ok())
      return connected.status();
    nccl_.push_back(*std::move(connected));
    if (status = Agree(nccl_.back() ? nccl_.back()->CheckCollectives(*api_) : absl::OkStatus()); !status.ok())
      return status;
  }
  return absl::OkStatus();
}

absl::Status CudaRanks::ConnectStages() {
  if (stages_->Uses(RowsTransport::kNccl)) {
    absl::StatusOr<std::unique_ptr<Nccl>> connected = ConnectNccl(0, size(), kNcclIsWanted);
    if (!connected.ok())
      return connected.status();
    messages_ = *std::move(connected);
    if (absl::Status status = Agree(messages_->CheckMessages(*api_, of_stage_)); !status.ok())
      return status;
  }
  return stages_->Connect(messages_.get());
}

void CudaRanks::ClosePeers(uint32_t rank) {
  if (IsStuck()) {
    if (exchange_[rank])
      exchange_[rank]->Leak();
    return;
  }
  if (gpus_[rank].is_here())
    api_->ContextSetCurrent(gpus_[rank].context);
  exchange_[rank].reset();
  if (tables_[rank])
    api_->MemFree(tables_[rank]);
  tables_[rank] = 0;
}

} // namespace inlay

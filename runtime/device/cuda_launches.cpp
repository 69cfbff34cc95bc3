#include "runtime/device/cuda_launches.h"

#include "fmt/format.h"
#include "runtime/bundle/collective.h"

#include <algorithm>

namespace inlay {

using namespace cuda_driver;

namespace {

bool IsEmpty(const std::array<uint32_t, 3> &grid) { return grid[0] == 0 || grid[1] == 0 || grid[2] == 0; }

} // namespace

absl::StatusOr<LaunchList> CudaLaunches::Prepare(std::span<const BoundLaunch> launches) {
  List list;
  std::vector<plan::Halves> halves;
  // Where ranks share a GPU, kernels that wait for each other start together, on one stream. All ranks have the same
  // rounds, so steps are whole on the others, too.
  const bool may_halve = !SharesGpus(rank_.devices);
  for (const BoundLaunch &bound : launches) {
    absl::StatusOr<Prepared> prepared = PrepareRows(bound, /*first_row=*/0);
    if (!prepared.ok())
      return prepared.status();
    list.launches.push_back(*std::move(prepared));
    halves.push_back(may_halve && bound.halves.least_rows > 0 ? bound.launch->halves() : plan::Halves_Whole);
    if (halves.back() != plan::Halves_Whole)
      list.halves = bound.halves;
  }
  list.whole = WholeParts(halves.size());
  list.in_halves = PartsInHalves(halves);
  if (list.halves.least_rows > 0)
    if (absl::Status status = Check(side_.Open(stream_), "making a stream"); !status.ok())
      return status;
  lists_.push_back(std::move(list));
  return static_cast<LaunchList>(lists_.size() - 1);
}

absl::Status CudaLaunches::Run(LaunchList index, const StepSizes &sizes, bool reuse) {
  api_.ContextSetCurrent(context_);
  List &list = lists_[static_cast<size_t>(index)];
  if (table())
    CountRounds(list, sizes);
  if (debug_.sync_launches || debug_.graph_launches)
    return RunOneByOne(list, sizes);
  if (!reuse || SharesContext()) // a graph cannot wait for launches of another rank
    return Enqueue(list, sizes);
  auto it = list.graphs.find(sizes);
  if (it == list.graphs.end()) {
    absl::StatusOr<GraphExec> graph = Capture([&] { return Enqueue(list, sizes); });
    if (!graph.ok())
      return graph.status();
    it = list.graphs.emplace(sizes, *graph).first;
  }
  return Check(api_.GraphLaunch(it->second, stream_), "launching a graph");
}

absl::Status CudaLaunches::Meet(const Prepared &prepared, const StepSizes &sizes) {
  if (!KernelOf(*prepared.bound.launch).exchanges || IsEmpty(GridOf(*prepared.bound.launch, sizes)))
    return absl::OkStatus();
  return rank_.gpus->Meet(rank_.index);
}

void CudaLaunches::CountRounds(const List &list, const StepSizes &sizes) {
  std::vector<const plan::Launch *> exchanging;
  for (const LaunchPart &part : list.PartsOf(sizes)) {
    const plan::Launch *launch = list.launches[part.launch].bound.launch;
    const LoadedKernel &loaded = KernelOf(*launch);
    const StepSizes of_part = list.SizesOf(part, sizes);
    if (!loaded.exchanges || IsEmpty(GridOf(*launch, of_part, part.rows != LaunchPart::kAll)))
      continue;
    const int32_t rows = std::max(of_part[loaded.collective->rows()], 0);
    exchanging.insert(exchanging.end(),
                      RoundsOf(*loaded.collective, rank_.gpus->ranks_of_stage(), static_cast<uint64_t>(rows)), launch);
  }
  rounds_.Add(std::move(exchanging));
}

absl::StatusOr<CudaLaunches::Prepared> CudaLaunches::PrepareRows(const BoundLaunch &bound, int32_t first_row) const {
  Prepared prepared{bound, {}};
  const auto *views = KernelOf(*bound.launch).kernel->views();
  for (size_t i = 0; first_row > 0 && i < bound.arguments.size(); ++i)
    prepared.bound.arguments[i] =
        static_cast<std::byte *>(bound.arguments[i]) + BytesBefore(*views->Get(static_cast<uint32_t>(i)), first_row);
  if (bound.launch->tensor_maps())
    for (const plan::TensorMap *map : *bound.launch->tensor_maps()) {
      const uint64_t before = first_row > 0 ? BytesBefore(*views->Get(map->argument()), first_row) : 0;
      absl::StatusOr<TensorMap> encoded = Encode(*map, prepared.bound, before);
      if (!encoded.ok())
        return encoded.status();
      prepared.maps.push_back(*encoded);
    }
  return prepared;
}

absl::StatusOr<TensorMap> CudaLaunches::Encode(const plan::TensorMap &map, const BoundLaunch &bound,
                                               uint64_t before) const {
  // CUtensorMapDataType and CUtensorMapSwizzle of cuda.h.
  int type = map.type() == plan::DataType_BF16 ? 9 : map.type() == plan::DataType_F16 ? 6 : 7;
  auto log2_of = [](uint32_t bytes, uint32_t unit) {
    int level = 0;
    for (uint32_t size = unit; size <= bytes; size *= 2)
      ++level;
    return level;
  };
  std::vector<uint32_t> ones(map.dims()->size(), 1);
  std::vector<uint64_t> dims(map.dims()->begin(), map.dims()->end());
  plan::BufferKind kind = bound.launch->arguments()->Get(map.argument())->kind();
  if (kind == plan::BufferKind_KeyCache || kind == plan::BufferKind_ValueCache)
    dims.back() = std::min(dims.back(), bound.cache_bytes / map.strides()->Get(map.strides()->size() - 1));
  if (before > 0)
    dims.back() -= before / map.strides()->Get(map.strides()->size() - 1);
  TensorMap encoded;
  absl::Status status =
      Check(api_.TensorMapEncodeTiled(&encoded, type, map.dims()->size(), bound.arguments[map.argument()], dims.data(),
                                      map.strides()->data(), map.box()->data(), ones.data(), /*interleave=*/0,
                                      log2_of(map.swizzle(), 32), log2_of(map.l2_promotion(), 64), /*out_of_bounds=*/0),
            "encoding a tensor map");
  if (!status.ok())
    return status;
  return encoded;
}

absl::Status CudaLaunches::Enqueue(const List &list, const StepSizes &sizes) {
  absl::Status status = EnqueueParts(list, sizes);
  // Also after an error, so that the end of the main stream is that of both.
  status.Update(Check(side_.Join(), "ordering two streams"));
  return status;
}

absl::Status CudaLaunches::EnqueueParts(const List &list, const StepSizes &sizes) {
  const bool is_shared = SharesContext();
  bool may_start_early = false;
  for (const LaunchPart &part : list.PartsOf(sizes)) {
    bool is_ordered = false;
    if (absl::Status status = Check(side_.Before(part, is_ordered), "ordering two streams"); !status.ok())
      return status;
    // A launch starts early only behind another one, not behind events.
    may_start_early = may_start_early && !is_ordered;
    if (absl::Status status = Meet(list.launches[part.launch], sizes); !status.ok())
      return status;
    if (absl::Status status = Enqueue(list, part, sizes, part.is_beside ? side_.stream() : stream_, may_start_early);
        !status.ok())
      return status;
    if (absl::Status status = Check(side_.After(part), "ordering two streams"); !status.ok())
      return status;
    // NCCL's part of a step may end with copies, which a kernel cannot start before the end of.
    const LoadedKernel &loaded = KernelOf(*list.launches[part.launch].bound.launch);
    may_start_early = !is_shared && !part.is_beside && (!loaded.UsesNccl() || loaded.function);
  }
  return absl::OkStatus();
}

absl::Status CudaLaunches::Enqueue(const List &list, const LaunchPart &part, const StepSizes &sizes, Stream stream,
                                   bool may_start_early) {
  const Prepared &whole = list.launches[part.launch];
  if (part.rows == LaunchPart::kAll)
    return Enqueue(whole, sizes, stream, may_start_early);
  const StepSizes of_half = list.SizesOf(part, sizes);
  if (part.rows == LaunchPart::kFirst)
    return Enqueue(whole, of_half, stream, may_start_early, /*is_half=*/true);
  absl::StatusOr<Prepared> second = PrepareRows(whole.bound, sizes[plan::Extent_Tokens] - of_half[plan::Extent_Tokens]);
  return second.ok() ? Enqueue(*second, of_half, stream, may_start_early, /*is_half=*/true) : second.status();
}

absl::StatusOr<GraphExec> CudaLaunches::Capture(const std::function<absl::Status()> &enqueue) {
  if (absl::Status status = Check(api_.StreamBeginCapture(stream_, kCaptureThreadLocal), "capturing a graph");
      !status.ok())
    return status;
  absl::Status enqueued = enqueue();
  Graph graph = nullptr;
  Result ended = api_.StreamEndCapture(stream_, &graph);
  if (!enqueued.ok())
    return enqueued;
  if (absl::Status status = Check(ended, "capturing a graph"); !status.ok())
    return status;
  GraphExec executable = nullptr;
  Result made = api_.GraphInstantiate(&executable, graph, 0);
  api_.GraphDestroy(graph);
  if (absl::Status status = Check(made, "making a graph"); !status.ok())
    return status;
  return executable;
}

absl::Status CudaLaunches::RunOneByOne(const List &list, const StepSizes &sizes) {
  for (const LaunchPart &part : list.PartsOf(sizes)) {
    if (absl::Status status = Meet(list.launches[part.launch], sizes); !status.ok())
      return status;
    auto enqueue = [&] { return Enqueue(list, part, sizes, stream_, /*may_start_early=*/false); };
    absl::Status status = absl::OkStatus();
    if (debug_.graph_launches) {
      absl::StatusOr<GraphExec> graph = Capture(enqueue);
      if (!graph.ok())
        return graph.status();
      status = Check(api_.GraphLaunch(*graph, stream_), "launching a graph");
      if (status.ok())
        status = Check(api_.StreamSynchronize(stream_), "running a graph");
      api_.GraphExecDestroy(*graph);
    } else {
      status = enqueue();
      if (status.ok())
        status = Check(api_.StreamSynchronize(stream_), "running it");
    }
    if (!status.ok())
      return absl::InternalError(fmt::format("{}: {}",
                                             KernelOf(*list.launches[part.launch].bound.launch).kernel->name()->str(),
                                             std::string(status.message())));
  }
  return absl::OkStatus();
}

absl::Status CudaLaunches::Enqueue(const Prepared &prepared, const StepSizes &sizes, Stream stream,
                                   bool may_start_early, bool is_half) {
  const LoadedKernel &loaded = KernelOf(*prepared.bound.launch);
  std::array<uint32_t, 3> grid = GridOf(*prepared.bound.launch, sizes, is_half);
  if (IsEmpty(grid))
    return absl::OkStatus();
  if (loaded.product)
    return loaded.product->Launch(prepared.bound.arguments, sizes[loaded.kernel->body_as_LibraryProduct()->rows()],
                                  stream);
  if (loaded.UsesNccl()) {
    absl::Status status = rank_.gpus->Run(rank_.index, *loaded.collective, prepared.bound.arguments,
                                          sizes[loaded.collective->rows()], stream);
    if (!status.ok() || !loaded.function)
      return status;
    may_start_early = false;
  }
  const plan::Code &body = *loaded.code;
  LaunchAttribute attributes[2] = {};
  LaunchConfig config{};
  config.attributes = attributes;
  config.stream = stream;
  config.shared_bytes = body.shared_bytes();
  for (int i = 0; i < 3; ++i) {
    config.grid[i] = grid[static_cast<size_t>(i)];
    const auto *block = body.block();
    config.block[i] = block && static_cast<uint32_t>(i) < block->size() ? block->Get(static_cast<uint32_t>(i)) : 1;
  }
  if (const auto *cluster = body.cluster(); cluster && cluster->size() > 0) {
    LaunchAttribute &attribute = attributes[config.attribute_count++];
    attribute.id = kAttributeCluster;
    attribute.value.cluster[0] = cluster->Get(0);
    attribute.value.cluster[1] = attribute.value.cluster[2] = 1;
  }
  if (may_start_early && body.dependent_launch()) {
    LaunchAttribute &attribute = attributes[config.attribute_count++];
    attribute.id = kAttributeDependentLaunch;
    attribute.value.flag = 1;
  }
  // The parameters of a kernel: pointers, tensor maps, and then the sizes by value. A kernel that exchanges with
  // peers also takes the table of its rank. One that only pushes rows takes null where a communicator sums them.
  std::vector<void *> parameters;
  for (void *const &argument : prepared.bound.arguments)
    parameters.push_back(const_cast<void **>(&argument));
  for (const TensorMap &map : prepared.maps)
    parameters.push_back(const_cast<TensorMap *>(&map));
  parameters.push_back(const_cast<int32_t *>(sizes.data()));
  if (loaded.TakesPeers())
    parameters.push_back(const_cast<Pointer *>(&table()));
  return Check(api_.LaunchKernel(&config, loaded.function, parameters.data(), nullptr),
               "launching " + loaded.kernel->name()->str());
}

void CudaLaunches::DestroyGraphs() {
  for (List &list : lists_) {
    for (auto &[sizes, graph] : list.graphs)
      api_.GraphExecDestroy(graph);
    list.graphs.clear();
  }
}

} // namespace inlay

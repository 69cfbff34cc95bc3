#include "runtime/device/cuda_device.h"

#include "fmt/format.h"
#include "runtime/bundle/collective.h"
#include "runtime/device/cublaslt.h"
#include "runtime/device/cuda_driver.h"
#include "runtime/device/cuda_gpus.h"
#include "runtime/device/cuda_memory.h"
#include "runtime/device/cuda_ranks.h"
#include "runtime/device/cuda_rounds.h"
#include "runtime/device/cuda_side_stream.h"
#include "runtime/device/cuda_upload.h"
#include "runtime/support/files.h"

#include <filesystem>
#include <map>

namespace inlay {

namespace {

using namespace cuda_driver;

class CudaDevice : public CudaMemory {
public:
  CudaDevice(const Api &api, int threads, const std::string &cublaslt, const DeviceRank &rank)
      : CudaMemory(api, rank), pool_(threads), side_(api), cublaslt_path_(cublaslt) {}

  ~CudaDevice() override {
    if (!context_ || IsStuck())
      return;
    api_.ContextSetCurrent(context_);
    (void)Synchronize();
    for (List &list : lists_)
      for (auto &[sizes, graph] : list.graphs)
        api_.GraphExecDestroy(graph);
    if (rank_.gpus)
      rank_.gpus->Close(rank_.index);
    api_.ContextSetCurrent(context_);
    if (failures_)
      api_.MemFreeHost(failures_);
    functions_.clear();
    cublaslt_.reset();
    guarded_.reset();
    for (Module module : modules_)
      api_.ModuleUnload(module);
    for (Staging &staging : staging_) {
      if (staging.memory)
        api_.MemFreeHost(staging.memory);
      if (staging.copied)
        api_.EventDestroy(staging.copied);
    }
    for (Event event : events_)
      if (event)
        api_.EventDestroy(event);
    for (Event event : {arrived_, launched_})
      if (event)
        api_.EventDestroy(event);
    side_.Close();
    for (Stream stream : {stream_, uploads_, downloads_})
      if (stream)
        api_.StreamDestroy(stream);
    api_.PrimaryContextRelease(device_);
  }

  absl::Status Start(std::string_view target) {
    absl::StatusOr<DebugOptions> debug = ReadDebugOptions();
    if (!debug.ok())
      return debug.status();
    debug_ = *debug;
    if (absl::Status status = Check(api_.Init(0), "starting the driver"); !status.ok())
      return status;
    absl::StatusOr<std::vector<FoundGpu>> found = FindGpus(api_, target, rank_.count, rank_.devices);
    if (!found.ok())
      return found.status();
    device_ = (*found)[rank_.index].device;
    name_ = fmt::format("{} ({})", (*found)[rank_.index].name, target);
    if (absl::Status status = Check(api_.PrimaryContextRetain(&context_, device_), "opening the GPU"); !status.ok())
      return status;
    api_.ContextSetCurrent(context_);
    if (debug_.guard_begin || debug_.guard_end)
      guarded_.emplace(api_, device_, debug_.guard_end);
    if (guarded_ && !api_.MemSetAccess)
      return absl::UnavailableError(
          "INLAY_DEBUG: guard pages need virtual memory management, which this driver does not support");
    for (Staging &staging : staging_) {
      if (absl::Status status = Check(api_.MemAllocHost(&staging.memory, kStagingBytes), "pinning host memory");
          !status.ok())
        return status;
      if (absl::Status status = Check(api_.EventCreate(&staging.copied, kEventDisableTiming), "making an event");
          !status.ok())
        return status;
    }
    std::vector<Event *> events{&arrived_, &launched_};
    for (Event &event : events_)
      events.push_back(&event);
    for (Event *event : events)
      if (absl::Status status = Check(api_.EventCreate(event, kEventDisableTiming), "making an event"); !status.ok())
        return status;
    for (Stream *stream : {&stream_, &uploads_, &downloads_})
      if (absl::Status status = Check(api_.StreamCreate(stream, kStreamNonBlocking), "making a stream"); !status.ok())
        return status;
    if (!rank_.gpus)
      return absl::OkStatus();
    rank_.gpus->Open(rank_.index, api_, *found, context_, stream_);
    void *memory = nullptr;
    if (absl::Status status =
            Check(api_.MemAllocHost(&memory, kMaxEvents * sizeof(PeerFailure)), "pinning host memory");
        !status.ok())
      return status;
    failures_ = new (memory) PeerFailure[kMaxEvents]();
    return absl::OkStatus();
  }

  absl::StatusOr<EventId> RecordEvent(const AsyncCopy &copy) override {
    api_.ContextSetCurrent(context_);
    EventId event = next_event_++;
    Stream stream = stream_;
    if (copy.bytes > 0 || table_) {
      stream = downloads_;
      if (absl::Status status = Check(api_.EventRecord(launched_, stream_), "recording an event"); !status.ok())
        return status;
      if (absl::Status status = Check(api_.StreamWaitEvent(stream, launched_, 0), "recording an event"); !status.ok())
        return status;
      if (copy.bytes > 0)
        if (absl::Status status = Check(
                api_.MemcpyToHostAsync(copy.to, reinterpret_cast<Pointer>(copy.from), copy.bytes, stream), "copying");
            !status.ok())
          return status;
      if (table_)
        if (absl::Status status =
                Check(api_.MemcpyToHostAsync(&failures_[event % kMaxEvents], table_ + offsetof(PeerTable, failed),
                                             sizeof(PeerFailure), stream),
                      "copying");
            !status.ok())
          return status;
    }
    if (absl::Status status = Check(api_.EventRecord(events_[event % kMaxEvents], stream), "recording an event");
        !status.ok())
      return status;
    if (rank_.gpus)
      steps_[static_cast<size_t>(event % kMaxEvents)] = rank_.gpus->step(rank_.index);
    return event;
  }

  absl::Status WaitForEvent(EventId event) override {
    api_.ContextSetCurrent(context_);
    if (!rank_.gpus)
      return Check(api_.EventSynchronize(events_[event % kMaxEvents]), "running kernels");
    const auto index = static_cast<size_t>(event % kMaxEvents);
    if (absl::Status status = rank_.gpus->Wait(rank_.index, events_[index], steps_[index]); !status.ok())
      return status;
    return table_ ? rounds_.Check(failures_[index], rank_.gpus->timeout(), rank_.gpus->first_of_stage(rank_.index))
                  : absl::OkStatus();
  }

  absl::Status CopyToHost(void *to, const void *from, uint64_t bytes) override {
    api_.ContextSetCurrent(context_);
    // Launches wait for what other ranks send. A copy to memory that is not pinned would wait for that without a limit.
    if (rank_.gpus)
      if (absl::Status status = rank_.gpus->WaitForStream(rank_.index, stream_); !status.ok())
        return status;
    if (absl::Status status =
            Check(api_.MemcpyToHostAsync(to, reinterpret_cast<Pointer>(from), bytes, stream_), "copying");
        !status.ok())
      return status;
    return Synchronize();
  }

  absl::Status Synchronize() override {
    api_.ContextSetCurrent(context_);
    for (Stream stream : {stream_, side_.stream(), uploads_, downloads_})
      if (stream)
        if (absl::Status status = Check(api_.StreamSynchronize(stream), "running kernels"); !status.ok())
          return status;
    return absl::OkStatus();
  }

  absl::Status LoadKernels(const Bundle &bundle, const plan::Target &target) override {
    api_.ContextSetCurrent(context_);
    if (rank_.gpus)
      table_ = rank_.gpus->table(rank_.index);
    std::string directory = bundle.path() + "/kernels/" + target.name()->str() + "/";
    for (const plan::Kernel *kernel : *target.kernels()) {
      std::string name = kernel->name()->str();
      if (kernel->body_type() == plan::KernelBody_LibraryProduct) {
        if (absl::Status status = PrepareProduct(*kernel, target); !status.ok())
          return status;
        continue;
      }
      const plan::Collective *collective = kernel->body_as_Collective();
      if (collective && !rank_.gpus)
        return absl::InternalError(
            fmt::format("kernel '{}' combines values of ranks, but the device is for one rank", name));
      const bool exchanges = collective && rank_.gpus->IsKernel(*collective);
      if (collective && !exchanges && !collective->epilogue()) {
        functions_.push_back({nullptr, kernel, nullptr, nullptr, collective, exchanges});
        continue;
      }
      if (collective && !exchanges)
        name = EpilogueName(*kernel);
      // The cubin is for this chip. If there is none, the driver compiles the PTX.
      std::string path = directory + name + ".cubin";
      if (!std::filesystem::exists(path))
        path = directory + name + ".ptx";
      absl::StatusOr<std::string> code = ReadFile(path);
      if (!code.ok())
        return code.status();
      Module module = nullptr;
      if (absl::Status status = Check(api_.ModuleLoadData(&module, code->c_str()), "loading " + path); !status.ok())
        return absl::FailedPreconditionError(
            fmt::format("{}; compile the model again, and with --target for this chip", std::string(status.message())));
      modules_.push_back(module);
      Function function = nullptr;
      if (absl::Status status = Check(api_.ModuleGetFunction(&function, module, name.c_str()), "finding " + name);
          !status.ok())
        return status;
      const plan::Code &body = !collective ? *kernel->body_as_Code()
                               : exchanges ? *collective->code()
                                           : *collective->epilogue();
      if (absl::Status status = CheckParameters(function, *kernel, body, bundle.plan().step_sizes()->size(),
                                                exchanges || body.peers(), path);
          !status.ok())
        return status;
      if (absl::Status status =
              Check(api_.FunctionSetAttribute(function, kMaxDynamicSharedBytes, static_cast<int>(body.shared_bytes())),
                    fmt::format("setting the shared memory of {} to {} bytes", name, body.shared_bytes()));
          !status.ok())
        return status;
      // Use as much of the L1 cache as possible as shared memory, so that blocks of two kernels can be resident.
      api_.FunctionSetAttribute(function, kPreferredCarveout, 100);
      if (body.cluster() && body.cluster()->size() > 0 && body.cluster()->Get(0) > 8)
        api_.FunctionSetAttribute(function, kNonPortableClusterAllowed, 1);
      functions_.push_back({function, kernel, &body, nullptr, collective, exchanges});
    }
    return absl::OkStatus();
  }

  absl::StatusOr<LaunchList> Prepare(std::span<const BoundLaunch> launches) override {
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

  absl::Status Run(LaunchList index, const StepSizes &sizes, bool reuse) override {
    api_.ContextSetCurrent(context_);
    List &list = lists_[static_cast<size_t>(index)];
    if (table_)
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

  absl::Status Write(std::span<const Range> ranges, const FillRange &fill) override {
    api_.ContextSetCurrent(context_);
    return UploadRanges(api_, context_, ranges, fill, pool_);
  }

  absl::Status Repeat(std::span<const Repetition> parts, std::span<const std::byte> pattern) override {
    api_.ContextSetCurrent(context_);
    return UploadRepetitions(api_, context_, parts, pattern, pool_);
  }

  uint64_t MaxPackedBytes() const override { return kMaxPackedBytes; }

  absl::Status Pack(std::span<const PackedRange> ranges, const FillRange &fill) override {
    api_.ContextSetCurrent(context_);
    return UploadPacked(
        api_, context_, ranges, fill,
        [&](Stream stream, const PackedRange &range, Pointer sources) {
          StepSizes sizes{};
          sizes[plan::Extent_Tokens] = static_cast<int32_t>(range.rows);
          return Enqueue({{range.launch, {reinterpret_cast<void *>(sources), range.to}}, {}}, sizes, stream,
                         /*may_start_early=*/false);
        },
        pool_);
  }

  ThreadPool &host_pool() override { return pool_; }

private:
  struct Prepared {
    BoundLaunch bound;
    std::vector<TensorMap> maps;
  };
  struct List {
    std::vector<Prepared> launches;
    std::vector<LaunchPart> whole, in_halves; // the order of the launches
    HalvesOfSteps halves;                     // steps of the second order
    std::map<StepSizes, GraphExec> graphs;

    std::span<const LaunchPart> PartsOf(const StepSizes &sizes) const {
      return halves.Has(sizes[plan::Extent_Tokens]) ? in_halves : whole;
    }
    StepSizes SizesOf(const LaunchPart &part, StepSizes sizes) const {
      const int32_t rows = sizes[plan::Extent_Tokens], first = halves.FirstRows(rows);
      if (part.rows != LaunchPart::kAll)
        sizes[plan::Extent_Tokens] = part.rows == LaunchPart::kFirst ? first : rows - first;
      return sizes;
    }
  };
  struct LoadedKernel {
    Function function; // null: `product` or NCCL alone computes it
    const plan::Kernel *kernel;
    const plan::Code *code;
    std::unique_ptr<CublasLtProduct> product;
    const plan::Collective *collective; // null: it computes what one rank has
    bool exchanges;                     // with peers; otherwise NCCL runs a collective, before `function`

    bool UsesNccl() const { return collective && !exchanges; }
    bool TakesPeers() const { return exchanges || code->peers(); }
  };

  bool SharesContext() const { return rank_.gpus && rank_.gpus->SharesContext(rank_.index); }

  // Before a launch that waits for other ranks, which may have to start at the same time.
  absl::Status Meet(const Prepared &prepared, const StepSizes &sizes) {
    if (!functions_[prepared.bound.launch->kernel()].exchanges || IsEmpty(GridOf(*prepared.bound.launch, sizes)))
      return absl::OkStatus();
    return rank_.gpus->Meet(rank_.index);
  }

  static bool IsEmpty(const std::array<uint32_t, 3> &grid) { return grid[0] == 0 || grid[1] == 0 || grid[2] == 0; }

  // Records which rounds the kernels of a list that exchange with peers have, as they count them. A launch may have
  // several.
  void CountRounds(const List &list, const StepSizes &sizes) {
    std::vector<const plan::Launch *> exchanging;
    for (const LaunchPart &part : list.PartsOf(sizes)) {
      const plan::Launch *launch = list.launches[part.launch].bound.launch;
      const LoadedKernel &loaded = functions_[launch->kernel()];
      const StepSizes of_part = list.SizesOf(part, sizes);
      if (!loaded.exchanges || IsEmpty(GridOf(*launch, of_part, part.rows != LaunchPart::kAll)))
        continue;
      const int32_t rows = std::max(of_part[loaded.collective->rows()], 0);
      exchanging.insert(exchanging.end(),
                        RoundsOf(*loaded.collective, rank_.gpus->ranks_of_stage(), static_cast<uint64_t>(rows)),
                        launch);
    }
    rounds_.Add(std::move(exchanging));
  }

  absl::Status PrepareProduct(const plan::Kernel &kernel, const plan::Target &target) {
    if (!cublaslt_) {
      absl::StatusOr<std::unique_ptr<CublasLt>> opened = CublasLt::Open(cublaslt_path_);
      if (!opened.ok())
        return opened.status();
      cublaslt_ = *std::move(opened);
    }
    uint32_t max_rows = 1;
    for (const plan::Entry *entry : *target.entries())
      if (entry->launches())
        for (const plan::Launch *launch : *entry->launches())
          if (target.kernels()->Get(launch->kernel()) == &kernel)
            max_rows = std::max(max_rows, kernel.body_as_LibraryProduct()->rows() == plan::Extent_Tokens
                                              ? entry->max_tokens()
                                              : entry->max_sequences());
    absl::StatusOr<std::unique_ptr<CublasLtProduct>> product = cublaslt_->Prepare(kernel, max_rows);
    if (!product.ok())
      return product.status();
    functions_.push_back({nullptr, &kernel, nullptr, *std::move(product), nullptr, /*exchanges=*/false});
    return absl::OkStatus();
  }

  // Checks that the kernel's parameters have the sizes that the plan gives. Otherwise a launch would read beyond them.
  absl::Status CheckParameters(Function function, const plan::Kernel &kernel, const plan::Code &code, size_t step_sizes,
                               bool takes_peers, const std::string &path) const {
    if (!api_.FunctionGetParameter)
      return absl::OkStatus();
    std::vector<size_t> expected(kernel.views() ? kernel.views()->size() : 0, sizeof(void *));
    expected.insert(expected.end(), code.tensor_maps(), sizeof(TensorMap));
    expected.push_back(step_sizes * sizeof(int32_t));
    if (takes_peers)
      expected.push_back(sizeof table_);
    std::vector<size_t> found;
    size_t offset = 0, bytes = 0;
    while (found.size() <= expected.size() && api_.FunctionGetParameter(function, found.size(), &offset, &bytes) == 0)
      found.push_back(bytes);
    if (found == expected)
      return absl::OkStatus();
    return absl::DataLossError(
        fmt::format("{}: found parameters of {} bytes, expected {} as in plan.fb; compile the model again", path,
                    fmt::join(found, ", "), fmt::join(expected, ", ")));
  }

  // Prepares a launch for the rows of the step from `first_row` on.
  absl::StatusOr<Prepared> PrepareRows(const BoundLaunch &bound, int32_t first_row) const {
    Prepared prepared{bound, {}};
    const auto *views = functions_[bound.launch->kernel()].kernel->views();
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

  // Encodes a map of an argument, of which the launch has left out the first `before` bytes: rows of the last
  // dimension.
  absl::StatusOr<TensorMap> Encode(const plan::TensorMap &map, const BoundLaunch &bound, uint64_t before) const {
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
    absl::Status status = Check(
        api_.TensorMapEncodeTiled(&encoded, type, map.dims()->size(), bound.arguments[map.argument()], dims.data(),
                                  map.strides()->data(), map.box()->data(), ones.data(), /*interleave=*/0,
                                  log2_of(map.swizzle(), 32), log2_of(map.l2_promotion(), 64), /*out_of_bounds=*/0),
        "encoding a tensor map");
    if (!status.ok())
      return status;
    return encoded;
  }

  // Enqueues a list of launches. The first launch starts when all earlier work on the stream has ended, because kernels
  // may read the step's metadata, which was copied just before, without waiting for their predecessor. The other
  // launches may start early. If another rank of this process has the same GPU, none does: while a kernel waits for
  // that rank, the launch after it would hold the multiprocessors that the other rank needs.
  absl::Status Enqueue(const List &list, const StepSizes &sizes) {
    absl::Status status = EnqueueParts(list, sizes);
    // Also after an error, so that the end of the main stream is that of both.
    status.Update(Check(side_.Join(), "ordering two streams"));
    return status;
  }

  absl::Status EnqueueParts(const List &list, const StepSizes &sizes) {
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
      const LoadedKernel &loaded = functions_[list.launches[part.launch].bound.launch->kernel()];
      may_start_early = !is_shared && !part.is_beside && (!loaded.UsesNccl() || loaded.function);
    }
    return absl::OkStatus();
  }

  // Enqueues a launch for all rows or for a half of them.
  absl::Status Enqueue(const List &list, const LaunchPart &part, const StepSizes &sizes, Stream stream,
                       bool may_start_early) {
    const Prepared &whole = list.launches[part.launch];
    if (part.rows == LaunchPart::kAll)
      return Enqueue(whole, sizes, stream, may_start_early);
    const StepSizes of_half = list.SizesOf(part, sizes);
    if (part.rows == LaunchPart::kFirst)
      return Enqueue(whole, of_half, stream, may_start_early, /*is_half=*/true);
    absl::StatusOr<Prepared> second =
        PrepareRows(whole.bound, sizes[plan::Extent_Tokens] - of_half[plan::Extent_Tokens]);
    return second.ok() ? Enqueue(*second, of_half, stream, may_start_early, /*is_half=*/true) : second.status();
  }

  // Captures the launches that `enqueue` makes on stream_ as a graph.
  template <class Enqueues> absl::StatusOr<GraphExec> Capture(Enqueues enqueue) {
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

  // Implements INLAY_DEBUG=sync-launches and graph-launches: waits for each kernel, so that an error names the kernel
  // that caused it.
  absl::Status RunOneByOne(const List &list, const StepSizes &sizes) {
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
        return absl::InternalError(
            fmt::format("{}: {}", functions_[list.launches[part.launch].bound.launch->kernel()].kernel->name()->str(),
                        std::string(status.message())));
    }
    return absl::OkStatus();
  }

  absl::Status Enqueue(const Prepared &prepared, const StepSizes &sizes, Stream stream, bool may_start_early,
                       bool is_half = false) {
    const LoadedKernel &loaded = functions_[prepared.bound.launch->kernel()];
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
      parameters.push_back(&table_);
    return Check(api_.LaunchKernel(&config, loaded.function, parameters.data(), nullptr),
                 "launching " + loaded.kernel->name()->str());
  }

  ThreadPool pool_;
  cuda_driver::DeviceHandle device_ = 0;
  CudaSideStream side_;        // for sums beside launches of the other half of a step
  Stream downloads_ = nullptr; // its results are downloaded while the next step runs
  Event launched_ = nullptr;
  std::array<Event, kMaxEvents> events_{};
  std::array<int64_t, kMaxEvents> steps_{}; // of several ranks, by event: the step that it ends
  EventId next_event_ = 0;
  std::vector<Module> modules_;
  std::vector<LoadedKernel> functions_;
  Pointer table_ = 0; // PeerTable of the rank; 0: no kernel exchanges with peers
  PeerRounds rounds_;
  PeerFailure *failures_ = nullptr; // by event, in pinned memory
  std::string cublaslt_path_;
  std::unique_ptr<CublasLt> cublaslt_; // if a kernel is a product of cuBLASLt
  std::vector<List> lists_;
};

} // namespace

absl::StatusOr<std::unique_ptr<inlay::Device>> OpenCudaDevice(std::string_view target, int threads,
                                                              const std::string &cublaslt, const DeviceRank &rank) {
  // Before the device starts its threads.
  if (SharesGpus(rank.devices))
    PrepareSharedGpus();
  absl::StatusOr<const Api *> api = LoadDriver();
  if (!api.ok())
    return api.status();
  auto device = std::make_unique<CudaDevice>(**api, threads, cublaslt, rank);
  if (absl::Status status = device->Start(target); !status.ok())
    return status;
  return std::unique_ptr<inlay::Device>(std::move(device));
}

} // namespace inlay

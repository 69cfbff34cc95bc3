#include "runtime/device/cpu_device.h"

#include "fmt/format.h"
#include "runtime/bundle/collective.h"
#include "runtime/device/kernel_trace.h"
#include "runtime/support/cpu_features.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <limits>
#include <unistd.h>

namespace inlay {

absl::Status CheckCpuFeatures(const plan::Target &target) {
  std::string lacking;
  if (target.cpu_features())
    for (const flatbuffers::String *feature : *target.cpu_features())
      if (std::ranges::none_of(CpuFeatures(), [&](const CpuFeature &known) {
            return known.name == feature->string_view() && known.is_here;
          }))
        lacking += (lacking.empty() ? "" : ", ") + feature->str();
  if (lacking.empty())
    return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "the kernels for the cpu need {}, which {} does not have; compile the model on this machine, or with --cpu {}",
      lacking, CpuName(), CpuGeneration()));
}

CpuDevice::CpuDevice(int threads, const DeviceRank &rank)
    : pool_(threads), communicator_(rank.communicator), rank_(rank.index) {}

CpuDevice::~CpuDevice() {
  if (library_)
    dlclose(library_);
}

std::string CpuDevice::Name() const { return fmt::format("cpu ({} threads)", pool_.threads()); }

uint64_t CpuDevice::FreeMemory() const {
  // MemAvailable includes the page cache, which the operating system can free. A checkpoint that was just read fills
  // it.
  std::ifstream info("/proc/meminfo");
  for (std::string key; info >> key;) {
    uint64_t kibibytes = 0;
    if (key == "MemAvailable:" && info >> kibibytes)
      return kibibytes << 10;
    info.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : 0;
}

absl::StatusOr<void *> CpuDevice::Allocate(uint64_t bytes, std::string_view what) {
  constexpr uint64_t kAlignment = 256;
  uint64_t rounded = (std::max<uint64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void *memory = bytes <= FreeMemory() ? std::aligned_alloc(kAlignment, rounded) : nullptr;
  if (!memory)
    return absl::ResourceExhaustedError(
        fmt::format("{} need {} MiB, but only {} MiB of memory are free", what, bytes >> 20, FreeMemory() >> 20));
  return memory;
}

void CpuDevice::Free(void *memory) { std::free(memory); }

absl::Status CpuDevice::CopyToDevice(void *to, const void *from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return absl::OkStatus();
}

absl::Status CpuDevice::CopyToHost(void *to, const void *from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return absl::OkStatus();
}

absl::Status CpuDevice::CopyRowsAsync(void *to, const void *from, std::span<const CopyRows> rows) {
  for (const CopyRows &part : rows)
    for (uint64_t row = 0, at = part.offset; row < part.rows; ++row, at += part.pitch)
      std::memcpy(static_cast<std::byte *>(to) + at, static_cast<const std::byte *>(from) + at, part.bytes);
  return absl::OkStatus();
}

absl::StatusOr<EventId> CpuDevice::RecordEvent(const AsyncCopy &copy) {
  if (copy.bytes > 0)
    std::memcpy(copy.to, copy.from, copy.bytes);
  return 0;
}

absl::Status CpuDevice::Clear(void *memory, uint64_t bytes) {
  std::memset(memory, 0, bytes);
  return absl::OkStatus();
}

absl::Status CpuDevice::LoadKernels(const Bundle &bundle, const plan::Target &target) {
  // Check this before loading the library, which runs its initializers.
  if (absl::Status status = CheckCpuFeatures(target); !status.ok())
    return absl::Status(status.code(), fmt::format("{}: {}", bundle.path(), std::string(status.message())));
  std::string path = bundle.path() + "/kernels/" + target.name()->str() + "/kernels.so";
  // dlopen searches the system's directories for a name without a slash.
  if (path.find('/') == std::string::npos)
    path = "./" + path;
  library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library_)
    return absl::FailedPreconditionError(fmt::format(
        "{}: cannot be loaded: {}; compile the model on this machine, or with --cpu for this CPU", path, dlerror()));
  for (const plan::Kernel *kernel : *target.kernels()) {
    if (const plan::Collective *collective = kernel->body_as_Collective()) {
      kernels_.push_back({nullptr, collective, kernel->name()->string_view(), {}});
      continue;
    }
    void *symbol = dlsym(library_, kernel->name()->c_str());
    if (!symbol)
      return absl::DataLossError(
          fmt::format("{}: has no kernel '{}'; compile the model again", path, kernel->name()->string_view()));
    // If the kernel took more views than the plan has, it would read beyond the array of their addresses.
    const auto *views = static_cast<const int32_t *>(dlsym(library_, (kernel->name()->str() + "_views").c_str()));
    int64_t expected = kernel->views() ? kernel->views()->size() : 0;
    if (!views || *views != expected)
      return absl::DataLossError(fmt::format(
          "{}: kernel '{}' takes {} views, expected {} as in plan.fb; compile the model again", path,
          kernel->name()->string_view(), views ? fmt::to_string(*views) : "an unknown number of", expected));
    kernels_.push_back({reinterpret_cast<KernelFunction>(symbol), nullptr, kernel->name()->string_view(), {}});
  }
  return absl::OkStatus();
}

absl::StatusOr<LaunchList> CpuDevice::Prepare(std::span<const BoundLaunch> launches) {
  std::vector<Prepared> list;
  for (const BoundLaunch &bound : launches) {
    list.push_back(kernels_[bound.launch->kernel()]);
    list.back().bound = bound;
    if (list.back().collective && !communicator_)
      return absl::InternalError(
          fmt::format("kernel '{}' combines values of ranks, but there is no communicator", list.back().name));
  }
  lists_.push_back(std::move(list));
  return static_cast<LaunchList>(lists_.size() - 1);
}

absl::Status CpuDevice::RunCollective(const Prepared &prepared, const StepSizes &sizes) {
  const plan::Collective &collective = *prepared.collective;
  const uint64_t element = ElementSize(collective.type()), columns = collective.columns();
  const auto rows = static_cast<uint64_t>(std::max(sizes[collective.rows()], 0));
  const void *from = prepared.bound.arguments[0];
  void *to = prepared.bound.arguments[1];
  if (collective.op() == plan::CollectiveOp_AllReduce)
    return communicator_->AllReduce(from, to, rows * columns, collective.type());
  return communicator_->AllGather(
      from, to, {rows, columns * element, ResultColumns(collective, communicator_->size()) * element});
}

absl::Status CpuDevice::Run(LaunchList list, const StepSizes &sizes, bool reuse) {
  for (const Prepared &prepared : lists_[static_cast<size_t>(list)]) {
    std::array<uint32_t, 3> grid = GridOf(*prepared.bound.launch, sizes);
    int64_t x = grid[0], y = grid[1], z = grid[2];
    CpuLaunchTimer timer(prepared.name, grid, rank_);
    if (prepared.collective) {
      if (absl::Status status = RunCollective(prepared, sizes); !status.ok())
        return status;
      continue;
    }
    // Consecutive blocks have the same x, and so use the same columns of weights, which are then in the thread's cache.
    pool_.Run(x * y * z, [&](int64_t i) {
      prepared.function(prepared.bound.arguments.data(), sizes.data(), i / (y * z), i / z % y, i % z);
    });
  }
  return absl::OkStatus();
}

} // namespace inlay

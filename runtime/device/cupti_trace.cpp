// Records kernels with CUPTI's activity API. CUPTI is loaded and declared only in this file, so building needs no CUDA
// header. Records have the layout of CUpti_ActivityKernel6 to 10 (CUPTI 11.2 to 13); later versions append fields to
// earlier ones.
#include "runtime/device/cuda_libraries.h"
#include "runtime/device/kernel_trace.h"
#include "runtime/device/symbols.h"

#include "fmt/format.h"

#include <cstddef>
#include <cstdlib>
#include <mutex>

namespace inlay {
namespace {

using CuptiResult = int; // 0: success

constexpr int kConcurrentKernel = 10;   // CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL; a graph gives one record per node
constexpr uint32_t kFlushForced = 1;    // CUPTI_ACTIVITY_FLAG_FLUSH_FORCED
constexpr uint32_t kOldestVersion = 14; // CUPTI_API_VERSION of CUDA 11.2, the first with CUpti_ActivityKernel6
constexpr size_t kBufferBytes = size_t{4} << 20, kBufferAlignment = 8;

// The first fields of CUpti_ActivityKernel6 and later versions.
struct alignas(8) ActivityKernel {
  int kind;
  uint8_t cache_config, shared_memory_config;
  uint16_t registers_per_thread;
  int partitioned_cache_requested, partitioned_cache_executed;
  uint64_t start, end, completed; // nanoseconds; 0 if not recorded
  uint32_t device_id, context_id, stream_id;
  int32_t grid[3], block[3];
  int32_t static_shared_bytes, dynamic_shared_bytes;
  uint32_t local_bytes_per_thread, local_bytes;
  uint32_t correlation_id; // the same for all launches of a graph
  int64_t grid_id;
  const char *name;
};
static_assert(offsetof(ActivityKernel, start) == 16 && offsetof(ActivityKernel, grid) == 52 &&
              offsetof(ActivityKernel, correlation_id) == 92 && offsetof(ActivityKernel, name) == 104);

using BufferRequested = void (*)(uint8_t **buffer, size_t *bytes, size_t *max_records);
using BufferCompleted = void (*)(void *context, uint32_t stream, uint8_t *buffer, size_t bytes, size_t valid_bytes);

struct Api {
  CuptiResult (*get_version)(uint32_t *);
  CuptiResult (*get_result_string)(CuptiResult, const char **);
  CuptiResult (*get_timestamp)(uint64_t *);
  CuptiResult (*activity_register_callbacks)(BufferRequested, BufferCompleted);
  CuptiResult (*activity_enable)(int kind);
  CuptiResult (*activity_disable)(int kind);
  CuptiResult (*activity_flush_all)(uint32_t flags);
  CuptiResult (*activity_get_next_record)(uint8_t *buffer, size_t valid_bytes, void **record);
  CuptiResult (*activity_get_num_dropped_records)(void *context, uint32_t stream, size_t *dropped);
};

// These are global because CUPTI passes no user data to its callbacks.
Api api;
std::mutex records_mutex;
std::vector<KernelRecord> records;
size_t dropped_records = 0;

void RequestBuffer(uint8_t **buffer, size_t *bytes, size_t *max_records) {
  *buffer = static_cast<uint8_t *>(std::aligned_alloc(kBufferAlignment, kBufferBytes));
  *bytes = *buffer ? kBufferBytes : 0;
  *max_records = 0; // as many as fit
}

void TakeBuffer(void *context, uint32_t stream, uint8_t *buffer, size_t, size_t valid_bytes) {
  std::lock_guard lock(records_mutex);
  void *next = nullptr;
  while (valid_bytes > 0 && api.activity_get_next_record(buffer, valid_bytes, &next) == 0) {
    const auto *record = static_cast<const ActivityKernel *>(next);
    if (record->kind != kConcurrentKernel || record->start == 0 || record->end < record->start)
      continue;
    KernelRecord kernel{record->name ? record->name : "?", record->start, record->end, {}, {}, record->device_id};
    for (size_t i = 0; i < 3; ++i) {
      kernel.grid[i] = static_cast<uint32_t>(record->grid[i]);
      kernel.block[i] = static_cast<uint32_t>(record->block[i]);
    }
    records.push_back(std::move(kernel));
  }
  size_t dropped = 0;
  if (api.activity_get_num_dropped_records(context, stream, &dropped) == 0)
    dropped_records += dropped;
  std::free(buffer);
}

absl::Status Check(CuptiResult result, std::string_view doing) {
  if (result == 0)
    return absl::OkStatus();
  const char *text = nullptr;
  if (api.get_result_string)
    api.get_result_string(result, &text);
  std::string hint = text && std::string_view(text).find("PRIVILEGE") != std::string_view::npos
                         ? "; this user has no permission to trace the GPU, see NVIDIA's ERR_NVGPUCTRPERM"
                         : "; another profiler may be attached to this process";
  return absl::InternalError(
      fmt::format("CUPTI: {} (error {}) while {}{}", text ? text : "unknown", result, doing, hint));
}

const CudaLibrary kCupti = {"libcupti.so", {"extras/CUPTI/lib64", "extras/CUPTI/lib"}, {"nvidia/cuda_cupti/lib"}};

absl::Status Load(const std::string &path) {
  Api loaded{};
  absl::StatusOr<std::string> file = LoadCudaLibrary(kCupti, path, [&](void *handle, const std::string &name) {
    Symbols find{handle, {}};
    find(loaded.get_version, "cuptiGetVersion");
    find(loaded.get_result_string, "cuptiGetResultString");
    find(loaded.get_timestamp, "cuptiGetTimestamp");
    find(loaded.activity_register_callbacks, "cuptiActivityRegisterCallbacks");
    find(loaded.activity_enable, "cuptiActivityEnable");
    find(loaded.activity_disable, "cuptiActivityDisable");
    find(loaded.activity_flush_all, "cuptiActivityFlushAll");
    find(loaded.activity_get_next_record, "cuptiActivityGetNextRecord");
    find(loaded.activity_get_num_dropped_records, "cuptiActivityGetNumDroppedRecords");
    if (!find.missing.empty())
      return fmt::format("{} has no {}", name, find.missing);
    uint32_t version = 0;
    if (loaded.get_version(&version) != 0 || version < kOldestVersion)
      return fmt::format("{} has version {}, expected at least {}", name, version, kOldestVersion);
    return std::string();
  });
  if (!file.ok())
    return absl::UnavailableError(fmt::format(
        "--profile needs CUPTI, but libcupti.so was not loaded ({}); give its path with --cupti, or install "
        "the CUDA toolkit or the wheel nvidia-cuda-cupti",
        std::string(file.status().message())));
  api = loaded;
  return absl::OkStatus();
}

class CuptiTrace : public KernelTrace {
public:
  ~CuptiTrace() override {
    api.activity_disable(kConcurrentKernel);
    api.activity_flush_all(kFlushForced);
  }

  absl::Status Attach() {
    api.get_version(&version_);
    if (absl::Status status = Check(api.activity_register_callbacks(RequestBuffer, TakeBuffer), "attaching");
        !status.ok())
      return status;
    // Enable and disable records once, so that CUPTI is initialized before the first context and graph are created.
    if (absl::Status status = Check(api.activity_enable(kConcurrentKernel), "enabling kernel records"); !status.ok())
      return status;
    return Check(api.activity_disable(kConcurrentKernel), "disabling kernel records");
  }

  absl::Status Start() override {
    if (absl::Status status = Check(api.activity_flush_all(kFlushForced), "flushing records"); !status.ok())
      return status;
    {
      std::lock_guard lock(records_mutex);
      records.clear();
      dropped_records = 0;
    }
    return Check(api.activity_enable(kConcurrentKernel), "enabling kernel records");
  }

  absl::StatusOr<std::vector<KernelRecord>> Stop() override {
    // Flush before disabling, which may drop records that were not delivered yet.
    if (absl::Status status = Check(api.activity_flush_all(kFlushForced), "flushing records"); !status.ok())
      return status;
    if (absl::Status status = Check(api.activity_disable(kConcurrentKernel), "disabling kernel records"); !status.ok())
      return status;
    std::lock_guard lock(records_mutex);
    if (dropped_records > 0)
      return absl::ResourceExhaustedError(
          fmt::format("CUPTI dropped {} kernel records; profile fewer tokens (-n)", dropped_records));
    std::vector<KernelRecord> result = std::move(records);
    records.clear();
    SortByStart(result);
    return result;
  }

  uint64_t Now() const override {
    uint64_t now = 0;
    api.get_timestamp(&now);
    return now;
  }

  std::string Method() const override { return fmt::format("CUPTI, version {}", version_); }

private:
  uint32_t version_ = 0;
};

} // namespace

absl::StatusOr<std::unique_ptr<KernelTrace>> OpenCuptiTrace(const std::string &library) {
  if (absl::Status status = Load(library); !status.ok())
    return status;
  auto trace = std::make_unique<CuptiTrace>();
  if (absl::Status status = trace->Attach(); !status.ok())
    return status;
  return std::unique_ptr<KernelTrace>(std::move(trace));
}

} // namespace inlay

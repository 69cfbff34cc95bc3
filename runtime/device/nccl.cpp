#include "runtime/device/nccl.h"

#include "fmt/format.h"
#include "runtime/device/cuda_libraries.h"
#include "runtime/device/symbols.h"

#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

// Declarations of nccl.h 2.14, the first version whose communicators do not block. Later versions take them unchanged.
using Result = int;
using Handle = struct HandleTag *;
constexpr Result kOk = 0, kInProgress = 7;
constexpr int kSum = 0, kBytes = 1;                      // ncclRedOp_t, ncclDataType_t
constexpr int kFloat16 = 6, kFloat32 = 7, kBFloat16 = 9; // ncclDataType_t
constexpr int kOldest = 21400;                           // NCCL_VERSION_CODE of 2.14.0
constexpr unsigned kMagic = 0xcafebeef;                  // NCCL_API_MAGIC

struct UniqueId {
  char bytes[128];
};

// ncclConfig_t as version 2.14 has it. `version` says so, and NCCL sets the members of later versions.
struct Config {
  size_t size = sizeof(Config);
  unsigned magic = kMagic;
  unsigned version = kOldest;
  int blocking = 0;
};

struct Api {
  Result (*get_version)(int *);
  const char *(*error_string)(Result);
  Result (*get_unique_id)(UniqueId *);
  Result (*init_rank)(Handle *, int ranks, UniqueId, int rank, Config *);
  Result (*finalize)(Handle);
  Result (*destroy)(Handle);
  Result (*abort)(Handle);
  Result (*async_error)(Handle, Result *);
  Result (*group_start)();
  Result (*group_end)();
  Result (*all_reduce)(const void *from, void *to, size_t count, int type, int op, Handle, cuda_driver::Stream);
  Result (*all_gather)(const void *from, void *to, size_t count, int type, Handle, cuda_driver::Stream);
};

int TypeOf(plan::DataType type) {
  return type == plan::DataType_BF16 ? kBFloat16 : type == plan::DataType_F16 ? kFloat16 : kFloat32;
}

class Library : public Nccl {
public:
  absl::Status Load(const std::string &path) {
    static const CudaLibrary kLibrary = {"libnccl.so", {}, {"nvidia/nccl/lib"}, {".2", ""}};
    // Sums that switches compute (NVLS) are rounded in another way than those of the GPUs. NCCL reads the variable
    // once. A value that the user has set stays.
    setenv("NCCL_NVLS_ENABLE", "0", /*replace=*/0);
    Api loaded{};
    absl::StatusOr<std::string> file = LoadCudaLibrary(kLibrary, path, [&](void *handle, const std::string &name) {
      Symbols find{handle, {}};
      find(loaded.get_version, "ncclGetVersion");
      find(loaded.error_string, "ncclGetErrorString");
      find(loaded.get_unique_id, "ncclGetUniqueId");
      find(loaded.init_rank, "ncclCommInitRankConfig");
      find(loaded.finalize, "ncclCommFinalize");
      find(loaded.destroy, "ncclCommDestroy");
      find(loaded.abort, "ncclCommAbort");
      find(loaded.async_error, "ncclCommGetAsyncError");
      find(loaded.group_start, "ncclGroupStart");
      find(loaded.group_end, "ncclGroupEnd");
      find(loaded.all_reduce, "ncclAllReduce");
      find(loaded.all_gather, "ncclAllGather");
      if (!find.missing.empty())
        return fmt::format("{} has no {}", name, find.missing);
      if (loaded.get_version(&version_) != kOk || version_ < kOldest)
        return fmt::format("{} has version {}, expected at least 2.14", name, Version());
      return std::string();
    });
    if (!file.ok())
      return absl::UnavailableError(fmt::format("libnccl.so.2 was not loaded ({}); give its path with --nccl, or "
                                                "install NCCL (the wheel nvidia-nccl-cu13, the package libnccl2)",
                                                std::string(file.status().message())));
    api_ = loaded;
    return absl::OkStatus();
  }

  std::string Version() const override {
    return fmt::format("{}.{}.{}", version_ / 10000, version_ / 100 % 100, version_ % 100);
  }

  absl::Status Connect(const cuda_driver::Api &driver, std::span<const RankGpu> gpus, Duration to_connect,
                       Duration of_call) override {
    timeout_ = of_call;
    gpus_.assign(gpus.begin(), gpus.end());
    communicators_ = std::vector<Communicator>(gpus.size());
    UniqueId id;
    if (absl::Status status = Check(api_.get_unique_id(&id), "starting"); !status.ok())
      return status;
    const Clock::time_point deadline = Clock::now() + to_connect;
    Config config;
    absl::Status status = ForAll(driver, deadline, "connecting the ranks", [&](uint32_t rank) {
      return api_.init_rank(&communicators_[rank].handle, static_cast<int>(gpus_.size()), id, static_cast<int>(rank),
                            &config);
    });
    return status.ok() ? CheckSum(driver, deadline) : status;
  }

  absl::Status AllReduce(uint32_t rank, const void *from, void *to, uint64_t elements, plan::DataType type) override {
    return Enqueue(rank, "all_reduce", [&](Handle handle) {
      return api_.all_reduce(from, to, elements, TypeOf(type), kSum, handle, gpus_[rank].stream);
    });
  }

  absl::Status AllGather(uint32_t rank, const void *from, void *to, uint64_t bytes) override {
    return Enqueue(rank, "all_gather",
                   [&](Handle handle) { return api_.all_gather(from, to, bytes, kBytes, handle, gpus_[rank].stream); });
  }

  absl::Status AsyncError(uint32_t rank) override {
    std::lock_guard lock(communicators_[rank].mutex);
    Result state = kOk;
    if (Handle handle = communicators_[rank].handle;
        handle && api_.async_error(handle, &state) == kOk && state != kInProgress)
      return Check(state, "exchanging");
    return absl::OkStatus();
  }

  void Abort() override {
    for (Communicator &communicator : communicators_) {
      std::lock_guard lock(communicator.mutex);
      if (communicator.handle)
        api_.abort(communicator.handle);
      communicator.handle = nullptr;
    }
  }

  void Close(const cuda_driver::Api &driver) override {
    for (const Communicator &communicator : communicators_)
      if (!communicator.handle)
        return Abort();
    if (!ForAll(driver, Clock::now() + timeout_, "ending", [&](uint32_t rank) {
           return api_.finalize(communicators_[rank].handle);
         }).ok())
      return Abort();
    for (Communicator &communicator : communicators_) {
      api_.destroy(communicator.handle);
      communicator.handle = nullptr;
    }
  }

private:
  struct Communicator {
    std::mutex mutex; // guards `handle`
    Handle handle = nullptr;
  };

  absl::Status Check(Result result, const char *doing) const {
    if (result == kOk)
      return absl::OkStatus();
    return absl::UnavailableError(
        fmt::format("nccl {}: {} (error {}) while {}; NCCL_DEBUG=WARN in the environment says more", Version(),
                    api_.error_string(result), result, doing));
  }

  // Makes a call for each rank from this thread. In a group, a call does not wait for those of the other ranks.
  template <class Call>
  absl::Status ForAll(const cuda_driver::Api &driver, Clock::time_point deadline, const char *doing, const Call &call) {
    Result result = api_.group_start();
    for (uint32_t rank = 0; rank < gpus_.size() && result == kOk; ++rank) {
      driver.ContextSetCurrent(gpus_[rank].context);
      result = call(rank);
      result = result == kInProgress ? kOk : result;
    }
    Result ended = api_.group_end();
    if (result == kOk && ended != kInProgress)
      result = ended;
    absl::Status status = Check(result, doing);
    for (uint32_t rank = 0; rank < gpus_.size() && status.ok(); ++rank)
      status = Settle(rank, deadline, doing);
    return status;
  }

  // Sums and gathers rank + 1 of all ranks. So the connections are made now, and wrong ones are found.
  absl::Status CheckSum(const cuda_driver::Api &driver, Clock::time_point deadline) {
    const size_t ranks = gpus_.size();
    const uint64_t bytes = (2 + ranks) * sizeof(float); // of a rank's number, the sum, and the gathered numbers
    std::vector<cuda_driver::Pointer> memory(ranks);
    cuda_driver::Result failed = 0;
    auto driver_call = [&](cuda_driver::Result result) { failed = failed ? failed : result; };
    for (size_t rank = 0; rank < ranks; ++rank) {
      const auto number = static_cast<float>(rank + 1);
      driver.ContextSetCurrent(gpus_[rank].context);
      driver_call(driver.MemAlloc(&memory[rank], bytes));
      driver_call(driver.MemcpyToDeviceAsync(memory[rank], &number, sizeof number, gpus_[rank].stream));
      driver_call(driver.StreamSynchronize(gpus_[rank].stream));
    }
    auto at = [&](uint32_t rank, uint64_t i) { return reinterpret_cast<void *>(memory[rank] + i * sizeof(float)); };
    absl::Status status;
    if (!failed)
      status = ForAll(driver, deadline, "summing a number of each rank", [&](uint32_t rank) {
        return api_.all_reduce(at(rank, 0), at(rank, 1), 1, kFloat32, kSum, communicators_[rank].handle,
                               gpus_[rank].stream);
      });
    if (!failed && status.ok())
      status = ForAll(driver, deadline, "gathering a number of each rank", [&](uint32_t rank) {
        return api_.all_gather(at(rank, 0), at(rank, 2), sizeof(float), kBytes, communicators_[rank].handle,
                               gpus_[rank].stream);
      });
    for (uint32_t rank = 0; rank < ranks && status.ok() && !failed; ++rank) {
      std::vector<float> found(2 + ranks);
      driver.ContextSetCurrent(gpus_[rank].context);
      driver_call(driver.MemcpyToHostAsync(found.data(), memory[rank], bytes, gpus_[rank].stream));
      while (!failed && driver.StreamQuery(gpus_[rank].stream) == cuda_driver::kNotReady) {
        if (Clock::now() > deadline)
          return absl::DeadlineExceededError(
              fmt::format("nccl {}: the first sum has not ended on rank {}", Version(), rank));
        std::this_thread::yield();
      }
      bool is_right = found[1] == static_cast<float>(ranks * (ranks + 1) / 2);
      for (size_t other = 0; other < ranks; ++other)
        is_right &= found[2 + other] == static_cast<float>(other + 1);
      if (!failed && !is_right)
        status = absl::DataLossError(fmt::format(
            "nccl {}: rank {} has a wrong sum of a number of each rank; use NCCL_P2P_DISABLE=1 in the environment",
            Version(), rank));
    }
    for (size_t rank = 0; rank < ranks; ++rank) {
      driver.ContextSetCurrent(gpus_[rank].context);
      driver.MemFree(memory[rank]);
    }
    if (failed)
      return absl::InternalError(fmt::format("nccl {}: error {} of the driver in the first sum", Version(), failed));
    return status;
  }

  // Waits until the communicator has done what it was told. With communicators that do not block, calls return before.
  absl::Status Settle(uint32_t rank, Clock::time_point deadline, const char *doing) const {
    Result state = kOk;
    while (true) {
      if (absl::Status status = Check(api_.async_error(communicators_[rank].handle, &state), doing); !status.ok())
        return status;
      if (state != kInProgress)
        return Check(state, doing);
      if (Clock::now() > deadline)
        return absl::DeadlineExceededError(fmt::format("nccl {}: rank {} still waits while {}; NCCL_DEBUG=INFO in the "
                                                       "environment says for what",
                                                       Version(), rank, doing));
      std::this_thread::yield();
    }
  }

  template <class Call> absl::Status Enqueue(uint32_t rank, const char *what, const Call &call) {
    std::lock_guard lock(communicators_[rank].mutex);
    Handle handle = communicators_[rank].handle;
    if (!handle)
      return absl::CancelledError(fmt::format("nccl {}: the communicators were aborted", Version()));
    Result result = call(handle);
    if (result != kInProgress)
      return Check(result, what);
    return Settle(rank, Clock::now() + timeout_, what);
  }

  Api api_{};
  int version_ = 0;
  Clock::duration timeout_{};
  std::vector<RankGpu> gpus_;
  std::vector<Communicator> communicators_;
};

} // namespace

absl::StatusOr<std::unique_ptr<Nccl>> Nccl::Open(const std::string &path) {
  auto library = std::make_unique<Library>();
  if (absl::Status status = library->Load(path); !status.ok())
    return status;
  return std::unique_ptr<Nccl>(std::move(library));
}

} // namespace inlay

#include "runtime/device/nccl.h"

#include "fmt/format.h"
#include "runtime/device/cuda_libraries.h"
#include "runtime/device/symbols.h"

#include <cstdlib>
#include <mutex>
#include <span>
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
  char bytes[Nccl::kIdBytes];
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
  Result (*send)(const void *from, size_t count, int type, int to, Handle, cuda_driver::Stream);
  Result (*receive)(void *to, size_t count, int type, int from, Handle, cuda_driver::Stream);
};

int TypeOf(plan::DataType type) {
  return type == plan::DataType_BF16 ? kBFloat16 : type == plan::DataType_F16 ? kFloat16 : kFloat32;
}

// Memory of `floats` numbers on the GPU of each rank of this process, for a check.
class Numbers {
public:
  Numbers(const cuda_driver::Api &driver, std::span<const RankGpu> gpus, size_t floats)
      : driver_(driver), gpus_(gpus), bytes_(floats * sizeof(float)), memory_(gpus.size()) {
    for (size_t rank = 0; rank < gpus.size(); ++rank) {
      if (!gpus[rank].is_here())
        continue;
      const auto number = static_cast<float>(rank + 1);
      driver.ContextSetCurrent(gpus[rank].context);
      Call(driver.MemAlloc(&memory_[rank], bytes_));
      Call(driver.MemcpyToDeviceAsync(memory_[rank], &number, sizeof number, gpus[rank].stream));
      Call(driver.StreamSynchronize(gpus[rank].stream));
    }
  }
  ~Numbers() {
    for (size_t rank = 0; rank < gpus_.size() && !is_stuck_; ++rank) { // freeing waits for operations
      if (!gpus_[rank].is_here())
        continue;
      driver_.ContextSetCurrent(gpus_[rank].context);
      driver_.MemFree(memory_[rank]);
    }
  }
  Numbers(const Numbers &) = delete;
  Numbers &operator=(const Numbers &) = delete;

  cuda_driver::Result failed() const { return failed_; } // of the driver
  // Number 0 is rank + 1.
  void *at(uint32_t rank, uint64_t i) const { return reinterpret_cast<void *>(memory_[rank] + i * sizeof(float)); }
  // Reads the numbers of a rank after all operations. Empty if they have not ended by then.
  std::vector<float> Read(uint32_t rank, Clock::time_point deadline) {
    driver_.ContextSetCurrent(gpus_[rank].context);
    // The memory of the host is not pinned, so the copy would wait for the operations, and without a limit.
    while (driver_.StreamQuery(gpus_[rank].stream) == cuda_driver::kNotReady) {
      if (is_stuck_ = Clock::now() > deadline; is_stuck_)
        return {};
      std::this_thread::yield();
    }
    std::vector<float> found(bytes_ / sizeof(float));
    Call(driver_.MemcpyToHostAsync(found.data(), memory_[rank], bytes_, gpus_[rank].stream));
    Call(driver_.StreamSynchronize(gpus_[rank].stream));
    return found;
  }
  // Does not free the memory: operations that do not end may still use it.
  void Leak() { is_stuck_ = true; }

private:
  void Call(cuda_driver::Result result) { failed_ = failed_ ? failed_ : result; }

  const cuda_driver::Api &driver_;
  const std::span<const RankGpu> gpus_;
  const uint64_t bytes_;
  std::vector<cuda_driver::Pointer> memory_;
  cuda_driver::Result failed_ = 0;
  bool is_stuck_ = false;
};

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
      find(loaded.send, "ncclSend");
      find(loaded.receive, "ncclRecv");
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

  absl::StatusOr<std::string> MakeId() override {
    UniqueId id;
    if (absl::Status status = Check(api_.get_unique_id(&id), "starting"); !status.ok())
      return status;
    return std::string(id.bytes, sizeof id.bytes);
  }

  absl::Status Connect(const cuda_driver::Api &driver, std::span<const RankGpu> gpus, const std::string &given_id,
                       Duration to_connect, Duration of_call) override {
    timeout_ = of_call;
    gpus_.assign(gpus.begin(), gpus.end());
    communicators_ = std::vector<Communicator>(gpus.size());
    UniqueId id;
    given_id.copy(id.bytes, sizeof id.bytes);
    deadline_ = Clock::now() + to_connect;
    Config config;
    return ForAll(driver, deadline_, "connecting the ranks", [&](uint32_t rank) {
      return api_.init_rank(&communicators_[rank].handle, static_cast<int>(gpus_.size()), id, static_cast<int>(rank),
                            &config);
    });
  }

  // Sums and gathers rank + 1 of all ranks.
  absl::Status CheckCollectives(const cuda_driver::Api &driver) override {
    const size_t ranks = gpus_.size();
    Numbers numbers(driver, gpus_, 2 + ranks); // of a rank's number, the sum, and the gathered numbers
    absl::Status status = CheckDriver(numbers, "sum");
    if (status.ok())
      status = ForAll(driver, deadline_, "summing a number of each rank", [&](uint32_t rank) {
        return api_.all_reduce(numbers.at(rank, 0), numbers.at(rank, 1), 1, kFloat32, kSum, communicators_[rank].handle,
                               gpus_[rank].stream);
      });
    if (status.ok())
      status = ForAll(driver, deadline_, "gathering a number of each rank", [&](uint32_t rank) {
        return api_.all_gather(numbers.at(rank, 0), numbers.at(rank, 2), sizeof(float), kBytes,
                               communicators_[rank].handle, gpus_[rank].stream);
      });
    if (!status.ok())
      numbers.Leak();
    for (uint32_t rank = 0; rank < ranks && status.ok(); ++rank) {
      if (!gpus_[rank].is_here())
        continue;
      std::vector<float> expected{static_cast<float>(rank + 1), 0};
      for (size_t other = 0; other < ranks; ++other) {
        const auto number = static_cast<float>(other + 1);
        expected[1] += number; // the sum
        expected.push_back(number);
      }
      status = CheckNumbers(numbers, rank, expected, "sum");
    }
    return status;
  }

  // Sends rank + 1.
  absl::Status CheckMessages(const cuda_driver::Api &driver, uint32_t hop) override {
    const auto ranks = static_cast<uint32_t>(gpus_.size());
    Numbers numbers(driver, gpus_, 2); // a rank's number and the one that it receives
    absl::Status status = CheckDriver(numbers, "message");
    if (status.ok())
      status = ForAll(driver, deadline_, "sending a number of each rank", [&](uint32_t rank) {
        Result result = kOk;
        if (rank + hop < ranks)
          result = api_.send(numbers.at(rank, 0), sizeof(float), kBytes, static_cast<int>(rank + hop),
                             communicators_[rank].handle, gpus_[rank].stream);
        if (rank >= hop && (result == kOk || result == kInProgress))
          result = api_.receive(numbers.at(rank, 1), sizeof(float), kBytes, static_cast<int>(rank - hop),
                                communicators_[rank].handle, gpus_[rank].stream);
        return result;
      });
    if (!status.ok())
      numbers.Leak();
    for (uint32_t rank = hop; rank < ranks && status.ok(); ++rank)
      if (gpus_[rank].is_here())
        status =
            CheckNumbers(numbers, rank, {static_cast<float>(rank + 1), static_cast<float>(rank - hop + 1)}, "message");
    return status;
  }

  absl::Status AllReduce(uint32_t rank, const void *from, void *to, uint64_t elements, plan::DataType type,
                         cuda_driver::Stream stream) override {
    return Enqueue(rank, "all_reduce", [&](Handle handle) {
      return api_.all_reduce(from, to, elements, TypeOf(type), kSum, handle, stream);
    });
  }

  absl::Status AllGather(uint32_t rank, const void *from, void *to, uint64_t bytes,
                         cuda_driver::Stream stream) override {
    return Enqueue(rank, "all_gather",
                   [&](Handle handle) { return api_.all_gather(from, to, bytes, kBytes, handle, stream); });
  }

  absl::Status Send(uint32_t rank, const void *from, uint64_t bytes, uint32_t to) override {
    return Enqueue(rank, "send", [&](Handle handle) {
      return api_.send(from, bytes, kBytes, static_cast<int>(to), handle, gpus_[rank].stream);
    });
  }

  absl::Status Receive(uint32_t rank, void *to, uint64_t bytes, uint32_t from) override {
    return Enqueue(rank, "receive", [&](Handle handle) {
      return api_.receive(to, bytes, kBytes, static_cast<int>(from), handle, gpus_[rank].stream);
    });
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
    for (uint32_t rank = 0; rank < gpus_.size(); ++rank)
      if (gpus_[rank].is_here() && !communicators_[rank].handle)
        return Abort();
    if (!ForAll(driver, Clock::now() + timeout_, "ending", [&](uint32_t rank) {
           return api_.finalize(communicators_[rank].handle);
         }).ok())
      return Abort();
    for (Communicator &communicator : communicators_) {
      if (communicator.handle)
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

  // Makes a call for each rank of this process from this thread. In a group, a call does not wait for those of the
  // other ranks.
  template <class Call>
  absl::Status ForAll(const cuda_driver::Api &driver, Clock::time_point deadline, const char *doing, const Call &call) {
    Result result = api_.group_start();
    for (uint32_t rank = 0; rank < gpus_.size() && result == kOk; ++rank) {
      if (!gpus_[rank].is_here())
        continue;
      driver.ContextSetCurrent(gpus_[rank].context);
      result = call(rank);
      result = result == kInProgress ? kOk : result;
    }
    Result ended = api_.group_end();
    if (result == kOk && ended != kInProgress)
      result = ended;
    absl::Status status = Check(result, doing);
    for (uint32_t rank = 0; rank < gpus_.size() && status.ok(); ++rank)
      if (gpus_[rank].is_here())
        status = Settle(rank, deadline, doing);
    return status;
  }

  absl::Status CheckDriver(const Numbers &numbers, const char *what) const {
    if (!numbers.failed())
      return absl::OkStatus();
    return absl::InternalError(
        fmt::format("nccl {}: error {} of the driver in the first {}", Version(), numbers.failed(), what));
  }

  // Compares the numbers of the rank with what the operations make.
  absl::Status CheckNumbers(Numbers &numbers, uint32_t rank, const std::vector<float> &expected,
                            const char *what) const {
    const std::vector<float> found = numbers.Read(rank, deadline_);
    if (absl::Status status = CheckDriver(numbers, what); !status.ok())
      return status;
    if (found.empty())
      return absl::DeadlineExceededError(
          fmt::format("nccl {}: the first {} has not ended on rank {}", Version(), what, rank));
    if (found != expected)
      return absl::DataLossError(
          fmt::format("nccl {}: rank {} has a wrong {} of a number of each rank; use NCCL_P2P_DISABLE=1 in the "
                      "environment",
                      Version(), rank, what));
    return absl::OkStatus();
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
  Clock::time_point deadline_; // of connecting and its checks
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

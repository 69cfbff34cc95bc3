#include "runtime/device/read_bandwidth.h"

#include "fmt/format.h"
#include "runtime/device/cpu_device.h"
#include "runtime/device/cuda_driver.h"
#include "runtime/device/cuda_gpus.h"

#include <chrono>
#include <cstring>
#include <limits>
#include <memory>

namespace inlay {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// --- cpu --------------------------------------------------------------------

absl::StatusOr<double> MeasureCpu(int threads) {
  constexpr uint64_t kChunk = uint64_t{4} << 20; // larger than the caches of a core
  CpuDevice device(threads);
  uint64_t bytes = std::min(uint64_t{1} << 30, device.FreeMemory() / 4) / kChunk * kChunk;
  absl::StatusOr<void *> memory = device.Allocate(std::max(bytes, kChunk), "the bandwidth test");
  if (!memory.ok())
    return memory.status();
  bytes = std::max(bytes, kChunk);
  auto *words = static_cast<uint64_t *>(*memory);
  auto chunks = static_cast<int64_t>(bytes / kChunk);
  constexpr size_t kWords = kChunk / sizeof(uint64_t), kLanes = 16;
  ThreadPool &pool = device.host_pool();
  pool.Run(chunks, [&](int64_t chunk) {
    for (size_t i = 0; i < kWords; ++i)
      words[static_cast<size_t>(chunk) * kWords + i] = i * 0x9e3779b97f4a7c15u;
  });
  std::vector<uint64_t> sums(static_cast<size_t>(chunks));
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 6; ++run) {
    Clock::time_point begin = Clock::now();
    pool.Run(chunks, [&](int64_t chunk) {
      const uint64_t *at = words + static_cast<size_t>(chunk) * kWords;
      uint64_t sum[kLanes] = {};
      for (size_t i = 0; i < kWords; i += kLanes)
        for (size_t lane = 0; lane < kLanes; ++lane)
          sum[lane] ^= at[i + lane];
      for (uint64_t part : sum)
        sums[static_cast<size_t>(chunk)] ^= part;
    });
    best = std::min(best, SecondsSince(begin));
  }
  device.Free(*memory);
  return static_cast<double>(bytes) / best;
}

// --- cuda -------------------------------------------------------------------

// Each thread keeps eight loads of 16 bytes in flight. `count`, in elements of 16 bytes, is a multiple of eight times
// the number of threads of the grid. The sum is stored if it has one particular value, so that the compiler does not
// remove the loads. .minnctapersm lets ptxas use 64 registers; without it, ptxas uses 32 and only four loads are in
// flight.
constexpr const char *kReadPtx = R"(
.version 7.0
.target sm_70
.address_size 64

.visible .entry inlay_read(.param .u64 p_data, .param .u64 p_count, .param .u64 p_out)
.maxntid 256, 1, 1
.minnctapersm 4
{
  .reg .pred %done, %rare;
  .reg .b32 %block, %blocks, %threads, %thread, %sum, %part, %a<8>, %b<8>, %c<8>, %d<8>;
  .reg .b64 %data, %out, %count, %i, %stride, %bytes, %step, %at<8>;

  ld.param.u64 %data, [p_data];
  ld.param.u64 %count, [p_count];
  ld.param.u64 %out, [p_out];
  cvta.to.global.u64 %data, %data;
  cvta.to.global.u64 %out, %out;
  mov.u32 %block, %ctaid.x;
  mov.u32 %blocks, %nctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mul.wide.u32 %i, %block, %threads;
  cvt.u64.u32 %at0, %thread;
  add.u64 %i, %i, %at0;
  mul.wide.u32 %stride, %blocks, %threads;
  shl.b64 %bytes, %stride, 4;
  shl.b64 %step, %stride, 3;
  mov.u32 %sum, 0;

loop:
  setp.ge.u64 %done, %i, %count;
  @%done bra end;
  shl.b64 %at0, %i, 4;
  add.u64 %at0, %data, %at0;
  add.u64 %at1, %at0, %bytes;
  add.u64 %at2, %at1, %bytes;
  add.u64 %at3, %at2, %bytes;
  add.u64 %at4, %at3, %bytes;
  add.u64 %at5, %at4, %bytes;
  add.u64 %at6, %at5, %bytes;
  add.u64 %at7, %at6, %bytes;
{loads}{sums}  add.u64 %i, %i, %step;
  bra loop;

end:
  setp.eq.u32 %rare, %sum, 0x12345678;
  @%rare st.global.u32 [%out], %sum;
  ret;
}
)";

std::string ReadPtx() {
  std::string loads, sums, text = kReadPtx;
  for (int k = 0; k < 8; ++k) {
    loads += fmt::format("  ld.global.nc.v4.u32 {{%a{0}, %b{0}, %c{0}, %d{0}}}, [%at{0}];\n", k);
    for (char word : {'a', 'b', 'c', 'd'})
      sums += fmt::format("  xor.b32 %sum, %sum, %{}{};\n", word, k);
  }
  text.replace(text.find("{loads}"), std::strlen("{loads}"), loads);
  text.replace(text.find("{sums}"), std::strlen("{sums}"), sums);
  return text;
}

using namespace cuda_driver;

// Owns the measurement's context, stream, kernel and buffers on the GPU.
class GpuRead {
public:
  explicit GpuRead(const Api &api) : api_(api) {}
  ~GpuRead() {
    if (!context_)
      return;
    if (stream_)
      api_.StreamSynchronize(stream_);
    for (Pointer memory : {data_, out_})
      if (memory)
        api_.MemFree(memory);
    if (module_)
      api_.ModuleUnload(module_);
    if (stream_)
      api_.StreamDestroy(stream_);
    api_.PrimaryContextRelease(device_);
  }

  absl::StatusOr<double> Measure(std::string_view target, const DeviceRank &rank) {
    if (absl::Status status = Prepare(target, rank); !status.ok())
      return status;
    int multiprocessors = 0;
    api_.DeviceGetAttribute(&multiprocessors, kMultiprocessorCount, device_);
    constexpr unsigned kThreads = 256, kInFlight = 8;
    constexpr int kRuns = 8, kTries = 3;
    double best = 0;
    for (unsigned blocks_per_sm : {4u, 8u, 16u}) {
      LaunchConfig config{};
      config.grid[0] = static_cast<unsigned>(multiprocessors) * blocks_per_sm;
      config.block[0] = kThreads;
      config.grid[1] = config.grid[2] = config.block[1] = config.block[2] = 1;
      config.stream = stream_;
      uint64_t unit = uint64_t{config.grid[0]} * kThreads * kInFlight, count = bytes_ / 16 / unit * unit;
      if (count == 0)
        continue;
      void *parameters[] = {&data_, &count, &out_};
      auto run = [&](int times) -> absl::StatusOr<double> {
        Clock::time_point begin = Clock::now();
        for (int i = 0; i < times; ++i)
          if (absl::Status status = Check(api_.LaunchKernel(&config, function_, parameters, nullptr), "launching");
              !status.ok())
            return status;
        if (absl::Status status = Check(api_.StreamSynchronize(stream_), "reading memory"); !status.ok())
          return status;
        return SecondsSince(begin);
      };
      // One warm-up; then several launches per measurement, so that the host's time is negligible.
      for (int i = -1; i < kTries; ++i) {
        absl::StatusOr<double> seconds = run(i < 0 ? 1 : kRuns);
        if (!seconds.ok())
          return seconds.status();
        if (i >= 0)
          best = std::max(best, static_cast<double>(count) * 16 * kRuns / *seconds);
      }
    }
    if (best == 0)
      return absl::ResourceExhaustedError(
          fmt::format("the GPU has only {} MiB of free memory, too little to measure its bandwidth; free some memory",
                      bytes_ >> 20));
    return best;
  }

private:
  absl::Status Check(Result result, std::string_view doing) const {
    if (result == 0)
      return absl::OkStatus();
    const char *text = nullptr;
    api_.GetErrorString(result, &text);
    return absl::InternalError(
        fmt::format("measuring the read bandwidth: {} (error {}) while {}", text ? text : "unknown", result, doing));
  }

  absl::Status Prepare(std::string_view target, const DeviceRank &rank) {
    if (absl::Status status = Check(api_.Init(0), "starting the driver"); !status.ok())
      return status;
    absl::StatusOr<std::vector<FoundGpu>> found = FindGpus(api_, target, rank.count, rank.devices);
    if (!found.ok())
      return found.status();
    device_ = (*found)[rank.index].device;
    if (absl::Status status = Check(api_.PrimaryContextRetain(&context_, device_), "opening the GPU"); !status.ok())
      return status;
    api_.ContextSetCurrent(context_);
    if (absl::Status status = Check(api_.StreamCreate(&stream_, kStreamNonBlocking), "making a stream"); !status.ok())
      return status;
    std::string ptx = ReadPtx();
    if (absl::Status status = Check(api_.ModuleLoadData(&module_, ptx.c_str()), "loading its kernel"); !status.ok())
      return status;
    if (absl::Status status = Check(api_.ModuleGetFunction(&function_, module_, "inlay_read"), "finding its kernel");
        !status.ok())
      return status;
    size_t free = 0, total = 0;
    api_.MemGetInfo(&free, &total);
    bytes_ = std::min<uint64_t>(uint64_t{4} << 30, free / 2) / 16 * 16;
    if (absl::Status status = Check(api_.MemAlloc(&data_, bytes_), "allocating memory"); !status.ok())
      return status;
    if (absl::Status status = Check(api_.MemAlloc(&out_, 256), "allocating memory"); !status.ok())
      return status;
    return Check(api_.MemsetAsync(data_, 0x5a, bytes_, stream_), "filling memory");
  }

  const Api &api_;
  cuda_driver::DeviceHandle device_ = 0;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
  Module module_ = nullptr;
  Function function_ = nullptr;
  Pointer data_ = 0, out_ = 0;
  uint64_t bytes_ = 0;
};

} // namespace

absl::StatusOr<double> MeasureReadBandwidth(std::string_view target, int threads, const DeviceRank &rank) {
  if (target == "cpu")
    return MeasureCpu(threads);
  if (!target.starts_with("sm_"))
    return absl::InvalidArgumentError(fmt::format("target '{}' is unknown; expected cpu or sm_90a", target));
  absl::StatusOr<const Api *> api = LoadDriver();
  if (!api.ok())
    return api.status();
  return GpuRead(**api).Measure(target, rank);
}

} // namespace inlay

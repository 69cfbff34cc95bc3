// Loading weights: dummy weights, and uploads through pinned buffers with a fake driver that copies only when the host
// waits.
#include "runtime/bundle/dummy_weights.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/weight_loader.h"
#include "runtime/device/cuda_upload.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <set>

namespace inlay {
namespace {

using ::testing::HasSubstr;

TEST(DummyWeights, NoiseHasItsDeviationAndNoPeriodOfItsOwn) {
  ThreadPool pool(3);
  for (plan::DataType type : {plan::DataType_F32, plan::DataType_BF16}) {
    std::vector<std::byte> noise = DummyNoise(type, pool);
    size_t count = noise.size() / ElementSize(type);
    std::vector<float> values(count);
    ConvertElements(noise.data(), type, std::as_writable_bytes(std::span(values)).data(), plan::DataType_F32, count);
    double sum = 0, squares = 0, products = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += values[i];
      squares += double{values[i]} * values[i];
      products += double{values[i]} * values[(i + 1) % count];
    }
    auto n = static_cast<double>(count);
    EXPECT_NEAR(sum / n, 0, 1e-4);
    EXPECT_NEAR(std::sqrt(squares / n), 0.02, 1e-4);
    EXPECT_NEAR(products / squares, 0, 2e-3);
    EXPECT_EQ(DummyNoise(type, pool), noise);
  }
  std::set<uint64_t> starts;
  for (uint64_t i = 0; i < 1000; ++i)
    starts.insert(DummyNoiseStart(plan::DataType_BF16, i));
  EXPECT_GT(starts.size(), 990);
}

TEST(HostSink, RepetitionsBeginAnewAtThePatternsEnd) {
  ThreadPool pool(2);
  HostSink sink(pool);
  std::vector<std::byte> pattern(7), out(20);
  for (size_t i = 0; i < pattern.size(); ++i)
    pattern[i] = static_cast<std::byte>(i);
  ASSERT_TRUE(sink.Repeat(std::vector<WeightSink::Repetition>{{out.data(), 20, 5}}, pattern).ok());
  for (size_t i = 0; i < out.size(); ++i)
    EXPECT_EQ(out[i], static_cast<std::byte>((5 + i) % 7));
}

// --- A driver ---------------------------------------------------------------

// Copies are queued in their stream until the host waits for an event or the stream. So code that writes to a buffer
// too early changes the copied bytes and fails the test. Device memory is host memory.
struct FakeDriver {
  struct Copy {
    void *to;
    const void *from;
    size_t bytes;
  };
  std::mutex mutex;
  std::map<cuda_driver::Stream, std::vector<Copy>> streams;
  std::map<cuda_driver::Event, cuda_driver::Stream> events;
  uintptr_t next_handle = 1;
  int pinned = 0, allocated = 0;
  int copies_until_error = -1;

  void Arrive(cuda_driver::Stream stream) {
    for (const Copy &copy : streams[stream])
      std::memcpy(copy.to, copy.from, copy.bytes);
    streams[stream].clear();
  }
};
FakeDriver *driver;

cuda_driver::Api FakeApi() {
  using namespace cuda_driver;
  auto copy = [](void *to, const void *from, size_t bytes, Stream stream) -> Result {
    std::lock_guard lock(driver->mutex);
    if (driver->copies_until_error == 0)
      return 719;
    --driver->copies_until_error;
    driver->streams.at(stream).push_back({to, from, bytes});
    return 0;
  };
  static const auto enqueue = copy;
  Api api{};
  api.GetErrorString = [](Result, const char **text) -> Result {
    *text = "unspecified launch failure";
    return 0;
  };
  api.ContextSetCurrent = [](Context) -> Result { return 0; };
  api.MemAlloc = [](Pointer *memory, size_t bytes) -> Result {
    ++driver->allocated;
    *memory = reinterpret_cast<Pointer>(std::malloc(bytes));
    return 0;
  };
  api.MemFree = [](Pointer memory) -> Result {
    --driver->allocated;
    std::free(reinterpret_cast<void *>(memory));
    return 0;
  };
  api.MemAllocHost = [](void **memory, size_t bytes) -> Result {
    ++driver->pinned;
    *memory = std::malloc(bytes);
    return 0;
  };
  api.MemFreeHost = [](void *memory) -> Result {
    --driver->pinned;
    std::free(memory);
    return 0;
  };
  api.StreamCreate = [](Stream *stream, unsigned) -> Result {
    std::lock_guard lock(driver->mutex);
    *stream = reinterpret_cast<Stream>(driver->next_handle++);
    driver->streams[*stream];
    return 0;
  };
  api.StreamDestroy = [](Stream stream) -> Result {
    std::lock_guard lock(driver->mutex);
    EXPECT_TRUE(driver->streams.at(stream).empty());
    driver->streams.erase(stream);
    return 0;
  };
  api.StreamSynchronize = [](Stream stream) -> Result {
    std::lock_guard lock(driver->mutex);
    driver->Arrive(stream);
    return 0;
  };
  api.EventCreate = [](Event *event, unsigned) -> Result {
    std::lock_guard lock(driver->mutex);
    *event = reinterpret_cast<Event>(driver->next_handle++);
    driver->events[*event] = nullptr;
    return 0;
  };
  api.EventRecord = [](Event event, Stream stream) -> Result {
    std::lock_guard lock(driver->mutex);
    driver->events.at(event) = stream;
    return 0;
  };
  api.EventSynchronize = [](Event event) -> Result {
    std::lock_guard lock(driver->mutex);
    driver->Arrive(driver->events.at(event));
    return 0;
  };
  api.EventDestroy = [](Event event) -> Result {
    std::lock_guard lock(driver->mutex);
    return driver->events.erase(event) == 1 ? 0 : 1;
  };
  api.MemcpyToDeviceAsync = [](Pointer to, const void *from, size_t bytes, Stream stream) -> Result {
    return enqueue(reinterpret_cast<void *>(to), from, bytes, stream);
  };
  api.MemcpyOnDeviceAsync = [](Pointer to, Pointer from, size_t bytes, Stream stream) -> Result {
    return enqueue(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes, stream);
  };
  return api;
}

class UploadTest : public ::testing::Test {
protected:
  void SetUp() override { driver = &fake_; }
  void TearDown() override {
    EXPECT_EQ(fake_.pinned, 0);
    EXPECT_EQ(fake_.allocated, 0);
    EXPECT_TRUE(fake_.streams.empty());
    EXPECT_TRUE(fake_.events.empty());
  }

  FakeDriver fake_;
  cuda_driver::Api api_ = FakeApi();
  ThreadPool pool_{4};
};

// The expected value of byte `i` of range `range`.
std::byte Content(size_t range, uint64_t i) { return static_cast<std::byte>((range * 131 + i * 7 + (i >> 16)) & 0xff); }

absl::Status Fill(size_t range, uint64_t first, std::span<std::byte> out) {
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = Content(range, first + i);
  return absl::OkStatus();
}

TEST_F(UploadTest, EveryByteArrivesOnce) {
  std::vector<std::vector<std::byte>> memory;
  std::vector<WeightSink::Range> ranges;
  for (uint64_t bytes : {uint64_t{9} << 20, uint64_t{5}, uint64_t{2} << 20, (uint64_t{4} << 20) + 1, uint64_t{300}})
    memory.emplace_back(bytes);
  for (std::vector<std::byte> &one : memory)
    ranges.push_back({one.data(), one.size()});
  absl::Status status = UploadRanges(api_, nullptr, ranges, Fill, pool_);
  ASSERT_TRUE(status.ok()) << status;
  for (size_t range = 0; range < memory.size(); ++range)
    for (uint64_t i = 0; i < memory[range].size(); ++i)
      ASSERT_EQ(memory[range][i], Content(range, i)) << range << " at " << i;
}

// The kernel is a copy on the stream, so it reads the buffer when the stream runs it, as on a GPU.
TEST_F(UploadTest, PackedRangesAreLaunchedOnWhatWasCopied) {
  std::vector<std::byte> memory(40 * 100'000);
  std::vector<WeightSink::PackedRange> ranges;
  for (uint64_t i = 0; i < 40; ++i)
    ranges.push_back({memory.data() + i * 100'000, nullptr, static_cast<uint32_t>(i), 100'000});
  absl::Status status = UploadPacked(
      api_, nullptr, ranges, Fill,
      [&](cuda_driver::Stream stream, const WeightSink::PackedRange &range, cuda_driver::Pointer sources) {
        EXPECT_EQ(
            api_.MemcpyOnDeviceAsync(reinterpret_cast<cuda_driver::Pointer>(range.to), sources, range.bytes, stream),
            0);
        return absl::OkStatus();
      },
      pool_);
  ASSERT_TRUE(status.ok()) << status;
  for (size_t range = 0; range < ranges.size(); ++range)
    for (uint64_t i = 0; i < 100'000; ++i)
      ASSERT_EQ(memory[range * 100'000 + i], Content(range, i)) << range << " at " << i;
  EXPECT_EQ(UploadPacked(
                api_, nullptr, ranges, Fill, [](auto &&...) { return absl::InternalError("no such kernel"); }, pool_)
                .message(),
            "no such kernel");
}

TEST_F(UploadTest, AnErrorWhileFillingEndsItAndIsReported) {
  std::vector<std::byte> memory(uint64_t{8} << 20);
  std::vector<WeightSink::Range> ranges{{memory.data(), memory.size()}};
  absl::Status status = UploadRanges(
      api_, nullptr, ranges,
      [&](size_t range, uint64_t first, std::span<std::byte> out) {
        return first < (uint64_t{4} << 20) ? Fill(range, first, out) : absl::DataLossError("chunk 3 is damaged");
      },
      pool_);
  EXPECT_EQ(status.message(), "chunk 3 is damaged");
}

TEST_F(UploadTest, AnErrorOfTheDriverIsReported) {
  fake_.copies_until_error = 2;
  std::vector<std::byte> memory(uint64_t{16} << 20);
  std::vector<WeightSink::Range> ranges{{memory.data(), memory.size()}};
  EXPECT_THAT(std::string(UploadRanges(api_, nullptr, ranges, Fill, pool_).message()),
              HasSubstr("unspecified launch failure (error 719) while copying weights"));
}

TEST_F(UploadTest, RepetitionsAreCopiedOnTheDevice) {
  std::vector<std::byte> pattern((uint64_t{5} << 20) + 3), out(uint64_t{13} << 20), other(100);
  ASSERT_TRUE(Fill(0, 0, pattern).ok());
  std::vector<WeightSink::Repetition> parts{{out.data(), out.size(), 77},
                                            {other.data(), other.size(), pattern.size() - 1}};
  absl::Status status = UploadRepetitions(api_, nullptr, parts, pattern, pool_);
  ASSERT_TRUE(status.ok()) << status;
  for (uint64_t i = 0; i < out.size(); ++i)
    ASSERT_EQ(out[i], pattern[(77 + i) % pattern.size()]) << i;
  for (uint64_t i = 0; i < other.size(); ++i)
    ASSERT_EQ(other[i], pattern[(pattern.size() - 1 + i) % pattern.size()]) << i;
}

} // namespace
} // namespace inlay

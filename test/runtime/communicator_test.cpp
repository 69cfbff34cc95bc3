// Collective operations of ranks that are threads: results, identical bits, order of calls, and failures. The results
// are also those of ranks that exchange data through shared memory, as processes do.
#include "runtime/distributed/cpu_communicator.h"
#include "runtime/distributed/rank_threads.h"

#include "runtime/bundle/elements.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <pthread.h>
#include <random>
#include <stdexcept>

namespace inlay {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::unique_ptr<Communicator>> MakeSharedCommunicators(const std::shared_ptr<RankGroup> &group) {
  const uint64_t bytes = CpuExchangeBytes(group->size());
  std::shared_ptr<std::byte> memory(static_cast<std::byte *>(std::aligned_alloc(4096, bytes)), std::free);
  std::memset(memory.get(), 0, bytes);
  std::vector<uint32_t> members(group->size());
  std::iota(members.begin(), members.end(), 0u);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (uint32_t rank : members)
    communicators.push_back(MakeSharedCommunicator(group, members, rank, memory));
  return communicators;
}

// Ranks that run one function at once.
struct Ranks {
  explicit Ranks(uint32_t count, RankGroup::Clock::duration timeout = 20s, bool is_shared = false)
      : group(std::make_shared<RankGroup>(count, timeout)),
        communicators(is_shared ? MakeSharedCommunicators(group) : MakeCpuCommunicators(group)), threads(group) {}

  absl::Status Run(const std::function<absl::Status(Communicator &)> &body) {
    return threads.Run([&](uint32_t rank) { return body(*communicators[rank]); }, RankThreads::Limit::kTimeout);
  }

  std::shared_ptr<RankGroup> group;
  std::vector<std::unique_ptr<Communicator>> communicators;
  RankThreads threads;
};

// The number of ranks, and whether their communicators exchange data as those of processes.
class Collectives : public ::testing::TestWithParam<std::tuple<uint32_t, bool>> {
protected:
  static uint32_t Count() { return std::get<0>(GetParam()); }
  Ranks ranks{Count(), 20s, std::get<1>(GetParam())};
};

// Values whose sum depends on the order of the additions.
std::vector<float> Values(uint32_t rank, size_t count) {
  std::minstd_rand random(rank + 1);
  std::vector<float> values(count);
  for (float &value : values)
    value = std::ldexp(static_cast<float>(random() % 2001) - 1000.0f, static_cast<int>(random() % 20) - 10);
  return values;
}

TEST_P(Collectives, SumInTheOrderOfTheRanks) {
  for (size_t count : {size_t{1}, size_t{3}, size_t{1000}, size_t{5003}, size_t{200003}}) {
    std::vector<float> expected = Values(0, count);
    for (uint32_t rank = 1; rank < Count(); ++rank) {
      std::vector<float> addends = Values(rank, count);
      for (size_t i = 0; i < count; ++i)
        expected[i] += addends[i];
    }
    std::vector<std::vector<float>> found(Count());
    absl::Status status = ranks.Run([&](Communicator &communicator) {
      std::vector<float> &values = found[communicator.rank()] = Values(communicator.rank(), count);
      return communicator.AllReduce(values.data(), values.data(), count, plan::DataType_F32);
    });
    ASSERT_TRUE(status.ok()) << status;
    for (const std::vector<float> &values : found)
      EXPECT_TRUE(values == expected) << count;
  }
}

// An element has the same bits, however many others are in the call.
TEST_P(Collectives, SumsDoNotDependOnTheBatch) {
  constexpr size_t kCount = 700;
  std::vector<std::vector<float>> together(Count()), alone(Count());
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    std::vector<float> values = Values(communicator.rank(), kCount);
    std::vector<float> &all = together[communicator.rank()], &each = alone[communicator.rank()];
    all.resize(kCount);
    each.resize(kCount);
    absl::Status result = communicator.AllReduce(values.data(), all.data(), kCount, plan::DataType_F32);
    for (size_t i = 0; i < kCount; i += 7)
      result.Update(communicator.AllReduce(values.data() + i, each.data() + i, 7, plan::DataType_F32));
    return result;
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(together == alone);
}

TEST_P(Collectives, RoundSumsOfSmallTypesOnce) {
  for (plan::DataType type : {plan::DataType_BF16, plan::DataType_F16}) {
    // 256 + 1 + 1 rounds to 258 in bfloat16, but to 256 if it is rounded after each addition.
    std::vector<uint16_t> found(Count());
    absl::Status status = ranks.Run([&](Communicator &communicator) {
      float value = communicator.rank() == 0 ? 256.0f : 1.0f;
      uint16_t &element = found[communicator.rank()];
      ConvertElements(reinterpret_cast<const std::byte *>(&value), plan::DataType_F32,
                      reinterpret_cast<std::byte *>(&element), type, 1);
      return communicator.AllReduce(&element, &element, 1, type);
    });
    ASSERT_TRUE(status.ok()) << status;
    float sum = 256.0f + static_cast<float>(Count() - 1);
    uint16_t expected = 0;
    ConvertElements(reinterpret_cast<const std::byte *>(&sum), plan::DataType_F32,
                    reinterpret_cast<std::byte *>(&expected), type, 1);
    EXPECT_EQ(found, std::vector<uint16_t>(Count(), expected)) << plan::EnumNameDataType(type);
  }
}

TEST_P(Collectives, GatherColumnsOfEachRow) {
  constexpr uint64_t kRows = 3, kColumns = 2;
  // Of the last rank, one column is dropped.
  const uint64_t all = Count() * kColumns - 1;
  std::vector<std::vector<int32_t>> found(Count(), std::vector<int32_t>(kRows * all, -1));
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    std::vector<int32_t> own;
    for (uint64_t row = 0; row < kRows; ++row)
      for (uint64_t column = 0; column < kColumns; ++column)
        own.push_back(static_cast<int32_t>(100 * row + communicator.rank() * kColumns + column));
    return communicator.AllGather(own.data(), found[communicator.rank()].data(),
                                  {kRows, kColumns * sizeof(int32_t), all * sizeof(int32_t)});
  });
  ASSERT_TRUE(status.ok()) << status;
  for (const std::vector<int32_t> &values : found)
    for (uint64_t row = 0; row < kRows; ++row)
      for (uint64_t column = 0; column < all; ++column)
        EXPECT_EQ(values[row * all + column], static_cast<int32_t>(100 * row + column));
}

// reduce_scatter and all_gather together are all_reduce.
TEST_P(Collectives, ReduceAndScatter) {
  constexpr uint64_t kCount = 60001;
  const uint64_t all = kCount * Count();
  std::atomic<int> equal = 0;
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    std::vector<float> values = Values(communicator.rank(), all), part(kCount), gathered(all), reduced(all);
    absl::Status result = communicator.ReduceScatter(values.data(), part.data(), kCount, plan::DataType_F32);
    result.Update(
        communicator.AllGather(part.data(), gathered.data(), {1, kCount * sizeof(float), all * sizeof(float)}));
    result.Update(communicator.AllReduce(values.data(), reduced.data(), all, plan::DataType_F32));
    equal += gathered == reduced;
    return result;
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(equal, static_cast<int>(Count()));
}

// Rows that do not fit in what ranks can show at a time.
TEST_P(Collectives, GatherLongRows) {
  constexpr uint64_t kRows = 2, kColumns = 100003;
  const uint64_t all = Count() * kColumns - 5;
  std::atomic<int> wrong = 0;
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    std::vector<int32_t> own(kRows * kColumns), gathered(kRows * all);
    std::iota(own.begin(), own.end(), static_cast<int32_t>(communicator.rank() * own.size()));
    absl::Status result =
        communicator.AllGather(own.data(), gathered.data(), {kRows, kColumns * sizeof(int32_t), all * sizeof(int32_t)});
    for (uint64_t row = 0; row < kRows; ++row)
      for (uint64_t column = 0; column < all; ++column)
        wrong += gathered[row * all + column] !=
                 static_cast<int32_t>((column / kColumns * kRows + row) * kColumns + column % kColumns);
    return result;
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(wrong, 0);
}

TEST_P(Collectives, PassALongMessage) {
  std::vector<int32_t> sent(300007), found(sent.size());
  std::iota(sent.begin(), sent.end(), 1);
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    if (communicator.rank() == 0)
      return communicator.Send(sent.data(), sent.size() * sizeof(int32_t), 1);
    return communicator.rank() == 1 ? communicator.Receive(found.data(), found.size() * sizeof(int32_t), 0)
                                    : absl::OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(found == sent);
}

TEST_P(Collectives, PassMessagesAround) {
  std::vector<int32_t> found(Count(), -1);
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    uint32_t rank = communicator.rank(), next = (rank + 1) % communicator.size(),
             before = (rank + communicator.size() - 1) % communicator.size();
    absl::Status result;
    for (int32_t round = 0; round < 20; ++round) {
      int32_t message = 100 * round + static_cast<int32_t>(rank);
      // Rank 0 sends first, so that not all wait for a receiver.
      if (rank == 0)
        result.Update(communicator.Send(&message, sizeof message, next));
      result.Update(communicator.Receive(&found[rank], sizeof(int32_t), before));
      if (rank != 0)
        result.Update(communicator.Send(&message, sizeof message, next));
    }
    return result;
  });
  ASSERT_TRUE(status.ok()) << status;
  for (uint32_t rank = 0; rank < Count(); ++rank)
    EXPECT_EQ(found[rank], 1900 + static_cast<int32_t>((rank + Count() - 1) % Count()));
}

// Many calls after each other, with ranks that are late in turn.
TEST_P(Collectives, DoNotMixCalls) {
  std::atomic<int> wrong = 0;
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    absl::Status result;
    for (int round = 0; round < 300 && result.ok(); ++round) {
      communicator.BeginStep(round);
      if (static_cast<uint32_t>(round) % (7 * communicator.size()) == communicator.rank())
        std::this_thread::sleep_for(100us);
      float value = static_cast<float>(round);
      result.Update(communicator.AllReduce(&value, &value, 1, plan::DataType_F32));
      wrong += value != static_cast<float>(round) * static_cast<float>(communicator.size());
      result.Update(communicator.Barrier());
    }
    return result;
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Collectives, ::testing::Combine(::testing::Values(2u, 3u, 4u), ::testing::Bool()),
                         [](const auto &info) {
                           return std::to_string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "RanksWithSharedMemory" : "Ranks");
                         });

TEST(Communicator, NamesBothCallsThatDiffer) {
  struct {
    std::function<absl::Status(Communicator &)> second;
    const char *message;
  } cases[] = {
      {[](Communicator &c) {
         float values[4] = {};
         return c.AllReduce(values, values, 3, plan::DataType_F32);
       },
       "the ranks do not run the same step: rank 0 is at all_reduce of 16 bytes in step 7, rank 1 is at all_reduce of "
       "12 bytes in step 7"},
      {[](Communicator &c) { return c.Barrier(); },
       "rank 0 is at all_reduce of 16 bytes in step 7, rank 1 is at barrier of 0 bytes in step 7"},
      {[](Communicator &c) {
         float values[4] = {};
         c.BeginStep(8);
         return c.AllReduce(values, values, 4, plan::DataType_F32);
       },
       "rank 0 is at all_reduce of 16 bytes in step 7, rank 1 is at all_reduce of 16 bytes in step 8"}};
  for (const auto &[second, message] : cases) {
    Ranks ranks(2);
    absl::Status status = ranks.Run([&](Communicator &communicator) {
      float values[4] = {};
      communicator.BeginStep(7);
      return communicator.rank() == 1 ? second(communicator)
                                      : communicator.AllReduce(values, values, 4, plan::DataType_F32);
    });
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    // The group does not go on.
    EXPECT_EQ(ranks.Run([](Communicator &communicator) { return communicator.Barrier(); }), status);
  }
}

TEST(Communicator, MessagesOfOtherSizesAreErrors) {
  Ranks ranks(2);
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    int64_t message = 0;
    return communicator.rank() == 0 ? communicator.Send(&message, 8, 1) : communicator.Receive(&message, 4, 0);
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("rank 0 is at message of 8 bytes in step 0, rank 1 is at message of 4 bytes in step 0"));
}

TEST(Communicator, WrongArgumentsAreErrors) {
  Ranks ranks(2);
  Communicator &communicator = *ranks.communicators[0];
  EXPECT_EQ(std::string(communicator.AllReduce(nullptr, nullptr, 1, plan::DataType_I8).message()),
            "all_reduce: cannot sum elements I8, expected F32, BF16 or F16");
  EXPECT_EQ(std::string(communicator.AllGather(nullptr, nullptr, {1, 4, 9}).message()),
            "all_gather: makes rows of 9 bytes from 2 ranks' 4, expected 8");
  EXPECT_EQ(std::string(communicator.Send(nullptr, 1, 0).message()),
            "send: rank 0 has no peer 0, expected another one of 2 ranks");
  EXPECT_FALSE(ranks.group->has_failed());
}

// --- Failures ----------------------------------------------------------------

// Runs a step in which rank 1 does something else than an all_reduce. All ranks get one status in time.
absl::Status FailingStep(Ranks &ranks, const std::function<absl::Status()> &fault, RankGroup::Clock::duration most) {
  std::vector<absl::Status> seen(ranks.group->size());
  int listened = 0;
  ranks.group->SetListener([&](const absl::Status &) { ++listened; });
  auto begin = RankGroup::Clock::now();
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    float value = 1;
    communicator.BeginStep(3);
    absl::Status result =
        communicator.rank() == 1 ? fault() : communicator.AllReduce(&value, &value, 1, plan::DataType_F32);
    return seen[communicator.rank()] = result;
  });
  EXPECT_LT(RankGroup::Clock::now() - begin, most);
  EXPECT_EQ(listened, 1);
  for (uint32_t rank = 0; rank < seen.size(); ++rank)
    if (rank != 1)
      EXPECT_EQ(seen[rank], status) << rank;
  EXPECT_EQ(ranks.Run([](Communicator &communicator) { return absl::OkStatus(); }), status);
  return status;
}

TEST(RankFailure, AnErrorEndsTheOthers) {
  Ranks ranks(3);
  absl::Status status = FailingStep(ranks, [] { return absl::ResourceExhaustedError("no memory"); }, 5s);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1: no memory; the engine cannot continue"));
}

TEST(RankFailure, AnExceptionEndsTheOthers) {
  Ranks ranks(3);
  absl::Status status = FailingStep(ranks, []() -> absl::Status { throw std::runtime_error("bad"); }, 5s);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1: has thrown an exception: bad"));
}

TEST(RankFailure, TheEndOfAThreadEndsTheOthers) {
  Ranks ranks(3);
  absl::Status status = FailingStep(ranks, []() -> absl::Status { pthread_exit(nullptr); }, 5s);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the thread of rank 1 (step 3"));
}

TEST(RankFailure, AStallEndsTheOthers) {
  constexpr auto kTimeout = 150ms;
  Ranks ranks(3, kTimeout);
  std::atomic<bool> has_failed = false;
  ::testing::internal::CaptureStderr();
  absl::Status status = FailingStep(
      ranks,
      [&] {
        while (!ranks.group->has_failed())
          std::this_thread::sleep_for(1ms);
        has_failed = true;
        return absl::OkStatus();
      },
      10 * kTimeout);
  EXPECT_TRUE(has_failed);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr("has waited 0.15 s (--distributed-timeout) in all_reduce of 4 bytes in step 3 for rank 1 (step 3, "
                "call 0: computing"));
  // The log says what each rank does.
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("inlay: rank 0 (step 3, call 1: all_reduce of 4 bytes, for "));
  EXPECT_THAT(log, HasSubstr("inlay: rank 1 (step 3, call 0: computing, for "));
}

// After the last collective of a step nobody waits for the rank within a call.
TEST(RankFailure, AStallAfterTheLastCallEndsTheOthers) {
  Ranks ranks(2, 150ms);
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    absl::Status result = communicator.Barrier();
    while (communicator.rank() == 1 && !ranks.group->has_failed())
      std::this_thread::sleep_for(1ms);
    return result;
  });
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("rank 0 has waited 0.15 s (--distributed-timeout) for the end of rank 1 (step 0, call 1"));
}

// Rank 0 waits for rank 2, which waits for rank 1, which computes. Rank 0 waits longer than the timeout, but no rank
// computes as long.
TEST(RankFailure, ARankThatWaitsWhileOthersGoOnIsNotLate) {
  constexpr std::chrono::milliseconds kTimeout = 1s;
  Ranks ranks(3, kTimeout);
  auto compute = [&](uint32_t rank) {
    ranks.group->SetWork(rank, "computing");
    std::this_thread::sleep_for(kTimeout * 3 / 5);
  };
  auto begin = std::chrono::steady_clock::now();
  absl::Status status = ranks.Run([&](Communicator &communicator) {
    int32_t message = 0;
    absl::Status result;
    switch (communicator.rank()) {
    case 0:
      return communicator.Receive(&message, sizeof message, 2);
    case 1:
      for (int part = 0; part < 3; ++part)
        compute(1);
      return communicator.Send(&message, sizeof message, 2);
    default:
      result = communicator.Receive(&message, sizeof message, 1);
      compute(2);
      result.Update(communicator.Send(&message, sizeof message, 0));
      return result;
    }
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_GT(std::chrono::steady_clock::now() - begin, 2 * kTimeout);
}

TEST(RankFailure, AnyThreadCanAbort) {
  Ranks ranks(2);
  std::thread aborter([&] {
    std::this_thread::sleep_for(10ms);
    ranks.communicators[1]->Abort(absl::CancelledError("stop"));
  });
  absl::Status status = ranks.Run(
      [](Communicator &communicator) { return communicator.rank() == 0 ? communicator.Barrier() : absl::OkStatus(); });
  aborter.join();
  EXPECT_EQ(status, absl::CancelledError("stop"));
}

} // namespace
} // namespace inlay

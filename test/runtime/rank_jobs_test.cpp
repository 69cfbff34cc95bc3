// Ranks of stages: they are in several sets of communicators, and begin a job while others have the one before.
#include "runtime/distributed/cpu_communicator.h"
#include "runtime/distributed/rank_threads.h"

#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Ranks 0 and 1 are one stage of a pipeline, ranks 2 and 3 the next one. Each set has its own sums, and messages go
// from a rank to the one at its place in the other stage.
TEST(RankSets, SumAndSendOnTheirOwn) {
  auto group = std::make_shared<RankGroup>(4, 20s);
  std::vector<std::unique_ptr<Communicator>> of_stage(4), of_place(4);
  auto connect = [&](std::vector<uint32_t> members, std::vector<std::unique_ptr<Communicator>> &of_rank) {
    std::vector<std::unique_ptr<Communicator>> made = MakeCpuCommunicators(group, members);
    for (size_t i = 0; i < members.size(); ++i)
      of_rank[members[i]] = std::move(made[i]);
  };
  connect({0, 1}, of_stage);
  connect({2, 3}, of_stage);
  connect({0, 2}, of_place);
  connect({1, 3}, of_place);
  EXPECT_EQ(of_stage[3]->rank(), 1u);
  EXPECT_EQ(of_place[3]->size(), 2u);
  RankThreads threads(group);
  std::vector<float> found(4);
  absl::Status status = threads.Run(
      [&](uint32_t rank) {
        float value = 1;
        if (rank >= 2)
          if (absl::Status received = of_place[rank]->Receive(&value, sizeof value, 0); !received.ok())
            return received;
        absl::Status summed = of_stage[rank]->AllReduce(&value, &value, 1, plan::DataType_F32);
        found[rank] = value;
        return rank < 2 && summed.ok() ? of_place[rank]->Send(&value, sizeof value, 1) : summed;
      },
      RankThreads::Limit::kTimeout);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(found, ElementsAre(2, 2, 4, 4));
  // Messages name the rank in the group.
  status = threads.Run(
      [&](uint32_t rank) {
        float value = 1;
        if (rank < 2)
          return absl::OkStatus();
        return of_stage[rank]->AllReduce(&value, &value, rank - 1, plan::DataType_F32);
      },
      RankThreads::Limit::kTimeout);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 2 is at all_reduce of 4 bytes in step 0, rank 3 is at"));
  EXPECT_EQ(of_place[0]->Barrier(), status);
}

// Rank 0 posts the next job while rank 1 is in the one before.
TEST(RankThreads, RunJobsInTheirOrderWithoutWaitingForEachOther) {
  auto group = std::make_shared<RankGroup>(2, 20s);
  RankThreads threads(group);
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future();
  std::vector<int> done[2];
  auto post = [&](int number) {
    return threads.Post(
        [&done, gone, number](uint32_t rank) {
          if (rank == 1)
            gone.wait();
          done[rank].push_back(number);
          return absl::OkStatus();
        },
        RankThreads::Limit::kTimeout);
  };
  int64_t first = post(1), second = post(2);
  EXPECT_THAT(done[0], ElementsAre(1, 2));
  go.set_value();
  EXPECT_TRUE(threads.Wait(first).ok());
  EXPECT_TRUE(threads.Wait(second).ok());
  EXPECT_THAT(done[1], ElementsAre(1, 2));
}

// After a failure, bodies of later jobs are not called, and Wait() returns when no rank is in one.
TEST(RankThreads, AFailureEndsAllJobs) {
  auto group = std::make_shared<RankGroup>(2, 20s);
  RankThreads threads(group);
  std::atomic<int> calls = 0;
  auto body = [&](uint32_t rank) {
    ++calls;
    return rank == 1 ? absl::InternalError("broken") : absl::OkStatus();
  };
  int64_t first = threads.Post(body, RankThreads::Limit::kTimeout);
  absl::Status status = threads.Wait(first);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1: broken; the engine cannot continue"));
  EXPECT_EQ(threads.Run(body, RankThreads::Limit::kTimeout), status);
  EXPECT_EQ(calls, 2);
}

} // namespace
} // namespace inlay

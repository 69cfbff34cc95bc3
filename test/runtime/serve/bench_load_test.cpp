// The load of bench-model serve: workloads, arrival times and the statistics of measured times.
#include "runtime/tools/bench_load.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <cmath>
#include <set>

namespace inlay::tools {
namespace {

TEST(JobsTest, RandomPromptsAreReproducibleAndAsLongAsAsked) {
  Dataset dataset{.num_prompts = 20, .input_len = 10, .output_len = 4, .range_ratio = 0.5, .vocab_size = 50, .seed = 3};
  std::vector<Job> jobs = MakeJobs(dataset), again = MakeJobs(dataset);
  std::set<size_t> lengths;
  for (size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(jobs[i].prompt, again[i].prompt);
    EXPECT_THAT(jobs[i].prompt.size(), ::testing::AllOf(::testing::Ge(5u), ::testing::Le(15u)));
    EXPECT_THAT(jobs[i].prompt, ::testing::Each(::testing::AllOf(::testing::Ge(0), ::testing::Lt(50))));
    lengths.insert(jobs[i].prompt.size());
  }
  EXPECT_GT(lengths.size(), 3u);
}

TEST(JobsTest, PrefixesTakeTurns) {
  std::vector<Job> jobs =
      MakeJobs({.name = "prefix_repetition", .num_prompts = 4, .input_len = 3, .prefix_len = 8, .num_prefixes = 2});
  auto prefix = [&](size_t i) { return std::vector<int32_t>(jobs[i].prompt.begin(), jobs[i].prompt.begin() + 8); };
  EXPECT_EQ(prefix(0), prefix(2));
  EXPECT_EQ(prefix(1), prefix(3));
  EXPECT_NE(prefix(0), prefix(1));
  EXPECT_NE(jobs[0].prompt, jobs[2].prompt);
}

TEST(JobsTest, ConversationsHaveTurns) {
  std::vector<Job> jobs = MakeJobs({.name = "multi_turn", .num_prompts = 7, .turns = 3});
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs[0].turns.size(), 3u);
}

TEST(ArrivalsTest, GapsHaveTheMeanAndTheSpreadOfTheirRate) {
  for (double burstiness : {1.0, 4.0}) {
    std::vector<double> arrivals = MakeArrivals(20'001, 10, burstiness, 1);
    double mean = arrivals.back() / 20'000, variance = 0;
    for (size_t i = 1; i < arrivals.size(); ++i)
      variance += std::pow(arrivals[i] - arrivals[i - 1] - mean, 2) / 20'000;
    EXPECT_NEAR(mean, 0.1, 0.005);
    EXPECT_NEAR(std::sqrt(variance) / mean, 1 / std::sqrt(burstiness), 0.05); // 1 for Poisson arrivals
  }
  EXPECT_EQ(MakeArrivals(3, INFINITY, 1, 1), (std::vector<double>{0, 0, 0}));
}

TEST(SummaryTest, PercentilesAreNumpys) {
  EXPECT_DOUBLE_EQ(Percentile({4, 1, 3, 2}, 50), 2.5);
  EXPECT_DOUBLE_EQ(Percentile({1, 2, 3, 4, 5}, 99), 4.96);
  EXPECT_DOUBLE_EQ(Percentile({7}, 99), 7);
  EXPECT_DOUBLE_EQ(Percentile({}, 99), 0);
}

TEST(SummaryTest, FailuresCountApartAndGoodputHasAllLimits) {
  std::vector<RequestTimes> times(3);
  times[0] = {.ttft = 0.1, .latency = 0.5, .itl = {0.2, 0.2}, .input_len = 7, .output_len = 3};
  times[1] = {.ttft = 0.3, .latency = 0.3, .itl = {}, .input_len = 5, .output_len = 1};
  times[2].error = "500: x";
  nlohmann::ordered_json result = Summarize(times, 2.0, {}, {{"ttft", 200}, {"e2el", 600}}, {99});
  EXPECT_EQ(result["completed"], 2);
  EXPECT_EQ(result["failed"], 1);
  EXPECT_EQ(result["total_input_tokens"], 12);
  EXPECT_EQ(result["output_throughput"], 2.0);
  EXPECT_EQ(result["request_goodput"], 0.5);
  EXPECT_DOUBLE_EQ(result["mean_ttft_ms"], 200.0);
  EXPECT_DOUBLE_EQ(result["mean_tpot_ms"], 200.0); // from the one request with more than one token
  EXPECT_DOUBLE_EQ(result["median_itl_ms"], 200.0);
  EXPECT_EQ(result["errors"]["500: x"], 1);
  nlohmann::ordered_json details = Details(times);
  EXPECT_EQ(details["itls"].dump(), "[[0.2,0.2],[],[]]");
  EXPECT_EQ(details["input_lens"].dump(), "[7,5,0]");
  EXPECT_EQ(details["errors"].dump(), R"(["","","500: x"])");
}

TEST(SummaryTest, LimitsAreChecked) {
  EXPECT_EQ(ParseGoodput({"ttft:500", "tpot:2.5"})->at("tpot"), 2.5);
  for (const char *wrong : {"ttft", "ttft:", "ttft:-1", "speed:3", "ttft:x"})
    EXPECT_FALSE(ParseGoodput({wrong}).ok()) << wrong;
}

} // namespace
} // namespace inlay::tools

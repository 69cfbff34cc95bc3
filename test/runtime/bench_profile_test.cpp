// Analysis of kernel records by bench-model --profile: finding steps, overlaps and gaps, bytes, and the trace.
#include "runtime/tools/bench_profile.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inlay::tools {
namespace {

using testing::ContainsRegex;
using testing::DoubleNear;
using testing::HasSubstr;

const std::vector<PlannedLaunch> kPlanned = {{"embed", "model.embed: embedding"},
                                             {"qkv", "model.layers.0.qkv: linear"},
                                             {"down", "model.layers.0.down: linear"},
                                             {"qkv", "model.layers.1.qkv: linear"},
                                             {"down", "model.layers.1.down: linear"}};

// Makes records from names, start times and end times in microseconds.
std::vector<KernelRecord> Records(std::initializer_list<std::tuple<const char *, double, double>> kernels) {
  std::vector<KernelRecord> records;
  for (const auto &[name, start, end] : kernels)
    records.push_back({name, static_cast<uint64_t>(1e6 + start * 1e3), static_cast<uint64_t>(1e6 + end * 1e3), {}, {}});
  return records;
}

// Two steps of 10 us. In each, the second qkv starts 1 us before its predecessor ends, and there is a gap of 2 us
// before the first qkv.
std::vector<KernelRecord> TwoSteps() {
  return Records({{"embed", 0, 1},
                  {"qkv", 3, 5},
                  {"down", 5, 7},
                  {"qkv", 6, 8},
                  {"down", 8, 10},
                  {"embed", 15, 16},
                  {"qkv", 18, 20},
                  {"down", 20, 22},
                  {"qkv", 21, 23},
                  {"down", 23, 25}});
}

// Which GPUs the ranks have depends on the machine.
TEST(RecordsOfRankTest, TakesThoseOfOneDevice) {
  std::vector<KernelRecord> all = Records({{"a", 0, 1}, {"b", 0, 1}, {"c", 1, 2}});
  all[0].device = all[2].device = 5;
  all[1].device = 2;
  auto names = [&](uint32_t rank) {
    std::string text;
    const std::vector<KernelRecord> found = *RecordsOfRank(all, rank, 2);
    for (const KernelRecord &record : found)
      text += record.name;
    return text;
  };
  EXPECT_EQ(names(0), "b");
  EXPECT_EQ(names(1), "ac");
  const std::vector<int32_t> gpus = {5, 2}; // --device 5,2
  EXPECT_EQ((*RecordsOfRank(all, 1, 2, gpus)).front().name, "b");
  EXPECT_EQ(
      RecordsOfRank(all, 1, 3).status().message(),
      "--profile-rank 1: kernels of 2 devices were traced, expected those of 3 ranks, each on a device of its own");
  EXPECT_TRUE(RecordsOfRank({}, 1, 2)->empty());
}

TEST(FindStepsTest, FindsWholeStepsOnly) {
  std::vector<KernelRecord> records = TwoSteps();
  records.erase(records.begin()); // the trace began inside a step
  records.pop_back();             // and ended inside one
  EXPECT_TRUE(FindSteps(records, kPlanned).empty());
  std::vector<StepRange> steps = FindSteps(TwoSteps(), kPlanned);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].first, 0u);
  EXPECT_EQ(steps[0].end, 5u);
  EXPECT_EQ(steps[1].end, 10u);
}

TEST(FindStepsTest, KernelsOfTheRuntimeBelongToTheStep) {
  std::vector<KernelRecord> records = TwoSteps();
  records.insert(records.begin() + 2, Records({{"plan", 5, 5.5}})[0]);
  std::vector<StepRange> steps = FindSteps(records, kPlanned);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].end, 6u);
  StepProfile profile = Summarize(records, steps, kPlanned, {}, {});
  EXPECT_EQ(profile.rows[2].origin, "of the runtime");
}

TEST(FindStepsTest, WhatRunsBetweenStepsBelongsToTheFirst) {
  std::vector<KernelRecord> records = TwoSteps();
  records.insert(records.begin() + 5, Records({{"next", 11, 12}})[0]);
  std::vector<StepRange> steps = FindSteps(records, kPlanned);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].end, 6u);
  EXPECT_DOUBLE_EQ(Summarize(records, steps, kPlanned, {}, {}).between_us, 3);
  // Many kernels between two steps are not taken for kernels of the runtime: they are a step of another entry point.
  records.insert(records.begin() + 5, 20, Records({{"gemm", 11, 11.01}})[0]);
  EXPECT_EQ(FindSteps(records, kPlanned)[0].end, 5u);
}

TEST(FindStepsTest, WhatALibraryLaunchesIsNamedByThePlan) {
  std::vector<PlannedLaunch> planned = kPlanned;
  planned[2].is_library = planned[4].is_library = true;
  std::vector<KernelRecord> records = TwoSteps();
  for (KernelRecord &record : records)
    if (record.name == "down")
      record.name = "nvjet_tst_128x256";
  EXPECT_TRUE(FindSteps(records, planned).empty());
  std::vector<KernelRecord> named = NameByPlan(records, planned);
  for (size_t i = 0; i < named.size(); ++i)
    EXPECT_EQ(named[i].name, TwoSteps()[i].name) << i;
  // A kernel of the runtime at a place where the plan has no library kernel keeps its name.
  records.insert(records.begin() + 1, Records({{"plan", 1, 2}})[0]);
  EXPECT_EQ(NameByPlan(records, planned)[1].name, "plan");
}

TEST(FindStepsTest, KernelsThatStartTogetherMayComeInEitherOrder) {
  std::vector<KernelRecord> records = TwoSteps();
  std::swap(records[2], records[3]);
  EXPECT_EQ(FindSteps(records, kPlanned).size(), 2u);
}

TEST(FindStepsTest, AnotherEntryPointsStepsAreNone) {
  EXPECT_TRUE(FindSteps(TwoSteps(), std::vector<PlannedLaunch>{{"embed", ""}, {"gemm", ""}}).empty());
}

TEST(SummarizeTest, KernelsAndGapsAddUpToTheStep) {
  std::vector<KernelRecord> records = TwoSteps();
  StepProfile profile = Summarize(records, FindSteps(records, kPlanned), kPlanned, {}, {});
  EXPECT_EQ(profile.steps, 2);
  ASSERT_EQ(profile.rows.size(), 3u);
  const KernelRow &qkv = profile.rows[1];
  EXPECT_EQ(qkv.kernel, "qkv");
  EXPECT_EQ(qkv.origin, "model.layers.*.qkv: linear");
  EXPECT_DOUBLE_EQ(qkv.launches, 2);
  EXPECT_DOUBLE_EQ(qkv.us, 2 + 1); // the time of the second launch starts at 7
  EXPECT_DOUBLE_EQ(qkv.gap_us, 2);
  EXPECT_DOUBLE_EQ(qkv.overlap_us, 1);
  EXPECT_DOUBLE_EQ(profile.kernels_us + profile.gaps_us, 10);
  EXPECT_DOUBLE_EQ(profile.between_us, 5);
  EXPECT_DOUBLE_EQ(profile.step_us(), 15);
}

TEST(SummarizeTest, AKernelInsideAnotherCostsNothing) {
  std::vector<KernelRecord> records =
      Records({{"embed", 0, 4}, {"qkv", 1, 2}, {"down", 4, 5}, {"qkv", 5, 6}, {"down", 6, 7}});
  StepProfile profile = Summarize(records, FindSteps(records, kPlanned), kPlanned, {}, {});
  EXPECT_DOUBLE_EQ(profile.rows[1].us, 1);
  EXPECT_DOUBLE_EQ(profile.rows[1].overlap_us, 1);
  EXPECT_DOUBLE_EQ(profile.kernels_us, 7);
}

TEST(SummarizeTest, AStepMayBeginBeforeTheOneBeforeEnds) {
  std::vector<KernelRecord> records = Records({{"embed", 0, 4}, {"embed", 3, 6}});
  std::vector<PlannedLaunch> planned = {{"embed", ""}};
  StepProfile profile = Summarize(records, FindSteps(records, planned), planned, {}, {});
  EXPECT_DOUBLE_EQ(profile.step_us(), 3); // 6 us for two steps
}

TEST(TrafficTest, BytesAndFlopsOfADecodeStep) {
  auto manifest = nlohmann::json::parse(R"({"kernels": {"cpu": [
      {"name": "qkv", "traffic": {"reads": {"fixed": 1000, "tokens": 10}, "writes": {"tokens": 5},
                                  "flops": {"tokens": 200}}},
      {"name": "attention", "traffic": {"reads": {"context": 8}, "writes": {}, "flops": {"pairs": 4}, "window": 100}},
      {"name": "old"}, 7]}})");
  std::map<std::string, KernelTraffic> traffic = TrafficOf(manifest, "cpu");
  ASSERT_EQ(traffic.size(), 2u);
  EXPECT_TRUE(TrafficOf(manifest, "sm_90a").empty());
  StepShape shape{.tokens = 2, .sequences = 2, .logit_rows = 2, .context = 50};
  EXPECT_DOUBLE_EQ(BytesOf(traffic["qkv"], shape), 1030);
  EXPECT_DOUBLE_EQ(FlopsOf(traffic["qkv"], shape), 400);
  EXPECT_DOUBLE_EQ(BytesOf(traffic["attention"], shape), 2 * 50 * 8);
  EXPECT_DOUBLE_EQ(FlopsOf(traffic["attention"], shape), 2 * 50 * 4);
  shape.context = 1000; // only the last 100 positions are in the window
  EXPECT_DOUBLE_EQ(BytesOf(traffic["attention"], shape), 2 * 100 * 8);
}

TEST(TrafficTest, APromptsRowsSeeATriangle) {
  KernelTraffic attention{{{"context", 8}}, {}, {{"pairs", 1}}, 0};
  StepShape shape{.tokens = 8, .sequences = 2, .logit_rows = 2, .context = 4, .is_prompt = true};
  EXPECT_DOUBLE_EQ(BytesOf(attention, shape), 2 * 4 * 8);
  EXPECT_DOUBLE_EQ(FlopsOf(attention, shape), 2 * (1 + 2 + 3 + 4));
  attention.window = 2;
  EXPECT_DOUBLE_EQ(FlopsOf(attention, shape), 2 * (1 + 2 + 2 + 2));
}

TEST(TrafficTest, HalvesReadTheWeightsTwice) {
  std::vector<PlannedLaunch> planned = {{"embed", ""}, {"qkv", "", false, 0.75}, {"qkv", "", false, 0.25}};
  std::vector<KernelRecord> records = Records({{"embed", 0, 1}, {"qkv", 1, 4}, {"qkv", 4, 5}});
  KernelTraffic traffic{{{"fixed", 1000}, {"tokens", 10}}, {}, {{"tokens", 200}}, 0};
  StepProfile profile = Summarize(records, FindSteps(records, planned), planned, {{"qkv", traffic}}, {.tokens = 100});
  ASSERT_EQ(profile.rows.size(), 2u);
  EXPECT_DOUBLE_EQ(profile.rows[1].launches, 2);
  EXPECT_DOUBLE_EQ(profile.rows[1].bytes, 2 * 1000 + 100 * 10);
  EXPECT_DOUBLE_EQ(profile.rows[1].flops, 100 * 200);
}

TEST(ReportTest, TableShowsShareOfTheBandwidth) {
  std::vector<KernelRecord> records = TwoSteps();
  KernelTraffic weights{{{"fixed", 3e6}}, {}, {}, 0};
  StepProfile profile = Summarize(records, FindSteps(records, kPlanned), kPlanned, {{"down", weights}}, {});
  // Two launches of 3 MB in 4 us are 1.5 TB/s. In the untraced step of 12 us they are 0.5 TB/s.
  std::string table = ProfileTable(profile, 2e12, 0.012);
  EXPECT_THAT(table, ContainsRegex("down +2 +4.00 +26.7 +2.00 +0.00 +0.00 +6.000 +1.500 +75.0  model"));
  EXPECT_THAT(table, HasSubstr("untraced"));
  auto json = ProfileJson(profile, 2e12, 0.012);
  EXPECT_THAT(json["share_of_read"].get<double>(), DoubleNear(0.25, 1e-9));
  EXPECT_THAT(json["kernels"][2]["share_of_read"].get<double>(), DoubleNear(0.75, 1e-9));
}

TEST(ChromeTraceTest, OverlappingKernelsStandBelowEachOther) {
  std::vector<KernelRecord> records = TwoSteps();
  auto trace = ChromeTrace(records, FindSteps(records, kPlanned), kPlanned, "a GPU");
  std::map<std::string, int> lanes;
  int kernels = 0;
  for (const auto &event : trace["traceEvents"]) {
    if (event["ph"] != "X" || event["cat"] != "kernel")
      continue;
    ++kernels;
    if (event["args"]["origin"] == "model.layers.1.qkv: linear")
      EXPECT_EQ(event["tid"], 2);
    else
      EXPECT_EQ(event["tid"], 1);
    EXPECT_GE(event["ts"].get<double>(), 0);
  }
  EXPECT_EQ(kernels, 10);
}

} // namespace
} // namespace inlay::tools

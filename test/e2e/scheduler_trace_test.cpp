// The scheduler trace has the steps and the events of each request.
#include "test/e2e/engine_testing.h"

#include "nlohmann/json.hpp"
#include "gmock/gmock.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace inlay {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(SchedulerTrace, TellsStepsAndWhatHappensToEachRequest) {
  std::string path = ::testing::TempDir() + "/scheduler_trace.json";
  EngineOptions options;
  options.target = "cpu";
  options.kv_cache_bytes = 14 * Engine::Plan(INLAY_TEST_BUNDLE, options)->bytes_per_page;
  options.trace_path = path;
  EngineStats stats;
  {
    std::unique_ptr<Engine> engine = Load(options);
    AllAtOnce(*engine, Greedy(60));
    stats = engine->Stats();
  }
  std::ifstream file(path);
  json events = json::parse(file, nullptr, false);
  ASSERT_TRUE(events.is_array());
  std::map<std::string, int64_t> count;
  std::map<int, double> lane_ends; // end of the last event of each lane; the events of a lane do not overlap
  double step_end = 0;
  int64_t generated = 0, prompt_rows = 0;
  for (const json &event : events) {
    std::string name = event["name"];
    ++count[name.starts_with("step ") ? "step" : name];
    if (event["ph"] != "X")
      continue;
    double begin = event["ts"], end = begin + event["dur"].get<double>();
    EXPECT_LE(begin, end) << event;
    if (name.starts_with("step ")) {
      EXPECT_GE(begin, step_end - 0.01) << event;
      step_end = end;
      prompt_rows += event["args"]["prompt_rows"].get<int64_t>();
    }
    if (event["pid"] == 1 && name != "waits") {
      EXPECT_GE(begin, lane_ends[event["tid"]] - 0.01) << event;
      lane_ends[event["tid"]] = end;
    }
    if (name == "decode" || name == "prompt")
      generated += event["args"][name == "decode" ? "steps" : "tokens"].get<int64_t>();
  }
  EXPECT_EQ(count["step"], stats.steps);
  EXPECT_EQ(count["preempted"], stats.preemptions);
  EXPECT_GT(count["preempted"], 0);
  EXPECT_EQ(count["length"], static_cast<int64_t>(kPrompts.size()));
  EXPECT_EQ(count["waits"], static_cast<int64_t>(kPrompts.size()) + stats.preemptions);
  EXPECT_EQ(generated, stats.generation_tokens);
  EXPECT_GE(prompt_rows, stats.prompt_tokens);
  for (const char *host : {"plan", "launch", "wait", "take tokens"})
    EXPECT_GE(count[host], stats.steps) << host;
}

TEST(SchedulerTrace, AFileThatCannotBeWrittenIsNamed) {
  EngineOptions options;
  options.target = "cpu";
  options.trace_path = "/nowhere/trace.json";
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_BUNDLE, options).status().message()),
              HasSubstr("--trace /nowhere/trace.json: cannot be written: No such file"));
}

TEST(SchedulerTrace, AFullDiskEndsTheTraceAndNoRequest) {
  if (!std::filesystem::exists("/dev/full"))
    GTEST_SKIP() << "there is no /dev/full";
  EngineOptions options;
  options.trace_path = "/dev/full";
  ::testing::internal::CaptureStderr();
  {
    std::unique_ptr<Engine> engine = Load(options);
    for (const Answer &answer : AllAtOnce(*engine, Greedy(60)))
      EXPECT_EQ(answer.tokens.size(), 60u);
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("inlay: /dev/full: the trace"));
}

} // namespace
} // namespace inlay

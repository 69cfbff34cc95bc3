// The device stops answering: requests end with an error, the state of the step is logged, and the engine can be
// destroyed.
#include "test/e2e/engine_testing.h"
#include "test/e2e/faulty_device.h"

#include "nlohmann/json.hpp"
#include "gmock/gmock.h"

#include <future>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// Sets a promise when it is destroyed.
class LastingDevice : public FaultyDevice {
public:
  LastingDevice(std::unique_ptr<Device> real, Faults &faults, std::promise<void> &gone)
      : FaultyDevice(std::move(real), faults), gone_(gone) {}
  ~LastingDevice() override { gone_.set_value(); }

private:
  std::promise<void> &gone_;
};

enum class Hangs { kInLaunch, kInWait };

class Watchdogs : public ::testing::TestWithParam<Hangs> {};

TEST_P(Watchdogs, EndTheRequestsOfADeviceThatDoesNotAnswer) {
  bool in_launch = GetParam() == Hangs::kInLaunch;
  std::promise<void> gone, answers;
  std::shared_future<void> answer = answers.get_future();
  Faults faults;
  std::atomic<bool> hangs{false};
  auto wait = [&, answer] {
    if (hangs)
      answer.wait();
    return false;
  };
  if (in_launch)
    faults.run = [=](int64_t, const StepSizes &) { return wait(); };
  else
    faults.wait = [=](int64_t) { return wait(); };
  EngineOptions options;
  options.watchdog_seconds = 0.4;
  options.async_scheduling = true;
  ::testing::internal::CaptureStderr();
  std::unique_ptr<Engine> engine = Load(options, [&](std::unique_ptr<Device> real) {
    return std::make_unique<LastingDevice>(std::move(real), faults, gone);
  });
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (const std::string &prompt : kPrompts)
    handles.push_back(Submit(*engine, prompt, Greedy(400)));
  for (auto &handle : handles)
    EXPECT_TRUE(handle->Next());
  hangs = true;
  for (auto &handle : handles) {
    while (handle->Next()) {
    }
    EXPECT_EQ(handle->finish_reason(), FinishReason::kError);
    EXPECT_EQ(handle->status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(handle->status().message()), HasSubstr("the device does not answer: step "));
  }
  EXPECT_THAT(std::string(engine->Stats().health.message()), HasSubstr("restart the process"));
  Request late;
  late.prompt = "x";
  EXPECT_EQ(engine->Submit(late).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(engine->Shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(5)).ok());
  EXPECT_EQ(engine->Stats().finished_error, static_cast<int64_t>(kPrompts.size()));
  engine.reset();
  std::string text = ::testing::internal::GetCapturedStderr();
  nlohmann::json stuck = nlohmann::json::parse(text.substr(text.find('{')), nullptr, false)["stuck_step"];
  EXPECT_EQ(stuck["phase"], in_launch ? "launch" : "wait");
  EXPECT_GE(stuck["seconds"], 0.4);
  ASSERT_EQ(stuck["sequences"].size(), kPrompts.size()) << text;
  EXPECT_EQ(stuck["running"], kPrompts.size());
  EXPECT_LT(stuck["free_pages"], stuck["total_pages"]);
  // If the device answers after the engine was destroyed, the memory that it writes to still exists.
  answers.set_value();
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

INSTANTIATE_TEST_SUITE_P(Steps, Watchdogs, ::testing::Values(Hangs::kInLaunch, Hangs::kInWait),
                         [](const auto &info) { return info.param == Hangs::kInLaunch ? "Launch" : "Wait"; });

TEST(Watchdog, LeavesStepsAloneThatAreOnlyMany) {
  EngineOptions options;
  options.watchdog_seconds = 5;
  std::unique_ptr<Engine> engine = Load(options);
  std::vector<Answer> answers = AllAtOnce(*engine, Greedy(40)), expected = AllAtOnce(*Load(), Greedy(40));
  for (size_t i = 0; i < answers.size(); ++i)
    EXPECT_TRUE(answers[i] == expected[i]);
  EXPECT_TRUE(engine->Stats().health.ok());
}

TEST(Watchdog, RefusesATimeThatIsNone) {
  EngineOptions options;
  options.watchdog_seconds = -1;
  EXPECT_THAT(std::string(Engine::Load(INLAY_TEST_BUNDLE, options).status().message()),
              HasSubstr("--watchdog-seconds is -1, expected 0 (no limit)"));
}

} // namespace
} // namespace inlay

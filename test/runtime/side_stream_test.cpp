// The order of launches on two streams, with a driver that only keeps what each stream has waited for.
#include "runtime/device/cuda_side_stream.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <vector>

namespace inlay {
namespace {

using cuda_driver::Event;
using cuda_driver::Stream;

// What has ended before that which is enqueued on a stream next, and before an event completes.
std::map<void *, std::set<size_t>> ended;
int made = 0;

template <typename Handle> int Make(Handle *handle, unsigned) {
  *handle = reinterpret_cast<Handle>(static_cast<uintptr_t>(++made));
  return 0;
}

cuda_driver::Api FakeApi() {
  cuda_driver::Api api{};
  api.StreamCreateWithPriority = [](Stream *stream, unsigned flags, int) { return Make(stream, flags); };
  api.EventCreate = Make<Event>;
  api.EventRecord = [](Event event, Stream stream) {
    ended[event] = ended[stream];
    return 0;
  };
  api.StreamWaitEvent = [](Stream stream, Event event, unsigned) {
    ended[stream].insert(ended[event].begin(), ended[event].end());
    return 0;
  };
  api.StreamDestroy = [](Stream) { return 0; };
  api.EventDestroy = [](Event) { return 0; };
  return api;
}

class SideStreamTest : public ::testing::Test {
protected:
  SideStreamTest() {
    ended.clear();
    Make(&main_, 0);
    EXPECT_EQ(side_.Open(main_), 0);
  }
  ~SideStreamTest() override { side_.Close(); }

  // Enqueues the parts of these launches. Returns, for each of them, the parts that end before it begins.
  std::vector<std::set<size_t>> Run(const std::vector<plan::Halves> &launches) {
    parts_ = PartsInHalves(launches);
    std::vector<std::set<size_t>> before;
    for (size_t i = 0; i < parts_.size(); ++i) {
      bool is_ordered = false;
      EXPECT_EQ(side_.Before(parts_[i], is_ordered), 0);
      waits_.push_back(is_ordered);
      void *stream = parts_[i].is_beside ? side_.stream() : main_;
      before.push_back(ended[stream]);
      ended[stream].insert(i);
      EXPECT_EQ(side_.After(parts_[i]), 0);
    }
    EXPECT_EQ(side_.Join(), 0);
    return before;
  }

  const cuda_driver::Api api_ = FakeApi();
  CudaSideStream side_{api_};
  Stream main_ = nullptr;
  std::vector<LaunchPart> parts_;
  std::vector<bool> waits_;
};

constexpr plan::Halves kWhole = plan::Halves_Whole, kMain = plan::Halves_Main, kSide = plan::Halves_Side;
// Two layers: attention is whole.
const std::vector<plan::Halves> kLayers{kWhole, kMain, kSide, kMain, kMain, kSide, kMain, kWhole,
                                        kMain,  kSide, kMain, kMain, kSide, kMain, kWhole};

TEST_F(SideStreamTest, HalvesFollowWhatTheyRead) {
  const std::vector<std::set<size_t>> before = Run(kLayers);
  for (size_t i = 0; i < parts_.size(); ++i)
    for (size_t earlier = 0; earlier < parts_.size(); ++earlier) {
      const LaunchPart &one = parts_[earlier], &other = parts_[i];
      const bool shares_rows = one.rows == LaunchPart::kAll || other.rows == LaunchPart::kAll || one.rows == other.rows;
      if (one.launch < other.launch && shares_rows)
        EXPECT_TRUE(before[i].contains(earlier)) << "part " << i << " does not wait for part " << earlier;
    }
  EXPECT_EQ(ended[main_].size(), parts_.size()); // the main stream waits for all
}

TEST_F(SideStreamTest, SumsRunBesideTheOtherHalf) {
  const std::vector<std::set<size_t>> before = Run(kLayers);
  auto find = [&](size_t launch, LaunchPart::Rows rows) {
    return static_cast<size_t>(
        std::ranges::find_if(parts_,
                             [&](const LaunchPart &part) { return part.launch == launch && part.rows == rows; }) -
        parts_.begin());
  };
  auto are_ordered = [&](size_t a, size_t b) { return before[a].contains(b) || before[b].contains(a); };
  using enum LaunchPart::Rows;
  EXPECT_FALSE(are_ordered(find(2, kFirst), find(1, kSecond)));
  for (size_t launch : {3, 4})
    EXPECT_FALSE(are_ordered(find(2, kSecond), find(launch, kFirst)));
  for (size_t launch : {3, 4})
    EXPECT_FALSE(are_ordered(find(5, kFirst), find(launch, kSecond)));
  EXPECT_FALSE(are_ordered(find(5, kSecond), find(6, kFirst)));
  // Sums are rounds of the exchange, in one order on all ranks.
  EXPECT_TRUE(before[find(2, kSecond)].contains(find(2, kFirst)));
  EXPECT_TRUE(before[find(5, kFirst)].contains(find(2, kSecond)));
}

TEST_F(SideStreamTest, WholeStepsHaveNoEvents) {
  Run({kWhole, kWhole, kWhole});
  EXPECT_THAT(waits_, ::testing::Each(false));
}

TEST_F(SideStreamTest, WhatIsReadBesideIsNotOverwrittenAtOnce) {
  // llm-plan-buffers relies on this: what the second half of a launch reads has been read when the launches of the
  // first half begin that stand behind the next sums, and what a sum reads when those begin behind the sum after it.
  const std::vector<std::set<size_t>> before = Run(kLayers);
  auto has_ended = [&](size_t reader, size_t writer) {
    for (size_t i = 0; i < parts_.size(); ++i)
      for (size_t j = 0; j < parts_.size(); ++j)
        if (parts_[i].launch == reader && parts_[j].launch == writer && !before[j].contains(i))
          return false;
    return true;
  };
  EXPECT_FALSE(has_ended(1, 2));
  EXPECT_TRUE(has_ended(1, 3));
  EXPECT_FALSE(has_ended(2, 3));
  EXPECT_FALSE(has_ended(2, 4));
  EXPECT_TRUE(has_ended(2, 5));
  EXPECT_FALSE(has_ended(3, 4));
  EXPECT_TRUE(has_ended(3, 6));
  EXPECT_TRUE(has_ended(6, 7));
}

} // namespace
} // namespace inlay

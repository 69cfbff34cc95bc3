#include "runtime/serve/deferred_reply.h"

#include "gtest/gtest.h"

#include <atomic>
#include <future>
#include <thread>

using namespace inlay::serve;

namespace {

// Blocks a queue's only thread until Release().
class Blocker {
public:
  explicit Blocker(WorkQueue &queue) {
    EXPECT_TRUE(queue.Push(
        [this] {
          begun_.set_value();
          released_.get_future().wait();
        },
        0));
    begun_.get_future().wait();
  }
  void Release() { released_.set_value(); }

private:
  std::promise<void> begun_, released_;
};

TEST(WorkQueueTest, IsBoundedByJobsAndBytes) {
  WorkQueue queue(1, /*max_jobs=*/2, /*max_bytes=*/100);
  Blocker blocker(queue);
  EXPECT_FALSE(queue.Push([] {}, 101));
  EXPECT_TRUE(queue.Push([] {}, 60));
  EXPECT_FALSE(queue.Push([] {}, 41));
  EXPECT_TRUE(queue.Push([] {}, 40));
  EXPECT_FALSE(queue.Push([] {}, 0));
  blocker.Release();
  queue.Stop();
  EXPECT_FALSE(queue.Push([] {}, 0));
}

TEST(WorkQueueTest, SmallJobsDoNotWaitBehindLargeOnes) {
  std::promise<void> release, large_begun, small_done;
  std::atomic<bool> second = false;
  WorkQueue queue(2, 10, 1 << 20); // ends first: its threads use what stands above
  ASSERT_TRUE(queue.Push(
      [&] {
        large_begun.set_value();
        release.get_future().wait();
      },
      1 << 18));
  large_begun.get_future().wait();
  ASSERT_TRUE(queue.Push([&] { second = true; }, 1 << 18));
  ASSERT_TRUE(queue.Push([&] { small_done.set_value(); }, 100));
  small_done.get_future().wait();
  EXPECT_FALSE(second);
  release.set_value();
}

TEST(DeferredReplyTest, IsPendingUntilItIsMade) {
  WorkQueue queue(1, 10, 1000);
  Blocker blocker(queue);
  std::promise<void> woken;
  auto reply = Defer(
      queue, {.method = "POST", .path = "/a"}, [&] { woken.set_value(); },
      [](const HttpRequest &request, const Wake &) { return Reply{{.status = 201, .body = request.path}, nullptr}; });
  ASSERT_TRUE(reply);
  PendingReply::Part part = reply->Take();
  EXPECT_FALSE(part.done || part.answer);
  blocker.Release();
  woken.get_future().wait();
  part = reply->Take();
  ASSERT_TRUE(part.done && part.answer);
  EXPECT_EQ(part.answer->status, 201);
  EXPECT_EQ(part.answer->body, "/a");
}

TEST(DeferredReplyTest, AReplyThatIsDroppedIsNotMade) {
  WorkQueue queue(1, 10, 1000);
  Blocker blocker(queue);
  std::atomic<int> made = 0;
  auto make = [&](const HttpRequest &, const Wake &) {
    ++made;
    return Reply{};
  };
  Defer(queue, {}, [] {}, make).reset();
  std::promise<void> woken;
  auto kept = Defer(queue, {}, [&] { woken.set_value(); }, make);
  blocker.Release();
  woken.get_future().wait();
  EXPECT_EQ(made, 1);
}

TEST(DeferredReplyTest, AFullQueueGivesNone) {
  WorkQueue queue(1, 10, 1000);
  EXPECT_FALSE(
      Defer(queue, {.body = std::string(1001, 'a')}, [] {}, [](const HttpRequest &, const Wake &) { return Reply{}; }));
}

} // namespace

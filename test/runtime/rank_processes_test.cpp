// How processes of ranks find each other, share memory and talk. Here each is a thread, since nothing but the sockets
// and the memory connects them.
#include "runtime/distributed/rank_processes.h"

#include "runtime/distributed/message.h"

#include <array>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace inlay {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kBytes = 8192;
constexpr auto kTimeout = 1s; // --distributed-timeout

std::string NewName() {
  static int names = 0;
  return "inlay-rank-processes-test-" + std::to_string(getpid()) + "-" + std::to_string(++names);
}

using Connected = absl::StatusOr<std::unique_ptr<RankProcesses>>;

std::future<Connected> Begin(RankProcesses::Place place, std::string purpose = "a test") {
  return std::async(std::launch::async, [=] { return RankProcesses::Connect(place, purpose, kBytes); });
}

// Two processes that are connected.
class TwoProcesses : public ::testing::Test {
protected:
  TwoProcesses() {
    const std::string name = NewName();
    std::future<Connected> other = Begin({1, 2, name, kTimeout}); // it waits for rank 0
    std::this_thread::sleep_for(20ms);
    Connected one = Begin({0, 2, name, kTimeout}).get(), two = other.get();
    EXPECT_TRUE(one.ok() && two.ok()) << one.status() << two.status();
    first_ = *std::move(one);
    second_ = *std::move(two);
  }
  std::shared_ptr<RankGroup> Group(const RankProcesses &processes) const {
    return std::make_shared<RankGroup>(2, kTimeout, board_, processes.rank());
  }

  std::shared_ptr<RankBoard> board_ = std::make_shared<RankBoard>();
  std::unique_ptr<RankProcesses> first_, second_;
};

TEST_F(TwoProcesses, ShareMemory) {
  ASSERT_NE(first_->memory().get(), second_->memory().get());
  EXPECT_EQ(first_->memory().get()[kBytes - 1], std::byte{0});
  second_->memory().get()[kBytes - 1] = std::byte{7};
  EXPECT_EQ(first_->memory().get()[kBytes - 1], std::byte{7});
}

TEST_F(TwoProcesses, ExchangeTexts) {
  auto other = std::async(std::launch::async, [&] { return *second_->ExchangeTexts("second"); });
  EXPECT_THAT(*first_->ExchangeTexts("first"), ElementsAre("first", "second"));
  EXPECT_THAT(other.get(), ElementsAre("first", "second"));
}

// Each file is the same in both processes, and its own copy of the descriptor.
TEST_F(TwoProcesses, ExchangeFiles) {
  for (const bool first_has_one : {true, false}) {
    auto make = [](const char *text) {
      OwnedFile file(memfd_create("test", MFD_CLOEXEC));
      EXPECT_EQ(write(file.get(), text, 2), 2);
      return file;
    };
    const OwnedFile one = first_has_one ? make("01") : OwnedFile(), two = make("23");
    auto other = std::async(std::launch::async, [&] { return *second_->ExchangeFiles(two); });
    std::vector<OwnedFile> found[] = {*first_->ExchangeFiles(one), other.get()};
    for (const std::vector<OwnedFile> &files : found) {
      ASSERT_EQ(files.size(), 2u);
      EXPECT_EQ(files[0].get() >= 0, first_has_one);
      for (size_t rank = first_has_one ? 0 : 1; rank < 2; ++rank) {
        char text[3] = {};
        EXPECT_EQ(pread(files[rank].get(), text, 2, 0), 2);
        EXPECT_STREQ(text, rank == 0 ? "01" : "23");
      }
    }
    EXPECT_NE(found[0][1].get(), found[1][1].get());
  }
}

TEST_F(TwoProcesses, AgreeOnTheFirstError) {
  const absl::Status none, lost = absl::DataLossError("a byte is wrong"), full = absl::ResourceExhaustedError("full");
  for (const auto &[own, others, expected] :
       {std::array{none, none, none}, {lost, none, lost}, {none, full, full}, {lost, full, lost}}) {
    auto other = std::async(std::launch::async, [&] { return second_->Agree(others); });
    EXPECT_EQ(first_->Agree(own), expected);
    EXPECT_EQ(other.get(), expected);
  }
  second_.reset();
  EXPECT_THAT(std::string(first_->Agree(none).message()), HasSubstr("the process of rank 1"));
  EXPECT_EQ(first_->Agree(full), full); // what failed here says more
}

// Only a process that may still load is waited for longer than the timeout.
TEST_F(TwoProcesses, AFileThatDoesNotComeIsNotWaitedForForever) {
  auto other = std::async(std::launch::async, [&] { return second_->ExchangeTexts("file").ok(); });
  EXPECT_THAT(std::string(first_->ExchangeFiles(OwnedFile()).status().message()),
              HasSubstr("): it has not sent a file descriptor for 1 s (--distributed-timeout)"));
  EXPECT_TRUE(other.get());
}

TEST_F(TwoProcesses, SendMessagesAndEnd) {
  std::shared_ptr<RankGroup> group = Group(*first_), other = Group(*second_);
  std::promise<std::string> answer;
  first_->Start(group, [&](uint32_t rank, const Message &message) {
    EXPECT_EQ(rank, 1u);
    EXPECT_EQ(message.kind, 4u);
    answer.set_value(message.payload);
    return absl::OkStatus();
  });
  second_->Start(other);
  const std::string large(3 << 20, 'x'); // more than a socket holds
  std::thread receiver([&] {
    absl::StatusOr<Message> message = second_->Receive();
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->kind, 3u);
    EXPECT_TRUE(message->payload == large);
    EXPECT_TRUE(second_->Send(4, "answer").ok());
    message = second_->Receive();
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->kind, 5u);
    second_->Leave();
  });
  EXPECT_TRUE(first_->SendToAll(3, large).ok());
  EXPECT_EQ(answer.get_future().get(), "answer");
  first_->End(5);
  receiver.join();
  EXPECT_FALSE(group->has_failed());
  EXPECT_FALSE(other->has_failed());
}

// The failure of a group when the other process has ended.
std::string FailureOf(RankGroup &group) {
  for (int i = 0; i < 500 && !group.has_failed(); ++i)
    std::this_thread::sleep_for(10ms);
  return std::string(group.failure().message());
}

TEST_F(TwoProcesses, TheEndOfRank0FailsTheGroup) {
  std::shared_ptr<RankGroup> group = Group(*second_);
  second_->Start(group);
  first_.reset();
  EXPECT_THAT(FailureOf(*group),
              AllOf(HasSubstr("the process of rank 0 (id "), HasSubstr("): it has ended; the engine cannot continue")));
}

TEST_F(TwoProcesses, TheEndOfAnotherRankFailsTheGroup) {
  std::shared_ptr<RankGroup> group = Group(*first_);
  first_->Start(group, [](uint32_t, const Message &) { return absl::OkStatus(); });
  second_.reset();
  EXPECT_THAT(FailureOf(*group),
              AllOf(HasSubstr("the process of rank 1 (id "), HasSubstr("): it has ended; the engine cannot continue")));
}

TEST_F(TwoProcesses, AProcessThatDoesNotReadFailsTheGroup) {
  std::shared_ptr<RankGroup> group = Group(*first_);
  first_->Start(group, [](uint32_t, const Message &) { return absl::OkStatus(); });
  EXPECT_THAT(std::string(first_->SendToAll(3, std::string(64 << 20, 'x')).message()),
              HasSubstr("): it does not read its messages; the engine cannot continue"));
}

TEST(RankProcesses, RefuseOthers) {
  struct {
    RankProcesses::Place first, second;
    const char *purpose;
    const char *message;
  } cases[] = {
      {{0, 2, NewName(), kTimeout},
       {1, 2, "", kTimeout},
       "another test",
       "rank 1 runs another test, but rank 0 runs a test; give all"},
      {{0, 2, NewName(), kTimeout}, {1, 3, "", kTimeout}, "a test", "rank 1 is one of 3 ranks, but rank 0 of 2"},
      {{0, 2, NewName(), kTimeout}, {5, 2, "", kTimeout}, "a test", "rank 5 is there twice, or is none of them"},
  };
  for (auto &one : cases) {
    one.second.rendezvous = one.first.rendezvous;
    std::future<Connected> first = Begin(one.first), second = Begin(one.second, one.purpose);
    EXPECT_THAT(std::string(first.get().status().message()), HasSubstr(one.message));
    EXPECT_THAT(std::string(second.get().status().message()), HasSubstr(one.message));
  }
}

// Rank 1 is there and still loads, so only rank 2 can say that rank 0 waits in vain.
TEST(RankProcesses, AProcessThatEndsWhileAnotherOneLoadsIsAnError) {
  const std::string name = NewName();
  std::future<Connected> others[] = {Begin({1, 3, name, kTimeout}), Begin({2, 3, name, kTimeout})};
  Connected first = Begin({0, 3, name, kTimeout}).get();
  Connected second = others[0].get(), third = others[1].get();
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  auto agreed = std::async(std::launch::async, [&] { return (*first)->Agree(absl::OkStatus()); });
  EXPECT_EQ(agreed.wait_for(200ms), std::future_status::timeout); // it waits for rank 1
  const auto begin = std::chrono::steady_clock::now();
  third->reset();
  EXPECT_THAT(std::string(agreed.get().message()),
              AllOf(HasSubstr("the process of rank 2 (id "), HasSubstr("): it has ended")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  // Rank 0 ends, and so does rank 1.
  first->reset();
  EXPECT_THAT(std::string((*second)->Agree(absl::OkStatus()).message()), HasSubstr("the process of rank 0 (id "));
}

TEST(RankProcesses, AProcessThatEndsBeforeAllHaveStartedIsAnError) {
  const std::string name = NewName();
  std::future<Connected> first = Begin({0, 3, name, kTimeout});
  {
    absl::StatusOr<MessageSocket> rank1 = MessageSocket::Connect(name, std::chrono::steady_clock::now() + 10s);
    ASSERT_TRUE(rank1.ok());
    constexpr uint32_t kHello = 0x1000; // the first message of a process
    MessageWriter hello;
    hello.Put(uint32_t{1});
    hello.Put(uint32_t{3});
    hello.PutText("a test");
    ASSERT_TRUE(rank1->Send(kHello, hello.Take()).ok());
    EXPECT_EQ(first.wait_for(200ms), std::future_status::timeout);
  }
  ASSERT_EQ(first.wait_for(5s), std::future_status::ready);
  EXPECT_THAT(std::string(first.get().status().message()),
              AllOf(HasSubstr("--rendezvous " + name + ": the process of rank 1 (id "), HasSubstr("): it has ended")));
}

// A process of the same user that says nothing keeps nobody from starting.
TEST(RankProcesses, AProcessThatSaysNothingIsIgnored) {
  const std::string name = NewName();
  std::future<Connected> first = Begin({0, 2, name, kTimeout});
  absl::StatusOr<MessageSocket> silent = MessageSocket::Connect(name, std::chrono::steady_clock::now() + 10s);
  ASSERT_TRUE(silent.ok());
  Connected second = Begin({1, 2, name, kTimeout}).get();
  EXPECT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(first.get().ok());
}

TEST(RankProcesses, NamesBelongToOneEngine) {
  const std::string name = NewName();
  std::future<Connected> first = Begin({0, 2, name, kTimeout});
  std::this_thread::sleep_for(50ms);
  Connected again = Begin({0, 2, name, kTimeout}).get();
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(again.status().message()),
              HasSubstr("another process is rank 0 of --rendezvous " + name + "; give each engine its own name"));
  Connected second = Begin({1, 2, name, kTimeout}).get();
  EXPECT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(first.get().ok());
}

} // namespace
} // namespace inlay

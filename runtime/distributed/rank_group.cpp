#include "runtime/distributed/rank_group.h"

#include "fmt/format.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace inlay {
namespace {

// How often a rank checks for its peers before it sleeps. Peers usually arrive within microseconds.
constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

int64_t Now() { return RankGroup::Clock::now().time_since_epoch().count(); }

} // namespace

RankGroup::RankGroup(uint32_t ranks, Clock::duration timeout)
    : RankGroup(ranks, timeout, std::make_shared<RankBoard>(), 0) {
  for (uint32_t rank = 0; rank < ranks; ++rank)
    SetWork(rank, "idle");
}

RankGroup::RankGroup(uint32_t ranks, Clock::duration timeout, std::shared_ptr<RankBoard> board, uint32_t own)
    : size_(ranks), own_(own), timeout_(timeout), board_(std::move(board)) {
  SetWork(own, "idle");
}

void RankGroup::Fail(const absl::Status &status) {
  bool is_first = false;
  std::function<void(const absl::Status &)> listener;
  {
    std::unique_lock lock(mutex_);
    if (is_failing_) {
      failed_.wait(lock, [&] { return has_failed_.load(); });
      return;
    }
    is_failing_ = true;
    listener = listener_;
    RankBoard::Rank &own = board_->ranks[own_];
    own.code = status.raw_code();
    own.message_size = static_cast<uint32_t>(std::min(status.message().size(), RankBoard::kMaxMessage));
    std::memcpy(own.message.data(), status.message().data(), own.message_size);
    uint32_t failed = 0;
    is_first = board_->failed.compare_exchange_strong(failed, own_ + 1);
    if (is_first) {
      failure_ = status;
    } else {
      const RankBoard::Rank &first = board_->ranks[std::min(failed, size_) - 1];
      failure_ =
          absl::Status(static_cast<absl::StatusCode>(first.code),
                       std::string(first.message.data(), std::min<size_t>(first.message_size, RankBoard::kMaxMessage)));
    }
  }
  if (is_first) {
    std::string text = fmt::format("inlay: {}\n", std::string(status.message()));
    for (uint32_t rank = 0; rank < size(); ++rank)
      text += fmt::format("inlay: {}\n", Describe(rank));
    std::fputs(text.c_str(), stderr);
  }
  if (listener)
    listener(failure());
  {
    std::lock_guard lock(mutex_);
    has_failed_ = true;
  }
  failed_.notify_all();
  WakeAll();
}

void RankGroup::SetListener(std::function<void(const absl::Status &)> listener) {
  {
    std::unique_lock lock(mutex_);
    listener_ = listener;
    if (!is_failing_)
      return;
    failed_.wait(lock, [&] { return has_failed_.load(); });
  }
  if (listener)
    listener(failure());
}

bool RankGroup::has_failed() {
  if (has_failed_.load(std::memory_order_acquire))
    return true;
  const uint32_t failed = board_->failed.load();
  if (failed == 0 || failed == own_ + 1)
    return false;
  Fail(absl::CancelledError("another process failed the group"));
  return true;
}

absl::Status RankGroup::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void RankGroup::SetStep(uint32_t rank, int64_t step) {
  board_->ranks[rank].step.store(step, std::memory_order_relaxed);
  board_->ranks[rank].calls.store(0, std::memory_order_relaxed);
}

void RankGroup::SetActivity(uint32_t rank, const char *what, uint64_t bytes, bool is_call) {
  RankBoard::Rank &own = board_->ranks[rank];
  std::array<uint64_t, 2> name{};
  std::memcpy(name.data(), what, std::min(std::strlen(what), sizeof name));
  for (size_t i = 0; i < name.size(); ++i)
    own.name[i].store(name[i], std::memory_order_relaxed);
  own.bytes.store(bytes, std::memory_order_relaxed);
  own.is_call.store(is_call, std::memory_order_relaxed);
  own.since.store(Now(), std::memory_order_relaxed);
}

void RankGroup::BeginCall(uint32_t rank, const char *what, uint64_t bytes) {
  board_->ranks[rank].calls.fetch_add(1, std::memory_order_relaxed);
  SetActivity(rank, what, bytes, /*is_call=*/true);
}

void RankGroup::SetWork(uint32_t rank, const char *what) { SetActivity(rank, what, 0, /*is_call=*/false); }

RankActivity RankGroup::activity(uint32_t rank) const {
  const RankBoard::Rank &of = board_->ranks[rank];
  std::array<uint64_t, 2> words{};
  for (size_t i = 0; i < words.size(); ++i)
    words[i] = of.name[i].load(std::memory_order_relaxed);
  std::array<char, sizeof words + 1> name{};
  std::memcpy(name.data(), words.data(), sizeof words);
  RankActivity found{of.step.load(std::memory_order_relaxed), of.calls.load(std::memory_order_relaxed), name.data(), 0};
  if (found.what.empty())
    found.what = "idle"; // it has not begun
  if (of.is_call.load(std::memory_order_relaxed))
    found.what += fmt::format(" of {} bytes", of.bytes.load(std::memory_order_relaxed));
  if (const int64_t since = of.since.load(std::memory_order_relaxed); since > 0)
    found.seconds = std::chrono::duration<double>(Clock::duration(Now() - since)).count();
  return found;
}

std::string RankGroup::Describe(uint32_t rank) const {
  RankActivity found = activity(rank);
  return fmt::format("rank {} (step {}, call {}: {}, for {:.3g} s)", rank, found.step, found.calls, found.what,
                     found.seconds);
}

RankGroup::Clock::time_point RankGroup::last_activity() const {
  int64_t last = 0;
  for (uint32_t rank = 0; rank < size(); ++rank)
    last = std::max(last, board_->ranks[rank].since.load(std::memory_order_relaxed));
  return Clock::time_point(Clock::duration(last));
}

// Sleeps until the board has other `changes` or the time is over. It may return earlier.
void RankGroup::Sleep(uint32_t changes, Clock::duration limit) {
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(limit).count();
  timespec time{nanoseconds / 1000000000, nanoseconds % 1000000000};
  syscall(SYS_futex, &board_->changes, FUTEX_WAIT, changes, &time, nullptr, 0);
}

void RankGroup::WakeAll() {
  board_->changes.fetch_add(1);
  syscall(SYS_futex, &board_->changes, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

absl::Status RankGroup::Wait(const std::function<bool()> &is_ready, const std::function<std::string()> &late) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (is_ready())
      return absl::OkStatus();
    if (has_failed())
      return failure();
    Pause();
  }
  const Clock::time_point begin = Clock::now();
  bool is_late = false;
  ++board_->sleeping;
  while (!is_late) {
    const uint32_t changes = board_->changes.load();
    if (is_ready() || has_failed())
      break;
    const Clock::duration left = std::max(begin, last_activity()) + timeout_ - Clock::now();
    is_late = left <= Clock::duration::zero();
    if (!is_late)
      Sleep(changes, left);
  }
  --board_->sleeping;
  if (is_late)
    Fail(absl::DeadlineExceededError(late()));
  // A group that failed while this rank waited does not go on, whether its peers arrived or not.
  return has_failed() ? failure() : absl::OkStatus();
}

void RankGroup::WaitForever(const std::function<bool()> &is_ready) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (is_ready())
      return;
    Pause();
  }
  ++board_->sleeping;
  for (uint32_t changes = board_->changes.load(); !is_ready(); changes = board_->changes.load())
    Sleep(changes, std::chrono::hours(1));
  --board_->sleeping;
}

void RankGroup::Notify() {
  // A rank that found its condition false counts itself as sleeping before it looks, so it does not miss this.
  if (board_->sleeping.load() > 0)
    WakeAll();
}

} // namespace inlay

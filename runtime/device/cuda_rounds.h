// Which launch is which round of the exchange between ranks, for the error of a rank that waited in vain.
#ifndef INLAY_RUNTIME_DEVICE_CUDA_ROUNDS_H_
#define INLAY_RUNTIME_DEVICE_CUDA_ROUNDS_H_

#include "absl/status/status.h"
#include "fmt/format.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/device/peer_table.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

namespace inlay {

// A part of a PeerTable.
struct PeerFailure {
  uint32_t failed = 0, failed_round = 0;
};
static_assert(offsetof(PeerTable, failed_round) - offsetof(PeerTable, failed) == offsetof(PeerFailure, failed_round));

// One thread adds rounds, while another one may check those of an earlier step.
class PeerRounds {
public:
  // Adds the next rounds: launches that exchange, in their order, each as often as it has rounds.
  void Add(std::vector<const plan::Launch *> launches) {
    const auto count = static_cast<uint64_t>(launches.size());
    std::lock_guard lock(mutex_);
    runs_.push_back({next_, std::move(launches)});
    next_ = static_cast<uint32_t>((next_ + count) % kRoundCount);
    constexpr size_t kKept = 128; // more runs than are in flight: a step has at most two, and each stage one step
    if (runs_.size() > kKept)
      runs_.pop_front();
  }

  // `first_rank`: the first rank of the stage, of which the failure counts.
  absl::Status Check(const PeerFailure &failure, std::chrono::duration<double> timeout, uint32_t first_rank) const {
    if (failure.failed == 0)
      return absl::OkStatus();
    return absl::DeadlineExceededError(fmt::format(
        "rank {} has not delivered its part of {} within {:.3g} s (--distributed-timeout), in round {} of the exchange",
        first_rank + failure.failed - 1, NameOf(failure.failed_round), timeout.count(), failure.failed_round));
  }

private:
  struct Run {
    uint32_t first = 0;
    std::vector<const plan::Launch *> launches;
  };

  std::string NameOf(uint32_t round) const {
    std::lock_guard lock(mutex_);
    for (const Run &run : runs_) {
      const uint64_t at = (uint64_t{round} + kRoundCount - run.first) % kRoundCount;
      if (at < run.launches.size())
        if (const plan::Launch *launch = run.launches[at]; launch->origin())
          return fmt::format("'{}'", launch->origin()->string_view());
    }
    return "a collective operation";
  }

  mutable std::mutex mutex_; // guards the members below
  uint32_t next_ = 0;
  std::deque<Run> runs_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_DEVICE_CUDA_ROUNDS_H_

#include "runtime/api/watchdog.h"

#include "nlohmann/json.hpp"

#include <algorithm>

namespace inlay {

std::string StepState::Json(double seconds) const {
  using nlohmann::ordered_json;
  ordered_json sequences = ordered_json::array();
  for (const Part &part : parts)
    sequences.push_back({{"request", part.request},
                         {"sequence", part.sequence},
                         {"prompt_tokens", part.prompt_tokens},
                         {"tokens", part.tokens},
                         {"computed", part.computed},
                         {"pages", part.pages},
                         {"first_row", part.first},
                         {"rows", part.rows},
                         {"drafts", part.drafts}});
  ordered_json stuck = {{"phase", phase},
                        {"step", step},
                        {"seconds", seconds},
                        {"running", running},
                        {"waiting", waiting},
                        {"free_pages", free_pages},
                        {"total_pages", total_pages},
                        {"sequences", std::move(sequences)}};
  return ordered_json{{"stuck_step", std::move(stuck)}}.dump();
}

Watchdog::Watchdog(double seconds, OnStuck on_stuck)
    : limit_(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))),
      on_stuck_(std::move(on_stuck)), thread_([this] { Watch(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::Begin(StepState state) {
  std::lock_guard lock(mutex_);
  state_ = std::move(state);
  began_ = Clock::now();
}

void Watchdog::End() {
  std::lock_guard lock(mutex_);
  state_.reset();
}

// Polls a few times within the limit, so that Begin() and End() do not have to wake this thread.
void Watchdog::Watch() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::min<Clock::duration>(limit_ / 4, std::chrono::seconds(1)),
                            [&] { return stopping_; })) {
    Clock::duration elapsed = Clock::now() - began_;
    if (!state_ || elapsed < limit_)
      continue;
    StepState state = *state_;
    lock.unlock();
    on_stuck_(state, std::chrono::duration<double>(elapsed).count());
    return;
  }
}

} // namespace inlay

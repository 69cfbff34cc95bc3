// Detects a step that does not end. It has its own thread, because a device that does not answer blocks the engine's
// thread.
#ifndef INLAY_RUNTIME_API_WATCHDOG_H_
#define INLAY_RUNTIME_API_WATCHDOG_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace inlay {

// What the device was asked for, copied before it is: nobody may look at the engine's thread's state meanwhile.
struct StepState {
  struct Part {
    int64_t request = 0; // in the order of submission
    int32_t sequence = 0;
    int32_t prompt_tokens = 0, tokens = 0, computed = 0, pages = 0;
    int32_t first = 0, rows = 0, drafts = 0; // of this step
  };

  const char *phase = ""; // "launch" or "wait"
  int64_t step = 0;
  std::vector<Part> parts;
  int32_t running = 0, waiting = 0, free_pages = 0, total_pages = 0;

  // For people and scripts: one line of JSON.
  std::string Json(double seconds) const;
};

class Watchdog {
public:
  using OnStuck = std::function<void(const StepState &state, double seconds)>;

  // Calls `on_stuck` once, on a thread of its own, if something takes longer than `seconds`.
  Watchdog(double seconds, OnStuck on_stuck);
  ~Watchdog();

  void Begin(StepState state);
  void End();

private:
  using Clock = std::chrono::steady_clock;
  void Watch();

  const Clock::duration limit_;
  const OnStuck on_stuck_;
  std::mutex mutex_; // of what follows
  std::condition_variable changed_;
  std::optional<StepState> state_; // while the device is asked
  Clock::time_point began_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_WATCHDOG_H_

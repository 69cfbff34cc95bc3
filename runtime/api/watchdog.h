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

// The state of the step that the device runs. It is copied before the call into the device, because other threads must
// not read the engine thread's state.
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

  // One line of JSON for the log.
  std::string Json(double seconds) const;
};

class Watchdog {
public:
  using OnStuck = std::function<void(const StepState &state, double seconds)>;

  // Calls `on_stuck` at most once, on the watchdog's thread, if End() does not follow Begin() within `seconds`.
  Watchdog(double seconds, OnStuck on_stuck);
  ~Watchdog();

  void Begin(StepState state);
  void End();

private:
  using Clock = std::chrono::steady_clock;
  void Watch();

  const Clock::duration limit_;
  const OnStuck on_stuck_;
  std::mutex mutex_; // guards the members below
  std::condition_variable changed_;
  std::optional<StepState> state_; // between Begin() and End()
  Clock::time_point began_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_WATCHDOG_H_

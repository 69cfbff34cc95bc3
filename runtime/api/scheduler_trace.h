// Records steps and sequences with their times for chrome://tracing or Perfetto. Emits the host's spans as NVTX ranges
// too, if a profiler is attached.
#ifndef INLAY_RUNTIME_API_SCHEDULER_TRACE_H_
#define INLAY_RUNTIME_API_SCHEDULER_TRACE_H_

#include "runtime/api/active_request.h"
#include "runtime/api/step_runner.h"

#include <cstdio>
#include <set>
#include <unordered_map>

namespace inlay {

// Events are written as they happen, in Chrome's JSON array format. It may end after any event, so the trace of a
// killed process can be read. Only the engine's thread calls these functions, except for Flush().
class SchedulerTrace {
public:
  using Time = std::chrono::steady_clock::time_point;

  static absl::StatusOr<std::unique_ptr<SchedulerTrace>> Open(const std::string &path);
  ~SchedulerTrace();

  // Records work of the host.
  void Host(const char *name, Time begin, Time end);
  // Records a step on the device, with the times of its launch and end as seen by the host.
  void Step(const LaunchedStep &step, int64_t number, Time begin, Time end);
  void Counters(Time time, size_t running, size_t waiting, int32_t free_pages);
  // Record the events of a sequence, in the sequence's lane.
  void Admitted(const ActiveSequence &sequence, Time time);
  void Preempted(const ActiveSequence &sequence, Time time);
  void Ended(const ActiveRequest &request, Time time);
  // May be called from any thread.
  void Flush();

private:
  // A row of the displayed trace. A sequence has one until it ends, then another sequence can use it.
  struct Lane {
    int number = 0;
    Time since;                   // when the request was queued, or the sequence was preempted
    bool waits = true;            // since that time
    int64_t steps = 0;            // steps since `decoding` that sampled a token
    std::optional<Time> decoding; // begin of the first decode step since the sequence was admitted
  };

  SchedulerTrace(std::FILE *file, std::string path);
  Lane &LaneOf(const ActiveSequence &sequence);
  void EndDecoding(const ActiveSequence &sequence, Lane &lane, Time time);
  double Micros(Time time) const { return std::chrono::duration<double, std::micro>(time - start_).count(); }
  void Span(int process, int thread, std::string_view name, Time begin, Time end, std::string_view arguments);
  void Instant(int thread, std::string_view name, Time time);
  void Name(int process, int thread, std::string_view name);
  void Write(const std::string &event);

  std::FILE *file_;
  const std::string path_;
  const Time start_ = std::chrono::steady_clock::now();
  bool has_failed_ = false;
  Time last_step_end_ = start_;
  std::unordered_map<const ActiveSequence *, Lane> lanes_;
  std::set<int> free_lanes_;
  int next_lane_ = 0;
};

// Records the time from its construction to its destruction in the trace (if there is one) and as an NVTX range.
class HostSpan {
public:
  HostSpan(SchedulerTrace *trace, const char *name);
  ~HostSpan();
  HostSpan(const HostSpan &) = delete;
  HostSpan &operator=(const HostSpan &) = delete;

private:
  SchedulerTrace *const trace_;
  const char *const name_;
  SchedulerTrace::Time begin_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_SCHEDULER_TRACE_H_

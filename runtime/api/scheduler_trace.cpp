#include "runtime/api/scheduler_trace.h"

#include "fmt/format.h"

#include <cerrno>
#include <cstring>

#ifdef INLAY_HAS_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace inlay {
namespace {

constexpr int kEngine = 0, kSequences = 1; // process ids of the trace
constexpr int kSteps = 0, kHost = 1;       // thread ids of kEngine

} // namespace

absl::StatusOr<std::unique_ptr<SchedulerTrace>> SchedulerTrace::Open(const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "we");
  if (!file)
    return absl::InvalidArgumentError(fmt::format(
        "--trace {}: cannot be written: {}; choose a file in an existing directory", path, strerror(errno)));
  return std::unique_ptr<SchedulerTrace>(new SchedulerTrace(file, path));
}

SchedulerTrace::SchedulerTrace(std::FILE *file, std::string path) : file_(file), path_(std::move(path)) {
  std::fputs("[\n", file_);
  Write(R"({"name":"process_name","ph":"M","pid":0,"args":{"name":"engine"}})");
  Write(R"({"name":"process_name","ph":"M","pid":1,"args":{"name":"sequences"}})");
  Name(kEngine, kSteps, "steps");
  Name(kEngine, kHost, "host");
}

// The last event has no comma after it.
SchedulerTrace::~SchedulerTrace() {
  std::fputs(R"({"name":"end","ph":"M","pid":0,"args":{}}
]
)",
             file_);
  bool is_whole = std::fclose(file_) == 0;
  if (!is_whole && !has_failed_)
    fmt::print(stderr, "inlay: {}: the trace is incomplete: {}\n", path_, strerror(errno));
}

// A write error, such as a full disk, ends the trace but not the engine.
void SchedulerTrace::Write(const std::string &event) {
  if (has_failed_ || std::fputs((event + ",\n").c_str(), file_) >= 0)
    return;
  has_failed_ = true;
  fmt::print(stderr, "inlay: {}: the trace ends here: {}\n", path_, strerror(errno));
}

void SchedulerTrace::Flush() { std::fflush(file_); }

void SchedulerTrace::Name(int process, int thread, std::string_view name) {
  Write(fmt::format(R"({{"name":"thread_name","ph":"M","pid":{},"tid":{},"args":{{"name":"{}"}}}})", process, thread,
                    name));
}

void SchedulerTrace::Span(int process, int thread, std::string_view name, Time begin, Time end,
                          std::string_view arguments) {
  Write(fmt::format(R"({{"name":"{}","ph":"X","ts":{:.3f},"dur":{:.3f},"pid":{},"tid":{},"args":{{{}}}}})", name,
                    Micros(begin), Micros(end) - Micros(begin), process, thread, arguments));
}

void SchedulerTrace::Instant(int thread, std::string_view name, Time time) {
  Write(fmt::format(R"({{"name":"{}","ph":"i","s":"t","ts":{:.3f},"pid":{},"tid":{}}})", name, Micros(time), kSequences,
                    thread));
}

void SchedulerTrace::Host(const char *name, Time begin, Time end) { Span(kEngine, kHost, name, begin, end, ""); }

void SchedulerTrace::Counters(Time time, size_t running, size_t waiting, int32_t free_pages) {
  Write(fmt::format(R"({{"name":"sequences","ph":"C","ts":{:.3f},"pid":{},"args":{{"running":{},"waiting":{}}}}})",
                    Micros(time), kEngine, running, waiting));
  Write(fmt::format(R"({{"name":"free pages","ph":"C","ts":{:.3f},"pid":{},"args":{{"pages":{}}}}})", Micros(time),
                    kEngine, free_pages));
}

// The device runs steps one after the other, so a step begins when the one before it has ended.
void SchedulerTrace::Step(const LaunchedStep &step, int64_t number, Time begin, Time end) {
  begin = std::max(begin, last_step_end_);
  last_step_end_ = end;
  int32_t prompt_rows = 0, drafts = 0;
  for (size_t i = 0; i < step.plan.rows.size(); ++i) {
    const ScheduledRows &part = step.plan.rows[i];
    const auto &sequence = *part.sequence->active;
    drafts += part.drafts;
    auto found = lanes_.find(&sequence);
    if (found == lanes_.end()) // the sequence ended while the step was in flight
      continue;
    Lane &lane = found->second;
    if (part.first < sequence.prompt_size) {
      int32_t rows = std::min(part.count, sequence.prompt_size - part.first);
      prompt_rows += rows;
      Span(kSequences, lane.number, "prompt", begin, end,
           fmt::format(R"("request":{},"first":{},"rows":{},"tokens":{})", sequence.request->number, part.first, rows,
                       step.wants_token[i] ? 1 : 0));
    } else if (!lane.decoding) {
      lane.decoding = begin;
    }
    if (lane.decoding && step.wants_token[i])
      ++lane.steps;
  }
  Span(
      kEngine, kSteps, fmt::format("step {}", number), begin, end,
      fmt::format(
          R"("sequences":{},"rows":{},"prompt_rows":{},"drafts":{},"copied_pages":{},"swapped_out":{},"swapped_in":{})",
          step.plan.rows.size(), step.tokens, prompt_rows, drafts, step.plan.copies.size(), step.plan.swap_out.size(),
          step.plan.swap_in.size()));
}

SchedulerTrace::Lane &SchedulerTrace::LaneOf(const ActiveSequence &sequence) {
  auto [found, is_new] = lanes_.try_emplace(&sequence);
  if (!is_new)
    return found->second;
  Lane &lane = found->second;
  if (free_lanes_.empty()) {
    lane.number = next_lane_++;
    Name(kSequences, lane.number, fmt::format("lane {}", lane.number));
  } else {
    lane.number = free_lanes_.extract(free_lanes_.begin()).value();
  }
  lane.since = sequence.request->timings().queued;
  return lane;
}

void SchedulerTrace::Admitted(const ActiveSequence &sequence, Time time) {
  Lane &lane = LaneOf(sequence);
  if (lane.waits)
    Span(kSequences, lane.number, "waits", lane.since, time,
         fmt::format(R"("request":{},"sequence":{},"prompt_tokens":{},"cached_tokens":{})", sequence.request->number,
                     sequence.index, sequence.prompt_size, sequence.cache.found));
  lane.waits = false;
}

void SchedulerTrace::EndDecoding(const ActiveSequence &sequence, Lane &lane, Time time) {
  if (lane.decoding)
    Span(
        kSequences, lane.number, "decode", *lane.decoding, time,
        fmt::format(R"("request":{},"steps":{},"length":{})", sequence.request->number, lane.steps, sequence.length()));
  lane.decoding.reset();
  lane.steps = 0;
}

void SchedulerTrace::Preempted(const ActiveSequence &sequence, Time time) {
  Lane &lane = LaneOf(sequence);
  EndDecoding(sequence, lane, time);
  Instant(lane.number, "preempted", time);
  lane.since = time;
  lane.waits = true;
}

void SchedulerTrace::Ended(const ActiveRequest &request, Time time) {
  for (const auto &sequence : request.sequences()) {
    Lane &lane = LaneOf(*sequence);
    EndDecoding(*sequence, lane, time);
    if (lane.waits)
      Span(kSequences, lane.number, "waits", lane.since, time, fmt::format(R"("request":{})", request.number));
    FinishReason reason = sequence->finished != FinishReason::kNone ? sequence->finished : request.finish_reason(0);
    Instant(lane.number, ToString(reason), time);
    free_lanes_.insert(lane.number);
    lanes_.erase(sequence.get());
  }
}

HostSpan::HostSpan(SchedulerTrace *trace, const char *name) : trace_(trace), name_(name) {
  if (trace_)
    begin_ = std::chrono::steady_clock::now();
#ifdef INLAY_HAS_NVTX
  nvtxRangePushA(name);
#endif
}

HostSpan::~HostSpan() {
#ifdef INLAY_HAS_NVTX
  nvtxRangePop();
#endif
  if (trace_)
    trace_->Host(name_, begin_, std::chrono::steady_clock::now());
}

} // namespace inlay

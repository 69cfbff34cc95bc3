// The process of a rank other than rank 0: runs the steps that rank 0 sends.
#include "fmt/format.h"
#include "runtime/api/engine_internal.h"
#include "runtime/api/model_ranks.h"
#include "runtime/bundle/cache_groups.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace inlay {
namespace {

// How long a rank that has failed waits for the process of rank 0 to end. A launcher ends all processes when one ends
// with an error, and rank 0 should first report why.
constexpr std::chrono::seconds kGrace{1};

// Launches steps as they arrive. Another thread waits for their ends in their order and answers, so that a GPU has the
// next step while it runs one.
class RankServer {
public:
  RankServer(ModelRanks &ranks, const EngineOptions &options)
      : ranks_(ranks), processes_(*ranks.processes()), model_(ranks.first()), runner_(model_), options_(options) {}
  ~RankServer() {
    {
      std::lock_guard lock(mutex_);
      is_ending_ = true;
    }
    changed_.notify_all();
    if (answers_.joinable())
      answers_.join();
  }
  RankServer(const RankServer &) = delete;
  RankServer &operator=(const RankServer &) = delete;

  absl::Status Prepare() {
    const int32_t host_pages = HostPagesOf(ranks_, options_);
    if (absl::Status status = runner_.Prepare(host_pages); !status.ok())
      return status;
    const plan::Model &shape = model_.model();
    limits_.layout = &model_.metadata_layout();
    for (size_t slot = 0; slot < model_.steps_in_flight(); ++slot)
      limits_.metadata.push_back(model_.buffers(slot).metadata.get());
    for (const ReadyEntry &ready : model_.entries())
      limits_.entries.push_back(
          {static_cast<int32_t>(ready.entry->max_tokens()), static_cast<int32_t>(ready.entry->max_sequences())});
    limits_.bounds = {model_.memory().total_pages, static_cast<int32_t>(shape.vocab_size()), model_.cache_shape(),
                      static_cast<int32_t>(shape.short_rope_len())};
    limits_.host_pages = host_pages;
    limits_.rows_per_page = static_cast<int32_t>(RowsOfPage(shape));
    answers_ = std::thread([this] { Answer(); });
    return absl::OkStatus();
  }

  // Runs steps until the engine ends.
  absl::Status Serve() {
    while (true) {
      absl::StatusOr<Message> message = processes_.Receive();
      if (!message.ok())
        return message.status();
      switch (static_cast<RankMessage>(message->kind)) {
      case RankMessage::kEnd:
        return absl::OkStatus();
      case RankMessage::kStep:
        if (absl::Status status = RunStep(message->payload); !status.ok())
          return status;
        break;
      default:
        return ranks_.Fail(absl::InternalError(
            fmt::format("rank 0 has sent a message of kind {}; the engine cannot continue", message->kind)));
      }
    }
  }

private:
  // A step that was launched, and the event of its end.
  struct Launched {
    std::unique_ptr<ReceivedStep> step;
    EventId event = 0;
  };

  absl::Status RunStep(std::string_view message) {
    absl::StatusOr<std::unique_ptr<ReceivedStep>> step = DecodeStep(message, limits_);
    if (step.ok() && (*step)->command.number != last_step_ + 1)
      step = absl::InternalError(
          fmt::format("it has sent step {}, expected step {}", (*step)->command.number, last_step_ + 1));
    if (!step.ok())
      return ranks_.Fail(absl::InternalError(
          fmt::format("the process of rank 0: {}; the engine cannot continue", std::string(step.status().message()))));
    const StepCommand &command = (*step)->command;
    last_step_ = command.number;
    EventId event = 0;
    absl::StatusOr<int64_t> job = ranks_.Post(
        [&](uint32_t) {
          absl::StatusOr<EventId> launched = runner_.Launch(command);
          event = launched.value_or(0);
          return launched.status();
        },
        RankThreads::Limit::kTimeout);
    absl::Status status = job.ok() ? ranks_.Wait(*job) : job.status();
    if (!status.ok())
      return status;
    {
      std::lock_guard lock(mutex_);
      launched_.push_back({*std::move(step), event});
    }
    changed_.notify_all();
    return absl::OkStatus();
  }

  // Runs on its own thread until the engine ends or a step fails.
  void Answer() {
    while (true) {
      Launched next;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return is_ending_ || !launched_.empty(); });
        if (launched_.empty())
          return;
        next = std::move(launched_.front());
        launched_.pop_front();
      }
      if (!SendResult(next).ok())
        return;
    }
  }

  absl::Status SendResult(const Launched &launched) {
    const StepCommand &command = launched.step->command;
    if (absl::Status status = model_.device().WaitForEvent(launched.event); !status.ok())
      return ranks_.Fail(
          absl::UnavailableError(fmt::format("step {} has failed: rank {}: {}; the engine cannot continue",
                                             command.number, processes_.rank(), std::string(status.message()))));
    std::span<const int32_t> tokens;
    if (model_.is_last_stage())
      tokens = {model_.buffers(command.slot).tokens, command.tokens};
    return processes_.Send(static_cast<uint32_t>(RankMessage::kDone),
                           EncodeResult(command.number, tokens, SentLogits(*launched.step)));
  }

  // Rank 0 has logits of its own if it is in the last stage.
  std::span<const float> SentLogits(const ReceivedStep &step) const {
    if (processes_.rank() != ranks_.sampling_rank())
      return {};
    return step.logits;
  }

  ModelRanks &ranks_;
  RankProcesses &processes_;
  LoadedModel &model_;
  RankRunner runner_;
  const EngineOptions &options_;
  StepLimits limits_;
  int64_t last_step_ = 0;
  std::mutex mutex_; // guards launched_ and is_ending_
  std::condition_variable changed_;
  std::deque<Launched> launched_;
  bool is_ending_ = false;
  std::thread answers_; // the last member, because it uses the others
};

absl::Status LoadAndServe(ModelRanks &ranks, const EngineOptions &options) {
  if (absl::Status status = ranks.PlanMemory(options); !status.ok())
    return status;
  RankServer server(ranks, options);
  if (absl::Status status = ranks.Load(); !status.ok())
    return status;
  if (absl::Status status = server.Prepare(); !status.ok())
    return ranks.Fail(status);
  return server.Serve();
}

} // namespace

absl::Status RunRank(const std::string &bundle, const EngineOptions &options, const DeviceWrapper &wrap) {
  if (absl::Status status = CheckOptions(options); !status.ok())
    return status;
  if (options.process.rank < 1 || options.process.ranks < 2)
    return absl::InvalidArgumentError(
        fmt::format("the process runs rank {} of {}, expected one of several ranks that is not rank 0, which loads the "
                    "engine (Engine::Load)",
                    options.process.rank, options.process.ranks));
  absl::StatusOr<std::unique_ptr<ModelRanks>> ranks = ModelRanks::Open(bundle, options, wrap);
  if (!ranks.ok())
    return ranks.status();
  absl::Status status = LoadAndServe(**ranks, options);
  RankProcesses &processes = *(*ranks)->processes();
  if (!status.ok())
    (void)processes.WaitForEndOfFirst(kGrace);
  processes.Leave();
  return status;
}

absl::Status Engine::RunRank(const std::string &bundle, const EngineOptions &options) {
  return inlay::RunRank(bundle, options, nullptr);
}

} // namespace inlay

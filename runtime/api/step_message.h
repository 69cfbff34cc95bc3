// A step as rank 0 sends it to ranks in other processes, and what they answer.
#ifndef INLAY_RUNTIME_API_STEP_MESSAGE_H_
#define INLAY_RUNTIME_API_STEP_MESSAGE_H_

#include "runtime/api/rank_runner.h"
#include "runtime/schedule/check_step.h"

#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace inlay {

enum class RankMessage : uint32_t {
  kReady = 1, // a rank has loaded the model; no payload
  kStep,      // EncodeStep(); the rank answers with kDone
  kDone,      // EncodeResult()
  kEnd,       // the engine ends; no payload
};

std::string EncodeStep(const StepCommand &step);

// What a step may refer to.
struct StepLimits {
  const MetadataLayout *layout = nullptr;
  std::vector<StepMetadata *> metadata; // by slot
  struct Entry {
    int32_t tokens = 0, sequences = 0;
  };
  std::vector<Entry> entries; // of the rank's stage
  StepBounds bounds;
  int32_t host_pages = 0, rows_per_page = 0;
};

// A step that another process has sent, with what its command refers to.
struct ReceivedStep {
  explicit ReceivedStep(StepCommand command) : command(std::move(command)) {}
  StepCommand command;
  std::deque<Sequence> edited;
  std::vector<float> logits;
};

// Checks the message and writes its metadata to those of its slot. After an error nothing may be run.
absl::StatusOr<std::unique_ptr<ReceivedStep>> DecodeStep(std::string_view message, const StepLimits &limits);

// What a rank of the last stage has sampled. Other ranks send no tokens.
struct RankResult {
  int64_t step = 0;
  std::vector<int32_t> tokens;
  std::vector<float> logits;
};

std::string EncodeResult(int64_t step, std::span<const int32_t> tokens, std::span<const float> logits);
absl::StatusOr<RankResult> DecodeResult(std::string_view message);

} // namespace inlay

#endif // INLAY_RUNTIME_API_STEP_MESSAGE_H_

// The structures behind the opaque handles of the C interface.
#ifndef INLAY_RUNTIME_C_HANDLES_H_
#define INLAY_RUNTIME_C_HANDLES_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/api/inlay.h"
#include "runtime/c/inlay.h"
#include "runtime/c/support.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

struct inlay_engine {
  std::unique_ptr<inlay::Engine> engine;
  std::string target, device;
  std::string directory; // of the bundle
  // The bundle's tokenizer, for inlay_decode with special tokens, which Engine does not support. Loaded at first use.
  std::once_flag loads_tokenizer = {};
  absl::StatusOr<std::unique_ptr<inlay::tokenizer::Tokenizer>> tokenizer = nullptr;
};

namespace inlay::c {

// The tags of a queue. Requests that report to the queue keep it alive.
class TagQueue {
public:
  void Push(uint64_t tag);
  // Waits for tags and takes up to `capacity` of them. Returns their number; 0 if none came before the deadline.
  size_t Wait(Deadline deadline, uint64_t *tags, size_t capacity);

private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<uint64_t> tags_;
  std::unordered_set<uint64_t> present_; // those in tags_
};

// Reports the progress of a request to the program. The engine shares it and calls it while the request runs.
class Reporter {
public:
  Reporter(void (*callback)(void *), void *user_data) : callback_(callback), user_data_(user_data) {}
  void ReportTo(std::shared_ptr<TagQueue> queue, uint64_t tag);
  void OnProgress();
  // After this, nothing is reported to the program.
  void Stop();

private:
  std::mutex mutex_; // guards the members below
  void (*callback_)(void *);
  void *user_data_;
  std::shared_ptr<TagQueue> queue_;
  uint64_t tag_ = 0;
};

} // namespace inlay::c

struct inlay_queue {
  std::shared_ptr<inlay::c::TagQueue> tags = std::make_shared<inlay::c::TagQueue>();
};

struct inlay_request {
  std::unique_ptr<inlay::RequestHandle> handle;
  std::shared_ptr<inlay::c::Reporter> reporter;
  // The memory that the inlay_piece returned last points to.
  std::optional<inlay::Piece> piece;
  std::vector<inlay_token_logprob> top;
  struct PromptToken {
    inlay_token_logprob token;
    std::vector<inlay_token_logprob> top;
    int32_t rank;
  };
  std::vector<PromptToken> prompt; // filled at the first call that needs it
  int32_t n = 1;
  std::map<int32_t, std::string> stop_texts = {}; // by sequence; those returned by inlay_request_stop_reason
};

#endif // INLAY_RUNTIME_C_HANDLES_H_

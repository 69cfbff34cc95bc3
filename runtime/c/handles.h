// What the opaque handles of the C interface hold.
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
  // Its tokenizer for texts with special tokens, which the engine does not give; loaded when first asked for.
  std::once_flag loads_tokenizer = {};
  absl::StatusOr<std::unique_ptr<inlay::tokenizer::Tokenizer>> tokenizer = nullptr;
};

namespace inlay::c {

// A queue's tags. Requests that report to it keep it alive.
class TagQueue {
public:
  void Push(uint64_t tag);
  // How many were taken; 0 if there was none until then.
  size_t Wait(Deadline deadline, uint64_t *tags, size_t capacity);

private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<uint64_t> tags_;
  std::unordered_set<uint64_t> present_; // those in tags_
};

// Whom a request tells of its progress; shared with the engine, which calls it for as long as the request runs.
class Reporter {
public:
  Reporter(void (*callback)(void *), void *user_data) : callback_(callback), user_data_(user_data) {}
  void ReportTo(std::shared_ptr<TagQueue> queue, uint64_t tag);
  void OnProgress();
  // The program is not told of anything after this.
  void Stop();

private:
  std::mutex mutex_; // of all
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
  // What the piece given out last points to.
  std::optional<inlay::Piece> piece;
  std::vector<inlay_token_logprob> top;
  struct PromptToken {
    inlay_token_logprob token;
    std::vector<inlay_token_logprob> top;
    int32_t rank;
  };
  std::vector<PromptToken> prompt; // once they were asked for
  int32_t n = 1;
  std::map<int32_t, std::string> stop_texts = {}; // by sequence, once they were asked for
};

#endif // INLAY_RUNTIME_C_HANDLES_H_

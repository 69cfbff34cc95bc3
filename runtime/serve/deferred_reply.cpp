#include "runtime/serve/deferred_reply.h"

#include <mutex>
#include <optional>
#include <utility>

namespace inlay::serve {
namespace {

// State shared by the connection and the thread that computes the reply.
struct Shared {
  std::mutex mutex; // guards the members below
  bool is_dropped = false;
  std::optional<Reply> reply;
};

class DeferredReply : public PendingReply {
public:
  explicit DeferredReply(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~DeferredReply() override {
    std::lock_guard lock(shared_->mutex);
    shared_->is_dropped = true;
  }

  bool is_stream() const override { return inner_ && inner_->is_stream(); }

  Part Take() override {
    if (inner_)
      return inner_->Take();
    Reply reply;
    {
      std::lock_guard lock(shared_->mutex);
      if (!shared_->reply)
        return {};
      reply = std::move(*shared_->reply);
    }
    inner_ = std::move(reply.pending);
    return inner_ ? inner_->Take() : Part{.data = {}, .answer = std::move(reply.answer), .done = true};
  }

  std::optional<Usage> usage() const override { return inner_ ? inner_->usage() : std::nullopt; }

private:
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<PendingReply> inner_;
};

} // namespace

std::unique_ptr<PendingReply> Defer(WorkQueue &queue, HttpRequest request, Wake wake,
                                    std::function<Reply(const HttpRequest &, Wake)> make) {
  auto shared = std::make_shared<Shared>();
  auto pending = std::make_unique<DeferredReply>(shared);
  uint64_t bytes = request.body.size();
  auto job = [shared, wake = std::move(wake), make = std::move(make), request = std::move(request)] {
    {
      std::lock_guard lock(shared->mutex);
      if (shared->is_dropped)
        return;
    }
    Reply reply = make(request, wake);
    {
      std::lock_guard lock(shared->mutex);
      if (shared->is_dropped)
        return; // dropping `reply` cancels its work
      shared->reply = std::move(reply);
    }
    wake();
  };
  if (!queue.Push(std::move(job), bytes))
    return nullptr;
  return pending;
}

} // namespace inlay::serve

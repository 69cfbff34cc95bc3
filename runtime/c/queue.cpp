// Queues of the C interface, with which one thread can wait for many requests.
#include "runtime/c/handles.h"
#include "runtime/c/support.h"

namespace inlay::c {

void TagQueue::Push(uint64_t tag) {
  {
    std::lock_guard lock(mutex_);
    if (!present_.insert(tag).second)
      return;
    tags_.push_back(tag);
  }
  arrived_.notify_one();
}

size_t TagQueue::Wait(Deadline deadline, uint64_t *tags, size_t capacity) {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_until(lock, deadline, [&] { return !tags_.empty(); }))
    return 0;
  size_t count = std::min(capacity, tags_.size());
  for (size_t i = 0; i < count; ++i) {
    tags[i] = tags_.front();
    present_.erase(tags_.front());
    tags_.pop_front();
  }
  return count;
}

void Reporter::ReportTo(std::shared_ptr<TagQueue> queue, uint64_t tag) {
  std::lock_guard lock(mutex_);
  queue_ = std::move(queue);
  tag_ = tag;
  queue_->Push(tag_);
}

void Reporter::OnProgress() {
  std::lock_guard lock(mutex_);
  if (callback_)
    callback_(user_data_);
  if (queue_)
    queue_->Push(tag_);
}

void Reporter::Stop() {
  std::lock_guard lock(mutex_);
  callback_ = nullptr;
  queue_ = nullptr;
}

} // namespace inlay::c

using inlay::c::Call;

inlay_status inlay_queue_create(inlay_queue **queue) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(queue, "queue"); !status.ok())
      return status;
    *queue = new inlay_queue;
    return absl::OkStatus();
  });
}

void inlay_queue_free(inlay_queue *queue) { delete queue; }

inlay_status inlay_request_report(inlay_request *request, inlay_queue *queue, uint64_t tag) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull({{request, "request"}, {queue, "queue"}}); !status.ok())
      return status;
    request->reporter->ReportTo(queue->tags, tag);
    return absl::OkStatus();
  });
}

inlay_status inlay_queue_push(inlay_queue *queue, uint64_t tag) {
  return Call([&]() -> absl::Status {
    if (absl::Status status = inlay::c::NotNull(queue, "queue"); !status.ok())
      return status;
    queue->tags->Push(tag);
    return absl::OkStatus();
  });
}

inlay_status inlay_queue_wait(inlay_queue *queue, double timeout_seconds, uint64_t *tags, size_t capacity,
                              size_t *count) {
  return Call([&]() -> inlay_status {
    if (absl::Status status = inlay::c::NotNull({{queue, "queue"}, {tags, "tags"}, {count, "count"}}); !status.ok())
      return inlay::c::Report(status);
    *count = 0;
    if (capacity == 0)
      return inlay::c::Report(absl::InvalidArgumentError("capacity is 0, expected room for at least one tag"));
    absl::StatusOr<inlay::c::Deadline> deadline = inlay::c::DeadlineIn(timeout_seconds);
    if (!deadline.ok())
      return inlay::c::Report(deadline.status());
    *count = queue->tags->Wait(*deadline, tags, capacity);
    return *count ? INLAY_OK : INLAY_TIMEOUT;
  });
}

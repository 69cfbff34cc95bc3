// A response that other threads compute. It is pending until they finish.
#ifndef INLAY_RUNTIME_SERVE_DEFERRED_REPLY_H_
#define INLAY_RUNTIME_SERVE_DEFERRED_REPLY_H_

#include "runtime/serve/http_message.h"
#include "runtime/serve/work_queue.h"

#include <functional>
#include <memory>

namespace inlay::serve {

// Queues a call of `make` with `request` and `wake`. Dropping the returned reply cancels it: `make` is not called, or
// its result is dropped. Returns null if the queue is full.
std::unique_ptr<PendingReply> Defer(WorkQueue &queue, HttpRequest request, Wake wake,
                                    std::function<Reply(const HttpRequest &, Wake)> make);

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_DEFERRED_REPLY_H_

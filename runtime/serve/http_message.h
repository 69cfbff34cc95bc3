// An HTTP request and its response, without sockets, so that handlers can be tested without a network.
#ifndef INLAY_RUNTIME_SERVE_HTTP_MESSAGE_H_
#define INLAY_RUNTIME_SERVE_HTTP_MESSAGE_H_

#include "runtime/serve/api_error.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay::serve {

struct HttpRequest {
  std::string method = {};                                       // "GET"
  std::string path = {};                                         // as it was sent, without the query and the host
  std::vector<std::pair<std::string, std::string>> headers = {}; // names in lower case
  std::string body = {};
  std::string id = {};                                 // RequestIdOf()
  std::chrono::steady_clock::time_point received = {}; // when the body was complete

  // The value of the first field with this name (in lower case). Null if there is none.
  const std::string *Find(std::string_view name) const {
    for (const auto &[known, value] : headers)
      if (known == name)
        return &value;
    return nullptr;
  }
  std::string_view Header(std::string_view name) const {
    const std::string *value = Find(name);
    return value ? std::string_view(*value) : std::string_view();
  }
};

struct Answer {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

inline Answer ToAnswer(const ApiError &error) { return {.status = error.status, .body = ErrorBody(error)}; }

// Token counts of a request: the sums over its prompts and answers.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
};

// An answer that is computed asynchronously. Dropping it cancels the work.
class PendingReply {
public:
  virtual ~PendingReply() = default;
  // true: parts are sent as they are generated (server-sent events). false: one answer is sent at the end.
  virtual bool is_stream() const = 0;
  struct Part {
    std::string data; // events of a stream
    std::optional<Answer>
        answer; // the complete answer of a request that does not stream, or of a stream that failed before it began
    bool done = false;
  };
  // Returns the output since the last call. Called again after each wake.
  virtual Part Take() = 0;
  // The token counts so far. nullopt if the request generates no tokens.
  virtual std::optional<Usage> usage() const { return std::nullopt; }
};

struct Reply {
  Answer answer;
  std::unique_ptr<PendingReply> pending; // if not null, replaces `answer`
};

// Called from any thread when a pending reply may have more output. Never called after the reply is destroyed.
using Wake = std::function<void()>;

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_HTTP_MESSAGE_H_

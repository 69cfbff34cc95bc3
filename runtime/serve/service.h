// The request handlers of the server, one per path, over one engine.
#ifndef INLAY_RUNTIME_SERVE_SERVICE_H_
#define INLAY_RUNTIME_SERVE_SERVICE_H_

#include "formats/tokenizer/tokenizer.h"
#include "runtime/api/inlay.h"
#include "runtime/serve/answer_parser.h"
#include "runtime/serve/authorization.h"
#include "runtime/serve/cors.h"
#include "runtime/serve/http_message.h"
#include "runtime/serve/ignored_field_log.h"
#include "runtime/serve/limits.h"
#include "runtime/serve/metrics.h"
#include "runtime/serve/openai_request.h"
#include "runtime/serve/prompt_limit.h"
#include "runtime/serve/request_log.h"
#include "runtime/serve/work_queue.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace inlay::serve {

struct ServiceOptions {
  std::string bundle;
  std::string weights_source = {};        // EngineOptions::weights_source
  std::vector<std::string> model_names;   // --served-model-name; answers show the first one by default
  std::vector<std::string> api_keys;      // empty: all requests are allowed
  std::string tool_parser;                // --tool-call-parser; empty: tool_choice "auto" is refused
  std::string reasoning_parser;           // --reasoning-parser; empty: reasoning stays content
  std::string scheduling_policy = "fcfs"; // policy of the engine
  bool strict_fields = false;             // --strict-fields
  bool has_page = true;
  bool log_requests = false; // --enable-log-requests
  int tokenizer_threads = 0; // threads of the work queue; 0: chosen by the number of cores
  CorsOptions cors;
  Limits limits;
};

// Thread-safe.
class Service {
public:
  // `engine` must outlive the service. Loads the tokenizer and the plan of the bundle.
  static absl::StatusOr<std::unique_ptr<Service>> Make(Engine &engine, ServiceOptions options);

  // Called before the body is read. Returns an answer that does not depend on the body: the answer to a preflight
  // request, or an error with status 401, 404, 405 or 415.
  std::optional<Answer> EarlyAnswer(const HttpRequest &request) const;
  // Answers a request for which EarlyAnswer() returned nothing. Slow work runs on the service's threads. `wake` is
  // called when a pending reply has more output.
  Reply Handle(HttpRequest request, Wake wake);
  // The CORS header fields of the answer to `request`.
  std::vector<std::pair<std::string, std::string>> CorsHeadersOf(const HttpRequest &request) const {
    return CorsHeaders(request, options_.cors);
  }
  // Refuses new generation requests from now on. /ready returns 503.
  void Drain() { draining_ = true; }
  // Stops the service's threads. Afterwards the service does not call the engine.
  void Stop() { work_->Stop(); }

  Metrics &metrics() { return *metrics_; }
  const Limits &limits() const { return options_.limits; }
  // Writes a line of the request log, at most a few hundred bytes, to the standard error stream.
  void Log(const LoggedRequest &request) const;
  bool logs_requests() const { return options_.log_requests; }
  // The label of `path` in metrics. The set of labels is fixed.
  static std::string_view HandlerOf(std::string_view path);

private:
  Service(Engine &engine, ServiceOptions options);

  friend struct RouteTable;
  Reply Generate(const HttpRequest &request, bool is_chat, Wake wake);
  std::optional<ApiError> Prepare(GenerationRequest &request, std::vector<Request> &prompts,
                                  std::vector<std::string> &texts) const;
  std::optional<ApiError> Truncate(const GenerationRequest &request, Prompt &prompt) const;
  AnswerFormat FormatOf(const GenerationRequest &request) const;
  absl::StatusOr<std::string> Render(const Conversation &conversation, bool with_tools) const;
  std::optional<ApiError> CheckModel(const std::string &name) const;
  Answer Models(const std::string &path) const;
  Answer Tokenize(const HttpRequest &request) const;
  Answer Detokenize(const HttpRequest &request) const;
  Answer Ready() const;
  Answer Health() const;

  Engine &engine_;
  ServiceOptions options_;
  RequestContext context_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_; // null: the bundle has no tokenizer
  std::unique_ptr<Metrics> metrics_;
  ApiKeys keys_;
  std::string page_;
  PromptLimit prompt_limit_;
  int64_t created_ = 0;
  int64_t most_sequences_ = 0; // maximum number of running and waiting sequences
  std::shared_ptr<std::atomic<int64_t>> sequences_ = std::make_shared<std::atomic<int64_t>>(0);
  mutable IgnoredFieldLog ignored_fields_;
  std::atomic<bool> draining_{false};
  std::unique_ptr<WorkQueue> work_; // must be the last member: its threads use the other members
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SERVICE_H_

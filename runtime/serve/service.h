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
  std::string weights_source = {};        // as EngineOptions has it
  std::vector<std::string> model_names;   // --served-model-name; the first one is shown
  std::vector<std::string> api_keys;      // empty: everyone may
  std::string tool_parser;                // --tool-call-parser; empty: no tools
  std::string reasoning_parser;           // --reasoning-parser; empty: reasoning stays content
  std::string scheduling_policy = "fcfs"; // of the engine
  bool strict_fields = false;             // --strict-fields
  bool has_page = true;
  bool log_requests = false; // --enable-log-requests
  int tokenizer_threads = 0; // that parse, render and tokenize; 0: by the number of cores
  CorsOptions cors;
  Limits limits;
};

// May be called from several threads.
class Service {
public:
  // `engine` must outlive the service. Reads the tokenizer and facts of the bundle.
  static absl::StatusOr<std::unique_ptr<Service>> Make(Engine &engine, ServiceOptions options);

  // Before the body is read: an answer that needs none. A preflight's, or a refusal with status 401, 404, 405 or 415.
  std::optional<Answer> EarlyAnswer(const HttpRequest &request) const;
  // Answers a request that has no early answer. What takes long is done by threads of the service. `wake` belongs to a
  // pending reply.
  Reply Handle(HttpRequest request, Wake wake);
  // Fields of the answer to `request` that browsers ask for.
  std::vector<std::pair<std::string, std::string>> CorsHeadersOf(const HttpRequest &request) const {
    return CorsHeaders(request, options_.cors);
  }
  // From now on no new generation; /ready says so.
  void Drain() { draining_ = true; }
  // Ends the service's threads; afterwards nothing calls the engine.
  void Stop() { work_->Stop(); }

  Metrics &metrics() { return *metrics_; }
  const Limits &limits() const { return options_.limits; }
  // Writes a line of the request log to the standard error stream, if there is one. At most a few hundred bytes.
  void Log(const LoggedRequest &request) const;
  bool logs_requests() const { return options_.log_requests; }
  // The label of `path` in metrics: one of a fixed set.
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
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_; // null: the bundle has none
  std::unique_ptr<Metrics> metrics_;
  ApiKeys keys_;
  std::string page_;
  PromptLimit prompt_limit_;
  int64_t created_ = 0;
  int64_t most_sequences_ = 0; // running and waiting
  std::shared_ptr<std::atomic<int64_t>> sequences_ = std::make_shared<std::atomic<int64_t>>(0);
  mutable IgnoredFieldLog ignored_fields_;
  std::atomic<bool> draining_{false};
  std::unique_ptr<WorkQueue> work_; // the last member: its threads use the others
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SERVICE_H_

// What the server answers to: each path with its handler, over one engine.
#ifndef INLAY_RUNTIME_SERVE_SERVICE_H_
#define INLAY_RUNTIME_SERVE_SERVICE_H_

#include "frontends/tokenizer/tokenizer.h"
#include "runtime/api/inlay.h"
#include "runtime/serve/answer_parser.h"
#include "runtime/serve/http_message.h"
#include "runtime/serve/limits.h"
#include "runtime/serve/metrics.h"
#include "runtime/serve/openai_request.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace inlay::serve {

struct ServiceOptions {
  std::string bundle;
  std::string weights_source = {};      // as EngineOptions has it
  std::vector<std::string> model_names; // --served-model-name; the first one is shown
  std::vector<std::string> api_keys;    // empty: everyone may
  std::string tool_parser;              // --tool-call-parser; empty: no tools
  std::string reasoning_parser;         // --reasoning-parser; empty: reasoning stays content
  bool has_page = true;
  Limits limits;
};

// May be called from several threads.
class Service {
public:
  // `engine` must outlive the service. Reads the tokenizer and facts of the bundle.
  static absl::StatusOr<std::unique_ptr<Service>> Make(Engine &engine, ServiceOptions options);

  // Before the body is read: whether this request is answered at all. Status 401, 404, 405 or 415.
  std::optional<Answer> Refusal(const HttpRequest &request) const;
  // `wake` belongs to a pending reply.
  Reply Handle(const HttpRequest &request, Wake wake);
  // From now on no new generation; /ready says so.
  void Drain() { draining_ = true; }

  Metrics &metrics() { return metrics_; }
  const Limits &limits() const { return options_.limits; }
  // Whether `path` is known; others are counted together.
  static bool IsKnownPath(std::string_view path);

private:
  Service(Engine &engine, ServiceOptions options);

  friend struct Routes;
  Reply Generate(const HttpRequest &request, bool is_chat, Wake wake);
  std::optional<ApiError> Prepare(GenerationRequest &request, std::vector<Request> &prompts,
                                  std::vector<std::string> &texts) const;
  AnswerFormat FormatOf(const GenerationRequest &request) const;
  absl::StatusOr<std::string> Render(const Conversation &conversation, bool with_tools) const;
  std::optional<ApiError> CheckModel(const std::string &name) const;
  bool IsAuthorized(const std::string &authorization) const;
  Answer Models(const std::string &path) const;
  Answer Tokenize(const HttpRequest &request) const;
  Answer Detokenize(const HttpRequest &request) const;
  Answer Ready() const;
  Answer Health() const;

  Engine &engine_;
  ServiceOptions options_;
  RequestContext context_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_; // null: the bundle has none
  Metrics metrics_;
  int64_t created_ = 0;
  int64_t most_sequences_ = 0; // running and waiting
  std::shared_ptr<std::atomic<int64_t>> sequences_ = std::make_shared<std::atomic<int64_t>>(0);
  std::atomic<bool> draining_{false};
};

} // namespace inlay::serve

#endif // INLAY_RUNTIME_SERVE_SERVICE_H_

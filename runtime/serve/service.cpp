#include "runtime/serve/service.h"

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/bundle.h"
#include "runtime/serve/authorization.h"
#include "runtime/serve/generation.h"
#include "runtime/serve/page.h"
#include "runtime/support/version.h"

#include <algorithm>
#include <filesystem>

namespace inlay::serve {
namespace {

using nlohmann::ordered_json;

std::string Dump(const ordered_json &json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

Answer Fail(ApiError error) { return ToAnswer(error); }

constexpr std::string_view kModelPrefix = "/v1/models/";

} // namespace

// The paths. Handlers that generate take a wake; the others answer at once.
struct Routes {
  struct Route {
    std::string_view method, path;
    Reply (*handle)(Service &service, const HttpRequest &request, Wake &wake);
    bool needs_key() const { return path != "/health"; }
  };
  static Reply Now(Answer answer) { return {std::move(answer), nullptr}; }

  static constexpr Route kAll[] = {
      {"GET", "/",
       [](Service &, const HttpRequest &, Wake &) {
         return Now(
             {.body = std::string(kPage),
              .content_type = "text/html; charset=utf-8",
              .headers = {{"Content-Security-Policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"},
                          {"X-Content-Type-Options", "nosniff"}}});
       }},
      {"GET", "/health", [](Service &s, const HttpRequest &, Wake &) { return Now(s.Health()); }},
      {"GET", "/ready", [](Service &s, const HttpRequest &, Wake &) { return Now(s.Ready()); }},
      {"GET", "/version",
       [](Service &, const HttpRequest &, Wake &) {
         return Now({.body = Dump({{"version", Version()}, {"revision", Revision()}})});
       }},
      {"GET", "/metrics",
       [](Service &s, const HttpRequest &, Wake &) {
         return Now(
             {.body = s.metrics_.Text(s.engine_.Stats()), .content_type = "text/plain; version=0.0.4; charset=utf-8"});
       }},
      {"GET", "/v1/models", [](Service &s, const HttpRequest &r, Wake &) { return Now(s.Models(r.path)); }},
      {"POST", "/v1/completions",
       [](Service &s, const HttpRequest &r, Wake &wake) { return s.Generate(r, /*is_chat=*/false, std::move(wake)); }},
      {"POST", "/v1/chat/completions",
       [](Service &s, const HttpRequest &r, Wake &wake) { return s.Generate(r, /*is_chat=*/true, std::move(wake)); }},
      {"POST", "/tokenize", [](Service &s, const HttpRequest &r, Wake &) { return Now(s.Tokenize(r)); }},
      {"POST", "/detokenize", [](Service &s, const HttpRequest &r, Wake &) { return Now(s.Detokenize(r)); }},
  };

  static const Route *Find(std::string_view path) {
    std::string_view known = path.starts_with(kModelPrefix) ? kModelPrefix.substr(0, kModelPrefix.size() - 1) : path;
    const Route *found =
        std::find_if(std::begin(kAll), std::end(kAll), [&](const Route &r) { return r.path == known; });
    return found == std::end(kAll) ? nullptr : found;
  }
};

Service::Service(Engine &engine, ServiceOptions options)
    : engine_(engine), options_(std::move(options)), metrics_(options_.model_names.front()) {}

absl::StatusOr<std::unique_ptr<Service>> Service::Make(Engine &engine, ServiceOptions options) {
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(options.bundle, options.weights_source);
  if (!bundle.ok())
    return bundle.status();
  if (options.model_names.empty()) {
    std::filesystem::path path = std::filesystem::path(options.bundle).lexically_normal();
    options.model_names.push_back((path.has_filename() ? path : path.parent_path()).stem().string());
  }
  std::unique_ptr<Service> service(new Service(engine, std::move(options)));
  std::string directory = service->options_.bundle + "/tokenizer";
  if (std::filesystem::exists(directory + "/tokenizer.json")) {
    absl::StatusOr<std::unique_ptr<tokenizer::Tokenizer>> loaded = tokenizer::Tokenizer::Load(directory);
    if (!loaded.ok())
      return loaded.status();
    service->tokenizer_ = *std::move(loaded);
  }
  EngineStats stats = engine.Stats();
  service->context_ = {.limits = service->options_.limits,
                       .default_sampling = engine.default_sampling(),
                       .vocab_size = static_cast<int32_t>((*bundle)->plan().model()->vocab_size()),
                       .max_model_len = stats.max_model_len,
                       .has_tool_parser = !service->options_.tool_parser.empty()};
  service->most_sequences_ = int64_t{stats.max_num_seqs} + service->options_.limits.waiting;
  service->created_ =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  return service;
}

bool Service::IsKnownPath(std::string_view path) { return Routes::Find(path) != nullptr; }

std::optional<Answer> Service::Refusal(const HttpRequest &request) const {
  const Routes::Route *route = Routes::Find(request.path);
  bool needs_key = !route || route->needs_key();
  if (needs_key && !options_.api_keys.empty() && !IsOneOf(KeyOf(request.authorization), options_.api_keys)) {
    Answer answer =
        Fail({.status = 401,
              .message = request.authorization.empty() ? "no API key was given; send it as 'Authorization: Bearer KEY'"
                                                       : "the API key is wrong",
              .type = "authentication_error",
              .param = "",
              .code = "invalid_api_key"});
    answer.headers.emplace_back("WWW-Authenticate", request.path == "/" ? "Basic realm=\"inlay\"" : "Bearer");
    return answer;
  }
  if (!route || (request.path == "/" && !options_.has_page))
    return Fail({.status = 404,
                 .message = fmt::format("there is no {}; see GET /v1/models, POST /v1/completions and POST "
                                        "/v1/chat/completions",
                                        request.path.substr(0, 100)),
                 .param = "",
                 .code = "not_found"});
  bool is_head = request.method == "HEAD" && route->method == "GET";
  if (request.method != route->method && !is_head) {
    Answer answer = Fail({.status = 405,
                          .message = fmt::format("{} does not take {}, only {}", request.path.substr(0, 100),
                                                 request.method.substr(0, 20), route->method),
                          .param = "",
                          .code = "method_not_allowed"});
    answer.headers.emplace_back("Allow", std::string(route->method));
    return answer;
  }
  // Also keeps pages of other origins from posting without asking first.
  if (route->method == "POST" && !request.content_type.starts_with("application/json"))
    return Fail({.status = 415,
                 .message = fmt::format("the content type is '{}', expected application/json",
                                        request.content_type.substr(0, 100)),
                 .param = "",
                 .code = "unsupported_media_type"});
  return std::nullopt;
}

Reply Service::Handle(const HttpRequest &request, Wake wake) {
  if (std::optional<Answer> refusal = Refusal(request))
    return {*std::move(refusal), nullptr};
  return Routes::Find(request.path)->handle(*this, request, wake);
}

// --- Generation ---------------------------------------------------------------

std::optional<ApiError> Service::CheckModel(const std::string &name) const {
  const std::vector<std::string> &names = options_.model_names;
  if (name.empty() || std::find(names.begin(), names.end(), name) != names.end())
    return std::nullopt;
  return ApiError{.status = 404,
                  .message = fmt::format("the model '{}' does not exist; this server has {}", name.substr(0, 100),
                                         fmt::join(names, ", ")),
                  .param = "model",
                  .code = "model_not_found"};
}

absl::StatusOr<std::string> Service::Render(const Conversation &conversation, bool with_tools) const {
  ChatRequest chat;
  chat.messages_json = conversation.messages;
  chat.add_generation_prompt = conversation.add_generation_prompt;
  ordered_json variables = ordered_json::object();
  if (!conversation.template_variables.empty())
    variables = ordered_json::parse(conversation.template_variables);
  if (with_tools && !conversation.tools->empty())
    variables["tools"] = conversation.tools->list();
  chat.variables_json = variables.dump();
  return engine_.ApplyChatTemplate(chat);
}

// Prompts as token ids that fit, each with the sampling of the request; `texts` are what an echo shows.
std::optional<ApiError> Service::Prepare(GenerationRequest &request, std::vector<Request> &prompts,
                                         std::vector<std::string> &texts) const {
  if (request.is_chat) {
    absl::StatusOr<std::string> text = Render(request.conversation, request.tool_choice != ToolChoice::kNone);
    if (!text.ok()) {
      ApiError error = ErrorOf(text.status());
      error.param = "messages";
      if (absl::IsFailedPrecondition(text.status())) // which names the bundle's path
        error.message = "this model has no chat template; give the prompt itself to /v1/completions";
      return error;
    }
    if (const ReasoningFormat *reasoning = FindReasoningFormat(options_.reasoning_parser))
      request.reasoning_start = ReasoningStartOf(*reasoning, *text);
    request.prompts.push_back({*std::move(text), {}});
  }
  for (Prompt &prompt : request.prompts) {
    if (prompt.token_ids.empty()) {
      absl::StatusOr<std::vector<int32_t>> ids = engine_.Tokenize(prompt.text, request.add_special_tokens);
      if (!ids.ok())
        return ErrorOf(ids.status());
      prompt.token_ids = *std::move(ids);
    } else if (request.echo) {
      absl::StatusOr<std::string> text = engine_.Detokenize(prompt.token_ids);
      if (!text.ok())
        return ErrorOf(text.status());
      prompt.text = *std::move(text);
    }
    auto size = static_cast<int64_t>(prompt.token_ids.size()), room = context_.max_model_len - size;
    SamplingParams sampling = request.sampling;
    if (!request.max_tokens_given && request.is_chat)
      sampling.max_tokens = static_cast<int32_t>(std::max<int64_t>(room, 1));
    else if (!request.max_tokens_given)
      sampling.max_tokens = static_cast<int32_t>(std::min<int64_t>(sampling.max_tokens, std::max<int64_t>(room, 1)));
    if (sampling.max_tokens > room)
      return ApiError{.message = fmt::format("this model's maximum context length is {} tokens, but the prompt has {} "
                                             "and {} are to be generated; shorten the prompt or lower max_tokens",
                                             context_.max_model_len, size, sampling.max_tokens),
                      .param = request.is_chat ? "messages" : "prompt",
                      .code = "context_length_exceeded"};
    prompts.push_back({.prompt = {},
                       .prompt_token_ids = std::move(prompt.token_ids),
                       .add_special_tokens = false,
                       .sampling = std::move(sampling),
                       .priority = request.priority,
                       .cache_salt = request.cache_salt});
    texts.push_back(request.echo ? std::move(prompt.text) : std::string());
  }
  return std::nullopt;
}

// What answers are parsed for. An answer that is held to a form follows it from its first token on, so that no
// reasoning stands before it.
AnswerFormat Service::FormatOf(const GenerationRequest &request) const {
  AnswerFormat format{.reasoning_start = request.reasoning_start,
                      .tools = request.conversation.tools,
                      .parallel_tool_calls = request.parallel_tool_calls,
                      .shows_special_tokens = !request.sampling.skip_special_tokens};
  if (request.is_chat && request.sampling.guided.empty())
    format.reasoning = FindReasoningFormat(options_.reasoning_parser);
  if (request.tool_choice == ToolChoice::kAuto)
    format.tool_calls = FindToolCallFormat(options_.tool_parser);
  else if (request.tool_choice == ToolChoice::kForced)
    format.tool_calls = FindToolCallFormat(kForcedCallParser);
  return format;
}

Reply Service::Generate(const HttpRequest &http, bool is_chat, Wake wake) {
  if (draining_)
    return {Fail({.status = 503,
                  .message = "the server is shutting down",
                  .type = "service_unavailable_error",
                  .param = "",
                  .code = "draining"}),
            nullptr};
  auto received = std::chrono::steady_clock::now();
  GenerationRequest request;
  std::optional<ApiError> wrong =
      is_chat ? ParseChat(http.body, context_, request) : ParseCompletion(http.body, context_, request);
  if (!wrong)
    wrong = CheckModel(request.model);
  std::vector<Request> prompts;
  std::vector<std::string> texts;
  if (!wrong) {
    if (request.best_of > request.n)
      request.sampling.logprobs = std::max(request.sampling.logprobs, 0);
    wrong = Prepare(request, prompts, texts);
  }
  if (wrong)
    return {Fail(*std::move(wrong)), nullptr};

  int64_t count = static_cast<int64_t>(prompts.size()) * request.best_of;
  auto counted = std::make_unique<Counted>(sequences_, count);
  if (*sequences_ > most_sequences_) {
    Answer answer = Fail({.status = 503,
                          .message = fmt::format("the queue is full: {} sequences run or wait (--max-num-seqs and "
                                                 "--max-waiting); try again later",
                                                 most_sequences_),
                          .type = "service_unavailable_error",
                          .param = "",
                          .code = "overloaded"});
    answer.headers.emplace_back("Retry-After", "1");
    return {std::move(answer), nullptr};
  }
  metrics_.ObserveRequest(request.n);
  GenerationSetup setup{.request = request,
                        .model = request.model.empty() ? options_.model_names.front() : request.model,
                        .format = FormatOf(request),
                        .tokenizer = tokenizer_.get(),
                        .metrics = &metrics_,
                        .counted = std::move(counted)};
  auto generation = std::make_unique<Generation>(std::move(setup));
  for (size_t i = 0; i < prompts.size(); ++i)
    for (int32_t candidate = 0; candidate < request.best_of; ++candidate) {
      Request one = prompts[i];
      if (options_.limits.request_time.count() > 0)
        one.deadline = received + options_.limits.request_time;
      // Each answer has its own seed, and the same one every time.
      if (one.sampling.seed)
        *one.sampling.seed += static_cast<uint32_t>(candidate);
      if (absl::Status status = generation->Start(engine_, one, texts[i], wake); !status.ok())
        return {Fail(ErrorOf(status)), nullptr};
    }
  return {{}, std::move(generation)};
}

// --- The rest -----------------------------------------------------------------

Answer Service::Models(const std::string &path) const {
  auto entry = [&](const std::string &name) {
    return ordered_json{{"id", name},
                        {"object", "model"},
                        {"created", created_},
                        {"owned_by", "inlay"},
                        {"root", options_.model_names.front()},
                        {"parent", nullptr},
                        {"max_model_len", context_.max_model_len}};
  };
  if (path.starts_with(kModelPrefix)) {
    std::string name = path.substr(kModelPrefix.size());
    if (std::optional<ApiError> wrong = CheckModel(name))
      return Fail(*std::move(wrong));
    return {.body = Dump(entry(name))};
  }
  ordered_json list = ordered_json::array();
  for (const std::string &name : options_.model_names)
    list.push_back(entry(name));
  return {.body = Dump({{"object", "list"}, {"data", std::move(list)}})};
}

Answer Service::Tokenize(const HttpRequest &http) const {
  TokenizeRequest request;
  std::optional<ApiError> wrong = ParseTokenize(http.body, context_, request);
  if (!wrong)
    wrong = CheckModel(request.model);
  if (wrong)
    return Fail(*std::move(wrong));
  absl::StatusOr<std::string> text = request.prompt;
  if (request.is_chat)
    text = Render(request.conversation, /*with_tools=*/true);
  absl::StatusOr<std::vector<int32_t>> ids =
      text.ok() ? engine_.Tokenize(*text, request.add_special_tokens) : text.status();
  if (!ids.ok())
    return Fail(ErrorOf(ids.status()));
  ordered_json body = {{"count", ids->size()}, {"max_model_len", context_.max_model_len}, {"tokens", *ids}};
  if (request.return_token_strs && tokenizer_) {
    body["token_strs"] = ordered_json::array();
    for (int32_t id : *ids)
      body["token_strs"].push_back(tokenizer_->IdToToken(id).value_or(""));
  }
  return {.body = Dump(body)};
}

Answer Service::Detokenize(const HttpRequest &http) const {
  DetokenizeRequest request;
  std::optional<ApiError> wrong = ParseDetokenize(http.body, context_, request);
  if (!wrong)
    wrong = CheckModel(request.model);
  if (wrong)
    return Fail(*std::move(wrong));
  if (!tokenizer_)
    return Fail({.message = "this bundle has no tokenizer"});
  absl::StatusOr<std::string> text = tokenizer_->Decode(request.tokens, /*skip_special_tokens=*/false);
  if (!text.ok())
    return Fail(ErrorOf(text.status()));
  return {.body = Dump({{"prompt", *text}})};
}

Answer Service::Health() const {
  absl::Status health = engine_.Stats().health;
  if (health.ok())
    return {.body = Dump({{"status", "ok"}})};
  ApiError error = ErrorOf(health);
  error.status = 503;
  return Fail(error);
}

Answer Service::Ready() const {
  if (Answer health = Health(); health.status != 200)
    return health;
  if (!draining_)
    return {.body = Dump({{"status", "ready"}})};
  return {.status = 503, .body = Dump({{"status", "draining"}})};
}

} // namespace inlay::serve

#include "runtime/serve/service.h"

#include "absl/strings/str_replace.h"
#include "fmt/format.h"
#include "formats/tokenizer/unicode.h"
#include "nlohmann/json.hpp"
#include "runtime/bundle/bundle.h"
#include "runtime/serve/chat_fields.h"
#include "runtime/serve/deferred_reply.h"
#include "runtime/serve/generation.h"
#include "runtime/serve/page.h"
#include "runtime/serve/routes.h"
#include "runtime/support/version.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

namespace inlay::serve {
namespace {

using nlohmann::ordered_json;

std::string Dump(const ordered_json &json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

Answer Fail(ApiError error) { return ToAnswer(error); }

// Decodes percent-encoding: "%2F" becomes '/'. Invalid escapes are kept.
std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    const char *digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      decoded += static_cast<char>(byte);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

} // namespace

// The table of handlers. Those that generate tokens return a pending reply and call `wake`; the others answer at once.
struct RouteTable {
  static Reply Now(Answer answer) { return {std::move(answer), nullptr}; }

  static constexpr Routes::Route kAll[] = {
      {"GET", "/",
       [](Service &s, const HttpRequest &, Wake &) {
         return Now(
             {.body = s.page_,
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
             {.body = s.metrics_->Text(s.engine_.Stats()), .content_type = "text/plain; version=0.0.4; charset=utf-8"});
       }},
      {"GET", "/v1/models", [](Service &s, const HttpRequest &r, Wake &) { return Now(s.Models(r.path)); }},
      {"POST", "/v1/completions",
       [](Service &s, const HttpRequest &r, Wake &wake) { return s.Generate(r, /*is_chat=*/false, std::move(wake)); }},
      {"POST", "/v1/chat/completions",
       [](Service &s, const HttpRequest &r, Wake &wake) { return s.Generate(r, /*is_chat=*/true, std::move(wake)); }},
      {"POST", "/tokenize", [](Service &s, const HttpRequest &r, Wake &) { return Now(s.Tokenize(r)); }},
      {"POST", "/detokenize", [](Service &s, const HttpRequest &r, Wake &) { return Now(s.Detokenize(r)); }},
  };
};

const Routes::Route *Routes::Find(std::string_view path) {
  std::string_view known = path.starts_with(kModelPrefix) ? kModelPrefix.substr(0, kModelPrefix.size() - 1) : path;
  const auto &all = RouteTable::kAll;
  const Route *found = std::find_if(std::begin(all), std::end(all), [&](const Route &r) { return r.path == known; });
  return found == std::end(all) ? nullptr : found;
}

Service::Service(Engine &engine, ServiceOptions options)
    : engine_(engine), options_(std::move(options)), metrics_(std::make_unique<Metrics>(options_.model_names.front())),
      keys_(options_.api_keys),
      work_(std::make_unique<WorkQueue>(options_.tokenizer_threads, static_cast<size_t>(options_.limits.preparing),
                                        options_.limits.preparing_bytes)) {
  options_.api_keys.clear();
}

absl::StatusOr<std::unique_ptr<Service>> Service::Make(Engine &engine, ServiceOptions options) {
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(options.bundle, options.weights_source);
  if (!bundle.ok())
    return bundle.status();
  if (options.model_names.empty()) {
    std::filesystem::path path = std::filesystem::path(options.bundle).lexically_normal();
    options.model_names.push_back((path.has_filename() ? path : path.parent_path()).stem().string());
  }
  // The names are written to JSON and metrics, which must be valid UTF-8.
  for (std::string &name : options.model_names)
    name = tokenizer::ReplaceInvalidUtf8(name);
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
                       // The KV cache may have fewer positions than the model's context.
                       .max_model_len = static_cast<int32_t>(
                           std::min<int64_t>(stats.max_model_len, std::max<int64_t>(stats.kv_cache_tokens, 1))),
                       .has_tool_parser = !service->options_.tool_parser.empty()};
  if (service->tokenizer_)
    service->prompt_limit_ = PromptLimit(*service->tokenizer_, service->context_.max_model_len);
  service->page_ = kPage;
  if (absl::IsFailedPrecondition(engine.ApplyChatTemplate({.messages_json = "[]", .variables_json = {}}).status()))
    absl::StrReplaceAll({{R"(data-kind="chat")", R"(data-kind="completion")"}}, &service->page_);
  service->most_sequences_ = int64_t{stats.max_num_seqs} + service->options_.limits.waiting;
  service->context_.has_priorities = service->options_.scheduling_policy == "priority";
  service->context_.strict_fields = service->options_.strict_fields;
  service->created_ =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  return service;
}

Reply Service::Handle(HttpRequest request, Wake wake) {
  request.received = std::chrono::steady_clock::now();
  const Routes::Route *route = Routes::Find(request.path);
  if (!route->is_slow())
    return route->handle(*this, request, wake);
  std::unique_ptr<PendingReply> pending =
      Defer(*work_, std::move(request), std::move(wake),
            [this, route](const HttpRequest &it, Wake then) { return route->handle(*this, it, then); });
  if (pending)
    return {{}, std::move(pending)};
  Answer answer = Fail({.status = 503,
                        .message = fmt::format(
                            "the queue is full: at most {} requests or {} bytes may wait to be parsed; try again later",
                            options_.limits.preparing, options_.limits.preparing_bytes),
                        .type = "service_unavailable_error",
                        .param = "",
                        .code = "overloaded"});
  answer.headers.emplace_back("Retry-After", "1");
  return {std::move(answer), nullptr};
}

void Service::Log(const LoggedRequest &request) const {
  fmt::print(stderr, "serve-model: {}\n", FormatRequest(request));
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
  return engine_.ApplyChatTemplate(ToChatRequest(conversation, with_tools));
}

// Renders, tokenizes and truncates the prompts and checks that they fit into the context. `texts` are the texts that
// `echo` returns.
std::optional<ApiError> Service::Prepare(GenerationRequest &request, std::vector<Request> &prompts,
                                         std::vector<std::string> &texts) const {
  if (request.is_chat) {
    absl::StatusOr<std::string> text = Render(request.conversation, request.tool_choice != ToolChoice::kNone);
    if (!text.ok()) {
      ApiError error = ErrorOf(text.status());
      error.param = "messages";
      if (absl::IsFailedPrecondition(text.status())) // the engine's message contains the bundle's path
        error.message = "this model has no chat template; send a prompt to /v1/completions";
      return error;
    }
    if (const ReasoningFormat *reasoning = FindReasoningFormat(options_.reasoning_parser))
      request.reasoning_start = ReasoningStartOf(*reasoning, *text);
    request.prompts.push_back({*std::move(text), {}});
  }
  for (Prompt &prompt : request.prompts) {
    if (prompt.token_ids.empty()) {
      // A prompt that will be truncated may be longer.
      if (request.truncate_prompt_tokens == 0)
        if (std::optional<ApiError> wrong = prompt_limit_.Check(prompt.text, request.is_chat ? "messages" : "prompt"))
          return wrong;
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
    if (std::optional<ApiError> wrong = Truncate(request, prompt))
      return wrong;
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
    if (std::optional<int32_t> most = engine_.default_max_tokens()) // as in vLLM
      sampling.max_tokens = std::min(sampling.max_tokens, *most);
    prompts.push_back({.prompt = {},
                       .prompt_token_ids = std::move(prompt.token_ids),
                       .add_special_tokens = false,
                       .sampling = std::move(sampling),
                       .priority = request.priority,
                       .cache_salt = request.cache_salt});
    std::string &echo = request.is_chat ? request.conversation.last_answer : prompt.text;
    texts.push_back(request.echo ? std::move(echo) : std::string());
  }
  return std::nullopt;
}

// Truncates the prompt to truncate_prompt_tokens. `echo` returns the text of the remaining tokens.
std::optional<ApiError> Service::Truncate(const GenerationRequest &request, Prompt &prompt) const {
  std::vector<int32_t> &ids = prompt.token_ids;
  int64_t most = request.truncate_prompt_tokens;
  if (most < 0) {
    int64_t answer = request.is_chat && !request.max_tokens_given ? 1 : request.sampling.max_tokens;
    most = std::max<int64_t>(context_.max_model_len - answer, 1);
  }
  auto cut = static_cast<int64_t>(ids.size()) - most;
  if (most == 0 || cut <= 0)
    return std::nullopt;
  if (request.truncates_right)
    ids.resize(static_cast<size_t>(most));
  else
    ids.erase(ids.begin(), ids.begin() + cut);
  if (!request.echo || request.is_chat)
    return std::nullopt;
  absl::StatusOr<std::string> text = engine_.Detokenize(ids);
  if (!text.ok())
    return ErrorOf(text.status());
  prompt.text = *std::move(text);
  return std::nullopt;
}

// How the answers are parsed. Guided decoding constrains an answer from its first token on, so such an answer has no
// reasoning.
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
  GenerationRequest request;
  std::optional<ApiError> wrong =
      is_chat ? ParseChat(http.body, context_, request) : ParseCompletion(http.body, context_, request);
  if (request.request_id.empty())
    request.request_id = http.id;
  if (!wrong)
    wrong = CheckModel(request.model);
  if (!wrong)
    ignored_fields_.Report(request.ignored_fields);
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
    Answer answer =
        Fail({.status = 503,
              .message = fmt::format("the queue is full: {} sequences are running or waiting (--max-num-seqs and "
                                     "--max-waiting); try again later",
                                     most_sequences_),
              .type = "service_unavailable_error",
              .param = "",
              .code = "overloaded"});
    answer.headers.emplace_back("Retry-After", "1");
    return {std::move(answer), nullptr};
  }
  metrics_->ObserveRequest(request.n);
  GenerationSetup setup{.request = request,
                        .model = request.model.empty() ? options_.model_names.front() : request.model,
                        .format = FormatOf(request),
                        .tokenizer = tokenizer_.get(),
                        .metrics = metrics_.get(),
                        .counted = std::move(counted)};
  auto generation = std::make_unique<Generation>(std::move(setup));
  for (size_t i = 0; i < prompts.size(); ++i)
    for (int32_t candidate = 0; candidate < request.best_of; ++candidate) {
      Request one = prompts[i];
      if (options_.limits.request_time.count() > 0)
        one.deadline = http.received + options_.limits.request_time;
      // Each of the answers has its own, reproducible seed.
      if (one.sampling.seed)
        *one.sampling.seed += static_cast<uint32_t>(candidate);
      if (absl::Status status = generation->Start(engine_, one, texts[i], wake); !status.ok())
        return {Fail(ErrorOf(status)), nullptr};
    }
  return {{}, std::move(generation)};
}

// --- Other endpoints ----------------------------------------------------------

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
    // A name may contain slashes, literal or encoded as %2F.
    std::string name = PercentDecoded(std::string_view(path).substr(kModelPrefix.size()));
    if (name.empty())
      return Fail(
          {.status = 404, .message = "the path contains no model name", .param = "model", .code = "model_not_found"});
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
  ignored_fields_.Report(request.ignored_fields);
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
  ignored_fields_.Report(request.ignored_fields);
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

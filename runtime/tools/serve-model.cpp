// serve-model: a compiled model behind the OpenAI API.
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/serve/authorization.h"
#include "runtime/serve/http_server.h"
#include "runtime/serve/reasoning.h"
#include "runtime/serve/tool_calls.h"
#include "runtime/tools/tool_support.h"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <utility>

namespace inlay::tools {
namespace {

constexpr const char *kHelp = R"(Paths:
  POST /v1/completions, /v1/chat/completions   as OpenAI's; "stream": true sends server-sent events
  GET  /v1/models   POST /tokenize, /detokenize
  GET  /health, /ready (need no key), /version, /metrics (Prometheus)
  GET  /            a page with live figures and a chat

Examples:
  serve-model llama.inlay                                        on 127.0.0.1:8000
  curl localhost:8000/v1/completions -H 'Content-Type: application/json' \
       -d '{"prompt": "Once upon a time", "max_tokens": 32}'
  serve-model llama.inlay --host 0.0.0.0 --api-key "$KEY" --ssl-certfile cert.pem --ssl-keyfile key.pem
  serve-model qwen.inlay --served-model-name qwen --tool-call-parser hermes

  INLAY_API_KEY=... serve-model llama.inlay --allowed-origins https://chat.example.com

SIGTERM (or Ctrl-C) lets running requests end and accepts no new ones; a second one ends them.
Exit codes: 0 ended by a signal, 1 wrong input, 2 a fault of Inlay's.)";

// "NAME: what it is; NAME: ..."
template <class Format> std::string Describe(std::span<const Format> formats) {
  std::string text;
  for (const Format &format : formats)
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", format.name, format.description);
  return text;
}

struct Flags {
  serve::ServiceOptions service;
  serve::ServerOptions server;
  EngineOptions engine;
  int64_t request_time = 0, shutdown_time = 30, keep_alive_time = 75;
  bool no_page = false, quiet = false;
  std::string api_key_file;
};

// vLLM takes these lists as JSON; a flag for each value does the same.
absl::StatusOr<std::vector<std::string>> ReadList(const CLI::App &app, const std::string &flag) {
  std::vector<std::string> values;
  for (const std::string &text : app.get_option(flag)->results()) {
    if (!text.starts_with('[')) {
      values.push_back(text);
      continue;
    }
    auto list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    bool is_list = list.is_array() && std::all_of(list.begin(), list.end(), [](auto &one) { return one.is_string(); });
    if (!is_list)
      return absl::InvalidArgumentError(fmt::format(
          "{} is '{}', expected a value or a JSON list of strings, as in '[\"https://example.com\"]'", flag, text));
    for (const auto &one : list)
      values.push_back(one.get<std::string>());
  }
  for (const std::string &value : values)
    if (value.empty() || !std::all_of(value.begin(), value.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
      return absl::InvalidArgumentError(fmt::format(
          "{}: '{}' holds something else than visible ASCII characters, which no header can carry", flag, value));
  return values;
}

absl::Status ReadCors(const CLI::App &app, serve::CorsOptions &cors) {
  for (auto [flag, list] : {std::pair{"--allowed-origins", &cors.origins},
                            {"--allowed-methods", &cors.methods},
                            {"--allowed-headers", &cors.headers}}) {
    if (app.get_option(flag)->count() == 0)
      continue;
    absl::StatusOr<std::vector<std::string>> values = ReadList(app, flag);
    if (!values.ok())
      return values.status();
    *list = *std::move(values);
  }
  for (const char *flag : {"--allowed-methods", "--allowed-headers", "--allow-credentials"})
    if (cors.origins.empty() && app.get_option(flag)->count() > 0)
      return absl::InvalidArgumentError(
          fmt::format("{} has no effect without --allowed-origins; give the origins, or '*' for all", flag));
  return absl::OkStatus();
}

absl::Status Run(Flags flags) {
  serve::Limits &limits = flags.service.limits;
  limits.request_time = std::chrono::seconds(flags.request_time);
  limits.shutdown_time = std::chrono::seconds(flags.shutdown_time);
  limits.keep_alive_time = std::chrono::seconds(flags.keep_alive_time);
  flags.service.has_page = !flags.no_page;
  absl::StatusOr<std::vector<std::string>> keys =
      serve::CollectApiKeys(flags.service.api_keys, flags.api_key_file, std::getenv("INLAY_API_KEY"));
  if (!keys.ok())
    return keys.status();
  flags.service.api_keys = *std::move(keys);
  flags.service.weights_source = flags.engine.weights_source;
  flags.service.scheduling_policy = flags.engine.scheduling_policy;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(flags.service.bundle, flags.engine);
  if (!engine.ok())
    return engine.status();
  absl::StatusOr<std::unique_ptr<serve::Service>> service = serve::Service::Make(**engine, flags.service);
  if (!service.ok())
    return service.status();
  absl::StatusOr<std::unique_ptr<serve::HttpServer>> server = serve::HttpServer::Listen(**service, flags.server);
  if (!server.ok())
    return server.status();
  EngineStats stats = (*engine)->Stats();
  bool is_ipv6 = flags.server.host.find(':') != std::string::npos;
  fmt::print("serve-model: {} on http{}://{}{}{}:{}\n", flags.service.bundle,
             flags.server.certificate_file.empty() ? "" : "s", is_ipv6 ? "[" : "", flags.server.host,
             is_ipv6 ? "]" : "", (*server)->port());
  if (!flags.quiet)
    fmt::print("serve-model: {}; up to {} sequences of {} tokens at once, {} tokens of KV pages; loaded in {:.2f} s\n",
               stats.device, stats.max_num_seqs, stats.max_model_len, stats.kv_cache_tokens, stats.load_seconds);
  std::fflush(stdout);
  (*server)->Run();
  (*service)->Stop();
  // Before the server, whose threads and timers the last requests still name.
  engine->reset();
  return absl::OkStatus();
}

int Main(int argc, char **argv) {
  Flags flags;
  serve::Limits &limits = flags.service.limits;
  CLI::App app{"Serves a compiled model over HTTP, as OpenAI's API.", "serve-model"};
  app.footer(kHelp);
  app.add_option("bundle", flags.service.bundle, "Bundle that compile-model wrote")->required();
  app.add_option("--host", flags.server.host, "Address to listen on; 0.0.0.0 is every one")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--port", flags.server.port, "Port; 0 takes a free one, which the first line names")
      ->capture_default_str()
      ->group("Server");
  AddRepeated(app, "--served-model-name", "Name of the model in requests and answers (default: the bundle's)")
      ->group("Server");
  AddRepeated(app, "--api-key",
              "Key that requests must carry ('Authorization: Bearer KEY'), except for /health and /ready")
      ->group("Server");
  app.add_option("--api-key-file", flags.api_key_file,
                 "File with a key in each line; without it and --api-key, INLAY_API_KEY of the environment counts")
      ->type_name("FILE")
      ->group("Server");
  app.add_option("--ssl-certfile", flags.server.certificate_file, "PEM certificate chain; turns TLS on")
      ->group("Server");
  app.add_option("--ssl-keyfile", flags.server.key_file, "PEM private key of the certificate")->group("Server");
  app.add_option("--tool-call-parser", flags.service.tool_parser,
                 fmt::format("How this model writes calls of tools: {}", Describe(serve::ToolCallFormats())))
      ->check(CLI::IsMember(serve::ToolCallFormatNames()))
      ->group("Server");
  app.add_option("--reasoning-parser", flags.service.reasoning_parser,
                 fmt::format("How this model writes its reasoning, which answers then have as 'reasoning' apart from "
                             "their content: {}",
                             Describe(serve::ReasoningFormats())))
      ->check(CLI::IsMember(serve::ReasoningFormatNames()))
      ->group("Server");
  AddRepeated(app, "--allowed-origins",
              "Origin whose pages may call the server (CORS), '*' for all (default: none); a JSON list works too")
      ->group("Server");
  AddRepeated(app, "--allowed-methods", "Method that they may use (default: all)")->group("Server");
  AddRepeated(app, "--allowed-headers", "Header field that they may send (default: all)")->group("Server");
  app.add_flag("--allow-credentials", flags.service.cors.allow_credentials, "They may send credentials")
      ->group("Server");
  app.add_option("--http-threads", flags.server.threads, "Threads that read and write sockets (default: by the cores)")
      ->check(CLI::Range(0, 256))
      ->group("Server");
  app.add_option("--tokenizer-threads", flags.service.tokenizer_threads,
                 "Threads that parse, render and tokenize requests (default: by the cores)")
      ->check(CLI::Range(0, 256))
      ->group("Server");
  app.add_flag("--no-page", flags.no_page, "Do not serve the page at /")->group("Server");
  app.add_flag("-q,--quiet", flags.quiet, "Print the address alone")->group("Server");

  app.add_flag("--strict-fields", flags.service.strict_fields,
               "Refuse requests with unknown fields; else they are ignored, and each is named once in the log")
      ->group("Limits");
  app.add_option("--max-waiting", limits.waiting, "Sequences that may wait beyond those that run; more get 503")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-preparing", limits.preparing, "Requests that may wait to be parsed and tokenized; more get 503")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-connections", limits.connections, "Open connections; more get 503")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-body-bytes", limits.body_bytes, "Size of a request, as in 4MiB; more gets 413")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->group("Limits");
  app.add_option("--max-logprobs", limits.logprobs, "Log-probabilities that a request may ask for at each place")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--request-timeout", flags.request_time, "Seconds for a whole answer; 0 is any time")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--shutdown-timeout", flags.shutdown_time, "Seconds that running requests have after SIGTERM")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--timeout-keep-alive", flags.keep_alive_time, "Seconds between two requests of a connection")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  AddEngineFlags(app, flags.engine);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  flags.service.model_names = app.get_option("--served-model-name")->results();
  flags.service.api_keys = app.get_option("--api-key")->results();
  if (absl::Status status = ReadCors(app, flags.service.cors); !status.ok())
    return Fail(app, status);
  if (absl::Status status = Run(std::move(flags)); !status.ok())
    return Fail(app, status);
  return kDone;
}

} // namespace
} // namespace inlay::tools

int main(int argc, char **argv) { return inlay::tools::Main(argc, argv); }

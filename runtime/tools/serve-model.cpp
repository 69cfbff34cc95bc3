// serve-model: serves a compiled model with the OpenAI API.
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "runtime/serve/authorization.h"
#include "runtime/serve/http_server.h"
#include "runtime/serve/reasoning.h"
#include "runtime/serve/tool_calls.h"
#include "runtime/tools/launcher.h"
#include "runtime/tools/tool_support.h"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <utility>

namespace inlay::tools {
namespace {

constexpr const char *kHelp = R"(Paths:
  POST /v1/completions, /v1/chat/completions   OpenAI's API; "stream": true sends server-sent events
  GET  /v1/models   POST /tokenize, /detokenize
  GET  /health, /ready (no API key needed), /version, /metrics (Prometheus)
  GET  /            a page with live figures and a chat

Examples:
  serve-model llama.inlay                                        on 127.0.0.1:8000
  curl localhost:8000/v1/completions -H 'Content-Type: application/json' \
       -d '{"prompt": "Once upon a time", "max_tokens": 32}'
  serve-model llama.inlay --host 0.0.0.0 --api-key "$KEY" --ssl-certfile cert.pem --ssl-keyfile key.pem
  serve-model qwen.inlay --served-model-name qwen --tool-call-parser hermes
  INLAY_API_KEY=... serve-model llama.inlay --allowed-origins https://chat.example.com

On SIGTERM or Ctrl-C the server refuses new requests and finishes the running ones. A second signal cancels them.
Exit codes: 0 ended by a signal, 1 invalid input, 2 internal error.)";

// Lists the formats for a help text: "NAME (DESCRIPTION), NAME (DESCRIPTION)".
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

// Reads a list option: a JSON list as in vLLM, or the option repeated once per value.
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
      return absl::InvalidArgumentError(
          fmt::format("{} is '{}'; expected a value or a JSON list of strings, for example '[\"https://example.com\"]'",
                      flag, text));
    for (const auto &one : list)
      values.push_back(one.get<std::string>());
  }
  for (const std::string &value : values)
    if (value.empty() || !std::all_of(value.begin(), value.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
      return absl::InvalidArgumentError(
          fmt::format("{}: '{}' is not valid in an HTTP header; use visible ASCII characters only", flag, value));
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
  if (!flags.quiet && stats.ranks > 1)
    fmt::print("serve-model: {} ranks: {}\n", stats.ranks, stats.distributed);
  if (!flags.quiet)
    fmt::print("serve-model: {}; up to {} sequences of {} tokens at once, {} tokens of KV pages; loaded in {:.2f} s\n",
               stats.device, stats.max_num_seqs, stats.max_model_len, stats.kv_cache_tokens, stats.load_seconds);
  std::fflush(stdout);
  (*server)->Run();
  (*service)->Stop();
  // Destroy the engine before the server, because the last requests still refer to the server's threads and timers.
  engine->reset();
  return absl::OkStatus();
}

int Main(int argc, char **argv) {
  Flags flags;
  serve::Limits &limits = flags.service.limits;
  CLI::App app{"Serves a compiled model over HTTP with the OpenAI API.", "serve-model"};
  app.footer(kHelp);
  app.add_option("bundle", flags.service.bundle, "Bundle directory written by compile-model")->required();
  app.add_option("--host", flags.server.host, "Address to listen on; 0.0.0.0 listens on all interfaces")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--port", flags.server.port, "Port; 0 chooses a free port and prints it on the first line")
      ->capture_default_str()
      ->group("Server");
  AddRepeated(app, "--served-model-name",
              "Model name in requests and responses; may be repeated (default: the bundle's name)")
      ->group("Server");
  AddRepeated(app, "--api-key",
              "Require this key ('Authorization: Bearer KEY') on all paths except /health and /ready; may be repeated")
      ->group("Server");
  app.add_option("--api-key-file", flags.api_key_file,
                 "File with one API key per line. Without this option and --api-key, the environment variable "
                 "INLAY_API_KEY is used")
      ->type_name("FILE")
      ->group("Server");
  app.add_option("--ssl-certfile", flags.server.certificate_file, "PEM file with the certificate chain; enables TLS")
      ->group("Server");
  app.add_option("--ssl-keyfile", flags.server.key_file, "PEM file with the private key of the certificate")
      ->group("Server");
  app.add_option("--tool-call-parser", flags.service.tool_parser,
                 fmt::format("Format in which the model writes tool calls: {}", Describe(serve::ToolCallFormats())))
      ->check(CLI::IsMember(serve::ToolCallFormatNames()))
      ->group("Server");
  app.add_option("--reasoning-parser", flags.service.reasoning_parser,
                 fmt::format("Format in which the model writes its reasoning. Responses return it as 'reasoning', "
                             "apart from the content: {}",
                             Describe(serve::ReasoningFormats())))
      ->check(CLI::IsMember(serve::ReasoningFormatNames()))
      ->group("Server");
  AddRepeated(app, "--allowed-origins",
              "CORS: origin that may call the server, for example https://example.com, or '*' for all; may be repeated "
              "or a JSON list (default: none)")
      ->group("Server");
  AddRepeated(app, "--allowed-methods", "CORS: allowed method; may be repeated or a JSON list (default: all)")
      ->group("Server");
  AddRepeated(app, "--allowed-headers", "CORS: allowed request header; may be repeated or a JSON list (default: all)")
      ->group("Server");
  app.add_flag("--allow-credentials", flags.service.cors.allow_credentials, "CORS: allow credentials")->group("Server");
  app.add_option("--http-threads", flags.server.threads,
                 "Threads for socket I/O (default 0: chosen from the number of cores)")
      ->check(CLI::Range(0, 256))
      ->group("Server");
  app.add_option("--tokenizer-threads", flags.service.tokenizer_threads,
                 "Threads that parse and tokenize requests and render chat templates (default 0: chosen from the "
                 "number of cores)")
      ->check(CLI::Range(0, 256))
      ->group("Server");
  app.add_flag("--enable-log-requests", flags.service.log_requests,
               "Log one line per request to stderr: id (X-Request-Id), client, path, status, time and tokens")
      ->group("Server");
  app.add_flag("--no-page", flags.no_page, "Disable the web page at /")->group("Server");
  app.add_flag("-q,--quiet", flags.quiet, "Print only the address")->group("Server");

  app.add_flag("--strict-fields", flags.service.strict_fields,
               "Refuse requests with unknown fields (default: ignore them and log each name once)")
      ->group("Limits");
  app.add_option("--max-waiting", limits.waiting, "Maximum waiting sequences; further requests get 503")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-preparing", limits.preparing,
                 "Maximum requests waiting to be parsed and tokenized; further requests get 503")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-connections", limits.connections, "Maximum open connections; further connections get 503")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-body-bytes", limits.body_bytes,
                 "Maximum size of a request body in bytes, for example 4MiB; larger ones get 413 (default 4MiB)")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->group("Limits");
  app.add_option("--max-logprobs", limits.logprobs, "Maximum log-probabilities per token that a request may ask for")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--request-timeout", flags.request_time, "Time limit of a request in seconds; 0 is no limit")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--shutdown-timeout", flags.shutdown_time,
                 "Time in seconds that running requests get to finish after SIGTERM")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--timeout-keep-alive", flags.keep_alive_time,
                 "Time in seconds after which an idle connection is closed")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str()
      ->group("Limits");
  AddEngineFlags(app, flags.engine);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  if (std::optional<int> code = RunOtherRank(app, flags.service.bundle, flags.engine))
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

// run-model: one prompt, several, or a chat in the terminal.
#include "fmt/format.h"
#include "frontends/tokenizer/chat_template.h"
#include "nlohmann/json.hpp"
#include "runtime/support/files.h"
#include "runtime/support/version.h"
#include "runtime/tools/flags.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <unistd.h>

namespace {

using namespace inlay;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

std::atomic<bool> interrupted{false};

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

const char *Name(FinishReason reason) {
  switch (reason) {
  case FinishReason::kStop:
    return "stop";
  case FinishReason::kLength:
    return "length";
  case FinishReason::kCancelled:
    return "cancelled";
  default:
    return "error";
  }
}

// What a request gave, with its times.
struct Output {
  std::vector<int32_t> prompt_token_ids, token_ids;
  std::string text;
  json logprobs = json::array();
  FinishReason reason = FinishReason::kNone;
  double first_token_seconds = 0, seconds = 0;
};

// Takes a request to its end, printing text as it comes if `stream`.
absl::StatusOr<Output> Collect(RequestHandle &handle, bool stream, bool wants_logprobs, std::FILE *logits) {
  Output output;
  auto begin = Clock::now();
  output.prompt_token_ids = handle.prompt_token_ids();
  while (std::optional<Piece> piece = handle.Next()) {
    if (output.token_ids.empty())
      output.first_token_seconds = SecondsSince(begin);
    output.token_ids.push_back(piece->token_id);
    output.text += piece->text;
    if (logits)
      std::fwrite(piece->logits.data(), sizeof(float), piece->logits.size(), logits);
    if (wants_logprobs) {
      json top = json::array();
      for (const TokenLogprob &token : piece->top)
        top.push_back({{"id", token.id}, {"logprob", token.logprob}});
      output.logprobs.push_back({{"id", piece->token_id}, {"logprob", piece->logprob}, {"top", std::move(top)}});
    }
    if (stream) {
      std::fputs(piece->text.c_str(), stdout);
      std::fflush(stdout);
    }
    if (interrupted)
      handle.Cancel();
  }
  output.seconds = SecondsSince(begin);
  output.reason = handle.finish_reason();
  if (absl::Status status = handle.status(); !status.ok())
    return status;
  return output;
}

json Timings(const Output &output, const EngineStats &stats) {
  double decode = output.seconds - output.first_token_seconds;
  auto rate = [](double count, double seconds) { return seconds > 0 ? count / seconds : 0.0; };
  return {
      {"load_s", stats.load_seconds},
      {"weights_s", stats.weights_seconds},
      {"ttft_ms", output.first_token_seconds * 1e3},
      {"total_s", output.seconds},
      {"prompt_tokens_per_s", rate(static_cast<double>(output.prompt_token_ids.size()), output.first_token_seconds)},
      {"decode_tokens_per_s", rate(static_cast<double>(output.token_ids.size()) - 1, decode)}};
}

json ToJson(const Output &output, const EngineStats &stats, bool wants_logprobs) {
  json result = {{"text", output.text},
                 {"prompt_token_ids", output.prompt_token_ids},
                 {"token_ids", output.token_ids},
                 {"finish_reason", Name(output.reason)},
                 {"timings", Timings(output, stats)}};
  if (wants_logprobs)
    result["logprobs"] = output.logprobs;
  return result;
}

std::string Dump(const json &value) {
  // Texts are UTF-8 already; a replacement is better than an exception if a file name is not.
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

// A chat in the terminal: reads lines until the end of the input.
int Chat(Engine &engine, const std::string &bundle, const std::string &system, const SamplingParams &sampling) {
  absl::StatusOr<std::unique_ptr<tokenizer::ChatTemplate>> chat_template =
      tokenizer::ChatTemplate::Load(bundle + "/tokenizer");
  if (!chat_template.ok())
    return tools::Fail("run-model", chat_template.status());
  std::vector<tokenizer::ChatMessage> messages;
  if (!system.empty())
    messages.push_back({"system", system});
  bool is_terminal = isatty(STDIN_FILENO);
  std::string line;
  while (!interrupted) {
    if (is_terminal)
      std::fputs("> ", stdout);
    if (!std::getline(std::cin, line))
      break;
    messages.push_back({"user", line});
    absl::StatusOr<std::string> prompt = (*chat_template)->Render(messages, {});
    if (!prompt.ok())
      return tools::Fail("run-model", prompt.status());
    Request request;
    request.prompt = *prompt;
    request.add_special_tokens = false; // the template wrote them
    request.sampling = sampling;
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(request);
    if (!handle.ok())
      return tools::Fail("run-model", handle.status());
    absl::StatusOr<Output> output = Collect(**handle, /*stream=*/true, false, nullptr);
    if (!output.ok())
      return tools::Fail("run-model", output.status());
    std::fputs("\n", stdout);
    messages.push_back({"assistant", output->text});
  }
  return tools::kDone;
}

} // namespace

int main(int argc, char **argv) {
  std::string bundle, prompt_file, system, logits_path;
  std::vector<std::string> prompts, prompt_ids;
  EngineOptions options;
  SamplingParams given;
  bool tokenize = false, no_special_tokens = false, as_json = false, chat = false;
  uint32_t seed = 0;
  CLI::App app{"Generates text with a compiled model.\n\n"
               "  run-model llama.inlay --prompt 'Once upon a time' --max-tokens 64\n"
               "  run-model llama.inlay --prompt-ids 1,2,3 --temperature 0 --json\n"
               "  run-model llama.inlay --chat\n"};
  app.set_version_flag("--version", VersionLine("run-model"));
  app.add_option("bundle", bundle, "Directory that compile-model wrote")->required();
  app.add_option("--prompt", prompts, "Text to continue; several run as one batch")->allow_extra_args(false);
  app.add_option("--prompt-file", prompt_file, "A file with the text to continue");
  auto *ids_flag = app.add_option("--prompt-ids", prompt_ids, "Token ids to continue: 1,2,3; several run as one batch")
                       ->allow_extra_args(false);
  app.add_flag("--chat", chat, "Read messages from the terminal and answer with the model's chat template");
  app.add_option("--system", system, "The system message of a chat");
  app.add_flag("--tokenize", tokenize, "Run nothing: print the ids of the prompt and what they decode to");
  app.add_flag("--no-special-tokens", no_special_tokens,
               "Add no tokens to the prompt, such as the beginning of the text");
  auto *max_tokens = app.add_option("--max-tokens", given.max_tokens, "Tokens to generate (default 128)");
  auto *temperature = app.add_option("--temperature", given.temperature, "0 is greedy (default: the checkpoint's)");
  auto *top_k = app.add_option("--top-k", given.top_k, "Keep the k most likely tokens; 0 is off");
  auto *top_p = app.add_option("--top-p", given.top_p, "Keep the most likely tokens of this mass; 1 is off");
  auto *min_p = app.add_option("--min-p", given.min_p, "Keep tokens at least this likely relative to the best");
  auto *repetition = app.add_option("--repetition-penalty", given.repetition_penalty, "1 is off");
  app.add_option("--presence-penalty", given.presence_penalty, "0 is off");
  app.add_option("--frequency-penalty", given.frequency_penalty, "0 is off");
  auto *seed_flag = app.add_option("--seed", seed, "The same seed gives the same tokens");
  app.add_option("--stop", given.stop, "End before this text; may be repeated")->allow_extra_args(false);
  app.add_option("--stop-token-ids", given.stop_token_ids, "End at one of these tokens")->delimiter(',');
  app.add_flag("--ignore-eos", given.ignore_eos, "Go on after the end of the text");
  app.add_option("--logprobs", given.logprobs, "Log-probabilities of this many tokens at each step (with --json)");
  app.add_flag("--json", as_json, "Print one JSON object instead of text");
  app.add_option("--logits-out", logits_path,
                 "Write the logits of each token of the first prompt to a file, as float32 rows");
  tools::AddEngineFlags(app, options);
  if (int code = tools::Parse(app, argc, argv); code >= 0)
    return code;

  if (!prompt_file.empty()) {
    absl::StatusOr<std::string> text = ReadFile(prompt_file, 1 << 28);
    if (!text.ok())
      return tools::Fail("run-model", text.status());
    prompts.push_back(*std::move(text));
  }
  options.return_logits = !logits_path.empty();
  absl::StatusOr<std::unique_ptr<Engine>> loaded = Engine::Load(bundle, options);
  if (!loaded.ok())
    return tools::Fail("run-model", loaded.status());
  Engine &engine = **loaded;

  // The checkpoint's recommendation, then what the command line says.
  SamplingParams sampling = given;
  SamplingParams recommended = engine.default_sampling();
  auto keep = [](CLI::Option *flag, auto &field, const auto &fallback) {
    if (flag->count() == 0)
      field = fallback;
  };
  keep(max_tokens, sampling.max_tokens, 128);
  keep(temperature, sampling.temperature, recommended.temperature);
  keep(top_k, sampling.top_k, recommended.top_k);
  keep(top_p, sampling.top_p, recommended.top_p);
  keep(min_p, sampling.min_p, recommended.min_p);
  keep(repetition, sampling.repetition_penalty, recommended.repetition_penalty);
  if (seed_flag->count() > 0)
    sampling.seed = seed;
  std::signal(SIGINT, [](int) { interrupted = true; });
  if (chat)
    return Chat(engine, bundle, system, sampling);
  if (prompts.empty() && ids_flag->count() == 0)
    return tools::Fail("run-model",
                       absl::InvalidArgumentError("no prompt; give --prompt, --prompt-file, --prompt-ids or --chat"));

  std::vector<Request> requests;
  for (const std::string &prompt : prompts) {
    Request request;
    request.prompt = prompt;
    requests.push_back(std::move(request));
  }
  for (const std::string &text : prompt_ids) {
    absl::StatusOr<std::vector<int32_t>> ids = tools::ParseIds(text);
    if (!ids.ok())
      return tools::Fail("run-model", ids.status());
    Request request;
    request.prompt_token_ids = *std::move(ids);
    requests.push_back(std::move(request));
  }
  for (Request &request : requests) {
    request.add_special_tokens = !no_special_tokens;
    request.sampling = sampling;
  }
  if (tokenize) {
    for (const Request &request : requests) {
      std::vector<int32_t> ids = request.prompt_token_ids;
      if (ids.empty()) {
        absl::StatusOr<std::vector<int32_t>> encoded = engine.Tokenize(request.prompt, request.add_special_tokens);
        if (!encoded.ok())
          return tools::Fail("run-model", encoded.status());
        ids = *std::move(encoded);
      }
      absl::StatusOr<std::string> text = engine.Detokenize(ids);
      if (!text.ok())
        return tools::Fail("run-model", text.status());
      std::fputs(Dump({{"prompt_token_ids", ids}, {"text", *text}}).c_str(), stdout);
    }
    return tools::kDone;
  }

  bool is_terminal = isatty(STDERR_FILENO);
  EngineStats stats = engine.Stats();
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (const Request &request : requests) {
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(request);
    if (!handle.ok())
      return tools::Fail("run-model", handle.status());
    handles.push_back(*std::move(handle));
  }
  if (!as_json) {
    const char *dim = is_terminal ? "\033[2m" : "", *plain = is_terminal ? "\033[0m" : "";
    fmt::print(stderr, "{}{}: loaded in {:.2f} s, {} KV tokens; temperature {:g}, top_k {}, top_p {:g}{}\n", dim,
               stats.device, stats.load_seconds, stats.kv_cache_tokens, sampling.temperature, sampling.top_k,
               sampling.top_p, plain);
  }
  std::FILE *logits = logits_path.empty() ? nullptr : std::fopen(logits_path.c_str(), "wb");
  if (!logits_path.empty() && !logits)
    return tools::Fail("run-model", absl::InvalidArgumentError(logits_path + ": cannot be written"));
  bool wants_logprobs = sampling.logprobs >= 0;
  std::vector<Output> outputs;
  for (size_t i = 0; i < handles.size(); ++i) {
    if (!as_json && prompts.size() > i)
      std::fputs(prompts[i].c_str(), stdout);
    absl::StatusOr<Output> output = Collect(*handles[i], !as_json, wants_logprobs, i == 0 ? logits : nullptr);
    if (!output.ok())
      return tools::Fail("run-model", output.status());
    if (!as_json)
      std::fputs("\n", stdout);
    outputs.push_back(*std::move(output));
  }
  if (logits)
    std::fclose(logits);
  if (as_json) {
    json result;
    if (outputs.size() == 1) {
      result = ToJson(outputs[0], stats, wants_logprobs);
    } else {
      result["outputs"] = json::array();
      for (const Output &output : outputs)
        result["outputs"].push_back(ToJson(output, stats, wants_logprobs));
    }
    std::fputs(Dump(result).c_str(), stdout);
  } else {
    const char *dim = is_terminal ? "\033[2m" : "", *plain = is_terminal ? "\033[0m" : "";
    for (const Output &output : outputs)
      fmt::print(stderr, "{}{} prompt tokens, first token after {:.1f} ms; {} tokens at {:.0f} a second{}\n", dim,
                 output.prompt_token_ids.size(), output.first_token_seconds * 1e3, output.token_ids.size(),
                 Timings(output, stats)["decode_tokens_per_s"].get<double>(), plain);
  }
  return tools::kDone;
}

// run-model: generates text for prompts, or runs a chat in the terminal.
#include "fmt/format.h"
#include "formats/tokenizer/chat_renderer.h"
#include "formats/tokenizer/tokenizer.h"
#include "runtime/bundle/bundle.h"
#include "runtime/tools/launcher.h"
#include "runtime/tools/run_flags.h"
#include "runtime/tools/tool_support.h"

#include <chrono>
#include <fstream>
#include <iostream>
#include <unistd.h>

namespace inlay::tools {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

ordered_json ToJson(const SamplingParams &params) {
  // Prints 0.95 as 0.95, not as the double nearest to the float (0.949999988...).
  auto number = [](float value) { return ordered_json::parse(fmt::to_string(value)); };
  ordered_json json = {{"temperature", number(params.temperature)},
                       {"top_k", params.top_k},
                       {"top_p", number(params.top_p)},
                       {"min_p", number(params.min_p)},
                       {"repetition_penalty", number(params.repetition_penalty)},
                       {"presence_penalty", number(params.presence_penalty)},
                       {"frequency_penalty", number(params.frequency_penalty)},
                       {"max_tokens", params.max_tokens},
                       {"ignore_eos", params.ignore_eos}};
  if (params.seed)
    json["seed"] = *params.seed;
  return json;
}

// The request of a prompt, its tokens and their times.
struct Output {
  std::unique_ptr<RequestHandle> handle;
  std::vector<Piece> pieces;
  Clock::time_point submitted, first, last;

  std::string text() const {
    std::string text;
    for (const Piece &piece : pieces)
      text += piece.text;
    return text;
  }
  // Reads tokens until the request ends. `print`: writes their text to stdout as they arrive.
  void Collect(bool print) {
    while (std::optional<Piece> piece = handle->Next()) {
      last = Clock::now();
      if (pieces.empty())
        first = last;
      if (print) {
        std::fwrite(piece->text.data(), 1, piece->text.size(), stdout);
        std::fflush(stdout);
      }
      pieces.push_back(*std::move(piece));
    }
  }
  double prompt_tokens_per_s() const {
    double seconds = Seconds(submitted, first);
    return seconds > 0 ? static_cast<double>(handle->prompt_token_ids().size()) / seconds : 0;
  }
  double decode_tokens_per_s() const {
    double seconds = Seconds(first, last);
    return seconds > 0 ? static_cast<double>(pieces.size() - 1) / seconds : 0;
  }
};

ordered_json ToJson(const Output &output, const EngineStats &stats, bool logprobs) {
  ordered_json json = {{"text", output.text()}, {"prompt_token_ids", output.handle->prompt_token_ids()}};
  json["token_ids"] = ordered_json::array();
  for (const Piece &piece : output.pieces)
    json["token_ids"].push_back(piece.token_id);
  if (logprobs) {
    json["logprobs"] = ordered_json::array();
    for (const Piece &piece : output.pieces) {
      ordered_json top = ordered_json::array();
      for (const TokenLogprob &one : piece.top)
        top.push_back({{"id", one.id}, {"logprob", one.logprob}});
      json["logprobs"].push_back({{"id", piece.token_id}, {"logprob", piece.logprob}, {"top", std::move(top)}});
    }
  }
  json["finish_reason"] = ToString(output.handle->finish_reason());
  json["timings"] = {{"load_s", stats.load_seconds}, {"weights_s", stats.weights_seconds}};
  if (!output.pieces.empty()) {
    json["timings"]["ttft_ms"] = Seconds(output.submitted, output.first) * 1e3;
    json["timings"]["prompt_tokens_per_s"] = output.prompt_tokens_per_s();
    json["timings"]["decode_tokens_per_s"] = output.decode_tokens_per_s();
    json["timings"]["total_s"] = Seconds(output.submitted, output.last);
  }
  return json;
}

// One output as an object, several as a list under "outputs".
void PrintJson(std::vector<ordered_json> outputs) {
  fmt::print("{}\n", Dump(outputs.size() == 1 ? outputs[0] : ordered_json{{"outputs", outputs}}));
}

struct ChatMessage {
  std::string role; // "system", "user", "assistant"
  std::string content;
};

// Renders conversations with the bundle's chat templates, as serve-model does.
class Chat {
public:
  static absl::StatusOr<Chat> Load(const std::string &directory, const tokenizer::Tokenizer &tokenizer,
                                   std::string name) {
    absl::StatusOr<std::unique_ptr<tokenizer::ChatRenderer>> renderer =
        tokenizer::ChatRenderer::Load(directory, tokenizer);
    if (absl::IsNotFound(renderer.status()))
      return absl::NotFoundError(fmt::format(
          "--chat: {} has no chat template, so the model is not a chat model; use --prompt without --chat", directory));
    if (!renderer.ok())
      return renderer.status();
    return Chat(*std::move(renderer), std::move(name));
  }
  // The template writes special tokens itself.
  absl::StatusOr<Request> ToRequest(const std::vector<ChatMessage> &messages) const {
    ordered_json json = ordered_json::array();
    for (const ChatMessage &message : messages)
      json.push_back({{"role", message.role}, {"content", message.content}});
    absl::StatusOr<std::string> text = renderer_->Render(Dump(json), "", /*add_generation_prompt=*/true, name_);
    if (!text.ok())
      return text.status();
    return Request{.prompt = *std::move(text), .prompt_token_ids = {}, .add_special_tokens = false, .sampling = {}};
  }

private:
  Chat(std::unique_ptr<tokenizer::ChatRenderer> renderer, std::string name)
      : renderer_(std::move(renderer)), name_(std::move(name)) {}

  std::unique_ptr<tokenizer::ChatRenderer> renderer_;
  std::string name_; // of the template; empty: the default one
};

std::vector<ChatMessage> Opening(const RunFlags &flags) {
  if (flags.system.empty())
    return {};
  return {{"system", flags.system}};
}

// The tokenizer and chat template of a bundle, loaded without its weights.
struct TextSide {
  std::unique_ptr<tokenizer::Tokenizer> tokenizer;
  std::optional<Chat> chat; // with --chat
};

absl::StatusOr<TextSide> OpenTextSide(const RunFlags &flags) {
  absl::StatusOr<std::unique_ptr<Bundle>> bundle = Bundle::Open(flags.bundle, flags.engine.weights_source);
  if (!bundle.ok())
    return bundle.status();
  TextSide side;
  std::string directory = flags.bundle + "/tokenizer";
  absl::StatusOr<std::unique_ptr<tokenizer::Tokenizer>> tokenizer = tokenizer::Tokenizer::Load(directory);
  if (!tokenizer.ok())
    return tokenizer.status();
  side.tokenizer = *std::move(tokenizer);
  if (!flags.chat)
    return side;
  absl::StatusOr<Chat> chat = Chat::Load(directory, *side.tokenizer, flags.chat_template);
  if (!chat.ok())
    return chat.status();
  side.chat = *std::move(chat);
  return side;
}

// Returns the prompts. With --chat, each is rendered by the chat template as a user message.
absl::StatusOr<std::vector<Request>> PromptsOf(const RunFlags &flags, const std::optional<Chat> &chat) {
  std::vector<Request> prompts = flags.prompts;
  if (!chat)
    return prompts;
  for (Request &prompt : prompts) {
    if (prompt.prompt.empty())
      return absl::InvalidArgumentError(
          "--prompt-ids cannot be used with --chat; give the message as text with --prompt");
    std::vector<ChatMessage> messages = Opening(flags);
    messages.push_back({"user", prompt.prompt});
    absl::StatusOr<Request> request = chat->ToRequest(messages);
    if (!request.ok())
      return request.status();
    prompt = *std::move(request);
  }
  return prompts;
}

// --tokenize: uses the tokenizer and the chat template of the bundle. Loads no weights.
absl::Status Tokenize(const RunFlags &flags) {
  absl::StatusOr<TextSide> side = OpenTextSide(flags);
  if (!side.ok())
    return side.status();
  absl::StatusOr<std::vector<Request>> prompts = PromptsOf(flags, side->chat);
  if (!prompts.ok())
    return prompts.status();
  std::vector<ordered_json> outputs;
  for (const Request &prompt : *prompts) {
    absl::StatusOr<std::vector<int32_t>> ids = prompt.prompt_token_ids;
    if (ids->empty())
      ids = side->tokenizer->Encode(prompt.prompt, prompt.add_special_tokens);
    if (!ids.ok())
      return ids.status();
    absl::StatusOr<std::string> text = side->tokenizer->Decode(*ids);
    if (!text.ok())
      return text.status();
    if (!flags.json)
      fmt::print("{}\n", fmt::join(*ids, ","));
    outputs.push_back({{"text", *text}, {"prompt_token_ids", *ids}, {"token_ids", ordered_json::array()}});
  }
  if (flags.json)
    PrintJson(std::move(outputs));
  return absl::OkStatus();
}

std::string Summary(const Output &output) {
  if (output.pieces.empty())
    return fmt::format("no token, {}", ToString(output.handle->finish_reason()));
  return fmt::format("prompt {} tokens, first token after {:.1f} ms; {} tokens at {:.1f} tokens/s; {}",
                     output.handle->prompt_token_ids().size(), Seconds(output.submitted, output.first) * 1e3,
                     output.pieces.size(), output.decode_tokens_per_s(), ToString(output.handle->finish_reason()));
}

void PrintNote(const RunFlags &flags, const std::string &note) {
  if (!flags.quiet)
    fmt::print(stderr, "{}\n", Styled(stderr, "2", note));
}

absl::Status RunChat(const RunFlags &flags, const Chat &chat, Engine &engine, const SamplingParams &sampling,
                     Interrupts &interrupts) {
  std::vector<ChatMessage> messages = Opening(flags);
  bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  PrintNote(flags, "Type one message per line. Ctrl-C stops an answer, Ctrl-D ends the chat.");
  std::string line;
  while (true) {
    if (terminal) {
      fmt::print("{} ", Styled(stdout, "1", ">"));
      std::fflush(stdout);
    }
    if (!std::getline(std::cin, line))
      break;
    if (line.empty())
      continue;
    messages.push_back({"user", line});
    absl::StatusOr<Request> request = chat.ToRequest(messages);
    if (!request.ok())
      return request.status();
    request->sampling = sampling;
    Output output;
    output.submitted = Clock::now();
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(*request);
    if (!handle.ok())
      return handle.status();
    output.handle = *std::move(handle);
    interrupts.OnInterrupt([&output] { output.handle->Cancel(); });
    output.Collect(/*print=*/true);
    interrupts.OnInterrupt({});
    fmt::print("\n");
    if (output.handle->finish_reason() == FinishReason::kError)
      return output.handle->status();
    PrintNote(flags, Summary(output));
    messages.push_back({"assistant", output.text()});
  }
  if (terminal)
    fmt::print("\n");
  return absl::OkStatus();
}

absl::Status WriteLogits(const std::string &path, const std::vector<Output> &outputs) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (const Output &output : outputs)
    for (const Piece &piece : output.pieces)
      file.write(reinterpret_cast<const char *>(piece.logits.data()),
                 static_cast<std::streamsize>(piece.logits.size() * sizeof(float)));
  file.close();
  if (!file)
    return absl::InvalidArgumentError(fmt::format("--logits-out: {} cannot be written", path));
  return absl::OkStatus();
}

absl::Status RunPrompts(const RunFlags &flags, std::vector<Request> prompts, Engine &engine,
                        const SamplingParams &sampling, Interrupts &interrupts) {
  std::vector<Output> outputs(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    prompts[i].sampling = sampling;
    outputs[i].submitted = Clock::now();
    absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(prompts[i]);
    if (!handle.ok())
      return handle.status();
    outputs[i].handle = *std::move(handle);
  }
  interrupts.OnInterrupt([&outputs] {
    for (Output &output : outputs)
      output.handle->Cancel();
  });
  bool stream = !flags.json && outputs.size() == 1;
  if (stream && isatty(STDOUT_FILENO) && !flags.chat) {
    fmt::print("{}", Styled(stdout, "2", prompts[0].prompt));
    std::fflush(stdout);
  }
  // One thread per request, so that the times of each are exact.
  std::vector<std::thread> readers;
  for (Output &output : outputs)
    readers.emplace_back([&output, stream] { output.Collect(stream); });
  for (std::thread &reader : readers)
    reader.join();
  for (const Output &output : outputs)
    if (output.handle->finish_reason() == FinishReason::kError)
      return output.handle->status();
  if (!flags.logits_out.empty())
    if (absl::Status status = WriteLogits(flags.logits_out, outputs); !status.ok())
      return status;
  EngineStats stats = engine.Stats();
  if (flags.json) {
    std::vector<ordered_json> json;
    for (const Output &output : outputs) {
      json.push_back(ToJson(output, stats, sampling.logprobs >= 0));
      json.back()["sampling"] = ToJson(sampling);
      json.back()["device"] = stats.device;
    }
    PrintJson(std::move(json));
    return absl::OkStatus();
  }
  if (stream)
    fmt::print("\n");
  else
    for (size_t i = 0; i < outputs.size(); ++i)
      fmt::print("{}\n{}\n", Styled(stdout, "1", fmt::format("--- prompt {} ---", i + 1)), outputs[i].text());
  std::fflush(stdout);
  for (const Output &output : outputs)
    PrintNote(flags, Summary(output));
  PrintNote(flags, fmt::format("temperature {} top_k {} top_p {} min_p {} max_tokens {}; {}, loaded in {:.2f} s",
                               sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p,
                               sampling.max_tokens, stats.device, stats.load_seconds));
  return absl::OkStatus();
}

absl::Status Run(const RunFlags &flags, Interrupts &interrupts) {
  if (flags.prompts.empty() && !flags.chat)
    return absl::InvalidArgumentError(
        "no prompt; give --prompt, --prompt-file or --prompt-ids, or --chat for an interactive chat");
  if (flags.prompts.empty() && flags.json)
    return absl::InvalidArgumentError("--json needs a prompt; give --prompt, or remove --json for an interactive chat");
  if (!flags.system.empty() && !flags.chat)
    return absl::InvalidArgumentError("--system has no effect without --chat; add --chat or remove --system");
  if (!flags.chat_template.empty() && !flags.chat)
    return absl::InvalidArgumentError(
        "--chat-template has no effect without --chat; add --chat or remove --chat-template");
  if (flags.tokenize && flags.prompts.empty())
    return absl::InvalidArgumentError("no prompt; --tokenize needs --prompt, --prompt-file or --prompt-ids");
  if (flags.tokenize)
    return Tokenize(flags);
  std::optional<Chat> chat;
  if (flags.chat) {
    absl::StatusOr<TextSide> side = OpenTextSide(flags);
    if (!side.ok())
      return side.status();
    chat = *std::move(side->chat);
  }
  absl::StatusOr<std::vector<Request>> prompts = PromptsOf(flags, chat);
  if (!prompts.ok())
    return prompts.status();
  EngineOptions options = flags.engine;
  options.return_logits = !flags.logits_out.empty();
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(flags.bundle, options);
  if (!engine.ok())
    return engine.status();
  absl::StatusOr<SamplingParams> sampling =
      SamplingOf(flags, (*engine)->default_sampling(), (*engine)->default_max_tokens());
  if (!sampling.ok())
    return sampling.status();
  if (prompts->empty())
    return RunChat(flags, *chat, **engine, *sampling, interrupts);
  return RunPrompts(flags, *std::move(prompts), **engine, *sampling, interrupts);
}

int Main(int argc, char **argv) {
  RunFlags flags;
  CLI::App app{"Runs a compiled model on prompts, or chats with it.", "run-model"};
  AddRunFlags(app, flags);
  if (std::optional<int> code = Parse(app, argc, argv))
    return *code;
  if (!flags.tokenize)
    if (std::optional<int> code = RunOtherRank(app, flags.bundle, flags.engine))
      return *code;
  if (absl::Status status = ReadTexts(app, flags); !status.ok())
    return Fail(app, status);
  Interrupts interrupts;
  if (absl::Status status = Run(flags, interrupts); !status.ok())
    return Fail(app, status);
  return interrupts.interrupted() ? kInterrupted : kDone;
}

} // namespace
} // namespace inlay::tools

int main(int argc, char **argv) { return inlay::tools::Main(argc, argv); }

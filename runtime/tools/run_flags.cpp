// The options of run-model.
#include "runtime/tools/run_flags.h"

#include "fmt/format.h"
#include "runtime/support/files.h"
#include "runtime/tools/tool_support.h"

#include <iostream>
#include <iterator>
#include <string_view>

namespace inlay::tools {
namespace {

constexpr const char *kExamples = R"(Examples:
  run-model llama.inlay --prompt "Once upon a time" --max-tokens 64 --temperature 0
  run-model llama.inlay --prompt "A list:" --prompt "A poem:" --seed 1      (one batch)
  run-model llama.inlay --prompt-file question.txt --json --logprobs 5
  run-model llama.inlay --prompt "A user:" --guided-json @user.schema.json
  run-model llama.inlay --chat --system "You answer in rhymes."
  run-model llama.inlay --prompt "How many tokens?" --tokenize --json
Exit codes: 0 success, 1 invalid input, 2 internal error, 130 interrupted.)";

// Reads the prompts of the command line: first texts, then files, then ids.
absl::Status ReadPrompts(const CLI::App &app, RunFlags &flags) {
  auto add = [&](std::string text, std::vector<int32_t> ids) {
    flags.prompts.push_back({std::move(text), std::move(ids), !flags.no_special_tokens, {}});
  };
  auto add_text = [&](std::string_view flag, std::string text) {
    if (text.empty())
      return absl::InvalidArgumentError(fmt::format("{}: the prompt is empty; give at least one character", flag));
    add(std::move(text), {});
    return absl::OkStatus();
  };
  for (const std::string &text : app.get_option("--prompt")->results())
    if (absl::Status status = add_text("--prompt", text); !status.ok())
      return status;
  for (const std::string &path : app.get_option("--prompt-file")->results()) {
    absl::StatusOr<std::string> text =
        path == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {}) : ReadFile(path);
    if (!text.ok())
      return absl::Status(text.status().code(), fmt::format("--prompt-file: {}", std::string(text.status().message())));
    if (absl::Status status = add_text(fmt::format("--prompt-file {}", path), *std::move(text)); !status.ok())
      return status;
  }
  for (const std::string &list : app.get_option("--prompt-ids")->results()) {
    absl::StatusOr<std::vector<int32_t>> ids = ParseIds("--prompt-ids", list);
    if (!ids.ok())
      return ids.status();
    add("", *std::move(ids));
  }
  flags.stop = app.get_option("--stop")->results();
  return absl::OkStatus();
}

// Reads the options of guided decoding. A value @FILE is the content of the file.
absl::Status ReadForm(const CLI::App &app, RunFlags &flags) {
  for (auto [name, form] : {std::pair{"--guided-json", &flags.guided.json_schema},
                            {"--guided-regex", &flags.guided.regex},
                            {"--guided-grammar", &flags.guided.grammar}}) {
    if (app.get_option(name)->count() == 0)
      continue;
    if (form->starts_with('@')) {
      absl::StatusOr<std::string> text = ReadFile(form->substr(1));
      if (!text.ok())
        return absl::Status(text.status().code(), fmt::format("{}: {}", name, std::string(text.status().message())));
      *form = *std::move(text);
    }
    if (form->empty())
      return absl::InvalidArgumentError(fmt::format("{} is empty; give a value or remove the option", name));
  }
  flags.guided.choice = app.get_option("--guided-choice")->results();
  return absl::OkStatus();
}

} // namespace

void AddRunFlags(CLI::App &app, RunFlags &flags) {
  app.footer(kExamples);
  app.add_option("bundle", flags.bundle, "Bundle directory written by compile-model")->required();
  AddRepeated(app, "-p,--prompt", "Prompt text; may be repeated, all prompts run as one batch")->group("Prompts");
  AddRepeated(app, "-f,--prompt-file", "File that holds a prompt; - reads standard input; may be repeated")
      ->group("Prompts");
  AddRepeated(app, "--prompt-ids", "Prompt as token ids, for example 1,2,3; may be repeated")->group("Prompts");
  app.add_flag("--no-special-tokens", flags.no_special_tokens,
               "Do not add the tokenizer's special tokens (such as the beginning of the sequence) to prompts")
      ->group("Prompts");
  app.add_flag("--chat", flags.chat,
               "Apply the model's chat template to each prompt; without a prompt, start an interactive chat")
      ->group("Prompts");
  app.add_option("--system", flags.system, "System message for --chat")->group("Prompts");
  app.add_option("--chat-template", flags.chat_template,
                 "Name of the chat template for --chat, if the model has several (default: 'default')")
      ->group("Prompts");
  app.add_flag(
         "--tokenize", flags.tokenize,
         "Print the token ids of each prompt (with --chat, after the template) and exit without running the model")
      ->group("Prompts");

  constexpr const char *kSampling =
      "Sampling (defaults: generation_config.json of the checkpoint, else the values below)";
  app.add_option("-n,--max-tokens", flags.max_tokens,
                 "Maximum tokens to generate (default: max_new_tokens of the checkpoint, else 128; with --chat 1024)")
      ->group(kSampling);
  app.add_option("--temperature", flags.temperature, "Sampling temperature, at least 0; 0 is greedy (default 1)")
      ->group(kSampling);
  app.add_option("--top-k", flags.top_k, "Sample from the k most likely tokens; 0 disables it (default 0)")
      ->group(kSampling);
  app.add_option("--top-p", flags.top_p,
                 "Sample from the smallest set of tokens with this total probability, in (0, 1] (default 1: off)")
      ->group(kSampling);
  app.add_option(
         "--min-p", flags.min_p,
         "Drop tokens whose probability is below min_p times that of the most likely token, in [0, 1] (default 0: off)")
      ->group(kSampling);
  app.add_option("--repetition-penalty", flags.repetition_penalty,
                 "Values above 1 make tokens of the prompt and the output less likely (default 1: off)")
      ->group(kSampling);
  app.add_option("--presence-penalty", flags.presence_penalty,
                 "Subtracted from the logit of each token that was generated, in [-2, 2] (default 0: off)")
      ->group(kSampling);
  app.add_option("--frequency-penalty", flags.frequency_penalty,
                 "Subtracted from a token's logit for each time it was generated, in [-2, 2] (default 0: off)")
      ->group(kSampling);
  app.add_option("--seed", flags.seed, "Random seed; the same seed gives the same tokens (default: random)")
      ->group(kSampling);
  app.add_flag("--ignore-eos", flags.ignore_eos, "Continue after an end-of-sequence token")->group(kSampling);
  AddRepeated(app, "--stop", "Stop before this text; may be repeated")->group(kSampling);
  app.add_option("--stop-token-ids", flags.stop_token_ids, "Stop after one of these token ids, for example 1,2")
      ->group(kSampling);

  constexpr const char *kForm = "Guided decoding (at most one of these; @FILE reads the value from a file)";
  app.add_option("--guided-json", flags.guided.json_schema,
                 "Output is JSON that is valid under this JSON Schema; {} allows any JSON")
      ->group(kForm);
  app.add_option("--guided-regex", flags.guided.regex, "The whole output matches this regular expression")
      ->group(kForm);
  app.add_option("--guided-grammar", flags.guided.grammar,
                 "Output follows this EBNF grammar, whose start rule is `root`")
      ->group(kForm);
  AddRepeated(app, "--guided-choice", "Output is one of these texts; repeat the option for each")->group(kForm);

  app.add_option("--logprobs", flags.logprobs,
                 "With --json: number of most likely tokens to list for each output token")
      ->group("Output");
  app.add_flag("--json", flags.json, "Print text, token ids, log-probabilities and timings as JSON")->group("Output");
  app.add_flag("-q,--quiet", flags.quiet, "Do not print timings on standard error")->group("Output");
  app.add_option("--logits-out", flags.logits_out,
                 "Write the logits of each generated token to this file, as raw float32")
      ->group("");
  AddEngineFlags(app, flags.engine);
}

absl::Status ReadTexts(const CLI::App &app, RunFlags &flags) {
  if (absl::Status status = ReadPrompts(app, flags); !status.ok())
    return status;
  return ReadForm(app, flags);
}

absl::StatusOr<SamplingParams> SamplingOf(const RunFlags &flags, SamplingParams params,
                                          std::optional<int32_t> default_max_tokens) {
  auto set = [](auto &field, const auto &given) {
    if (given)
      field = *given;
  };
  set(params.temperature, flags.temperature);
  set(params.top_k, flags.top_k);
  set(params.top_p, flags.top_p);
  set(params.min_p, flags.min_p);
  set(params.repetition_penalty, flags.repetition_penalty);
  set(params.presence_penalty, flags.presence_penalty);
  set(params.frequency_penalty, flags.frequency_penalty);
  set(params.logprobs, flags.logprobs);
  params.max_tokens = default_max_tokens.value_or(flags.chat ? 1024 : 128);
  set(params.max_tokens, flags.max_tokens);
  if (flags.seed)
    params.seed = flags.seed;
  params.ignore_eos = flags.ignore_eos;
  params.stop = flags.stop;
  params.guided = flags.guided;
  if (!flags.stop_token_ids.empty()) {
    absl::StatusOr<std::vector<int32_t>> ids = ParseIds("--stop-token-ids", flags.stop_token_ids);
    if (!ids.ok())
      return ids.status();
    params.stop_token_ids = *std::move(ids);
  }
  return params;
}

} // namespace inlay::tools

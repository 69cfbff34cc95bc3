// What the command line of run-model asks for.
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
Exit codes: 0 done, 1 wrong input, 2 a fault of Inlay's, 130 interrupted.)";

// The prompts of the command line: texts, then files, then ids.
absl::Status ReadPrompts(const CLI::App &app, RunFlags &flags) {
  auto add = [&](std::string text, std::vector<int32_t> ids) {
    flags.prompts.push_back({std::move(text), std::move(ids), !flags.no_special_tokens, {}});
  };
  auto add_text = [&](std::string_view flag, std::string text) {
    if (text.empty())
      return absl::InvalidArgumentError(fmt::format("{}: the prompt is empty; write some text", flag));
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

// The form that the text must take: as it stands, or from a file.
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
      return absl::InvalidArgumentError(fmt::format("{}: the form is empty; write one, or leave out the flag", name));
  }
  flags.guided.choice = app.get_option("--guided-choice")->results();
  return absl::OkStatus();
}

} // namespace

void AddRunFlags(CLI::App &app, RunFlags &flags) {
  app.footer(kExamples);
  app.add_option("bundle", flags.bundle, "Bundle that compile-model wrote")->required();
  AddRepeated(app, "-p,--prompt", "Text to go on with; several make one batch")->group("Prompts");
  AddRepeated(app, "-f,--prompt-file", "File with a prompt; - is the standard input")->group("Prompts");
  AddRepeated(app, "--prompt-ids", "Token ids, as in 1,2,3")->group("Prompts");
  app.add_flag("--no-special-tokens", flags.no_special_tokens, "Do not begin texts with the tokenizer's special tokens")
      ->group("Prompts");
  app.add_flag("--chat", flags.chat, "Put messages into the model's chat template; without --prompt, a dialogue")
      ->group("Prompts");
  app.add_option("--system", flags.system, "The system message of --chat")->group("Prompts");
  app.add_option("--chat-template", flags.chat_template,
                 "Name of the template that --chat uses, where the model has several (default)")
      ->group("Prompts");
  app.add_flag("--tokenize", flags.tokenize,
               "Print the prompt's token ids, with --chat those of the rendered template, and run nothing")
      ->group("Prompts");

  constexpr const char *kSampling = "Sampling (defaults: the checkpoint's generation_config.json, else as named)";
  app.add_option("-n,--max-tokens", flags.max_tokens,
                 "Tokens to generate (the checkpoint's max_new_tokens, else 128, with --chat 1024)")
      ->group(kSampling);
  app.add_option("--temperature", flags.temperature, "0 takes the most likely token (1)")->group(kSampling);
  app.add_option("--top-k", flags.top_k, "Choose among this many tokens; 0 is off (0)")->group(kSampling);
  app.add_option("--top-p", flags.top_p, "Choose among the tokens that make up this probability (1)")->group(kSampling);
  app.add_option("--min-p", flags.min_p, "Leave out tokens below this share of the likeliest one's probability (0)")
      ->group(kSampling);
  app.add_option("--repetition-penalty", flags.repetition_penalty, "Above 1: against tokens seen before (1)")
      ->group(kSampling);
  app.add_option("--presence-penalty", flags.presence_penalty, "Subtracted from logits of generated tokens (0)")
      ->group(kSampling);
  app.add_option("--frequency-penalty", flags.frequency_penalty, "The same for each time one was generated (0)")
      ->group(kSampling);
  app.add_option("--seed", flags.seed, "The same seed gives the same tokens (at random)")->group(kSampling);
  app.add_flag("--ignore-eos", flags.ignore_eos, "Go on after the end of the sequence")->group(kSampling);
  AddRepeated(app, "--stop", "End before this text; may be repeated")->group(kSampling);
  app.add_option("--stop-token-ids", flags.stop_token_ids, "End with one of these tokens, as in 1,2")->group(kSampling);

  constexpr const char *kForm = "Form of the text (one of these; @FILE reads it from a file)";
  app.add_option("--guided-json", flags.guided.json_schema, "JSON that follows this JSON Schema; {} is any JSON")
      ->group(kForm);
  app.add_option("--guided-regex", flags.guided.regex, "Text that this regular expression matches as a whole")
      ->group(kForm);
  app.add_option("--guided-grammar", flags.guided.grammar, "Text of this grammar, EBNF with a rule `root`")
      ->group(kForm);
  AddRepeated(app, "--guided-choice", "This text or another one that is given so; may be repeated")->group(kForm);

  app.add_option("--logprobs", flags.logprobs, "With --json: this many most likely tokens at each place")
      ->group("Output");
  app.add_flag("--json", flags.json, "Text, token ids, log-probabilities and timings as JSON")->group("Output");
  app.add_flag("-q,--quiet", flags.quiet, "No timings on the standard error output")->group("Output");
  app.add_option("--logits-out", flags.logits_out, "Raw float32 rows of logits, one for each token")->group("");
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

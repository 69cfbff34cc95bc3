#include "frontends/hf/TextFiles.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "formats/tokenizer/chat_renderer.h"
#include "formats/tokenizer/chat_template_files.h"
#include "formats/tokenizer/tokenizer.h"
#include "frontends/hf/OtherFiles.h"

namespace inlay::hf {
namespace {

constexpr std::string_view kUser = R"([{"role": "user", "content": "Which tea is this?"}])";
constexpr std::string_view kSystem = R"([{"role": "system", "content": "You answer in rhymes."},
    {"role": "user", "content": "Which tea is this?"}])";
constexpr std::string_view kTurns = R"([{"role": "user", "content": "Which tea is this?"},
    {"role": "assistant", "content": "A green one."}, {"role": "user", "content": "And that?"}])";
constexpr std::string_view kCalls = R"([{"role": "user", "content": "Which time is it?"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call00001", "type": "function",
        "function": {"name": "clock", "arguments": {"zone": "UTC"}}}]},
    {"role": "tool", "tool_call_id": "call00001", "name": "clock", "content": "noon"}])";
constexpr std::string_view kTools = R"({"tools": [{"type": "function", "function": {"name": "clock",
    "description": "The time of day.", "parameters": {"type": "object",
        "properties": {"zone": {"type": "string", "description": "A time zone."}}, "required": ["zone"]}}}]})";

struct Conversation {
  std::string_view name, messages, variables;
  bool add_generation_prompt;
};
constexpr Conversation kConversations[] = {
    {"user", kUser, "", true},
    {"user, without a generation prompt", kUser, "", false},
    {"system and user", kSystem, "", true},
    {"several turns", kTurns, "", true},
    {"tools", kUser, kTools, true},
    {"tool calls and results", kCalls, kTools, true},
};

// Renders the template `name` on each conversation.
void TryTemplate(const tokenizer::ChatRenderer &renderer, const tokenizer::Tokenizer &tokenizer,
                 const std::string &name, const tokenizer::ChatTemplateSource &source, TextFiles &files,
                 Problems &problems) {
  std::vector<Problem> failures;
  size_t tried = 0;
  const bool takes_tools = source.text.find("tool") != std::string::npos;
  for (const Conversation &conversation : kConversations) {
    if (!conversation.variables.empty() && !takes_tools)
      continue;
    ++tried;
    absl::StatusOr<std::string> text =
        renderer.Render(conversation.messages, conversation.variables, conversation.add_generation_prompt, name);
    absl::Status status = text.status();
    if (text.ok())
      status = tokenizer.Encode(*text, /*add_special_tokens=*/false).status();
    std::string what = fmt::format("the conversation '{}'", conversation.name);
    if (status.ok()) {
      files.conversations.push_back(name == "default" ? std::string(conversation.name)
                                                      : fmt::format("{}: {}", name, conversation.name));
    } else if (status.message().find("the template refuses the chat") != std::string_view::npos) {
      problems.AddNote(what, "", std::string(status.message()));
      --tried;
    } else {
      Problem failure{source.file, what, std::string(status.message()), "a prompt",
                      "such chats are refused; correct the template"};
      failure.severity = Severity::kWarning;
      failures.push_back(std::move(failure));
    }
  }
  if (!failures.empty() && failures.size() == tried) {
    failures.resize(1); // The others fail alike.
    failures[0].severity = Severity::kError;
    failures[0].fix = "correct the template, or remove it to take prompts only";
  }
  for (Problem &failure : failures)
    problems.Add(std::move(failure));
}

void ReadTemplates(const std::string &directory, const tokenizer::Tokenizer &tokenizer, TextFiles &files,
                   Problems &problems) {
  absl::StatusOr<tokenizer::ChatTemplateFiles> found = tokenizer::FindChatTemplates(directory);
  if (!found.ok())
    return problems.Add(found.status());
  for (const std::string &note : found->ignored)
    problems.AddNote(note);
  if (found->by_name.empty())
    return problems.AddNote("no chat template: chats are refused, prompts are taken");
  absl::StatusOr<std::unique_ptr<tokenizer::ChatRenderer>> renderer =
      tokenizer::ChatRenderer::Load(directory, tokenizer);
  if (!renderer.ok())
    return problems.Add(renderer.status());
  files.templates = (*renderer)->Names();
  for (const auto &[name, source] : found->by_name)
    TryTemplate(**renderer, tokenizer, name, source, files, problems);
}

} // namespace

TextFiles ReadTextFiles(const std::string &directory, int64_t vocab_size, Problems &problems) {
  TextFiles files;
  std::error_code ignored;
  const std::vector<std::string> older = OlderTokenizerFiles(directory);
  if (!std::filesystem::exists(directory + "/tokenizer.json", ignored)) {
    problems.AddNote("tokenizer.json", "", "no such file: the model takes token ids only");
    for (const std::string &file : tokenizer::ListChatTemplateFiles(directory))
      problems.AddNote(file, "", "ignored: there is no tokenizer.json");
    if (!older.empty()) {
      Problem problem{"tokenizer.json", "", fmt::format("no such file, only {}", fmt::join(older, ", ")),
                      "the tokenizer in one file",
                      "the model takes token ids only; to take texts, write the file with transformers "
                      "(AutoTokenizer.from_pretrained and save_pretrained)"};
      problem.severity = Severity::kWarning;
      problems.Add(std::move(problem));
    }
    return files;
  }
  for (const std::string &file : older)
    problems.AddNote(file, "", "ignored: tokenizer.json holds the tokenizer");
  absl::StatusOr<std::unique_ptr<tokenizer::Tokenizer>> tokenizer = tokenizer::Tokenizer::Load(directory);
  if (!tokenizer.ok()) {
    problems.Add(tokenizer.status());
    return files;
  }
  files.has_tokenizer = true;
  for (const std::string &note : (*tokenizer)->notes())
    problems.AddNote(note);
  if (int32_t size = (*tokenizer)->vocab_size(); vocab_size > 0 && size > vocab_size) {
    Problem problem{"tokenizer.json", "", fmt::format("token ids up to {}", size - 1),
                    fmt::format("ids below vocab_size = {}", vocab_size),
                    "prompts that hold one of the others are refused"};
    problem.severity = Severity::kWarning;
    problems.Add(std::move(problem));
  }
  if (!(*tokenizer)->eos_token().empty())
    if (std::optional<int32_t> id = (*tokenizer)->TokenToId((*tokenizer)->eos_token()); id && *id < vocab_size)
      files.eos = *id;
  ReadTemplates(directory, **tokenizer, files, problems);
  return files;
}

} // namespace inlay::hf

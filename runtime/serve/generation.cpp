#include "runtime/serve/generation.h"

#include "fmt/format.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace inlay::serve {
namespace {

double SecondsBetween(Generation::Clock::time_point from, Generation::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

} // namespace

Generation::Generation(GenerationSetup setup) : setup_(std::move(setup)) {
  const char *prefix = setup_.request.is_chat ? "chatcmpl-" : "cmpl-";
  head_.id = setup_.request.request_id.empty() ? RandomId(prefix) : prefix + setup_.request.request_id;
  head_.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  head_.model = setup_.model;
  head_.logprobs = setup_.request.logprobs;
  head_.prompt_logprobs = setup_.request.prompt_logprobs >= 0;
  head_.token_ids = setup_.request.return_token_ids;
}

Generation::~Generation() {
  for (Sequence &sequence : sequences_)
    if (!sequence.done)
      Report(sequence, "abort");
}

absl::Status Generation::Start(Engine &engine, const Request &request, std::string echo, Wake wake) {
  // Parsers need the special tokens. They remove them from the answer unless the client asked for them.
  Request own = request;
  if (setup_.format.any() && setup_.tokenizer)
    own.sampling.skip_special_tokens = false;
  absl::StatusOr<std::unique_ptr<SequenceReader>> reader = SequenceReader::Start(engine, own, std::move(wake));
  if (!reader.ok())
    return reader.status();
  Sequence &sequence = sequences_.emplace_back();
  sequence.reader = *std::move(reader);
  if (setup_.format.any()) {
    sequence.parser = std::make_unique<AnswerParser>(setup_.format);
    if (setup_.tokenizer)
      sequence.specials = std::make_unique<SpecialTokenMarker>(*setup_.tokenizer);
  }
  sequence.choice.index = static_cast<int32_t>(sequences_.size()) - 1;
  sequence.choice.text = std::move(echo);
  sequence.prompt_tokens = static_cast<int64_t>(sequence.reader->handle().prompt_token_ids().size());
  sequence.max_tokens = request.sampling.max_tokens;
  sequence.last = begin_;
  return absl::OkStatus();
}

TokenChoice Generation::TextOf(const TokenLogprob &token) const {
  TokenChoice choice{.text = fmt::format("token_id:{}", token.id),
                     .logprob = token.logprob,
                     .bytes = {},
                     .id = token.id,
                     .rank = token.rank};
  if (!setup_.tokenizer)
    return choice;
  absl::StatusOr<std::string> text = setup_.tokenizer->Decode(std::array{token.id}, /*skip_special_tokens=*/false);
  if (!text.ok())
    return choice;
  // TokenBytes() is empty for special tokens; their bytes are those of their text.
  std::string bytes = setup_.tokenizer->TokenBytes(token.id);
  choice.bytes = bytes.empty() ? *text : std::move(bytes);
  if (!setup_.request.return_tokens_as_token_ids)
    choice.text = *std::move(text);
  return choice;
}

// A token with its log-probability and those of the `most` most likely tokens.
OutputToken Generation::ToOutput(const TokenLogprob &chosen, const std::vector<TokenLogprob> &top, int32_t most) const {
  OutputToken token{TextOf(chosen), {}};
  for (const TokenLogprob &one : top)
    if (static_cast<int32_t>(token.top.size()) < most)
      token.top.push_back(TextOf(one));
  return token;
}

// Adds the prompt's tokens for `echo` and `prompt_logprobs`. The first token has no log-probability.
void Generation::AddPrompt(Sequence &sequence) {
  const GenerationRequest &request = setup_.request;
  const std::vector<int32_t> &ids = sequence.reader->handle().prompt_token_ids();
  if (request.return_token_ids)
    sequence.choice.prompt_token_ids = ids;
  if (request.sampling.prompt_logprobs < 0)
    return;
  std::vector<PromptLogprob> logprobs = sequence.reader->handle().prompt_logprobs();
  auto add = [&](std::vector<OutputToken> &out, int32_t most) {
    out.push_back(ToOutput({.id = ids.front(), .logprob = std::nanf(""), .rank = 0}, {}, 0));
    for (const PromptLogprob &one : logprobs)
      out.push_back(ToOutput(one.token, one.top, most));
  };
  if (request.echo && request.logprobs && !request.is_chat)
    add(sequence.choice.tokens, request.sampling.logprobs);
  if (request.prompt_logprobs >= 0 && !request.stream)
    add(sequence.choice.prompt_logprobs, request.prompt_logprobs);
}

void Generation::AddText(Sequence &sequence, const Piece &piece) {
  if (!sequence.parser)
    sequence.choice.text += piece.text;
  else if (sequence.specials)
    sequence.parser->Push(sequence.specials->Push(piece.token_id, piece.text), sequence.choice);
  else
    sequence.parser->Push(GeneratedText(piece.text), sequence.choice);
}

void Generation::Add(Sequence &sequence, const Piece &piece) {
  Clock::time_point now = Clock::now();
  if (sequence.tokens++ == 0) {
    sequence.first_token_seconds = SecondsBetween(begin_, now);
    sequence.cached_tokens = sequence.reader->handle().cached_prompt_tokens();
    AddPrompt(sequence);
  } else {
    setup_.metrics->ObserveInterTokenLatency(SecondsBetween(sequence.last, now));
  }
  sequence.last = now;
  if (setup_.request.echo_only) {
    sequence.tokens = 0;
    return;
  }
  if (setup_.request.return_token_ids)
    sequence.choice.token_ids.push_back(piece.token_id);
  AddText(sequence, piece);
  if (sequence.choice.finish_reason.empty() && setup_.request.sampling.logprobs >= 0) {
    sequence.logprob_sum += piece.logprob;
    if (setup_.request.logprobs)
      sequence.choice.tokens.push_back(ToOutput({.id = piece.token_id, .logprob = piece.logprob, .rank = piece.rank},
                                                piece.top, setup_.request.sampling.logprobs));
  }
}

void Generation::Report(Sequence &sequence, const char *reason) const {
  setup_.metrics->ObserveFinished({.reason = reason,
                                   .prompt_tokens = sequence.prompt_tokens,
                                   .generation_tokens = sequence.tokens,
                                   .max_tokens = sequence.max_tokens,
                                   .e2e_seconds = SecondsBetween(begin_, Clock::now()),
                                   .time_to_first_token_seconds = sequence.first_token_seconds});
}

void Generation::EndOf(Sequence &sequence, FinishReason reason) {
  sequence.done = true;
  if (sequence.parser)
    sequence.parser->Finish(sequence.choice);
  bool has_calls = sequence.parser && sequence.parser->calls() > 0;
  switch (reason) {
  case FinishReason::kLength:
    sequence.choice.finish_reason = "length";
    return Report(sequence, "length");
  case FinishReason::kStop:
    sequence.choice.stop_reason = sequence.reader->handle().stop_reason();
    sequence.choice.finish_reason = has_calls ? "tool_calls" : "stop";
    return Report(sequence, "stop");
  case FinishReason::kCancelled:
    error_ = ErrorOf(absl::CancelledError("the request was cancelled because the server is shutting down"));
    return Report(sequence, "abort");
  default:
    error_ = ErrorOf(sequence.reader->handle().status());
    return Report(sequence, "error");
  }
}

void Generation::Read(Sequence &sequence) {
  while (std::optional<Piece> piece = sequence.reader->TryNext())
    Add(sequence, *piece);
  if (FinishReason reason = sequence.reader->finished(); reason != FinishReason::kNone)
    EndOf(sequence, reason);
}

// The new output of a sequence as one event. Empty if there is none.
std::string Generation::EventsOf(Sequence &sequence) {
  Choice &choice = sequence.choice;
  if (sequence.tokens == 0 && !sequence.done)
    return {};
  if (choice.text.empty() && choice.reasoning.empty() && choice.tokens.empty() && choice.token_ids.empty() &&
      choice.tool_calls.empty() && !sequence.done)
    return {};
  choice.begins = !std::exchange(sequence.has_begun, true);
  choice.text_offset = sequence.characters;
  std::optional<Usage> usage;
  if (setup_.request.continuous_usage_stats)
    usage = Usage{sequence.prompt_tokens, sequence.tokens, sequence.cached_tokens};
  std::string event =
      setup_.request.is_chat ? ChatEvent(head_, &choice, usage) : CompletionEvent(head_, &choice, usage);
  sequence.characters += CountCharacters(choice.text);
  choice.text.clear();
  choice.reasoning.clear();
  choice.tokens.clear();
  choice.token_ids.clear();
  choice.tool_calls.clear();
  return event;
}

// The tokens of a prompt count once, however many answers it has.
Usage Generation::TotalUsage() const {
  Usage usage;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    usage.completion_tokens += sequences_[i].tokens;
    if (i % static_cast<size_t>(setup_.request.best_of) == 0) {
      usage.prompt_tokens += sequences_[i].prompt_tokens;
      usage.cached_tokens += sequences_[i].cached_tokens;
    }
  }
  return usage;
}

Answer Generation::WholeAnswer() {
  if (error_)
    return ToAnswer(*error_);
  const GenerationRequest &request = setup_.request;
  std::vector<Choice> choices;
  auto best_of = static_cast<size_t>(request.best_of), n = static_cast<size_t>(request.n);
  for (size_t first = 0; first < sequences_.size(); first += best_of) {
    auto begin = sequences_.begin() + static_cast<std::ptrdiff_t>(first);
    // The best sequences have the highest mean log-probability per token.
    if (best_of > n)
      std::sort(begin, begin + request.best_of, [](const Sequence &a, const Sequence &b) {
        double x = a.mean_logprob(), y = b.mean_logprob();
        return x != y ? x > y : a.choice.index < b.choice.index;
      });
    for (size_t i = 0; i < n; ++i) {
      Choice &choice = begin[static_cast<std::ptrdiff_t>(i)].choice;
      choice.index = static_cast<int32_t>(choices.size());
      choices.push_back(std::move(choice));
    }
  }
  return {.body =
              request.is_chat ? ChatBody(head_, choices, TotalUsage()) : CompletionBody(head_, choices, TotalUsage())};
}

PendingReply::Part Generation::Take() {
  Part part;
  bool all_done = true;
  for (Sequence &sequence : sequences_) {
    if (!sequence.done) {
      Read(sequence);
      if (is_stream() && !error_)
        part.data += EventsOf(sequence);
    }
    all_done &= sequence.done;
  }
  part.done = all_done || error_;
  if (!part.done) {
    stream_has_begun_ |= !part.data.empty();
    return part;
  }
  // A stream that fails before its first part was sent is answered with the error's HTTP status.
  if (!is_stream() || (error_ && !stream_has_begun_ && part.data.empty())) {
    part.answer = WholeAnswer();
    return part;
  }
  if (error_)
    part.data += Event(ErrorBody(*error_));
  else if (setup_.request.include_usage)
    part.data += setup_.request.is_chat ? ChatEvent(head_, nullptr, TotalUsage())
                                        : CompletionEvent(head_, nullptr, TotalUsage());
  part.data += kDoneEvent;
  return part;
}

} // namespace inlay::serve

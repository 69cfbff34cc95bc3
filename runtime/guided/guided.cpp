#include "runtime/guided/guided.h"

#include "runtime/guided/automaton.h"
#include "runtime/guided/configurations.h"
#include "runtime/guided/ebnf.h"
#include "runtime/guided/json_schema.h"
#include "runtime/guided/regex.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>

namespace inlay::guided {

// Sets of configurations and the token masks of their keys.
class MaskCache {
public:
  MaskCache(const Automaton &automaton, const Limits &limits, const Vocabulary &vocabulary)
      : configurations(automaton, limits, vocabulary.max_token_bytes()) {}

  size_t bytes() const { return configurations.bytes() + mask_bytes; }

  Configurations configurations;
  absl::flat_hash_map<int32_t, std::vector<uint32_t>> masks; // by mask key
  size_t mask_bytes = 0;
};

struct Grammar::Impl {
  Automaton automaton;
  size_t automaton_bytes = 0;
  Limits limits;
  mutable std::mutex mutex; // guards the cache and the matchers' use of it
  mutable std::shared_ptr<MaskCache> cache;
};

Grammar::Grammar(std::unique_ptr<Impl> impl, std::shared_ptr<const Vocabulary> vocabulary)
    : impl_(std::move(impl)), vocabulary_(std::move(vocabulary)) {}
Grammar::~Grammar() = default;

size_t Grammar::bytes() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->automaton_bytes + impl_->cache->bytes();
}

static size_t BytesOf(const Automaton &automaton) {
  size_t bytes = automaton.states.size() * sizeof(State) + automaton.byte_sets.size() * sizeof(ByteSet);
  for (const State &state : automaton.states)
    bytes += state.next.size() > 2 ? state.next.capacity() * sizeof(int32_t) : 0;
  return bytes;
}

absl::StatusOr<Grammar::Pointer> Grammar::FromRules(const Rules &rules, std::shared_ptr<const Vocabulary> vocabulary,
                                                    const Limits &limits) {
  auto impl = std::make_unique<Impl>();
  impl->limits = limits;
  absl::StatusOr<Automaton> automaton = Automaton::Build(rules, limits);
  if (!automaton.ok())
    return automaton.status();
  impl->automaton = *std::move(automaton);
  impl->automaton_bytes = BytesOf(impl->automaton);
  impl->cache = std::make_shared<MaskCache>(impl->automaton, impl->limits, *vocabulary);
  return Pointer(new Grammar(std::move(impl), std::move(vocabulary)));
}

namespace {

absl::Status Prefixed(std::string_view what, const absl::Status &status) {
  return absl::Status(status.code(), fmt::format("{}: {}", what, std::string(status.message())));
}

absl::Status CheckSize(size_t bytes, const Limits &limits) {
  if (bytes <= limits.max_source_bytes)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("found {} bytes, expected at most {} (max_source_bytes); fix: make the source "
                  "smaller",
                  bytes, limits.max_source_bytes));
}

// A kind of source: the prefix of its errors, and its parser.
struct Form {
  std::string_view what;
  absl::StatusOr<Rules> (*parse)(std::string_view, const Limits &);
};
constexpr Form kJsonSchema{"json schema", ParseJsonSchema}, kRegex{"regex", ParseRegexRules},
    kEbnf{"grammar", ParseEbnf};

absl::StatusOr<Rules> Parse(const Form &form, std::string_view source, const Limits &limits) {
  if (absl::Status status = CheckSize(source.size(), limits); !status.ok())
    return Prefixed(form.what, status);
  absl::StatusOr<Rules> rules = form.parse(source, limits);
  if (!rules.ok())
    return Prefixed(form.what, rules.status());
  return rules;
}

absl::StatusOr<Grammar::Pointer> Compile(const Form &form, std::string_view source,
                                         std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits) {
  absl::StatusOr<Rules> rules = Parse(form, source, limits);
  if (!rules.ok())
    return rules.status();
  absl::StatusOr<Grammar::Pointer> grammar = Grammar::FromRules(*rules, std::move(vocabulary), limits);
  if (!grammar.ok())
    return Prefixed(form.what, grammar.status());
  return grammar;
}

} // namespace

absl::StatusOr<Grammar::Pointer>
Grammar::FromJsonSchema(std::string_view schema, std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits) {
  return Compile(kJsonSchema, schema, std::move(vocabulary), limits);
}

absl::StatusOr<Grammar::Pointer> Grammar::JsonObject(std::shared_ptr<const Vocabulary> vocabulary,
                                                     const Limits &limits) {
  return FromJsonSchema(R"({"type":"object"})", std::move(vocabulary), limits);
}

absl::StatusOr<Grammar::Pointer>
Grammar::FromRegex(std::string_view regex, std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits) {
  return Compile(kRegex, regex, std::move(vocabulary), limits);
}

absl::StatusOr<Grammar::Pointer> Grammar::FromEbnf(std::string_view grammar,
                                                   std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits) {
  return Compile(kEbnf, grammar, std::move(vocabulary), limits);
}

absl::Status Grammar::CheckJsonSchema(std::string_view schema, const Limits &limits) {
  return Parse(kJsonSchema, schema, limits).status();
}

absl::Status Grammar::CheckRegex(std::string_view regex, const Limits &limits) {
  return Parse(kRegex, regex, limits).status();
}

absl::Status Grammar::CheckEbnf(std::string_view grammar, const Limits &limits) {
  return Parse(kEbnf, grammar, limits).status();
}

absl::Status Grammar::CheckChoices(std::span<const std::string> choices, const Limits &limits) {
  if (choices.empty())
    return absl::InvalidArgumentError("choice: found no text, expected at least one; fix: add a text");
  size_t bytes = choices.size();
  for (const std::string &choice : choices)
    bytes += choice.size();
  if (absl::Status status = CheckSize(bytes, limits); !status.ok())
    return Prefixed("choice", status);
  uint32_t code_point = 0;
  for (const std::string &choice : choices)
    for (size_t at = 0; at < choice.size();)
      if (absl::Status status = ReadCharacter(choice, at, code_point); !status.ok())
        return Prefixed("choice", status);
  return absl::OkStatus();
}

absl::StatusOr<Grammar::Pointer> Grammar::FromChoices(std::span<const std::string> choices,
                                                      std::shared_ptr<const Vocabulary> vocabulary,
                                                      const Limits &limits) {
  if (absl::Status status = CheckChoices(choices, limits); !status.ok())
    return status;
  Rules rules;
  rules.AddRule("root");
  rules.SetBody(0, rules.OneOf({choices.begin(), choices.end()}));
  absl::StatusOr<Pointer> grammar = FromRules(rules, std::move(vocabulary), limits);
  return grammar.ok() ? grammar : absl::StatusOr<Pointer>(Prefixed("choice", grammar.status()));
}

absl::StatusOr<Matcher> Matcher::Create(Grammar::Pointer grammar) {
  Matcher matcher(std::move(grammar));
  const Grammar::Impl &impl = *matcher.grammar_->impl_;
  std::lock_guard lock(impl.mutex);
  matcher.cache_ = impl.cache;
  absl::StatusOr<int32_t> start = matcher.cache_->configurations.Start();
  if (!start.ok())
    return start.status();
  matcher.Push(*start, {});
  return matcher;
}

void Matcher::Push(int32_t set, UniqueItems items) {
  sets_.push_back(set);
  items_.push_back(std::move(items));
  if (sets_.size() > kMaxRollback + 1) {
    sets_.pop_front();
    items_.pop_front();
  }
}

// Replaces a cache that has reached half of its limit with a new one, so that one operation has enough room.
absl::Status Matcher::Synchronize() {
  const Grammar::Impl &impl = *grammar_->impl_;
  if (impl.cache->bytes() > impl.limits.max_cache_bytes / 2)
    impl.cache = std::make_shared<MaskCache>(impl.automaton, impl.limits, *grammar_->vocabulary_);
  if (cache_ == impl.cache)
    return absl::OkStatus();
  std::deque<int32_t> sets;
  for (int32_t set : sets_) {
    absl::StatusOr<int32_t> imported = impl.cache->configurations.Import(cache_->configurations, set);
    if (!imported.ok())
      return imported.status();
    sets.push_back(*imported);
  }
  sets_ = std::move(sets);
  cache_ = impl.cache;
  return absl::OkStatus();
}

absl::Status Matcher::FillMask(std::span<uint32_t> mask) {
  std::lock_guard lock(grammar_->impl_->mutex);
  if (absl::Status status = FillMaskOfGrammar(mask); !status.ok() || items_.back().empty() || ended_)
    return status;
  // Removes the tokens that would end an item that the list already contains.
  const std::chrono::milliseconds max_time = grammar_->impl_->limits.max_mask_time;
  auto deadline = std::chrono::steady_clock::now() + max_time;
  for (int32_t id : grammar_->vocabulary().item_ends()) {
    if (std::chrono::steady_clock::now() > deadline)
      return absl::ResourceExhaustedError(fmt::format(
          "guided decoding: a mask for uniqueItems took more than {} ms (max_mask_time); fix: use a smaller maxItems",
          max_time.count()));
    if ((mask[id / 32] >> (id % 32) & 1) == 0)
      continue;
    UniqueItems items = items_.back();
    absl::StatusOr<int32_t> next = Read(sets_.back(), grammar_->vocabulary().bytes(id), items);
    if (!next.ok())
      return next.status();
    if (*next == Configurations::kDead)
      mask[id / 32] &= ~(uint32_t(1) << (id % 32));
  }
  if (std::all_of(mask.begin(), mask.end(), [](uint32_t word) { return word == 0; }))
    return absl::ResourceExhaustedError(
        "guided decoding: found a list that already contains all possible items "
        "(uniqueItems), expected another item; fix: use a smaller minItems or maxItems");
  return absl::OkStatus();
}

// The caller must hold the grammar's mutex.
absl::Status Matcher::FillMaskOfGrammar(std::span<uint32_t> mask) {
  const Vocabulary &vocabulary = grammar_->vocabulary();
  const Grammar::Impl &impl = *grammar_->impl_;
  if (mask.size() != vocabulary.mask_words())
    return absl::InvalidArgumentError(
        fmt::format("found a mask of {} words, expected {}", mask.size(), vocabulary.mask_words()));
  auto allow = [&](int32_t id) { mask[id / 32] |= uint32_t(1) << (id % 32); };
  if (ended_) {
    std::fill(mask.begin(), mask.end(), 0);
    for (int32_t id : vocabulary.end_ids())
      allow(id);
    return absl::OkStatus();
  }
  if (absl::Status status = Synchronize(); !status.ok())
    return status;
  Configurations &configurations = cache_->configurations;
  int32_t key = configurations.MaskKey(sets_.back());
  if (auto found = cache_->masks.find(key); found != cache_->masks.end()) {
    std::copy(found->second.begin(), found->second.end(), mask.begin());
    return absl::OkStatus();
  }
  std::fill(mask.begin(), mask.end(), 0);
  bool is_empty = true;
  auto deadline = std::chrono::steady_clock::now() + impl.limits.max_mask_time;
  const std::vector<Vocabulary::Node> &nodes = vocabulary.nodes();
  const std::vector<int32_t> &ids = vocabulary.ordered_ids();
  const auto &byte_class = impl.automaton.byte_class;
  std::vector<int32_t> path(vocabulary.max_token_bytes() + 1);
  path[0] = sets_.back();
  for (size_t i = 0, end = nodes.size() - 1; i < end;) {
    const Vocabulary::Node &node = nodes[i];
    int32_t next = configurations.KnownStep(path[node.depth], byte_class[node.byte]);
    if (next == Configurations::kUnknown) {
      absl::StatusOr<int32_t> step = configurations.Step(path[node.depth], byte_class[node.byte]);
      if (!step.ok())
        return step.status();
      next = *step;
      if (std::chrono::steady_clock::now() > deadline)
        return absl::ResourceExhaustedError(fmt::format(
            "guided decoding: a mask took more than {} ms (max_mask_time); fix: use a less ambiguous grammar",
            impl.limits.max_mask_time.count()));
    }
    if (next == Configurations::kDead) {
      i = node.skip;
      continue;
    }
    path[node.depth + 1] = next;
    for (int32_t token = node.first_token, last = nodes[i + 1].first_token; token < last; ++token) {
      allow(ids[token]);
      is_empty = false;
    }
    ++i;
  }
  if (configurations.CanEnd(sets_.back())) {
    is_empty = false;
    for (int32_t id : vocabulary.end_ids())
      allow(id);
  }
  if (is_empty)
    return absl::ResourceExhaustedError(
        configurations.depth_was_met()
            ? fmt::format("guided decoding: found more than {} nested rules (max_stack_depth), expected "
                          "fewer; fix: use a less nested grammar or schema",
                          impl.limits.max_stack_depth)
            : std::string("guided decoding: found a text that no token of the vocabulary continues according to the "
                          "grammar, expected at least one; fix: use characters that the tokenizer has"));
  cache_->masks.emplace(key, std::vector<uint32_t>(mask.begin(), mask.end()));
  cache_->mask_bytes += mask.size_bytes() + 64;
  return absl::OkStatus();
}

absl::StatusOr<bool> Matcher::AcceptLocked(std::string_view bytes) {
  if (absl::Status status = Synchronize(); !status.ok())
    return status;
  UniqueItems items = items_.back();
  absl::StatusOr<int32_t> set = Read(sets_.back(), bytes, items);
  if (!set.ok())
    return set.status();
  if (*set == Configurations::kDead)
    return false;
  Push(*set, std::move(items));
  return true;
}

absl::StatusOr<int32_t> Matcher::Read(int32_t set, std::string_view bytes, UniqueItems &items) {
  Configurations &configurations = cache_->configurations;
  for (char byte : bytes) {
    absl::StatusOr<int32_t> next =
        configurations.Step(set, grammar_->impl_->automaton.byte_class[static_cast<uint8_t>(byte)]);
    if (!next.ok() || *next == Configurations::kDead)
      return next;
    set = *next;
    int32_t lists = configurations.UniqueLists(set);
    if ((lists > 0 || !items.empty()) && !items.Read(byte, lists))
      return Configurations::kDead;
  }
  return set;
}

absl::StatusOr<bool> Matcher::AcceptBytes(std::string_view bytes) {
  if (ended_)
    return false;
  std::lock_guard lock(grammar_->impl_->mutex);
  return AcceptLocked(bytes);
}

absl::StatusOr<bool> Matcher::Accept(int32_t token) {
  const Vocabulary &vocabulary = grammar_->vocabulary();
  if (ended_ || token < 0 || token >= vocabulary.size())
    return false;
  std::lock_guard lock(grammar_->impl_->mutex);
  if (vocabulary.IsEnd(token)) {
    if (!cache_->configurations.CanEnd(sets_.back()))
      return false;
    Push(sets_.back(), items_.back());
    ended_ = true;
    return true;
  }
  if (vocabulary.bytes(token).empty())
    return false;
  return AcceptLocked(vocabulary.bytes(token));
}

bool Matcher::CanEnd() const {
  std::lock_guard lock(grammar_->impl_->mutex);
  return cache_->configurations.CanEnd(sets_.back());
}

absl::Status Matcher::Rollback(int32_t count) {
  if (count < 0 || static_cast<size_t>(count) >= sets_.size())
    return absl::InvalidArgumentError(
        fmt::format("found a rollback of {} tokens, expected at most {}", count, sets_.size() - 1));
  sets_.resize(sets_.size() - count);
  items_.resize(items_.size() - count);
  ended_ = ended_ && count == 0;
  return absl::OkStatus();
}

} // namespace inlay::guided

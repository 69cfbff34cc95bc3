// Guided decoding: computes which tokens may come next in a text that must match a grammar.
//
//   auto grammar = Grammar::FromRegex("[0-9]{3}", vocabulary, {});
//   Matcher matcher(*grammar);
//   matcher.FillMask(mask);   // then sample among the tokens whose bits are set
//   matcher.Accept(token);
//
// Combines the methods of XGrammar (Dong et al., 2024: token masks cached by the state of a pushdown automaton, a
// prefix tree of the vocabulary) and of llguidance (an automaton that is built lazily while the tree is traversed).
#ifndef INLAY_RUNTIME_GUIDED_GUIDED_H_
#define INLAY_RUNTIME_GUIDED_GUIDED_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/guided/limits.h"
#include "runtime/guided/unique_items.h"
#include "runtime/guided/vocabulary.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inlay::guided {

class Rules;
class MaskCache;

// A compiled, immutable grammar for any number of matchers in any threads. The source may be untrusted: its cost is
// limited by `limits`. Errors are InvalidArgument and name the position in the source.
class Grammar {
public:
  using Pointer = std::shared_ptr<const Grammar>;

  // Texts that are valid by a JSON Schema (json_schema.h lists the keywords). `{}` allows any JSON.
  static absl::StatusOr<Pointer> FromJsonSchema(std::string_view schema, std::shared_ptr<const Vocabulary> vocabulary,
                                                const Limits &limits);
  // Any JSON object.
  static absl::StatusOr<Pointer> JsonObject(std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits);
  // Texts that match the regular expression as a whole (regex.h describes the syntax).
  static absl::StatusOr<Pointer> FromRegex(std::string_view regex, std::shared_ptr<const Vocabulary> vocabulary,
                                           const Limits &limits);
  // Texts of the rule `root` of a grammar in llama.cpp's form of EBNF (ebnf.h).
  static absl::StatusOr<Pointer> FromEbnf(std::string_view grammar, std::shared_ptr<const Vocabulary> vocabulary,
                                          const Limits &limits);
  // One of these texts.
  static absl::StatusOr<Pointer> FromChoices(std::span<const std::string> choices,
                                             std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits);
  static absl::StatusOr<Pointer> FromRules(const Rules &rules, std::shared_ptr<const Vocabulary> vocabulary,
                                           const Limits &limits);
  // Check a source without compiling it. They need no vocabulary and return the errors of the parser.
  static absl::Status CheckJsonSchema(std::string_view schema, const Limits &limits);
  static absl::Status CheckRegex(std::string_view regex, const Limits &limits);
  static absl::Status CheckEbnf(std::string_view grammar, const Limits &limits);
  static absl::Status CheckChoices(std::span<const std::string> choices, const Limits &limits);
  ~Grammar();

  const Vocabulary &vocabulary() const { return *vocabulary_; }
  // Current memory use in bytes: the automaton and the cached states and masks. Waits while a mask is computed.
  size_t bytes() const;

private:
  friend class Matcher;
  struct Impl;
  Grammar(std::unique_ptr<Impl> impl, std::shared_ptr<const Vocabulary> vocabulary);
  std::unique_ptr<Impl> impl_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

// The state of one text in a grammar. Not thread-safe. Copies are independent.
class Matcher {
public:
  static constexpr size_t kMaxRollback = 256; // tokens

  static absl::StatusOr<Matcher> Create(Grammar::Pointer grammar);

  // Sets the bit of each token that may come next, and clears all others. `mask` has vocabulary().mask_words() words.
  // ResourceExhausted if a limit is exceeded or no token is allowed.
  absl::Status FillMask(std::span<uint32_t> mask);
  // Appends a token. Returns false, without a change, if the token is not allowed. An end token is allowed where the
  // text may end.
  absl::StatusOr<bool> Accept(int32_t token);
  // The same for bytes, for example of text that precedes the generated tokens. They count as one token in Rollback().
  absl::StatusOr<bool> AcceptBytes(std::string_view bytes);
  bool CanEnd() const;
  bool ended() const { return ended_; }
  // Removes the last `count` tokens. InvalidArgument if fewer were accepted or `count` is above kMaxRollback.
  absl::Status Rollback(int32_t count);
  Matcher Clone() const { return *this; }

private:
  explicit Matcher(Grammar::Pointer grammar) : grammar_(std::move(grammar)) {}
  absl::Status Synchronize();
  absl::StatusOr<bool> AcceptLocked(std::string_view bytes);
  void Push(int32_t set, UniqueItems items);
  // The set after `bytes`. Configurations::kDead if the grammar or uniqueItems does not allow them.
  absl::StatusOr<int32_t> Read(int32_t set, std::string_view bytes, UniqueItems &items);
  absl::Status FillMaskOfGrammar(std::span<uint32_t> mask);

  Grammar::Pointer grammar_;
  std::shared_ptr<MaskCache> cache_;
  std::deque<int32_t> sets_;      // the last one is the current set
  std::deque<UniqueItems> items_; // items of open lists, parallel to sets_
  bool ended_ = false;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_GUIDED_H_

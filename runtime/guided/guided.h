// Text that follows a grammar: which tokens may come next.
//
//   auto grammar = Grammar::FromRegex("[0-9]{3}", vocabulary, {});
//   Matcher matcher(*grammar);
//   matcher.FillMask(mask);   // then sample among the tokens whose bits are set
//   matcher.Accept(token);
//
// The methods of XGrammar (Dong et al., 2024: masks kept by the state of a pushdown automaton, a prefix tree over the
// vocabulary) and of llguidance (a lazily built automaton walked over that tree) are combined here.
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

// Compiled, immutable, for any number of matchers in any threads. What is compiled from a stranger's text stays within
// `limits`; errors are InvalidArgument and name the place in it.
class Grammar {
public:
  using Pointer = std::shared_ptr<const Grammar>;

  // A JSON Schema (json_schema.h says which keywords). `{}` is any JSON.
  static absl::StatusOr<Pointer> FromJsonSchema(std::string_view schema, std::shared_ptr<const Vocabulary> vocabulary,
                                                const Limits &limits);
  // Any JSON object.
  static absl::StatusOr<Pointer> JsonObject(std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits);
  // The whole text matches (regex.h says which syntax).
  static absl::StatusOr<Pointer> FromRegex(std::string_view regex, std::shared_ptr<const Vocabulary> vocabulary,
                                           const Limits &limits);
  // EBNF in llama.cpp's form, from the rule `root` (ebnf.h).
  static absl::StatusOr<Pointer> FromEbnf(std::string_view grammar, std::shared_ptr<const Vocabulary> vocabulary,
                                          const Limits &limits);
  // One of these texts.
  static absl::StatusOr<Pointer> FromChoices(std::span<const std::string> choices,
                                             std::shared_ptr<const Vocabulary> vocabulary, const Limits &limits);
  static absl::StatusOr<Pointer> FromRules(const Rules &rules, std::shared_ptr<const Vocabulary> vocabulary,
                                           const Limits &limits);
  // What those say of a text before it is compiled, found without a vocabulary.
  static absl::Status CheckJsonSchema(std::string_view schema, const Limits &limits);
  static absl::Status CheckRegex(std::string_view regex, const Limits &limits);
  static absl::Status CheckEbnf(std::string_view grammar, const Limits &limits);
  static absl::Status CheckChoices(std::span<const std::string> choices, const Limits &limits);
  ~Grammar();

  const Vocabulary &vocabulary() const { return *vocabulary_; }
  // Memory that it takes now: of the automaton, and of states and masks kept for reuse. Waits for a mask being found.
  size_t bytes() const;

private:
  friend class Matcher;
  struct Impl;
  Grammar(std::unique_ptr<Impl> impl, std::shared_ptr<const Vocabulary> vocabulary);
  std::unique_ptr<Impl> impl_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

// Where one text stands. Not for several threads at once; a copy is independent.
class Matcher {
public:
  static constexpr size_t kMaxRollback = 256; // tokens

  static absl::StatusOr<Matcher> Create(Grammar::Pointer grammar);

  // Sets the bit of each token that may come next, and clears all others. `mask` has vocabulary().mask_words() words.
  // ResourceExhausted if a limit is met, or no token may come.
  absl::Status FillMask(std::span<uint32_t> mask);
  // Takes a token. False, and nothing changes, if it may not come. A token that ends the text is taken where it can
  // end.
  absl::StatusOr<bool> Accept(int32_t token);
  // The same for bytes, such as of text that was there before. They count as one token for Rollback().
  absl::StatusOr<bool> AcceptBytes(std::string_view bytes);
  bool CanEnd() const;
  bool ended() const { return ended_; }
  // Takes back the last `count` tokens; InvalidArgument if fewer were taken, or more than kMaxRollback.
  absl::Status Rollback(int32_t count);
  Matcher Clone() const { return *this; }

private:
  explicit Matcher(Grammar::Pointer grammar) : grammar_(std::move(grammar)) {}
  absl::Status Synchronize();
  absl::StatusOr<bool> AcceptLocked(std::string_view bytes);
  void Push(int32_t set, UniqueItems items);
  // Reads bytes from a set. Configurations::kDead if they may not come, because of the grammar or of what came before.
  absl::StatusOr<int32_t> Read(int32_t set, std::string_view bytes, UniqueItems &items);
  absl::Status FillMaskOfGrammar(std::span<uint32_t> mask);

  Grammar::Pointer grammar_;
  std::shared_ptr<MaskCache> cache_;
  std::deque<int32_t> sets_;      // the last is the present one
  std::deque<UniqueItems> items_; // of open lists, beside sets_
  bool ended_ = false;
};

} // namespace inlay::guided

#endif // INLAY_RUNTIME_GUIDED_GUIDED_H_

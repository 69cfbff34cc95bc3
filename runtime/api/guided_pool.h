// Guided decoding on separate threads: compiles grammars and computes the mask of a sequence's next token while steps
// of other sequences run. The engine's thread only queues work here and never waits for a grammar.
#ifndef INLAY_RUNTIME_API_GUIDED_POOL_H_
#define INLAY_RUNTIME_API_GUIDED_POOL_H_

#include "runtime/api/inlay.h"
#include "runtime/guided/guided.h"
#include "runtime/schedule/token_mask.h"

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace inlay {

struct GuidedEntry;

// The position of one sequence in its grammar. After each call of Begin() or Accept() with it, either the token mask
// becomes ready or `has_failed` is set; `status` is then the error.
struct GuidedText : TokenMask {
  std::atomic<bool> has_failed{false};
  std::atomic<bool> is_dropped{false}; // set by the engine when the mask is no longer needed
  absl::Status status;
  // Used by the pool's threads only.
  std::optional<guided::Matcher> matcher;
  std::shared_ptr<GuidedEntry> entry;
};

struct GuidedLimits {
  guided::Limits grammar;
  size_t kept_bytes = size_t{256} << 20; // above this total, grammars that no request uses are released
  size_t used_bytes = size_t{1} << 30;   // above this total, grammars larger than an equal share of it are refused
};

// Checks, without compiling, that there is at most one constraint and that its source can be parsed.
absl::Status CheckGuided(const GuidedParams &params, const guided::Limits &limits);

class GuidedPool {
public:
  using MakeVocabulary = std::function<absl::StatusOr<std::shared_ptr<const guided::Vocabulary>>()>;

  // `make_vocabulary` is called once, before the first grammar is compiled. `on_change` is called each time a mask
  // became ready or failed. The pool's threads call both. They are started by the first call of Begin().
  GuidedPool(MakeVocabulary make_vocabulary, std::function<void()> on_change, const GuidedLimits &limits = {});
  ~GuidedPool();

  // Queues the computation of the mask of each text's first token. Compiles the grammar if it is not cached.
  void Begin(const GuidedParams &params, const std::vector<std::shared_ptr<GuidedText>> &texts);
  // Queues the computation of the mask of the next token, after `token` was appended. The text's mask must be ready.
  void Accept(const std::shared_ptr<GuidedText> &text, int32_t token);
  // Memory of all compiled grammars.
  size_t bytes() const;

private:
  struct Job {
    std::shared_ptr<GuidedText> text;
    std::optional<int32_t> token; // the token to append; none at the beginning of the text
  };
  friend struct GuidedEntry;

  void Work(bool compiles);
  void Queue(const std::shared_ptr<GuidedEntry> &entry, Job job);
  absl::Status Compile(GuidedEntry &entry);
  absl::Status Advance(GuidedEntry &entry, const Job &job);
  absl::Status Account(const std::shared_ptr<GuidedEntry> &entry);

  const MakeVocabulary make_vocabulary_;
  const std::function<void()> on_change_;
  const GuidedLimits limits_;
  // Used only by the thread that compiles.
  std::optional<absl::StatusOr<std::shared_ptr<const guided::Vocabulary>>> vocabulary_;

  mutable std::mutex mutex_; // guards the members below
  std::condition_variable work_;
  std::map<std::string, std::shared_ptr<GuidedEntry>> entries_;    // by constraint and source: KeyOf()
  std::deque<std::shared_ptr<GuidedEntry>> compiled_, uncompiled_; // entries with jobs, first in first out
  size_t bytes_ = 0;                                               // of all compiled entries
  uint64_t uses_ = 0;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_GUIDED_POOL_H_

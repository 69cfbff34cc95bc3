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

// Where one sequence stands in its grammar. Each call of the pool ends in a mask that is ready, or in `has_failed`, and
// then `status` says why.
struct GuidedText : TokenMask {
  std::atomic<bool> has_failed{false};
  std::atomic<bool> is_dropped{false}; // by the engine: nobody wants it any more
  absl::Status status;
  // The pool's.
  std::optional<guided::Matcher> matcher;
  std::shared_ptr<GuidedEntry> entry;
};

struct GuidedLimits {
  guided::Limits grammar;
  size_t kept_bytes = size_t{256} << 20; // of grammars that no request uses at the moment
  size_t used_bytes = size_t{1} << 30;   // of all; beyond it those that take the most are refused
};

// Before anything is compiled: one form at the most, and source that can be read.
absl::Status CheckGuided(const GuidedParams &params, const guided::Limits &limits);

class GuidedPool {
public:
  using MakeVocabulary = std::function<absl::StatusOr<std::shared_ptr<const guided::Vocabulary>>()>;

  // `make_vocabulary` is called once, before the first grammar; `on_change` after each text that became ready or
  // failed. Threads of the pool call both; they begin with the first text.
  GuidedPool(MakeVocabulary make_vocabulary, std::function<void()> on_change, const GuidedLimits &limits = {});
  ~GuidedPool();

  // Finds the grammar or compiles it, and the mask of what each text may begin with.
  void Begin(const GuidedParams &params, const std::vector<std::shared_ptr<GuidedText>> &texts);
  // A text that was ready goes on with a token: the mask of what may come after it.
  void Accept(const std::shared_ptr<GuidedText> &text, int32_t token);
  // Of all grammars that are kept or used.
  size_t bytes() const;

private:
  struct Job {
    std::shared_ptr<GuidedText> text;
    std::optional<int32_t> token; // none: the text begins
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
  // One thread compiles.
  std::optional<absl::StatusOr<std::shared_ptr<const guided::Vocabulary>>> vocabulary_;

  mutable std::mutex mutex_; // of what follows
  std::condition_variable work_;
  std::map<std::string, std::shared_ptr<GuidedEntry>> entries_;    // by form and source
  std::deque<std::shared_ptr<GuidedEntry>> compiled_, uncompiled_; // those with jobs, in turn
  size_t bytes_ = 0;                                               // of all entries that were compiled
  uint64_t uses_ = 0;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_API_GUIDED_POOL_H_

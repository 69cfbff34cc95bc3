#include "runtime/api/guided_pool.h"

#include "fmt/format.h"

#include <algorithm>

namespace inlay {

// A grammar with the jobs of its texts. The jobs run one after the other, so that a slow grammar occupies only one
// thread. The thread that took the entry from a queue is the only one that accesses it, except for the members that
// the pool's mutex guards.
struct GuidedEntry {
  GuidedParams params;
  std::string key;
  guided::Grammar::Pointer grammar;
  absl::Status failure; // the error, if the grammar cannot be compiled

  // Guarded by the pool's mutex.
  std::deque<GuidedPool::Job> jobs;
  bool is_queued = false; // in a queue, or taken by a thread
  bool is_compiled = false;
  size_t bytes = 0;
  uint64_t last_use = 0;
};

namespace {

std::string KeyOf(const GuidedParams &params) {
  if (!params.json_schema.empty())
    return "json:" + params.json_schema;
  if (!params.regex.empty())
    return "regex:" + params.regex;
  if (!params.grammar.empty())
    return "grammar:" + params.grammar;
  std::string key = "choice";
  for (const std::string &choice : params.choice)
    key += fmt::format(":{}:{}", choice.size(), choice);
  return key;
}

} // namespace

absl::Status CheckGuided(const GuidedParams &params, const guided::Limits &limits) {
  int forms = int{!params.json_schema.empty()} + int{!params.regex.empty()} + int{!params.grammar.empty()} +
              int{!params.choice.empty()};
  if (forms > 1)
    return absl::InvalidArgumentError(fmt::format("guided decoding has {} constraints, expected exactly one of json, "
                                                  "regex, grammar and choice; remove the others",
                                                  forms));
  if (!params.json_schema.empty())
    return guided::Grammar::CheckJsonSchema(params.json_schema, limits);
  if (!params.regex.empty())
    return guided::Grammar::CheckRegex(params.regex, limits);
  if (!params.grammar.empty())
    return guided::Grammar::CheckEbnf(params.grammar, limits);
  if (!params.choice.empty())
    return guided::Grammar::CheckChoices(params.choice, limits);
  return absl::OkStatus();
}

GuidedPool::GuidedPool(MakeVocabulary make_vocabulary, std::function<void()> on_change, const GuidedLimits &limits)
    : make_vocabulary_(std::move(make_vocabulary)), on_change_(std::move(on_change)), limits_(limits) {}

GuidedPool::~GuidedPool() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  work_.notify_all();
  for (std::thread &thread : threads_)
    thread.join();
  // Break reference cycles: jobs refer to texts, and texts to their entries.
  for (const auto &[key, entry] : entries_)
    entry->jobs.clear();
  for (auto *queue : {&compiled_, &uncompiled_})
    for (const std::shared_ptr<GuidedEntry> &entry : *queue)
      entry->jobs.clear();
}

void GuidedPool::Begin(const GuidedParams &params, const std::vector<std::shared_ptr<GuidedText>> &texts) {
  std::lock_guard lock(mutex_);
  if (threads_.empty())
    for (bool compiles : {true, false})
      threads_.emplace_back([this, compiles] { Work(compiles); });
  std::shared_ptr<GuidedEntry> &entry = entries_[KeyOf(params)];
  if (!entry) {
    entry = std::make_shared<GuidedEntry>();
    entry->params = params;
    entry->key = KeyOf(params);
  }
  for (const std::shared_ptr<GuidedText> &text : texts) {
    text->entry = entry;
    Queue(entry, {text, std::nullopt});
  }
}

void GuidedPool::Accept(const std::shared_ptr<GuidedText> &text, int32_t token) {
  text->is_ready = false;
  std::lock_guard lock(mutex_);
  Queue(text->entry, {text, token});
}

size_t GuidedPool::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

// Call with the mutex locked.
void GuidedPool::Queue(const std::shared_ptr<GuidedEntry> &entry, Job job) {
  entry->jobs.push_back(std::move(job));
  entry->last_use = ++uses_;
  if (entry->is_queued)
    return;
  entry->is_queued = true;
  (entry->is_compiled ? compiled_ : uncompiled_).push_back(entry);
  work_.notify_all();
}

// The main function of a thread. Only one of the two threads compiles, so that the other can always compute masks.
void GuidedPool::Work(bool compiles) {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return is_stopping_ || !compiled_.empty() || (compiles && !uncompiled_.empty()); });
    if (is_stopping_)
      return;
    std::deque<std::shared_ptr<GuidedEntry>> &queue = compiles && !uncompiled_.empty() ? uncompiled_ : compiled_;
    std::shared_ptr<GuidedEntry> entry = std::move(queue.front());
    queue.pop_front();
    Job job = std::move(entry->jobs.front());
    entry->jobs.pop_front();
    lock.unlock();
    bool is_dropped = job.text->is_dropped;
    absl::Status status;
    if (!is_dropped) {
      status = entry->grammar ? absl::OkStatus() : Compile(*entry);
      if (status.ok())
        status = Advance(*entry, job);
      if (status.ok())
        status = Account(entry);
      if (status.ok()) {
        job.text->is_ready = true;
      } else {
        job.text->status = status;
        job.text->has_failed = true;
      }
    }
    job = {};
    if (!is_dropped)
      on_change_();
    lock.lock();
    entry->is_compiled = entry->grammar != nullptr;
    if (!entry->jobs.empty()) {
      (entry->is_compiled ? compiled_ : uncompiled_).push_back(std::move(entry));
      work_.notify_all();
      continue;
    }
    entry->is_queued = false;
    if (!entry->is_compiled)
      entries_.erase(entry->key);
  }
}

absl::Status GuidedPool::Compile(GuidedEntry &entry) {
  if (!entry.failure.ok())
    return entry.failure;
  if (!vocabulary_)
    vocabulary_ = make_vocabulary_();
  if (!vocabulary_->ok())
    return vocabulary_->status();
  const GuidedParams &params = entry.params;
  const guided::Limits &limits = limits_.grammar;
  auto compile = [&] {
    if (!params.json_schema.empty())
      return guided::Grammar::FromJsonSchema(params.json_schema, **vocabulary_, limits);
    if (!params.regex.empty())
      return guided::Grammar::FromRegex(params.regex, **vocabulary_, limits);
    if (!params.grammar.empty())
      return guided::Grammar::FromEbnf(params.grammar, **vocabulary_, limits);
    return guided::Grammar::FromChoices(params.choice, **vocabulary_, limits);
  };
  absl::StatusOr<guided::Grammar::Pointer> grammar = compile();
  if (grammar.ok())
    entry.grammar = *std::move(grammar);
  else
    entry.failure = grammar.status();
  return entry.failure;
}

absl::Status GuidedPool::Advance(GuidedEntry &entry, const Job &job) {
  GuidedText &text = *job.text;
  if (!job.token) {
    absl::StatusOr<guided::Matcher> matcher = guided::Matcher::Create(entry.grammar);
    if (!matcher.ok())
      return matcher.status();
    text.matcher = *std::move(matcher);
    text.words.resize(entry.grammar->vocabulary().mask_words());
  } else if (!text.matcher->ended()) { // after an ignored end token, only further end tokens are possible
    absl::StatusOr<bool> accepted = text.matcher->Accept(*job.token);
    if (!accepted.ok())
      return accepted.status();
    if (!*accepted)
      return absl::InternalError(
          fmt::format("guided decoding: token {} was sampled, which the mask does not allow", *job.token));
  }
  return text.matcher->FillMask(text.words);
}

// Updates the memory of `entry`. Above the limit, releases unused grammars, the least recently used first. Returns an
// error if the grammars in use are too large and this one is larger than an equal share of the limit.
absl::Status GuidedPool::Account(const std::shared_ptr<GuidedEntry> &entry) {
  size_t bytes = entry->grammar->bytes() + entry->params.json_schema.size() + entry->params.regex.size() +
                 entry->params.grammar.size();
  std::lock_guard lock(mutex_);
  bytes_ += bytes - std::exchange(entry->bytes, bytes);
  if (bytes_ <= limits_.kept_bytes)
    return absl::OkStatus();
  std::vector<std::shared_ptr<GuidedEntry>> unused;
  for (const auto &[key, one] : entries_)
    // Texts and threads have references to the grammars that they use.
    if (one != entry && one.use_count() == 1)
      unused.push_back(one);
  std::ranges::sort(unused, {}, [](const std::shared_ptr<GuidedEntry> &one) { return one->last_use; });
  for (const std::shared_ptr<GuidedEntry> &one : unused) {
    if (bytes_ <= limits_.kept_bytes)
      break;
    bytes_ -= one->bytes;
    entries_.erase(one->key);
  }
  if (bytes_ > limits_.used_bytes && bytes > limits_.used_bytes / entries_.size())
    return absl::ResourceExhaustedError(
        fmt::format("guided decoding: the grammars in use take {} bytes, expected at most {}; this one takes {} bytes; "
                    "use a simpler one or try again later",
                    bytes_, limits_.used_bytes, bytes));
  return absl::OkStatus();
}

} // namespace inlay

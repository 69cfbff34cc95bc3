// Helpers for tests of the engine with the compiled example model.
#ifndef INLAY_TEST_E2E_ENGINE_TESTING_H_
#define INLAY_TEST_E2E_ENGINE_TESTING_H_

#include "runtime/api/engine_internal.h"

#include "gtest/gtest.h"

#include <chrono>
#include <thread>

namespace inlay {

// How many seeds or steps a test tries. Sanitizers make each of them many times slower, and look for races and bad
// accesses, to which more seeds of one kind add nothing. So tests try `sanitized` of them there.
template <class T> constexpr T Rounds(T all, T sanitized) {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return sanitized;
#else
  return all;
#endif
}

// Texts of different lengths: one token, a line, several query tiles, several chunks.
inline const std::vector<std::string> kPrompts = {
    "x", "def main(argv):\n",
    "class Server:\n    def __init__(self, host, port):\n        self.host = host\n        self.port = port\n\n",
    "import os\nimport sys\n",
    "try:\n    import threading\nexcept ImportError:\n    threading = None\n\n\ndef run(function, *arguments):\n"
    "    \"\"\"Run a function in a thread of its own, or at once where there are none.\"\"\"\n    if threading is "
    "None:\n"
    "        return function(*arguments)\n    thread = threading.Thread(target=function, args=arguments)\n"};

inline std::unique_ptr<Engine> Load(EngineOptions options = {}, const DeviceWrapper &wrap = nullptr,
                                    const char *bundle = INLAY_TEST_BUNDLE) {
  options.target = "cpu";
  options.threads = 2;
  options.return_logits = true;
  absl::StatusOr<std::unique_ptr<Engine>> engine = LoadEngine(bundle, options, wrap, true);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

// Options for a KV cache of `pages` pages. It must have room for the longest request of the test.
inline EngineOptions FewPages(int32_t pages, const char *bundle = INLAY_TEST_BUNDLE) {
  EngineOptions options;
  options.target = "cpu";
  absl::StatusOr<MemoryPlan> plan = Engine::Plan(bundle, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  options.kv_cache_bytes = static_cast<uint64_t>(pages) * plan->bytes_per_page;
  return options;
}

inline SamplingParams Greedy(int32_t tokens) {
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.max_tokens = tokens;
  sampling.ignore_eos = true;
  return sampling;
}

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<std::vector<float>> logits;
  std::string text;
  FinishReason reason = FinishReason::kNone;

  bool operator==(const Answer &other) const { return tokens == other.tokens && logits == other.logits; }
};

inline Answer Finish(RequestHandle &handle) {
  Answer answer;
  while (std::optional<Piece> piece = handle.Next()) {
    answer.tokens.push_back(piece->token_id);
    answer.logits.push_back(std::move(piece->logits));
    answer.text += piece->text;
  }
  EXPECT_TRUE(handle.status().ok()) << handle.status();
  answer.reason = handle.finish_reason();
  return answer;
}

inline std::unique_ptr<RequestHandle> Submit(Engine &engine, const std::string &prompt,
                                             const SamplingParams &sampling) {
  Request request;
  request.prompt = prompt;
  request.sampling = sampling;
  absl::StatusOr<std::unique_ptr<RequestHandle>> handle = engine.Submit(request);
  EXPECT_TRUE(handle.ok()) << handle.status();
  return *std::move(handle);
}

inline std::vector<Answer> AllAtOnce(Engine &engine, const SamplingParams &sampling) {
  std::vector<std::unique_ptr<RequestHandle>> handles;
  for (const std::string &prompt : kPrompts)
    handles.push_back(Submit(engine, prompt, sampling));
  std::vector<Answer> answers;
  for (auto &handle : handles)
    answers.push_back(Finish(*handle));
  return answers;
}

inline std::vector<Answer> OneByOne(Engine &engine, const SamplingParams &sampling) {
  std::vector<Answer> answers;
  for (const std::string &prompt : kPrompts)
    answers.push_back(Finish(*Submit(engine, prompt, sampling)));
  return answers;
}

inline void ExpectEqual(const std::vector<Answer> &found, const std::vector<Answer> &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_TRUE(found[i] == expected[i]) << i << ": " << kPrompts[i];
}

// Waits until no request is left; then every page is free.
inline void ExpectNoPagesLost(Engine &engine) {
  for (int i = 0; i < 500 && engine.Stats().running + engine.Stats().waiting > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(engine.Stats().free_pages, engine.Stats().total_pages);
}

// A long prompt, so that it has several full pages.
inline std::string LongPrompt() { return kPrompts[4] + kPrompts[2] + kPrompts[4] + kPrompts[2] + kPrompts[4]; }

inline void ExpectReusedPrefixesGiveTheSameBits() {
  EngineOptions without;
  without.enable_prefix_caching = false;
  std::unique_ptr<Engine> reusing = Load(), plain = Load(without);
  for (const std::string &end : {"x", "def f():", "x", ""}) {
    Answer expected = Finish(*Submit(*plain, LongPrompt() + end, Greedy(12)));
    EXPECT_TRUE(Finish(*Submit(*reusing, LongPrompt() + end, Greedy(12))) == expected) << end;
  }
  EXPECT_GT(reusing->Stats().prefix_cache_hits, 0);
  EXPECT_EQ(plain->Stats().prefix_cache_hits, 0);
  ExpectNoPagesLost(*reusing);
}

// Draft tokens of n-grams change no bit. Returns the engine that has guessed. Requests run one by one, because the
// number of steps of several depends on their times of arrival.
inline std::unique_ptr<Engine> ExpectGuessedTokensGiveTheSameBits(Engine &plain) {
  EngineOptions guessing;
  guessing.num_speculative_tokens = 5;
  std::unique_ptr<Engine> engine = Load(guessing);
  ExpectEqual(OneByOne(*engine, Greedy(100)), OneByOne(plain, Greedy(100)));
  EXPECT_GT(engine->Stats().accepted_draft_tokens, 100);
  return engine;
}

// `options` with room for `pages` preempted pages in host memory, where the KV cache of FewPages has `of` pages.
inline EngineOptions Swapping(EngineOptions options, uint64_t pages, uint64_t of) {
  options.preemption_mode = "swap";
  options.swap_space_bytes = pages * (options.kv_cache_bytes / of);
  return options;
}

// With so few pages that sequences are preempted, the answers are those of each request alone. Returns the engine's
// statistics.
inline EngineStats ExpectPreemptionGivesTheSameBits(const EngineOptions &options, const std::vector<Answer> &alone) {
  std::unique_ptr<Engine> engine = Load(options);
  ExpectEqual(AllAtOnce(*engine, Greedy(60)), alone);
  EngineStats stats = engine->Stats();
  EXPECT_GT(stats.preemptions, 0) << "the pages were enough, so the test has no preempted sequence";
  EXPECT_EQ(stats.swapped_out_pages > 0, options.preemption_mode == "swap");
  ExpectNoPagesLost(*engine);
  return stats;
}

} // namespace inlay

#endif // INLAY_TEST_E2E_ENGINE_TESTING_H_

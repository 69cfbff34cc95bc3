// Token masks computed by the pool's threads. The vocabulary is small, so some grammars need text that no token has.
#include "runtime/api/guided_pool.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inlay {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kEnd = 3;

// Makes pools whose vocabulary has the tokens a, b, ab and an end token, and waits for masks.
class GuidedPoolTest : public ::testing::Test {
protected:
  std::unique_ptr<GuidedPool> Make(const GuidedLimits &limits = {}) {
    return std::make_unique<GuidedPool>(
        [this] {
          ++vocabularies_;
          return guided::Vocabulary::Create({"a", "b", "ab", ""}, {kEnd}, 40);
        },
        [this] {
          {
            std::lock_guard lock(mutex_);
          }
          changed_.notify_all();
        },
        limits);
  }

  void Wait(const GuidedText &text) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return text.is_ready || text.has_failed; }));
  }

  std::shared_ptr<GuidedText> Begin(GuidedPool &pool, const std::string &regex) {
    auto text = std::make_shared<GuidedText>();
    pool.Begin({.regex = regex}, {text});
    Wait(*text);
    return text;
  }

  int vocabularies_ = 0;

private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

std::vector<int32_t> Allowed(const GuidedText &text) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < static_cast<int32_t>(text.words.size() * 32); ++id)
    if (text.Allows(id))
      ids.push_back(id);
  return ids;
}

TEST_F(GuidedPoolTest, MasksFollowTheText) {
  std::unique_ptr<GuidedPool> pool = Make();
  std::shared_ptr<GuidedText> text = Begin(*pool, "a(ba)?b"), other = Begin(*pool, "a(ba)?b");
  EXPECT_EQ(Allowed(*text), std::vector<int32_t>({0, 2}));
  pool->Accept(text, 2);
  Wait(*text);
  EXPECT_EQ(Allowed(*text), std::vector<int32_t>({0, 2, kEnd}));
  pool->Accept(text, kEnd);
  Wait(*text);
  EXPECT_EQ(Allowed(*text), std::vector<int32_t>({kEnd}));
  EXPECT_EQ(Allowed(*other), std::vector<int32_t>({0, 2}));
  EXPECT_EQ(vocabularies_, 1);
}

TEST_F(GuidedPoolTest, ATextThatNoTokenContinuesFails) {
  std::unique_ptr<GuidedPool> pool = Make();
  std::shared_ptr<GuidedText> text = Begin(*pool, "ab?c"), other = Begin(*pool, "ab?c");
  ASSERT_TRUE(text->is_ready);
  pool->Accept(text, 2);
  Wait(*text);
  EXPECT_TRUE(text->has_failed);
  EXPECT_FALSE(text->is_ready);
  EXPECT_THAT(std::string(text->status.message()), HasSubstr("no token of the vocabulary continues"));
  EXPECT_TRUE(other->is_ready);
}

TEST_F(GuidedPoolTest, ATokenThatMayNotComeFails) {
  std::unique_ptr<GuidedPool> pool = Make();
  std::shared_ptr<GuidedText> text = Begin(*pool, "a");
  pool->Accept(text, 1);
  Wait(*text);
  EXPECT_EQ(text->status.code(), absl::StatusCode::kInternal);
}

TEST_F(GuidedPoolTest, WhatCannotBeCompiledFailsForEachOfItsTexts) {
  std::unique_ptr<GuidedPool> pool = Make();
  std::vector<std::shared_ptr<GuidedText>> texts = {std::make_shared<GuidedText>(), std::make_shared<GuidedText>()};
  pool->Begin({.regex = "(a"}, texts);
  for (const auto &text : texts) {
    Wait(*text);
    EXPECT_TRUE(text->has_failed);
    EXPECT_EQ(text->status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(pool->bytes(), 0u);
}

TEST_F(GuidedPoolTest, GrammarsThatNobodyUsesAreLetGo) {
  GuidedLimits limits;
  std::unique_ptr<GuidedPool> pool = Make(limits);
  for (int i = 1; i <= 40; ++i)
    Begin(*pool, "(ab){" + std::to_string(i) + "}");
  size_t of_all = pool->bytes();
  limits.kept_bytes = of_all / 4;
  pool = Make(limits);
  for (int i = 1; i <= 40; ++i)
    Begin(*pool, "(ab){" + std::to_string(i) + "}");
  EXPECT_GT(pool->bytes(), of_all / 16);
  EXPECT_LE(pool->bytes(), of_all / 3); // the last text may still have been in use when grammars were released
}

TEST_F(GuidedPoolTest, GrammarsInUseHaveALimit) {
  GuidedLimits limits;
  limits.kept_bytes = limits.used_bytes = 20'000;
  std::unique_ptr<GuidedPool> pool = Make(limits);
  std::vector<std::shared_ptr<GuidedText>> texts;
  int failed = 0;
  for (int i = 1; i <= 40; ++i) {
    texts.push_back(Begin(*pool, "(a|b|ab){" + std::to_string(i) + "}"));
    if (texts.back()->has_failed) {
      ++failed;
      EXPECT_EQ(texts.back()->status.code(), absl::StatusCode::kResourceExhausted);
    }
  }
  EXPECT_TRUE(texts.front()->is_ready);
  EXPECT_GT(failed, 0);
  // Grammars that are no longer used are released.
  texts.clear();
  EXPECT_TRUE(Begin(*pool, "b{3}")->is_ready);
}

TEST_F(GuidedPoolTest, EndsWithWorkLeft) {
  std::vector<std::shared_ptr<GuidedText>> texts;
  for (int i = 0; i < 50; ++i)
    texts.push_back(std::make_shared<GuidedText>());
  std::unique_ptr<GuidedPool> pool = Make();
  for (size_t i = 0; i < texts.size(); ++i)
    pool->Begin({.regex = "[ab]{" + std::to_string(i) + "}b"}, {texts[i]});
}

} // namespace
} // namespace inlay

// A model whose keys and values are cached in fp8: a page has half of the bytes, and what moves pages (prefix reuse,
// preemption, offload, draft tokens) changes no bit of the output.
#include "test/e2e/engine_testing.h"

#include "gmock/gmock.h"

namespace inlay {
namespace {

TEST(EngineFp8Cache, PagesHaveHalfOfTheBytes) {
  EngineOptions options;
  options.target = "cpu";
  options.kv_cache_bytes = 1 << 20;
  absl::StatusOr<MemoryPlan> codes = Engine::Plan(INLAY_TEST_BUNDLE, options);
  absl::StatusOr<MemoryPlan> floats = Engine::Plan(INLAY_TEST_WIDE_BUNDLE, options);
  ASSERT_TRUE(codes.ok() && floats.ok()) << codes.status() << floats.status();
  EXPECT_EQ(codes->page_size, floats->page_size);
  EXPECT_EQ(2 * codes->bytes_per_page, floats->bytes_per_page);
  EXPECT_EQ(codes->total_pages, 2 * floats->total_pages);
  EXPECT_EQ(codes->kv_cache_tokens, 2 * floats->kv_cache_tokens);
  EXPECT_EQ(codes->weights_bytes, floats->weights_bytes);
}

TEST(EngineFp8Cache, ReusedPrefixesGiveTheSameBits) { ExpectReusedPrefixesGiveTheSameBits(); }

TEST(EngineFp8Cache, ChunksOfPromptsGiveTheSameBits) {
  EngineOptions small;
  small.max_num_batched_tokens = 32;
  ExpectEqual(AllAtOnce(*Load(small), Greedy(24)), OneByOne(*Load(), Greedy(24)));
}

TEST(EngineFp8Cache, GuessedTokensGiveTheSameBits) { ExpectGuessedTokensGiveTheSameBits(*Load()); }

TEST(EngineFp8Cache, PreemptedAndOffloadedRequestsGiveTheSameBits) {
  const std::vector<Answer> alone = OneByOne(*Load(), Greedy(60));
  ExpectPreemptionGivesTheSameBits(FewPages(14), alone);
  ExpectPreemptionGivesTheSameBits(Swapping(FewPages(14), 40, 14), alone);
}

} // namespace
} // namespace inlay

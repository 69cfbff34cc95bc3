// A small step and what it may refer to, for the test and the fuzzer of its message.
#ifndef INLAY_TEST_RUNTIME_STEP_MESSAGE_TESTING_H_
#define INLAY_TEST_RUNTIME_STEP_MESSAGE_TESTING_H_

#include "runtime/api/step_message.h"

namespace inlay {

// The metadata of one process.
struct MessageSide {
  const MetadataLayout layout{
      {.tokens = 16, .sequences = 4, .pages_per_sequence = 3, .page_size = 4, .penalty_entries = 4}};
  std::vector<int32_t> block = std::vector<int32_t>(layout.bytes / sizeof(int32_t), 0);
  StepMetadata metadata{layout, block.data()};
  StepLimits limits{.layout = &layout,
                    .metadata = {&metadata},
                    .entries = {{.tokens = 16, .sequences = 4}},
                    .bounds = {.total_pages = 8, .vocab_size = 40, .cache = {.page_size = 4}},
                    .host_pages = 3,
                    .rows_per_page = 4};
};

// Two sequences: a prompt of five tokens, and one that takes the token that the step before samples. All that the host
// can change about the first one is changed.
struct MessageStep {
  explicit MessageStep(MessageSide &side) {
    first.tokens = {1, 2, 3, 4, 5, 6, 7};
    first.prompt_size = 5;
    first.cache.pages = {7, 2};
    first.sampling.repetition_penalty = 1.5f;
    first.counts = {{3, 1}, {39, 2}};
    first.edits.logit_bias = {{3, 0.5f}, {39, -1.0f}};
    first.edits.allowed_token_ids = {3, 5, 9, 39};
    first.edits.bad_words = {{9}, {7, 5}, {1, 7, 3}};
    first.edits.min_tokens = 4;
    first.edits.end_ids = {39};
    first.edits.mask = std::make_shared<TokenMask>();
    first.edits.mask->words = {0xffffffffu, 0x80u};
    first.edits.mask->is_ready = true;
    second.tokens = {8};
    second.prompt_size = 1;
    second.pending = 1;
    second.cache.pages = {0};
    const std::vector<ScheduledRows> rows{{&first, 0, 7}, {&second, 1, 1}};
    absl::StatusOr<StepSizes> sizes = side.metadata.Fill(rows, 8, /*query_tile_rows=*/4);
    command = std::make_unique<StepCommand>(
        StepCommand{.plan = {.rows = {}, .swap_out = {{1, 2}}, .swap_in = {{2, 3}}, .copies = {{4, 5}, {5, 6}}},
                    .metadata = side.metadata,
                    .sizes = *sizes,
                    .number = 3,
                    .checks_metadata = true,
                    .needs_logits = true,
                    .tokens = 2,
                    .pending = {{7, 1}},
                    .edits = {{0, &first, first.length()}}});
  }

  Sequence first, second;
  std::unique_ptr<StepCommand> command;
};

} // namespace inlay

#endif // INLAY_TEST_RUNTIME_STEP_MESSAGE_TESTING_H_

// The message of a step: what arrives is what was sent, and a message that is wrong is refused.
#include "test/runtime/step_message_testing.h"

#include "runtime/distributed/message.h"
#include "runtime/sample/logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

namespace inlay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

MATCHER_P2(Copies, from, to, "") { return arg.from == from && arg.to == to; }

TEST(StepMessage, ArrivesAsItWasSent) {
  MessageSide sender, receiver;
  MessageStep sent(sender);
  std::vector<float> wanted;
  sent.command->logits = &wanted;
  absl::StatusOr<std::unique_ptr<ReceivedStep>> received = DecodeStep(EncodeStep(*sent.command), receiver.limits);
  ASSERT_TRUE(received.ok()) << received.status();
  const StepCommand &found = (*received)->command, &expected = *sent.command;
  EXPECT_EQ(receiver.block, sender.block);
  EXPECT_EQ(receiver.metadata.penalties(), sender.metadata.penalties());
  EXPECT_EQ(receiver.metadata.used().size(), sender.metadata.used().size());
  EXPECT_EQ(found.sizes, expected.sizes);
  EXPECT_EQ(found.number, 3);
  EXPECT_EQ(found.tokens, 2u);
  EXPECT_TRUE(found.checks_metadata);
  EXPECT_TRUE(found.needs_logits);
  EXPECT_FALSE(found.is_graph);
  EXPECT_THAT(found.plan.swap_out, ElementsAre(Copies(1, 2)));
  EXPECT_THAT(found.plan.swap_in, ElementsAre(Copies(2, 3)));
  EXPECT_THAT(found.plan.copies, ElementsAre(Copies(4, 5), Copies(5, 6)));
  ASSERT_EQ(found.pending.size(), 1u);
  EXPECT_EQ(found.pending[0].row, 7);
  EXPECT_EQ(found.pending[0].token, 1);
  ASSERT_NE(found.logits, nullptr);
  EXPECT_EQ(found.logits->size(), 2u * 40);
}

// The edits of logits have the same effect, though only a part of the sequence is sent.
TEST(StepMessage, EditsHaveTheSameEffect) {
  for (int32_t min_tokens : {2, 4}) {
    MessageSide sender, receiver;
    MessageStep sent(sender);
    sent.first.edits.min_tokens = min_tokens;
    auto received = DecodeStep(EncodeStep(*sent.command), receiver.limits);
    ASSERT_TRUE(received.ok()) << received.status();
    std::vector<float> expected(40);
    std::iota(expected.begin(), expected.end(), 0.0f);
    std::vector<float> found = expected;
    EditLogits(sent.first, sent.first.length(), expected);
    const EditedRow &row = (*received)->command.edits.at(0);
    EditLogits(*row.sequence, row.length, found);
    EXPECT_EQ(found, expected);
    EXPECT_LT(row.sequence->tokens.size(), sent.first.tokens.size());
    EXPECT_EQ(expected[39] == kNeverSampled, min_tokens == 4);
  }
}

TEST(StepMessage, IsRefusedIfItEndsEarlyOrLate) {
  MessageSide sender, receiver;
  MessageStep sent(sender);
  const std::string message = EncodeStep(*sent.command);
  for (size_t size = 0; size < message.size(); ++size)
    EXPECT_FALSE(DecodeStep(message.substr(0, size), receiver.limits).ok()) << size;
  EXPECT_THAT(std::string(DecodeStep(message + "x", receiver.limits).status().message()),
              HasSubstr("it has sent a step that is not valid: it is too short or too long"));
}

// The first error of a step that `change` has made wrong.
std::string Refusal(const std::function<void(MessageSide &, MessageStep &)> &change) {
  MessageSide sender, receiver;
  MessageStep sent(sender);
  change(sender, sent);
  return std::string(DecodeStep(EncodeStep(*sent.command), receiver.limits).status().message());
}

TEST(StepMessage, NamesWhatIsOutOfRange) {
  auto set = [](plan::Metadata array, int32_t value) {
    return [=](MessageSide &side, MessageStep &) { side.block[side.layout.OffsetOf(array) / 4] = value; };
  };
  EXPECT_EQ(Refusal([](MessageSide &, MessageStep &) {}), "");
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->entry = 1; }), HasSubstr("its entry point"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->slot = 1; }), HasSubstr("its slot"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->sizes[plan::Extent_Tokens] = 17; }),
              HasSubstr("Tokens is 17, expected at most 16"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->tokens = 3; }), HasSubstr("more tokens"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->plan.swap_in = {{3, 0}}; }),
              HasSubstr("a copy of a page"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->plan.copies = {{0, 8}}; }),
              HasSubstr("a copy of a page"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->pending = {{8, 0}}; }),
              HasSubstr("a token of the step before"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.first.edits.allowed_token_ids = {40}; }),
              HasSubstr("an edit of logits"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.first.edits.mask->words.resize(3); }),
              HasSubstr("a token mask is too long"));
  EXPECT_THAT(Refusal([](auto &, MessageStep &step) { step.command->needs_logits = false; }),
              HasSubstr("it returns or changes logits and does not gather them"));
  EXPECT_THAT(Refusal(set(plan::Metadata_TokenIds, 40)), HasSubstr("TokenIds[0] is 40, expected 0 to 39"));
  EXPECT_THAT(Refusal(set(plan::Metadata_PageTable, 8)), HasSubstr("PageTable[0] is 8, expected 0 to 7"));
}

// Bytes that are wrong: an error or another valid step, but no access outside of the memory (checked with sanitizers).
TEST(StepMessage, SurvivesRandomBytes) {
  MessageSide sender;
  MessageStep sent(sender);
  const std::string message = EncodeStep(*sent.command);
  std::minstd_rand random(1);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string changed = message;
    for (auto count = random() % 3 + 1; count > 0; --count)
      changed[random() % changed.size()] = static_cast<char>(random());
    MessageSide receiver;
    auto received = DecodeStep(changed, receiver.limits);
    refused += !received.ok();
    if (!received.ok())
      continue;
    std::vector<float> logits(40);
    for (const EditedRow &row : (*received)->command.edits)
      EditLogits(*row.sequence, row.length, logits);
  }
  EXPECT_GT(refused, 300);
}

TEST(ResultMessage, ArrivesAsItWasSent) {
  const std::vector<int32_t> tokens{3, 4};
  const std::vector<float> logits{0.5f, -1.0f};
  const std::string message = EncodeResult(9, tokens, logits);
  absl::StatusOr<RankResult> found = DecodeResult(message);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->step, 9);
  EXPECT_EQ(found->tokens, tokens);
  EXPECT_EQ(found->logits, logits);
  for (size_t size = 0; size < message.size(); ++size)
    EXPECT_FALSE(DecodeResult(message.substr(0, size)).ok());
}

// A length that no message can have must not allocate memory for it.
TEST(MessageReader, ChecksLengthsBeforeItAllocates) {
  MessageWriter writer;
  writer.Put(uint64_t{1} << 61);
  const std::string text = writer.Take();
  MessageReader reader(text);
  EXPECT_TRUE(reader.TakeList<int32_t>().empty());
  EXPECT_FALSE(reader.ok());
}

} // namespace
} // namespace inlay

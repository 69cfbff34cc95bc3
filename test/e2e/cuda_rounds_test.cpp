// The table of kernels that exchange with peers, and which launch a round is that has failed.
#include "runtime/device/cuda_rounds.h"
#include "runtime/device/peer_table.h"

#include <cstddef>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <regex>

namespace inlay {
namespace {

using ::testing::HasSubstr;

// The struct of kernels is declared in a header that the host cannot compile.
TEST(PeerTableTest, HasTheFieldsOfKernels) {
  std::ifstream file("codegen/device/peers.h");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::smatch body;
  ASSERT_TRUE(std::regex_search(text, body, std::regex(R"(struct PeerTable \{([^}]*)\})")));
  std::string found;
  size_t offset = 0;
  const std::string fields = body[1];
  const std::regex declaration(R"((unsigned long long|unsigned) ([^;]*);)");
  for (std::sregex_iterator it(fields.begin(), fields.end(), declaration), end; it != end; ++it) {
    const size_t size = (*it)[1] == "unsigned" ? 4 : 8;
    const std::string names = (*it)[2];
    const std::regex name(R"((\w+)(\[(\d+)\])?)");
    for (std::sregex_iterator at(names.begin(), names.end(), name); at != end; ++at) {
      found += (*at)[1].str() + " " + std::to_string(offset) + "\n";
      offset += size * ((*at)[3].matched ? std::stoul((*at)[3]) : 1);
    }
  }
  EXPECT_EQ(offset, sizeof(PeerTable));
  std::string expected;
#define EXPECT_FIELD(field) (expected += #field " " + std::to_string(offsetof(PeerTable, field)) + "\n")
  EXPECT_FIELD(round);
  EXPECT_FIELD(arrived);
  EXPECT_FIELD(previous_words);
  EXPECT_FIELD(failed);
  EXPECT_FIELD(failed_round);
  EXPECT_FIELD(rank);
  EXPECT_FIELD(exchange);
  EXPECT_FIELD(round_bytes);
  EXPECT_FIELD(timeout_ns);
#undef EXPECT_FIELD
  EXPECT_EQ(found, expected);
}

TEST(PeerRoundsTest, NameTheLaunchOfARound) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<plan::Count> grid{plan::Count(plan::Extent_One, 1, 1)};
  std::vector launches{plan::CreateLaunchDirect(b, 0, nullptr, &grid, nullptr, "layers.0.o: all_reduce"),
                       plan::CreateLaunchDirect(b, 0, nullptr, &grid, nullptr, "layers.0.down: all_reduce")};
  b.Finish(plan::CreateEntryDirect(b, "decode", plan::EntryKind_Decode, 1, 1, 1, 0, nullptr, &launches));
  const auto &found = *flatbuffers::GetRoot<plan::Entry>(b.GetBufferPointer())->launches();
  PeerRounds rounds;
  for (int step = 0; step < 3; ++step)
    rounds.Add({found.Get(0), found.Get(1)});
  EXPECT_EQ(rounds.Check({}, std::chrono::seconds(10), 0), absl::OkStatus());
  EXPECT_EQ(rounds.Check({.failed = 2, .failed_round = 5}, std::chrono::seconds(10), 0).message(),
            "rank 1 has not delivered its part of 'layers.0.down: all_reduce' within 10 s (--distributed-timeout), in "
            "round 5 of the exchange");
  EXPECT_THAT(std::string(rounds.Check({.failed = 1, .failed_round = 4}, std::chrono::seconds(1), 2).message()),
              HasSubstr("rank 2 has not delivered its part of 'layers.0.o: all_reduce'"));
  EXPECT_THAT(std::string(rounds.Check({.failed = 1, .failed_round = 6}, std::chrono::seconds(1), 0).message()),
              HasSubstr("its part of a collective operation"));
}

} // namespace
} // namespace inlay

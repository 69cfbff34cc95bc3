// Which launches fit on a GPU that ranks share: those that wait for blocks of other ranks.
#include "runtime/device/cuda_shared_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

namespace inlay {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kAtOnce = 264; // 132 multiprocessors with two blocks each

// A step of up to `rows` rows: a product, which may push its rows, and the sum of 4 blocks a row. And the gather of
// logits in 8 blocks.
struct StepOptions {
  uint32_t rows = 64;
  bool pushes = false, has_code = true;
  uint32_t stage = 0; // that runs it
};

absl::Status Check(const StepOptions &options, uint32_t ranks, uint64_t at_once = kAtOnce) {
  flatbuffers::FlatBufferBuilder b;
  auto product = plan::CreateCode(b, 0, 0, 0, true, 0, options.pushes);
  auto code = options.has_code ? plan::CreateCode(b) : flatbuffers::Offset<plan::Code>();
  auto sum = plan::CreateCollective(b, plan::CollectiveOp_AllReduce, plan::Extent_Tokens, 64, plan::DataType_F32, 0, 0,
                                    code, 1000, plan::CreateCode(b));
  auto gather = plan::CreateCollective(b, plan::CollectiveOp_AllGather, plan::Extent_LogitRows, 64, plan::DataType_F32,
                                       0, 128, code, 1000);
  std::vector kernels{plan::CreateKernelDirect(b, "product", nullptr, plan::KernelBody_Code, product.Union()),
                      plan::CreateKernelDirect(b, "sum", nullptr, plan::KernelBody_Collective, sum.Union()),
                      plan::CreateKernelDirect(b, "gather", nullptr, plan::KernelBody_Collective, gather.Union())};
  const std::vector<plan::Count> products{{plan::Extent_Tokens, 1, 1000}},
      sums{{plan::Extent_One, 1, 4}, {plan::Extent_Tokens, 1, 1}}, eight{{plan::Extent_One, 1, 8}};
  std::vector launches{plan::CreateLaunchDirect(b, 0, nullptr, &products),
                       plan::CreateLaunchDirect(b, 1, nullptr, &sums)};
  std::vector gathers{plan::CreateLaunchDirect(b, 2, nullptr, &eight)};
  std::vector entries{plan::CreateEntryDirect(b, "decode", plan::EntryKind_Decode, options.rows, options.rows, 1, 0,
                                              nullptr, &launches, nullptr, nullptr, options.stage, nullptr, nullptr,
                                              &gathers)};
  b.Finish(plan::CreateTargetDirect(b, "sm_90a", &kernels, nullptr, &entries));
  const auto &target = *flatbuffers::GetRoot<plan::Target>(b.GetBufferPointer());
  return CheckSharedFit(target, /*stage=*/0,
                        {.ranks = ranks, .ordinal = 3, .blocks_at_once = [&](uint32_t) { return at_once; }});
}

TEST(CudaSharedFitTest, BlocksOfAllRanksButOneLeaveRoom) {
  EXPECT_EQ(Check({.rows = 65}, 2), absl::OkStatus()); // 260 blocks
  EXPECT_EQ(Check({.rows = 65}, 1), absl::OkStatus());
  EXPECT_EQ(Check({.rows = 1000}, 1), absl::OkStatus());
  EXPECT_EQ(
      Check({.rows = 66}, 2).message(),
      "'sum' exchanges rows with 264 blocks on each of the 2 ranks that share GPU 3, which runs 264 of them at the "
      "same time; expected at most 263, or the ranks would wait for each other forever. Name more GPUs "
      "(--device), or compile the model for smaller steps (--max-num-batched-tokens, --max-num-seqs)");
}

TEST(CudaSharedFitTest, MoreRanksNeedMoreRoom) {
  EXPECT_EQ(Check({.rows = 32}, 3), absl::OkStatus()); // 2 * 128 blocks
  EXPECT_THAT(std::string(Check({.rows = 33}, 3).message()),
              AllOf(HasSubstr("132 blocks on each of the 3 ranks"), HasSubstr("expected at most 131")));
}

TEST(CudaSharedFitTest, RowsThatWerePushedAreNotWaitedFor) {
  EXPECT_EQ(Check({.rows = 1000, .pushes = true}, 2), absl::OkStatus());
}

TEST(CudaSharedFitTest, GathersAreChecked) {
  EXPECT_THAT(std::string(Check({.pushes = true}, 2, /*at_once=*/8).message()),
              HasSubstr("'gather' exchanges rows with 8 blocks"));
  EXPECT_EQ(Check({.pushes = true}, 2, /*at_once=*/9), absl::OkStatus());
}

TEST(CudaSharedFitTest, LaunchesOfOtherStagesAndOtherLibrariesAreNotChecked) {
  EXPECT_EQ(Check({.rows = 1000, .stage = 1}, 2), absl::OkStatus());
  EXPECT_EQ(Check({.rows = 1000, .has_code = false}, 2), absl::OkStatus());
}

} // namespace
} // namespace inlay

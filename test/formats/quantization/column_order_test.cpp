// Columns in the order of their groups: g_idx of GPTQ and compressed-tensors.
#include "formats/quantization/column_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace inlay {
namespace {

using ::testing::ElementsAre;

std::string Problem(const std::vector<int32_t> &groups, int64_t size) {
  std::optional<ColumnGroupsProblem> problem = CheckColumnGroups(groups, size);
  return problem ? problem->found + ", expected " + problem->expected : "";
}

TEST(ColumnOrder, ColumnsOfAGroupKeepTheirOrder) {
  const std::vector<int32_t> groups = {2, 0, 1, 0, 2, 1};
  EXPECT_EQ(Problem(groups, 2), "");
  EXPECT_FALSE(AreInOrder(groups, 2));
  EXPECT_THAT(SortColumns(groups, 2), ElementsAre(1, 3, 2, 5, 0, 4));
}

TEST(ColumnOrder, OneGroupAndGroupsOfOneColumn) {
  EXPECT_TRUE(AreInOrder(std::vector<int32_t>{0, 0, 0}, 3));
  EXPECT_THAT(SortColumns(std::vector<int32_t>{0, 0, 0}, 3), ElementsAre(0, 1, 2));
  EXPECT_TRUE(AreInOrder(std::vector<int32_t>{0, 1, 2}, 1));
  EXPECT_THAT(SortColumns(std::vector<int32_t>{2, 0, 1}, 1), ElementsAre(1, 2, 0));
}

TEST(ColumnOrder, GroupsThatAreNotWholeAreRefused) {
  EXPECT_EQ(Problem({0, 0, 1, 2}, 2), "group 2 of column 3, expected a group from 0 to 1");
  EXPECT_EQ(Problem({0, -1, 1, 1}, 2), "group -1 of column 1, expected a group from 0 to 1");
  EXPECT_EQ(Problem({0, 1, 1, 1}, 2), "1 columns of group 0, expected 2");
  EXPECT_EQ(Problem({0, 0, 1}, 2), "3 columns, expected whole groups of 2");
}

} // namespace
} // namespace inlay

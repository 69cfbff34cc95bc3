#include "formats/quantization/column_order.h"

#include <cstddef>

namespace inlay {

std::optional<ColumnGroupsProblem> CheckColumnGroups(std::span<const int32_t> groups, int64_t size) {
  const auto columns = static_cast<int64_t>(groups.size());
  if (columns % size != 0)
    return ColumnGroupsProblem{std::to_string(columns) + " columns", "whole groups of " + std::to_string(size)};
  const int64_t count = columns / size;
  std::vector<int64_t> sizes(static_cast<size_t>(count));
  for (int64_t column = 0; column < columns; ++column) {
    const int32_t group = groups[static_cast<size_t>(column)];
    if (group < 0 || group >= count)
      return ColumnGroupsProblem{"group " + std::to_string(group) + " of column " + std::to_string(column),
                                 "a group from 0 to " + std::to_string(count - 1)};
    ++sizes[static_cast<size_t>(group)];
  }
  for (int64_t group = 0; group < count; ++group)
    if (int64_t found = sizes[static_cast<size_t>(group)]; found != size)
      return ColumnGroupsProblem{std::to_string(found) + " columns of group " + std::to_string(group),
                                 std::to_string(size)};
  return std::nullopt;
}

bool AreInOrder(std::span<const int32_t> groups, int64_t size) {
  for (size_t column = 0; column < groups.size(); ++column)
    if (groups[column] != static_cast<int64_t>(column) / size)
      return false;
  return true;
}

std::vector<int32_t> SortColumns(std::span<const int32_t> groups, int64_t size) {
  std::vector<int32_t> order(groups.size());
  std::vector<int64_t> next(groups.size() / static_cast<size_t>(size)); // columns of each group so far
  for (size_t column = 0; column < groups.size(); ++column) {
    const auto group = static_cast<size_t>(groups[column]);
    order[static_cast<size_t>(groups[column] * size + next[group]++)] = static_cast<int32_t>(column);
  }
  return order;
}

} // namespace inlay

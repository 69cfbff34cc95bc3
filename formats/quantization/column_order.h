// Columns of a quantized matrix in the order of their groups. GPTQ with desc_act and compressed-tensors with an
// actorder of group sort columns by their activations before they are quantized, and store which group each one is in
// (g_idx).
#ifndef INLAY_FORMATS_QUANTIZATION_COLUMN_ORDER_H_
#define INLAY_FORMATS_QUANTIZATION_COLUMN_ORDER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace inlay {

// "FOUND, expected EXPECTED".
struct ColumnGroupsProblem {
  std::string found, expected;
};

// What is wrong with `groups`, the group of each column; absent if each of them is a number from 0 on and has `size`
// columns. `size` is at least 1.
std::optional<ColumnGroupsProblem> CheckColumnGroups(std::span<const int32_t> groups, int64_t size);

// Whether column c is in group c / size.
bool AreInOrder(std::span<const int32_t> groups, int64_t size);

// The columns of group 0, then those of group 1 and so on; those of a group in their own order. Element j is the column
// that comes as number j. `groups` has no problem.
std::vector<int32_t> SortColumns(std::span<const int32_t> groups, int64_t size);

} // namespace inlay

#endif // INLAY_FORMATS_QUANTIZATION_COLUMN_ORDER_H_

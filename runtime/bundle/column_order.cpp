// Recipes of weights whose columns the checkpoint sorted before it quantized them (RecipeOp_SortColumns).
#include "formats/quantization/column_order.h"

#include "fmt/format.h"
#include "runtime/bundle/recipe.h"

#include <cstring>
#include <optional>
#include <utility>

namespace inlay {

// Reads the groups of the columns and sorts them.
absl::Status WeightRecipe::ReadColumnOrder(const SourceLookup &lookup, uint64_t columns, Source &source) {
  const plan::RecipeStep *step = source.rows.column_order();
  if (!step)
    return absl::OkStatus();
  const std::string name = step->table() ? step->table()->str() : source.name;
  absl::StatusOr<SourceTensor> tensor = lookup(name);
  if (!tensor.ok())
    return tensor.status();
  if (tensor->type != plan::DataType_I32 || tensor->bytes / sizeof(int32_t) != columns ||
      tensor->bytes % sizeof(int32_t) != 0)
    return absl::InvalidArgumentError(fmt::format("tensor '{}': has {} bytes of {}, expected {} elements I32", name,
                                                  tensor->bytes, plan::EnumNameDataType(tensor->type), columns));
  std::vector<int32_t> groups(columns);
  if (absl::Status status = tensor->read(0, std::as_writable_bytes(std::span(groups))); !status.ok())
    return status;
  const auto size = static_cast<int64_t>(step->block());
  if (std::optional<ColumnGroupsProblem> problem = CheckColumnGroups(groups, size))
    return absl::InvalidArgumentError(
        fmt::format("tensor '{}': has {}, expected {}", name, problem->found, problem->expected));
  source.column_order = SortColumns(groups, size);
  return absl::OkStatus();
}

absl::Status WeightRecipe::ReadSorted(const Source &source, uint64_t row, uint64_t count, uint64_t column,
                                      uint64_t columns, std::byte *out) {
  const std::span<const int32_t> order = std::span(source.column_order).subspan(column, columns);
  if (source.rows.column_order()->op() == plan::RecipeOp_ColumnOrder) {
    std::memcpy(out, order.data(), order.size_bytes());
    return absl::OkStatus();
  }
  // Neighbours come from anywhere in a row, which is read as a whole.
  const uint64_t all = source.column_order.size(), size = ElementSize(source.type);
  std::vector<std::byte> rows(count * all * size);
  auto read = source.rows.fields().bits ? ReadFields : ReadWords;
  if (absl::Status status = read(source, row, count, 0, all, rows.data()); !status.ok())
    return status;
  for (uint64_t r = 0; r < count; ++r)
    for (uint64_t c = 0; c < columns; ++c, out += size)
      std::memcpy(out, rows.data() + (r * all + static_cast<uint64_t>(order[c])) * size, size);
  return absl::OkStatus();
}

} // namespace inlay

#include "runtime/bundle/source_rows.h"

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "runtime/bundle/plan_errors.h"

namespace inlay {
namespace {

// More than any layout needs; it bounds the work for a row.
constexpr uint32_t kMaxSteps = 8;

} // namespace

absl::Status VerifySourceSteps(const plan::Source &source, std::string_view weight) {
  if (!source.tensor() || source.tensor()->size() == 0)
    return BadPlan("a source of weight '{}' names no tensor", weight);
  std::string_view tensor = source.tensor()->string_view();
  uint32_t count = source.steps() ? source.steps()->size() : 0;
  if (count > kMaxSteps)
    return BadPlan("source '{}' of weight '{}' has {} steps, expected at most {}", tensor, weight, count, kMaxSteps);
  for (uint32_t i = 0; i < count; ++i) {
    const plan::RecipeStep &step = *source.steps()->Get(i);
    switch (step.op()) {
    case plan::RecipeOp_Transpose:
      if (i != 0)
        return BadPlan("source '{}' of weight '{}' is transposed by step {}, expected by the first one", tensor, weight,
                       i);
      break;
    case plan::RecipeOp_Slice:
      if (step.count() == 0 || step.count() > step.block() || step.offset() > step.block() - step.count())
        return BadPlan("source '{}' of weight '{}' takes {} rows from {} on of each {}", tensor, weight, step.count(),
                       step.offset(), step.block());
      break;
    case plan::RecipeOp_Permute:
      if (step.count() == 0 || step.count() > step.block() || step.parts() == 0 || step.count() % step.parts() != 0)
        return BadPlan("source '{}' of weight '{}' permutes {} parts of {} rows of each {}", tensor, weight,
                       step.parts(), step.count(), step.block());
      break;
    default:
      return UnsupportedPlan("the recipe of weight '{}' has step {} of source '{}'", weight,
                             NameOrNumber(step.op(), plan::EnumNameRecipeOp(step.op())), tensor);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SourceRows> SourceRows::Open(const plan::Source &source, std::span<const int64_t> shape,
                                            uint64_t columns, std::string_view weight) {
  SourceRows opened;
  uint32_t count = source.steps() ? source.steps()->size() : 0;
  opened.is_transposed_ = count > 0 && source.steps()->Get(0)->op() == plan::RecipeOp_Transpose;
  bool is_matrix = shape.size() == 2;
  uint64_t rows = shape.empty() ? 0 : static_cast<uint64_t>(shape[opened.is_transposed_ && is_matrix ? 1 : 0]);
  uint64_t found = is_matrix ? static_cast<uint64_t>(shape[opened.is_transposed_ ? 0 : 1]) : 1;
  if (shape.empty() || shape.size() > 2 || (opened.is_transposed_ && !is_matrix) || found != columns)
    return absl::InvalidArgumentError(fmt::format("tensor '{}': has shape [{}], expected {} of {} for weight '{}'",
                                                  source.tensor()->string_view(), fmt::join(shape, ", "),
                                                  opened.is_transposed_ ? "columns" : "rows", columns, weight));
  opened.tensor_columns_ = opened.is_transposed_ ? rows : columns;
  for (uint32_t i = opened.is_transposed_ ? 1 : 0; i < count; ++i) {
    const plan::RecipeStep *step = source.steps()->Get(i);
    if (rows % step->block() != 0)
      return absl::InvalidArgumentError(fmt::format(
          "tensor '{}': has shape [{}]; its {} rows are not whole blocks of {}, which weight '{}' is made of",
          source.tensor()->string_view(), fmt::join(shape, ", "), rows, step->block(), weight));
    if (step->op() == plan::RecipeOp_Slice)
      rows = rows / step->block() * step->count();
    opened.steps_.insert(opened.steps_.begin(), step);
  }
  opened.count_ = rows;
  return opened;
}

uint64_t SourceRows::TensorRow(uint64_t row) const {
  for (const plan::RecipeStep *step : steps_)
    row = step->op() == plan::RecipeOp_Slice
              ? row / step->count() * step->block() + step->offset() + row % step->count()
              : PermutedRow(row, step->block(), step->count(), step->parts());
  return row;
}

} // namespace inlay

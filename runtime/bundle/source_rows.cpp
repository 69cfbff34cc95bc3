#include "runtime/bundle/source_rows.h"

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_errors.h"
#include "runtime/bundle/row_quantizer.h"

#include <array>
#include <cmath>
#include <utility>

namespace inlay {
namespace {

// More than any layout needs; it bounds the work for a row.
constexpr uint32_t kMaxSteps = 8;
// Columns of a group that is sorted; columns are numbered by I32.
constexpr uint64_t kMaxGroup = uint64_t{1} << 31;

// The steps that say how a tensor stores a matrix come in this order, and those that choose rows behind them.
constexpr int kRowSteps = 8;
int PlaceOfStep(plan::RecipeOp op) {
  switch (op) {
  case plan::RecipeOp_Reshape:
    return 0;
  case plan::RecipeOp_Transpose:
    return 1;
  case plan::RecipeOp_Unpack:
    return 2;
  case plan::RecipeOp_Repeat:
    return 3;
  case plan::RecipeOp_Nested:
    return 4;
  case plan::RecipeOp_Scale:
    return 5;
  case plan::RecipeOp_Quantize:
  case plan::RecipeOp_QuantizeScales:
    return 6;
  case plan::RecipeOp_SortColumns:
  case plan::RecipeOp_ColumnOrder:
    return 7;
  default:
    return kRowSteps;
  }
}

// Whether `rows` in groups of `unit` are made of so many whole ones, the last of which may be cut.
bool FillGroups(uint64_t rows, uint64_t unit, uint64_t groups) { return rows > 0 && (rows - 1) / unit + 1 == groups; }

// The step that gives each rank a part of the source, or null.
const plan::RecipeStep *ShardOf(const plan::Source &source) {
  uint32_t count = source.steps() ? source.steps()->size() : 0;
  const plan::RecipeStep *last = count > 0 ? source.steps()->Get(count - 1) : nullptr;
  return last && last->op() == plan::RecipeOp_Shard ? last : nullptr;
}

// Steps in front of those that sort columns.
absl::Status VerifyColumnOrder(const plan::Source &source, uint32_t index, std::string_view weight) {
  const plan::RecipeStep &step = *source.steps()->Get(index);
  std::string_view tensor = source.tensor()->string_view();
  const bool is_order = step.op() == plan::RecipeOp_ColumnOrder;
  if (step.block() == 0 || step.block() > kMaxGroup || is_order == (step.table() && step.table()->size() > 0))
    return BadPlan("source '{}' of weight '{}' has {} of groups of {} columns by '{}'", tensor, weight,
                   plan::EnumNameRecipeOp(step.op()), step.block(), step.table() ? step.table()->string_view() : "");
  for (uint32_t before = 0; before < index; ++before) {
    plan::RecipeOp op = source.steps()->Get(before)->op();
    const bool is_known =
        op == plan::RecipeOp_Reshape || (!is_order && (op == plan::RecipeOp_Transpose || op == plan::RecipeOp_Unpack));
    if (!is_known)
      return BadPlan("source '{}' of weight '{}' has {} before {}, expected {}", tensor, weight,
                     plan::EnumNameRecipeOp(op), plan::EnumNameRecipeOp(step.op()), is_order ? "Reshape" : "codes");
  }
  if (const plan::RecipeStep *shard = ShardOf(source); shard && (is_order || shard->axis() == plan::Axis_Columns))
    return BadPlan("source '{}' of weight '{}' divides columns that are sorted", tensor, weight);
  return absl::OkStatus();
}

} // namespace

uint32_t WordFields::Shift(uint32_t index) const {
  constexpr std::array<uint32_t, 8> kAwq = {0, 4, 1, 5, 2, 6, 3, 7}; // nibbles are elements 0, 2, 4, 6, 1, 3, 5, 7
  switch (order) {
  case plan::FieldOrder_Plain:
    break;
  case plan::FieldOrder_Awq:
    return kAwq[index] * bits;
  case plan::FieldOrder_HighFirst:
    return (count() - 1 - index) * bits;
  }
  return index * bits;
}

absl::Status VerifySourceSteps(const plan::Source &source, std::string_view weight, uint32_t ranks) {
  if (!source.tensor() || source.tensor()->size() == 0)
    return BadPlan("a source of weight '{}' names no tensor", weight);
  std::string_view tensor = source.tensor()->string_view();
  uint32_t count = source.steps() ? source.steps()->size() : 0;
  int last_place = -1;
  if (count > kMaxSteps)
    return BadPlan("source '{}' of weight '{}' has {} steps, expected at most {}", tensor, weight, count, kMaxSteps);
  for (uint32_t i = 0; i < count; ++i) {
    const plan::RecipeStep &step = *source.steps()->Get(i);
    const int place = PlaceOfStep(step.op());
    if (place < kRowSteps && place <= last_place)
      return BadPlan("source '{}' of weight '{}' has step {} {} behind one that it comes before", tensor, weight, i,
                     plan::EnumNameRecipeOp(step.op()));
    last_place = place;
    switch (step.op()) {
    case plan::RecipeOp_Transpose:
    case plan::RecipeOp_Reshape:
      break;
    case plan::RecipeOp_Unpack: {
      const bool is_float = step.type() == plan::DataType_F4E2M1 && step.addend() == 0;
      const bool is_known = (step.type() == plan::DataType_U4 || step.type() == plan::DataType_U8 || is_float) &&
                            (step.block() == 8 || step.block() == 32) && step.axis() >= 0 &&
                            step.axis() <= plan::Axis_MAX && step.order() >= 0 && step.order() <= plan::FieldOrder_MAX;
      if (!is_known ||
          (step.order() == plan::FieldOrder_Awq && (step.type() != plan::DataType_U4 || step.block() != 32)))
        return UnsupportedPlan(
            "the recipe of weight '{}' unpacks {} of words of {} bits in the order {} of source '{}'", weight,
            NameOrNumber(step.type(), plan::EnumNameDataType(step.type())), step.block(),
            NameOrNumber(step.order(), plan::EnumNameFieldOrder(step.order())), tensor);
      break;
    }
    case plan::RecipeOp_Repeat:
      if (step.block() == 0 || step.count() == 0)
        return BadPlan("source '{}' of weight '{}' repeats each row {} times to {} rows", tensor, weight, step.block(),
                       step.count());
      break;
    case plan::RecipeOp_Nested:
      if (!step.table() || !step.scales() || step.block() == 0 || !std::isfinite(step.factor()) || i + 1 == count ||
          source.steps()->Get(i + 1)->op() != plan::RecipeOp_Scale)
        return BadPlan(
            "source '{}' of weight '{}' has nested scales without a table, scales of blocks, a finite offset "
            "and the step Scale behind them",
            tensor, weight);
      for (uint32_t before = 0; before < i; ++before)
        if (plan::RecipeOp op = source.steps()->Get(before)->op(); op != plan::RecipeOp_Reshape)
          return BadPlan("source '{}' of weight '{}' has nested scales after {}, expected at most Reshape", tensor,
                         weight, plan::EnumNameRecipeOp(op));
      break;
    case plan::RecipeOp_Scale:
      if (!std::isfinite(step.factor()) || step.factor() == 0)
        return BadPlan("source '{}' of weight '{}' multiplies scales by {}", tensor, weight, step.factor());
      if (step.type() != plan::DataType_F32 && step.type() != plan::DataType_F8E8M0)
        return UnsupportedPlan("the recipe of weight '{}' has scales {} of source '{}'", weight,
                               NameOrNumber(step.type(), plan::EnumNameDataType(step.type())), tensor);
      break;
    case plan::RecipeOp_SortColumns:
    case plan::RecipeOp_ColumnOrder:
      if (absl::Status status = VerifyColumnOrder(source, i, weight); !status.ok())
        return status;
      break;
    case plan::RecipeOp_Quantize:
    case plan::RecipeOp_QuantizeScales:
      if (!IsQuantizerType(step.type()))
        return UnsupportedPlan("the recipe of weight '{}' quantizes source '{}' to {}", weight, tensor,
                               NameOrNumber(step.type(), plan::EnumNameDataType(step.type())));
      if (step.block() == 0)
        return BadPlan("source '{}' of weight '{}' is quantized in groups of {} columns", tensor, weight, step.block());
      for (uint32_t before = 0; before < i; ++before)
        if (plan::RecipeOp op = source.steps()->Get(before)->op();
            op == plan::RecipeOp_Unpack || op == plan::RecipeOp_Repeat || op == plan::RecipeOp_Scale)
          return BadPlan("source '{}' of weight '{}' is quantized after {}, expected floats", tensor, weight,
                         plan::EnumNameRecipeOp(op));
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
    case plan::RecipeOp_Shard:
      if (i + 1 != count)
        return BadPlan("source '{}' of weight '{}' has steps behind step {} Shard, expected it to be the last", tensor,
                       weight, i);
      if (step.parts() == 0 || ranks % step.parts() != 0)
        return BadPlan("source '{}' of weight '{}' has {} parts, expected a divisor of the {} ranks", tensor, weight,
                       step.parts(), ranks);
      if (step.axis() < 0 || step.axis() > plan::Axis_MAX)
        return UnsupportedPlan("the recipe of weight '{}' divides axis {} of source '{}'", weight,
                               static_cast<int>(step.axis()), tensor);
      if (step.offset() > step.parts() || (step.offset() != 0 && (step.axis() != plan::Axis_Rows || step.count() != 0)))
        return BadPlan("source '{}' of weight '{}' is part {} of {} as a whole, in parts of {} along {}", tensor,
                       weight, step.offset(), step.parts(), step.count(), plan::EnumNameAxis(step.axis()));
      if (step.count() != 0 && step.axis() != plan::Axis_Rows)
        return BadPlan("source '{}' of weight '{}' has parts of {} columns, expected equal parts", tensor, weight,
                       step.count());
      break;
    default:
      return UnsupportedPlan("the recipe of weight '{}' has step {} of source '{}'", weight,
                             NameOrNumber(step.op(), plan::EnumNameRecipeOp(step.op())), tensor);
    }
  }
  return absl::OkStatus();
}

absl::Status SourceRows::OpenStorage(const plan::Source &source, std::span<const int64_t> shape, uint64_t columns,
                                     std::string_view weight, uint32_t &first_step) {
  std::string_view name = source.tensor()->string_view();
  const plan::RecipeStep *unpack = nullptr, *repeat = nullptr;
  bool is_reshaped = false;
  uint32_t count = source.steps() ? source.steps()->size() : 0;
  for (first_step = 0; first_step < count; ++first_step) {
    const plan::RecipeStep *step = source.steps()->Get(first_step);
    if (PlaceOfStep(step->op()) == kRowSteps)
      break;
    is_reshaped |= step->op() == plan::RecipeOp_Reshape;
    is_transposed_ |= step->op() == plan::RecipeOp_Transpose;
    unpack = step->op() == plan::RecipeOp_Unpack ? step : unpack;
    repeat = step->op() == plan::RecipeOp_Repeat ? step : repeat;
    nested_ = step->op() == plan::RecipeOp_Nested ? step : nested_;
    scale_ = step->op() == plan::RecipeOp_Scale ? step : scale_;
    if (step->op() == plan::RecipeOp_Quantize || step->op() == plan::RecipeOp_QuantizeScales)
      quantizer_ = step;
    if (step->op() == plan::RecipeOp_SortColumns || step->op() == plan::RecipeOp_ColumnOrder)
      column_order_ = step;
  }
  if (unpack)
    fields_ = {static_cast<uint32_t>(ElementBits(unpack->type())),
               static_cast<uint32_t>(unpack->block()),
               unpack->axis() == plan::Axis_Rows,
               unpack->order(),
               unpack->addend(),
               unpack->type() == plan::DataType_F4E2M1};
  uint64_t word_columns = fields_.along_rows || columns == 0 ? columns : (columns - 1) / fields_.count() + 1;
  if (quantizer_ && quantizer_->op() == plan::RecipeOp_QuantizeScales &&
      __builtin_mul_overflow(word_columns, quantizer_->block(), &word_columns))
    return BadPlan("source '{}' of weight '{}' has {} groups of {} columns", name, weight, columns,
                   quantizer_->block());
  if (quantizer_ && word_columns % quantizer_->block() != 0)
    return BadPlan("source '{}' of weight '{}' has {} columns, expected whole groups of {}", name, weight, word_columns,
                   quantizer_->block());
  uint64_t rows = 0;
  if (is_reshaped) {
    uint64_t elements = 1;
    for (int64_t size : shape)
      if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements))
        return absl::InvalidArgumentError(
            fmt::format("tensor '{}': has shape [{}], which is too large", name, fmt::join(shape, ", ")));
    if (word_columns == 0 || elements % word_columns != 0)
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has shape [{}], expected rows of {} for weight '{}'",
                                                    name, fmt::join(shape, ", "), word_columns, weight));
    rows = elements / word_columns;
  } else {
    bool is_matrix = shape.size() == 2;
    rows = shape.empty() ? 0 : static_cast<uint64_t>(shape[is_transposed_ && is_matrix ? 1 : 0]);
    uint64_t found = is_matrix ? static_cast<uint64_t>(shape[is_transposed_ ? 0 : 1]) : 1;
    if (shape.empty() || shape.size() > 2 || (is_transposed_ && !is_matrix) || found != word_columns)
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has shape [{}], expected {} of {} for weight '{}'",
                                                    name, fmt::join(shape, ", "), is_transposed_ ? "columns" : "rows",
                                                    word_columns, weight));
  }
  tensor_columns_ = is_transposed_ ? rows : word_columns;
  count_ = rows;
  for (const auto &[step, unit] : {std::pair{fields_.along_rows ? unpack : nullptr, uint64_t{fields_.count()}},
                                   std::pair{repeat, repeat ? repeat->block() : 1}}) {
    if (!step)
      continue;
    if (!FillGroups(step->count(), unit, count_))
      return absl::InvalidArgumentError(
          fmt::format("tensor '{}': has shape [{}], whose {} rows of {} each are not the {} of weight '{}'", name,
                      fmt::join(shape, ", "), count_, unit, step->count(), weight));
    count_ = step->count();
  }
  repeat_ = repeat ? repeat->block() : 1;
  return absl::OkStatus();
}

// Takes the rank's part of the rows.
absl::Status SourceRows::OpenShard(const plan::RecipeStep &shard, std::string_view tensor, std::string_view weight,
                                   Rank rank) {
  uint64_t part = rank.index * shard.parts() / rank.count, size = shard.count(), most = 0;
  if (shard.offset() != 0) {
    count_ = part == shard.offset() - 1 ? all_rows_ : 0;
    return absl::OkStatus();
  }
  if (size == 0 && all_rows_ % shard.parts() != 0)
    return absl::InvalidArgumentError(fmt::format("tensor '{}': has {} rows for weight '{}', expected {} equal parts",
                                                  tensor, all_rows_, weight, shard.parts()));
  if (size == 0)
    size = all_rows_ / shard.parts();
  if (__builtin_mul_overflow(size, shard.parts(), &most) || most < all_rows_ || most > kZeroRows)
    return absl::InvalidArgumentError(
        fmt::format("tensor '{}': has {} rows for weight '{}', expected at most {} parts of {}", tensor, all_rows_,
                    weight, shard.parts(), size));
  first_row_ = part * size;
  count_ = size;
  return absl::OkStatus();
}

absl::StatusOr<SourceRows> SourceRows::Open(const plan::Source &source, std::span<const int64_t> shape,
                                            uint64_t columns, std::string_view weight, Rank rank) {
  SourceRows opened;
  const plan::RecipeStep *shard = ShardOf(source);
  if (shard && shard->axis() == plan::Axis_Columns) {
    opened.first_column_ = rank.index * shard->parts() / rank.count * columns;
    if (__builtin_mul_overflow(columns, shard->parts(), &columns))
      return BadPlan("weight '{}' has {} parts of its columns, which are too many", weight, shard->parts());
  }
  uint32_t first = 0;
  if (absl::Status status = opened.OpenStorage(source, shape, columns, weight, first); !status.ok())
    return status;
  uint64_t rows = opened.count_;
  uint32_t end = (source.steps() ? source.steps()->size() : 0) - (shard ? 1 : 0);
  for (uint32_t i = first; i < end; ++i) {
    const plan::RecipeStep *step = source.steps()->Get(i);
    if (rows % step->block() != 0)
      return absl::InvalidArgumentError(fmt::format(
          "tensor '{}': has shape [{}]; its {} rows are not whole blocks of {}, which weight '{}' is made of",
          source.tensor()->string_view(), fmt::join(shape, ", "), rows, step->block(), weight));
    if (step->op() == plan::RecipeOp_Slice)
      rows = rows / step->block() * step->count();
    opened.steps_.insert(opened.steps_.begin(), step);
  }
  opened.count_ = opened.all_rows_ = rows;
  if (shard && shard->axis() == plan::Axis_Rows)
    if (absl::Status status = opened.OpenShard(*shard, source.tensor()->string_view(), weight, rank); !status.ok())
      return status;
  return opened;
}

uint64_t SourceRows::TensorRow(uint64_t row) const {
  row += first_row_;
  if (row >= all_rows_)
    return kZeroRows + row;
  for (const plan::RecipeStep *step : steps_)
    row = step->op() == plan::RecipeOp_Slice
              ? row / step->count() * step->block() + step->offset() + row % step->count()
              : PermutedRow(row, step->block(), step->count(), step->parts());
  return row;
}

} // namespace inlay

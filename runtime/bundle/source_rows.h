// Which row of a checkpoint's tensor a row of a weight is: the interpreter of a source's steps (plan::RecipeStep).
#ifndef INLAY_RUNTIME_BUNDLE_SOURCE_ROWS_H_
#define INLAY_RUNTIME_BUNDLE_SOURCE_ROWS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace inlay {

// One of the ranks that run a plan together (Plan.ranks).
struct Rank {
  uint32_t index = 0, count = 1;
};

// Row `row` of the result of Permute: within each `block` rows the first `count` come in turn from `parts` equal runs
// of them, the others stay. With two parts of a head this is RowOrder_HalfPairs, with two parts of all rows
// RowOrder_Alternate, with rotary_dim / 2 parts it brings rope's pairs to halves.
inline uint64_t PermutedRow(uint64_t row, uint64_t block, uint64_t count, uint64_t parts) {
  uint64_t i = row % block;
  return i < count ? row - i + i % parts * (count / parts) + i / parts : row;
}

// Checks the steps of a source of `weight` without its tensor: that each is one that this runtime executes, and that
// its sizes fit together. `ranks`: Plan.ranks.
absl::Status VerifySourceSteps(const plan::Source &source, std::string_view weight, uint32_t ranks = 1);

// Elements of few bits in the words of a tensor (RecipeOp_Unpack).
struct WordFields {
  uint32_t bits = 0, word_bits = 0; // 0 bits: elements are stored one by one
  bool along_rows = false;
  plan::FieldOrder order = plan::FieldOrder_Plain;
  int32_t addend = 0;
  bool are_floats = false; // e2m1, which become e4m3

  uint32_t count() const { return bits == 0 ? 1 : word_bits / bits; }
  // The lowest bit of field `index` of a word.
  uint32_t Shift(uint32_t index) const;
};

// The rows that a source's verified steps make of a tensor.
class SourceRows {
public:
  // Fails unless a tensor of `shape` gives a rank rows of `columns` elements; the error names tensor and weight.
  static absl::StatusOr<SourceRows> Open(const plan::Source &source, std::span<const int64_t> shape, uint64_t columns,
                                         std::string_view weight, Rank rank = {});

  uint64_t count() const { return count_; }
  // The row of the matrix that the tensor stores which is row `row`. From kZeroRows on: no row, but zeros.
  uint64_t TensorRow(uint64_t row) const;
  static constexpr uint64_t kZeroRows = uint64_t{1} << 62;
  // The column of that matrix which is the first one.
  uint64_t first_column() const { return first_column_; }

  // How the tensor stores the matrix.
  bool is_transposed() const { return is_transposed_; }
  // Words of a row of the tensor as it is stored.
  uint64_t tensor_columns() const { return tensor_columns_; }
  const WordFields &fields() const { return fields_; }
  // Rows of the matrix that each row of the tensor stands for.
  uint64_t repeat() const { return repeat_; }
  // The step that makes elements factors of a quantised weight; null: they are none.
  const plan::RecipeStep *scale() const { return scale_; }
  // The step that makes factors of codes before that; null: they are stored as floats.
  const plan::RecipeStep *nested() const { return nested_; }
  // The step that makes codes or scales of floats; null: none does.
  const plan::RecipeStep *quantizer() const { return quantizer_; }
  // The step that puts columns into the order of their groups, or makes this order; null: none does.
  const plan::RecipeStep *column_order() const { return column_order_; }

private:
  absl::Status OpenStorage(const plan::Source &source, std::span<const int64_t> shape, uint64_t columns,
                           std::string_view weight, uint32_t &first_step);

  absl::Status OpenShard(const plan::RecipeStep &shard, std::string_view tensor, std::string_view weight, Rank rank);

  std::vector<const plan::RecipeStep *> steps_; // of rows, the last one first
  uint64_t count_ = 0, tensor_columns_ = 0, repeat_ = 1;
  // The rank's part: rows from `first_row_` on of the `all_rows_` of all ranks, columns from `first_column_` on.
  uint64_t first_row_ = 0, all_rows_ = 0, first_column_ = 0;
  bool is_transposed_ = false;
  WordFields fields_;
  const plan::RecipeStep *scale_ = nullptr, *nested_ = nullptr, *quantizer_ = nullptr, *column_order_ = nullptr;
};

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_SOURCE_ROWS_H_

// Makes a weight, in the layout that kernels read, from tensors in the layout of the checkpoint. The same code runs
// when a bundle is packed (--weights=pack) and when one is loaded (--weights=link).
#ifndef INLAY_RUNTIME_BUNDLE_RECIPE_H_
#define INLAY_RUNTIME_BUNDLE_RECIPE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/elements.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/row_quantizer.h"
#include "runtime/bundle/source_rows.h"
#include "runtime/bundle/strip_cache.h"
#include "runtime/support/thread_pool.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace inlay {

// A tensor of a checkpoint.
struct SourceTensor {
  plan::DataType type = plan::DataType_F32;
  std::vector<int64_t> shape; // [rows, columns], or [rows] for a vector
  uint64_t bytes = 0;
  // Reads out.size() bytes from byte `offset` of the tensor on; called from several threads at once.
  std::function<absl::Status(uint64_t offset, std::span<std::byte> out)> read;
  // Where recipes that quantize the tensor store what they find; null: nowhere.
  QuantizationRecord *record = nullptr;
};

using SourceLookup = std::function<absl::StatusOr<SourceTensor>(std::string_view name)>;

// Bytes of the weight in memory, padding included, or an error if they do not fit into 63 bits.
absl::StatusOr<uint64_t> WeightBytes(const plan::Weight &weight);

// True for a table of cosines and sines, which is computed and has no sources.
bool IsRopeTable(const plan::Recipe &recipe);
// True for a weight whose elements the plan has, and which has no sources.
bool HasValues(const plan::Recipe &recipe);
// Whether a rope table has as many frequencies as its rows take.
bool FitsRopeTable(const plan::Recipe &recipe);

// The parts of a weight that can be made on their own begin at multiples of this many bytes (an atom of Packing).
inline constexpr uint64_t kRecipeUnit = 1024;

// A weight whose sources were found and checked, any part of which can be made from any thread.
class WeightRecipe {
public:
  // Opens the recipe of a rank's weight. `weight` must outlive the recipe.
  static absl::StatusOr<WeightRecipe> Open(const plan::Weight &weight, const SourceLookup &lookup, Rank rank = {});

  // Writes the weight's bytes from `first`, a multiple of kRecipeUnit, on: rows of the sources, one source after the
  // other, put into the recipe's order, converted and packed.
  absl::Status Make(uint64_t first, std::span<std::byte> out) const;

  // Bytes that are worth a thread's while; a multiple of kRecipeUnit.
  uint64_t JobBytes() const;

  // For those who pack elsewhere (Weight.pack): rows that are packed together without the others, 0 where none are, and
  // the sources' rows that `count` stored rows from `first` on are made of, in their own order and type.
  uint64_t PartRows() const;
  absl::Status ReadSources(uint64_t first, uint64_t count, std::span<std::byte> out) const;
  // Bytes of a row of the sources.
  uint64_t SourceRowBytes() const;

private:
  class RowReader;
  // A row, or column, of a tensor.
  struct Place {
    size_t source = 0;
    uint64_t row = 0;
    auto operator<=>(const Place &) const = default;
  };
  struct Source {
    SourceTensor tensor;
    SourceRows rows;
    uint64_t first = 0;                         // of the weight's logical rows
    std::string name = {};                      // of the tensor
    std::vector<float> table = {}, scales = {}; // of codes that stand for scales (RecipeOp_Nested)
    std::vector<int32_t> column_order = {};     // the columns of the tensor in their order (RecipeOp_SortColumns)
    std::shared_ptr<StripCache> cache = {};     // of a tensor that is transposed
    plan::DataType type = plan::DataType_F32; // of the elements that are read: those of the tensor, or what they become
  };

  static absl::Status SetType(const plan::Weight &weight, Source &source);
  static absl::Status ReadColumnOrder(const SourceLookup &lookup, uint64_t columns, Source &source);
  static absl::Status ReadNested(const SourceLookup &lookup, Source &source);
  absl::Status MakePart(uint64_t first, std::span<std::byte> out) const;
  void MakeTable(uint64_t first, std::span<std::byte> out) const;
  void MakeValues(uint64_t first, std::span<std::byte> out) const;
  absl::Status MakeRows(uint64_t first, std::span<std::byte> out) const;
  absl::Status MakeAtoms(uint64_t first, std::span<std::byte> out) const;
  absl::Status MakeCodes(uint64_t first, std::span<std::byte> out) const;
  bool AreCodeWords() const;
  absl::Status MakeCodeWords(uint64_t first, std::span<std::byte> out) const;
  // The place of a row among those that are read, behind its place in the sources.
  using StoredRow = std::pair<Place, uint64_t>;
  absl::Status MakeCodeUnits(std::span<const StoredRow> rows, uint64_t unit, uint64_t units,
                             std::vector<uint32_t> &words, std::byte *out) const;
  absl::Status MakeColumns(uint64_t first, std::span<std::byte> out) const;
  Place PlaceOf(uint64_t logical) const;
  // Columns [column, column + columns) of `count` rows from a place on: one row, whole rows, or at most kMaxRows of a
  // tensor that is transposed.
  absl::Status ReadTensor(Place place, uint64_t count, uint64_t column, uint64_t columns, std::byte *out) const;
  // The same of a tensor whose columns are sorted, or whose order of columns is the only row.
  static absl::Status ReadSorted(const Source &source, uint64_t row, uint64_t count, uint64_t column, uint64_t columns,
                                 std::byte *out);
  // The same of words of the tensor, as they are stored.
  static absl::Status ReadWords(const Source &source, uint64_t row, uint64_t count, uint64_t column, uint64_t columns,
                                std::byte *out);
  static absl::Status ReadFields(const Source &source, uint64_t row, uint64_t count, uint64_t column, uint64_t columns,
                                 std::byte *out);
  static absl::Status ReadScales(const Source &source, uint64_t row, uint64_t count, uint64_t column, uint64_t columns,
                                 std::byte *out);
  static absl::Status ReadQuantized(const Source &source, uint64_t row, uint64_t count, uint64_t column,
                                    uint64_t columns, std::byte *out);
  absl::Status ReadLogical(uint64_t first, uint64_t count, std::byte *out) const;

  const plan::Weight *weight_ = nullptr;
  std::vector<Source> sources_;
  std::shared_ptr<std::atomic<uint64_t>> left_; // bytes to make before the caches are released; null: there are none
};

// Makes all of a rank's weight, which has WeightBytes, on all threads.
absl::Status Materialize(const plan::Weight &weight, const SourceLookup &lookup, std::span<std::byte> out,
                         ThreadPool &pool, Rank rank = {});

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_RECIPE_H_

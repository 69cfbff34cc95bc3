// Making rows of a weight and packing them (recipe.h).
#include "runtime/bundle/code_words.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/recipe_layout.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace inlay {
namespace {

// The logical row that is stored as row `stored` of the weight.
uint64_t LogicalRow(const plan::Recipe &recipe, uint64_t stored) {
  switch (recipe.row_order()) {
  case plan::RowOrder_Plain:
    return stored;
  case plan::RowOrder_HalfPairs:
    return PermutedRow(stored, recipe.head_dim(), recipe.head_dim(), 2);
  case plan::RowOrder_Alternate:
    return PermutedRow(stored, recipe.rows(), recipe.rows(), 2);
  }
  return stored;
}

constexpr uint64_t kChunkBytes = 16, kAtomRowBytes = 128;

// Writes up to 8 rows of `bytes` each, of 16-bit elements, into the atoms that begin at `out` (see Packing in
// plan.fbs).
void PackRows(std::span<const std::byte *const> rows, uint64_t bytes, std::byte *out) {
  for (uint64_t at = 0; at < bytes; at += kAtomRowBytes, out += kRecipeUnit)
    for (uint64_t r = 0; r < rows.size(); ++r) {
      const std::byte *from = rows[r] + at;
      std::byte *to = out + r * kAtomRowBytes;
      uint64_t left = bytes - at;
      if (left >= kAtomRowBytes) {
        for (uint64_t chunk = 0; chunk < kAtomRowBytes / kChunkBytes; ++chunk)
          std::memcpy(to + (chunk ^ r) * kChunkBytes, from + chunk * kChunkBytes, kChunkBytes);
        continue;
      }
      for (uint64_t byte = 0; byte < left; byte += kChunkBytes)
        std::memcpy(to + (byte / kChunkBytes ^ r) * kChunkBytes, from + byte, std::min(kChunkBytes, left - byte));
    }
}

constexpr uint64_t kPieceBytes = 16;
// Units between the first ones of neighbouring parts of a weight.
constexpr uint64_t kStagger = 11;

uint64_t UnitRowBytes(plan::DataType type) { return kUnitColumns * ElementBits(type) / 8; }

// Writes row `row` of a unit, 128 codes of one byte each, to the unit that begins at `unit`. The order is that of
// docs/quantization.md: tile::codeLayout of the compiler.
void PackCodes(const uint8_t *codes, uint64_t row, plan::DataType type, std::byte *unit) {
  const uint64_t row_bytes = UnitRowBytes(type);
  std::byte *out = unit + row * row_bytes;
  const uint64_t swizzle = type == plan::DataType_U4 ? row / 2 % 4 : row % 8;
  std::array<uint8_t, kPieceBytes> piece;
  for (uint64_t p = 0; p < row_bytes / kPieceBytes; ++p) {
    for (uint64_t i = 0; i < kPieceBytes; ++i) {
      const uint64_t field = i % 4, neighbour = i / 4 * 2 + field / 2;
      if (type == plan::DataType_U4) {
        const uint8_t *low = codes + p * 32 + field % 2 * 16 + neighbour;
        piece[i] = static_cast<uint8_t>(low[0] | low[8] << 4);
      } else {
        piece[i] = codes[p * 16 + field % 2 * 8 + neighbour];
      }
    }
    std::memcpy(out + (p ^ swizzle) * kPieceBytes, piece.data(), kPieceBytes);
  }
}

} // namespace

// Reads stored rows, in one read wherever rows of the weight are neighbours in a tensor too.
class WeightRecipe::RowReader {
public:
  // The most rows that one Read() takes, for rows of `columns` elements.
  static uint64_t Capacity(uint64_t row_bytes) {
    return std::clamp<uint64_t>(kScratchBytes / std::max<uint64_t>(row_bytes, 1) / kAtomRows * kAtomRows, kAtomRows,
                                kMaxRows);
  }

  explicit RowReader(const WeightRecipe &recipe) : recipe_(recipe) {}

  // Reads columns [column, column + columns) of stored rows [first, first + count).
  absl::Status Read(uint64_t first, uint64_t count, uint64_t column, uint64_t columns) {
    columns_ = columns;
    uint64_t all_columns = recipe_.weight_->recipe()->columns();
    std::array<std::pair<Place, uint64_t>, kMaxRows> order; // and the place among the rows that are read
    for (uint64_t i = 0; i < count; ++i)
      order[i] = {recipe_.PlaceOf(LogicalRow(*recipe_.weight_->recipe(), first + i)), i};
    std::sort(order.begin(), order.begin() + static_cast<int64_t>(count));
    uint64_t needed = count * columns * sizeof(float); // of the largest type
    if (needed > size_) {
      scratch_.reset(new std::byte[needed]); // not zeroed
      size_ = needed;
    }
    uint64_t used = 0;
    for (uint64_t i = 0; i < count;) {
      Place place = order[i].first;
      const Source &source = recipe_.sources_[place.source];
      uint64_t run = 1;
      while ((columns == all_columns || source.rows.is_transposed()) && i + run < count &&
             order[i + run].first == Place{place.source, place.row + run})
        ++run;
      if (absl::Status status = recipe_.ReadTensor(place, run, column, columns, scratch_.get() + used); !status.ok())
        return status;
      uint64_t row_bytes = columns * ElementSize(source.type);
      for (uint64_t r = 0; r < run; ++r, used += row_bytes)
        rows_[order[i + r].second] = {scratch_.get() + used, source.type};
      i += run;
    }
    return absl::OkStatus();
  }

  // Row `i` of those read, as elements of the weight's type; `buffer` has room for them and may be used.
  const std::byte *Converted(uint64_t i, std::byte *buffer) const {
    if (rows_[i].second == recipe_.weight_->type())
      return rows_[i].first;
    ConvertToStored(rows_[i].first, rows_[i].second, buffer, recipe_.weight_->type(), columns_);
    return buffer;
  }

  // The same, with a byte for each code of 4 bits.
  const std::byte *Unpacked(uint64_t i, std::byte *buffer) const {
    return recipe_.weight_->type() == plan::DataType_U4 ? rows_[i].first : Converted(i, buffer);
  }

private:
  // What stays in a core's cache between being read and being packed.
  static constexpr uint64_t kScratchBytes = uint64_t{256} << 10;

  const WeightRecipe &recipe_;
  std::unique_ptr<std::byte[]> scratch_;
  uint64_t size_ = 0, columns_ = 0;
  std::array<std::pair<const std::byte *, plan::DataType>, kMaxRows> rows_;
};

absl::Status WeightRecipe::MakeRows(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  uint64_t bits = ElementBits(weight_->type()), columns = recipe.columns(), row_bytes = columns * bits / 8;
  RowReader reader(*this);
  std::vector<std::byte> buffer(std::min<uint64_t>(row_bytes, out.size()));
  for (uint64_t at = 0; at < out.size();) {
    uint64_t row = (first + at) / row_bytes, inside = (first + at) % row_bytes;
    uint64_t left = out.size() - at, count = 1, bytes = std::min(left, row_bytes - inside);
    if (inside == 0 && left >= row_bytes) {
      count = std::min(left / row_bytes, RowReader::Capacity(columns * sizeof(float)));
      bytes = row_bytes;
    }
    if (absl::Status status = reader.Read(row, count, inside * 8 / bits, bytes * 8 / bits); !status.ok())
      return status;
    for (uint64_t i = 0; i < count; ++i, at += bytes)
      std::memcpy(out.data() + at, reader.Converted(i, buffer.data()), bytes);
  }
  return absl::OkStatus();
}

absl::Status WeightRecipe::MakeAtoms(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  uint64_t columns = recipe.columns(), atoms = RoundUp(columns, kAtomColumns) / kAtomColumns;
  uint64_t group_bytes = atoms * kRecipeUnit; // of 8 rows
  if (columns % kAtomColumns != 0 || recipe.rows() % kAtomRows != 0)
    std::memset(out.data(), 0, out.size());
  RowReader reader(*this);
  uint64_t row_bytes = std::min<uint64_t>(columns * sizeof(uint16_t), out.size());
  std::vector<std::byte> buffer(kAtomRows * row_bytes);
  for (uint64_t at = 0; at < out.size();) {
    uint64_t group = (first + at) / group_bytes, inside = (first + at) % group_bytes, left = out.size() - at;
    // Whole groups of rows, or some atoms of one.
    uint64_t groups = 1, bytes = std::min(left, group_bytes - inside);
    if (inside == 0 && left >= group_bytes) {
      groups = std::min(left / group_bytes, RowReader::Capacity(columns * sizeof(float)) / kAtomRows);
      bytes = group_bytes;
    }
    uint64_t row = group * kAtomRows, rows = std::min(groups * kAtomRows, recipe.rows() - row);
    uint64_t column = inside / kRecipeUnit * kAtomColumns;
    uint64_t width = std::min(bytes / kRecipeUnit * kAtomColumns, columns - column);
    if (absl::Status status = reader.Read(row, rows, column, width); !status.ok())
      return status;
    for (uint64_t i = 0; i < rows; i += kAtomRows, at += bytes) {
      std::array<const std::byte *, kAtomRows> of_group;
      uint64_t count = std::min(kAtomRows, rows - i);
      for (uint64_t r = 0; r < count; ++r)
        of_group[r] = reader.Converted(i + r, buffer.data() + r * row_bytes);
      PackRows(std::span(of_group).first(count), width * sizeof(uint16_t), out.data() + at);
    }
  }
  return absl::OkStatus();
}

// Groups of 16 rows, each of units of 128 columns.
absl::Status WeightRecipe::MakeCodes(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  const uint64_t row_bytes = UnitRowBytes(weight_->type()), unit_bytes = kUnitRows * row_bytes;
  const uint64_t columns = recipe.columns(), group_bytes = RoundUp(columns, kUnitColumns) / kUnitColumns * unit_bytes;
  std::memset(out.data(), 0, out.size());
  if (AreCodeWords() && out.size() % kRecipeUnit == 0)
    return MakeCodeWords(first, out);
  RowReader reader(*this);
  std::vector<std::byte> buffer(columns);
  std::array<uint8_t, kUnitColumns> last = {}; // of a row that ends within a unit
  for (uint64_t at = 0; at < out.size();) {
    uint64_t group = (first + at) / group_bytes, inside = (first + at) % group_bytes, within = inside % unit_bytes;
    uint64_t bytes = std::min<uint64_t>(out.size() - at, group_bytes - inside);
    // Whole units of a group, or some rows of one.
    bytes = within == 0 && bytes >= unit_bytes ? bytes / unit_bytes * unit_bytes : std::min(bytes, unit_bytes - within);
    uint64_t row = within / row_bytes, rows = std::min(bytes / row_bytes, kUnitRows - row);
    uint64_t column = inside / unit_bytes * kUnitColumns;
    uint64_t width = std::min(std::max<uint64_t>(bytes / unit_bytes, 1) * kUnitColumns, columns - column);
    uint64_t stored = group * kUnitRows + row;
    std::byte *units = out.data() + at - within;
    at += bytes;
    if (stored >= recipe.rows())
      continue;
    rows = std::min(rows, recipe.rows() - stored);
    if (absl::Status status = reader.Read(stored, rows, column, width); !status.ok())
      return status;
    for (uint64_t r = 0; r < rows; ++r) {
      const auto *codes = reinterpret_cast<const uint8_t *>(reader.Unpacked(r, buffer.data()));
      for (uint64_t c = 0; c < width; c += kUnitColumns) {
        const uint8_t *of_unit = codes + c;
        if (width - c < kUnitColumns) {
          std::memcpy(last.data(), of_unit, width - c);
          of_unit = last.data();
        }
        PackCodes(of_unit, row + r, weight_->type(), units + c / kUnitColumns * unit_bytes);
      }
    }
  }
  return absl::OkStatus();
}

bool WeightRecipe::AreCodeWords() const {
  return weight_->type() == plan::DataType_U4 && weight_->recipe()->columns() % kCodesOfWord == 0 &&
         std::ranges::all_of(sources_, [](const Source &source) {
           return HasCodeWords(source.rows) && source.rows.first_column() % kCodesOfWord == 0;
         });
}

// Of codes of 4 bits in words: whole groups of rows, as many at a time as lie in `out`, or a part of one.
absl::Status WeightRecipe::MakeCodeWords(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  const uint64_t all_units = RoundUp(recipe.columns(), kUnitColumns) / kUnitColumns;
  // Lines of tensors that are transposed have a word, or an eighth of one, of each row.
  const bool are_lines = std::ranges::any_of(sources_, [](const Source &one) { return one.rows.is_transposed(); });
  const uint64_t most_groups = are_lines ? out.size() : kMaxRows / kUnitRows;
  std::vector<StoredRow> rows;
  std::vector<uint32_t> words;
  for (uint64_t at = 0, unit = first / kRecipeUnit; at < out.size();) {
    const uint64_t left = (out.size() - at) / kRecipeUnit, inside = unit % all_units;
    const bool is_whole = inside == 0 && left >= all_units;
    const uint64_t groups = is_whole ? std::min(left / all_units, most_groups) : 1;
    const uint64_t units = is_whole ? all_units : std::min(left, all_units - inside);
    const uint64_t row = std::min(unit / all_units * kUnitRows, recipe.rows());
    rows.resize(std::min(groups * kUnitRows, recipe.rows() - row));
    for (uint64_t i = 0; i < rows.size(); ++i)
      rows[i] = {PlaceOf(LogicalRow(recipe, row + i)), i};
    std::sort(rows.begin(), rows.end());
    // A part of the columns at a time, so that their words stay in a core's cache. Threads that make other rows begin
    // elsewhere, so that they do not all wait for the same strip of the tensor.
    const uint64_t step = are_lines ? 1 : units, begin = are_lines ? first / out.size() * kStagger % units : 0;
    for (uint64_t i = 0; i < units; i += step) {
      const uint64_t u = (begin + i) % units;
      if (absl::Status status = MakeCodeUnits(rows, inside + u, step, words, out.data() + at + u * kRecipeUnit);
          !status.ok())
        return status;
    }
    unit += groups * units;
    at += groups * units * kRecipeUnit;
  }
  return absl::OkStatus();
}

// `units` units from number `unit` on of each group of rows. `out`: the first of them.
absl::Status WeightRecipe::MakeCodeUnits(std::span<const StoredRow> rows, uint64_t unit, uint64_t units,
                                         std::vector<uint32_t> &words, std::byte *out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  constexpr uint64_t kUnitWords = kUnitColumns / kCodesOfWord;
  const uint64_t all_units = RoundUp(recipe.columns(), kUnitColumns) / kUnitColumns, column = unit * kUnitColumns;
  const uint64_t columns = std::min(units * kUnitColumns, recipe.columns() - column), width = columns / kCodesOfWord;
  words.resize(std::max(words.size(), rows.size() * width));
  for (uint64_t i = 0, run = 1; i < rows.size(); i += run, run = 1) {
    const Place place = rows[i].first;
    while (i + run < rows.size() && rows[i + run].first == Place{place.source, place.row + run})
      ++run;
    if (place.row >= SourceRows::kZeroRows) {
      std::fill_n(&words[i * width], run * width, 0);
      continue;
    }
    const Source &source = sources_[place.source];
    if (absl::Status status = ReadCodeWords(source.rows, source.tensor.read, place.row, run,
                                            column + source.rows.first_column(), columns, &words[i * width]);
        !status.ok())
      return status;
  }
  std::array<uint32_t, kUnitWords> last = {}; // of a row that ends within a unit
  for (uint64_t i = 0; i < rows.size(); ++i) {
    const uint64_t row = rows[i].second;
    std::byte *to = out + row / kUnitRows * all_units * kRecipeUnit;
    for (uint64_t w = 0; w < width; w += kUnitWords, to += kRecipeUnit) {
      const uint32_t *of_unit = &words[i * width + w];
      if (width - w < kUnitWords) {
        std::copy_n(of_unit, width - w, last.begin());
        of_unit = last.data();
      }
      PackCodeWords(of_unit, row % kUnitRows, to);
    }
  }
  return absl::OkStatus();
}

// Groups of 16 rows, each of columns of 16 numbers.
absl::Status WeightRecipe::MakeColumns(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  const uint64_t size = ElementSize(weight_->type()), column_bytes = kUnitRows * size;
  const uint64_t group_bytes = recipe.columns() * column_bytes;
  std::memset(out.data(), 0, out.size());
  RowReader reader(*this);
  std::vector<std::byte> buffer(recipe.columns() * size);
  for (uint64_t at = 0; at < out.size();) {
    uint64_t group = (first + at) / group_bytes, inside = (first + at) % group_bytes;
    uint64_t bytes = std::min<uint64_t>(out.size() - at, group_bytes - inside);
    uint64_t row = group * kUnitRows, rows = std::min(kUnitRows, recipe.rows() - row);
    uint64_t columns = bytes / column_bytes;
    if (absl::Status status = reader.Read(row, rows, inside / column_bytes, columns); !status.ok())
      return status;
    for (uint64_t r = 0; r < rows; ++r) {
      const std::byte *numbers = reader.Converted(r, buffer.data());
      for (uint64_t c = 0; c < columns; ++c)
        std::memcpy(out.data() + at + c * column_bytes + r * size, numbers + c * size, size);
    }
    at += bytes;
  }
  return absl::OkStatus();
}

} // namespace inlay

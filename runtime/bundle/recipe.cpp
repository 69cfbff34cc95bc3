#include "runtime/bundle/recipe.h"

#include "fmt/format.h"
#include "fmt/ranges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>

namespace inlay {
namespace {

// --- Elements ---------------------------------------------------------------

float LoadFloat(const std::byte *at, plan::DataType type) {
  uint16_t bits = 0;
  if (type == plan::DataType_F32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::memcpy(&bits, at, sizeof bits);
  if (type == plan::DataType_BF16)
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}

void StoreFloat(float value, std::byte *at, plan::DataType type) {
  if (type == plan::DataType_F32) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  uint16_t bits = 0;
  if (type == plan::DataType_F16) {
    bits = std::bit_cast<uint16_t>(static_cast<_Float16>(value));
  } else {
    auto wide = std::bit_cast<uint32_t>(value);
    uint32_t quiet = (wide >> 16) | 0x40, nearest = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
    bits = static_cast<uint16_t>(std::isnan(value) ? quiet : nearest);
  }
  std::memcpy(at, &bits, sizeof bits);
}

// With the types known, the compiler turns the loop into vectors.
template <plan::DataType From, plan::DataType To> void ConvertLoop(const std::byte *from, std::byte *to, size_t count) {
  constexpr size_t kFrom = From == plan::DataType_F32 ? 4 : 2, kTo = To == plan::DataType_F32 ? 4 : 2;
  for (size_t i = 0; i < count; ++i)
    StoreFloat(LoadFloat(from + i * kFrom, From), to + i * kTo, To);
}

// --- Places -----------------------------------------------------------------

// The logical row that is stored as row `stored` of the weight.
uint64_t LogicalRow(const plan::Recipe &recipe, uint64_t stored) {
  switch (recipe.row_order()) {
  case plan::RowOrder_Plain:
    return stored;
  case plan::RowOrder_HalfPairs: {
    uint64_t d = recipe.head_dim(), head = stored / d, i = stored % d;
    return head * d + i / 2 + (i % 2) * (d / 2);
  }
  case plan::RowOrder_Alternate:
    return stored / 2 + (stored % 2) * (recipe.rows() / 2);
  }
  return stored;
}

constexpr uint64_t kAtomRows = 8, kAtomColumns = 64, kChunkBytes = 16, kAtomRowBytes = 128;

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

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

} // namespace

size_t ElementSize(plan::DataType type) {
  switch (type) {
  case plan::DataType_F32:
  case plan::DataType_I32:
  case plan::DataType_U32:
    return 4;
  case plan::DataType_BF16:
  case plan::DataType_F16:
    return 2;
  case plan::DataType_I64:
    return 8;
  case plan::DataType_U8:
    return 1;
  }
  return 0;
}

void ConvertElements(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type,
                     size_t count) {
  using enum plan::DataType;
  static constexpr decltype(&ConvertLoop<DataType_F32, DataType_BF16>) kLoops[3][3] = {
      {ConvertLoop<DataType_F32, DataType_F32>, ConvertLoop<DataType_F32, DataType_BF16>,
       ConvertLoop<DataType_F32, DataType_F16>},
      {ConvertLoop<DataType_BF16, DataType_F32>, ConvertLoop<DataType_BF16, DataType_BF16>,
       ConvertLoop<DataType_BF16, DataType_F16>},
      {ConvertLoop<DataType_F16, DataType_F32>, ConvertLoop<DataType_F16, DataType_BF16>,
       ConvertLoop<DataType_F16, DataType_F16>}};
  static_assert(DataType_F32 == 0 && DataType_BF16 == 1 && DataType_F16 == 2);
  if (from_type == to_type)
    std::memcpy(to, from, count * ElementSize(to_type));
  else
    kLoops[from_type][to_type](from, to, count);
}

absl::StatusOr<uint64_t> WeightBytes(const plan::Weight &weight) {
  const plan::Recipe &recipe = *weight.recipe();
  uint64_t rows = recipe.rows(), columns = recipe.columns(), elements = 0, bytes = 0;
  if (recipe.packing() == plan::Packing_Atom8x64) {
    rows = rows > (uint64_t{1} << 62) ? rows : RoundUp(rows, kAtomRows);
    columns = columns > (uint64_t{1} << 62) ? columns : RoundUp(columns, kAtomColumns);
  }
  if (__builtin_mul_overflow(rows, columns, &elements) ||
      __builtin_mul_overflow(elements, ElementSize(weight.type()), &bytes) || bytes > (uint64_t{1} << 62))
    return absl::InvalidArgumentError(fmt::format("weight '{}': {} x {} elements do not fit into memory",
                                                  weight.name()->string_view(), recipe.rows(), recipe.columns()));
  return bytes;
}

bool IsRopeTable(const plan::Recipe &recipe) { return recipe.inv_freq() && recipe.inv_freq()->size() > 0; }

bool FitsRopeTable(const plan::Recipe &recipe) {
  uint64_t half = recipe.columns() / 2, frequencies = recipe.inv_freq()->size();
  return half > 0 && recipe.columns() % 2 == 0 && frequencies % half == 0 && frequencies / half <= recipe.rows();
}

// --- Rows of the sources ----------------------------------------------------

// Reads stored rows, in one read wherever rows of the weight are neighbours in a source too.
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
    std::array<std::pair<uint64_t, uint64_t>, kMaxRows> order; // logical row, place
    for (uint64_t i = 0; i < count; ++i)
      order[i] = {LogicalRow(*recipe_.weight_->recipe(), first + i), i};
    std::sort(order.begin(), order.begin() + static_cast<int64_t>(count));
    uint64_t needed = count * columns * sizeof(float); // of the largest type
    if (needed > size_) {
      scratch_.reset(new std::byte[needed]); // not zeroed
      size_ = needed;
    }
    uint64_t used = 0;
    for (uint64_t i = 0; i < count;) {
      size_t s = recipe_.sources_.size() - 1;
      while (recipe_.first_rows_[s] > order[i].first)
        --s;
      const SourceTensor &source = recipe_.sources_[s];
      uint64_t end = s + 1 < recipe_.sources_.size() ? recipe_.first_rows_[s + 1] : recipe_.weight_->recipe()->rows();
      uint64_t run = 1;
      while (columns == all_columns && i + run < count && order[i + run].first == order[i].first + run &&
             order[i + run].first < end)
        ++run;
      uint64_t element = ElementSize(source.type), bytes = run * columns * element;
      uint64_t offset = ((order[i].first - recipe_.first_rows_[s]) * all_columns + column) * element;
      if (absl::Status status = source.read(offset, std::span(scratch_.get() + used, bytes)); !status.ok())
        return status;
      for (uint64_t r = 0; r < run; ++r)
        rows_[order[i + r].second] = {scratch_.get() + used + r * columns * element, source.type};
      used += bytes;
      i += run;
    }
    return absl::OkStatus();
  }

  // Row `i` of those read, as elements of the weight's type; `buffer` has room for them and may be used.
  const std::byte *Converted(uint64_t i, std::byte *buffer) const {
    if (rows_[i].second == recipe_.weight_->type())
      return rows_[i].first;
    ConvertElements(rows_[i].first, rows_[i].second, buffer, recipe_.weight_->type(), columns_);
    return buffer;
  }

private:
  // What stays in a core's cache between being read and being packed.
  static constexpr uint64_t kScratchBytes = uint64_t{256} << 10;
  static constexpr uint64_t kMaxRows = 64;

  const WeightRecipe &recipe_;
  std::unique_ptr<std::byte[]> scratch_;
  uint64_t size_ = 0, columns_ = 0;
  std::array<std::pair<const std::byte *, plan::DataType>, kMaxRows> rows_;
};

absl::StatusOr<WeightRecipe> WeightRecipe::Open(const plan::Weight &weight, const SourceLookup &lookup) {
  WeightRecipe opened;
  opened.weight_ = &weight;
  const plan::Recipe &recipe = *weight.recipe();
  if (IsRopeTable(recipe))
    return opened;
  uint64_t columns = recipe.columns(), total = 0;
  for (const flatbuffers::String *name : *recipe.sources()) {
    absl::StatusOr<SourceTensor> source = lookup(name->string_view());
    if (!source.ok())
      return source.status();
    bool fits = !source->shape.empty() && source->shape.size() <= 2;
    uint64_t rows = fits ? static_cast<uint64_t>(source->shape[0]) : 0;
    uint64_t source_columns = fits && source->shape.size() == 2 ? static_cast<uint64_t>(source->shape[1]) : 1;
    if (!fits || source_columns != columns || rows > recipe.rows() ||
        source->bytes != rows * columns * ElementSize(source->type))
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has shape [{}], expected rows of {} for weight '{}'",
                                                    name->string_view(), fmt::join(source->shape, ", "), columns,
                                                    weight.name()->string_view()));
    if (rows == 0)
      continue;
    opened.first_rows_.push_back(total);
    total += rows;
    opened.sources_.push_back(*std::move(source));
  }
  if (total != recipe.rows())
    return absl::InvalidArgumentError(fmt::format("weight '{}': its sources have {} rows, expected {}",
                                                  weight.name()->string_view(), total, recipe.rows()));
  return opened;
}

absl::Status WeightRecipe::Make(uint64_t first, std::span<std::byte> out) const {
  if (IsRopeTable(*weight_->recipe())) {
    MakeTable(first, out);
    return absl::OkStatus();
  }
  return weight_->recipe()->packing() == plan::Packing_Atom8x64 ? MakeAtoms(first, out) : MakeRows(first, out);
}

void WeightRecipe::MakeTable(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  uint64_t half = recipe.columns() / 2, begin = first / sizeof(float), count = out.size() / sizeof(float);
  uint64_t with_first_set = recipe.rows() - recipe.inv_freq()->size() / half; // rows before the last of them
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t position = (begin + i) / recipe.columns(), column = (begin + i) % recipe.columns();
    uint64_t set = position > with_first_set ? position - with_first_set : 0;
    // transformers multiplies position and frequency in f32.
    auto frequency = static_cast<float>(recipe.inv_freq()->Get(static_cast<uint32_t>(set * half + column % half)));
    double angle = static_cast<float>(position) * frequency;
    double value = column < half ? std::cos(angle) : std::sin(angle);
    StoreFloat(static_cast<float>(value * recipe.attention_factor()), out.data() + i * sizeof(float),
               plan::DataType_F32);
  }
}

absl::Status WeightRecipe::MakeRows(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  uint64_t element = ElementSize(weight_->type()), columns = recipe.columns(), row_bytes = columns * element;
  RowReader reader(*this);
  std::vector<std::byte> buffer(std::min<uint64_t>(row_bytes, out.size()));
  for (uint64_t at = 0; at < out.size();) {
    uint64_t row = (first + at) / row_bytes, inside = (first + at) % row_bytes;
    uint64_t left = out.size() - at, count = 1, bytes = std::min(left, row_bytes - inside);
    if (inside == 0 && left >= row_bytes) {
      count = std::min(left / row_bytes, RowReader::Capacity(columns * sizeof(float)));
      bytes = row_bytes;
    }
    if (absl::Status status = reader.Read(row, count, inside / element, bytes / element); !status.ok())
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

// --- Rows for those who pack elsewhere ---------------------------------------

uint64_t WeightRecipe::PartRows() const {
  if (!weight_->pack() || sources_.empty())
    return 0;
  for (const SourceTensor &source : sources_)
    if (source.type != weight_->source_type())
      return 0;
  return weight_->recipe()->row_order() == plan::RowOrder_HalfPairs ? std::lcm(kAtomRows, weight_->recipe()->head_dim())
                                                                    : kAtomRows;
}

uint64_t WeightRecipe::SourceRowBytes() const {
  return weight_->recipe()->columns() * ElementSize(weight_->source_type());
}

// Bytes of the sources, one after the other.
absl::Status WeightRecipe::ReadLogical(uint64_t byte, std::span<std::byte> out) const {
  while (!out.empty()) {
    size_t s = sources_.size() - 1;
    while (first_rows_[s] * SourceRowBytes() > byte)
      --s;
    uint64_t inside = byte - first_rows_[s] * SourceRowBytes();
    uint64_t bytes = std::min<uint64_t>(out.size(), sources_[s].bytes - inside);
    if (absl::Status status = sources_[s].read(inside, out.first(bytes)); !status.ok())
      return status;
    byte += bytes;
    out = out.subspan(bytes);
  }
  return absl::OkStatus();
}

absl::Status WeightRecipe::ReadSources(uint64_t first, uint64_t count, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  uint64_t row = SourceRowBytes(), half = count / 2 * row;
  if (recipe.row_order() != plan::RowOrder_Alternate)
    return ReadLogical(first * row, out.first(count * row));
  // The rows of the first half, then as many of the second.
  if (absl::Status status = ReadLogical(first / 2 * row, out.first(half)); !status.ok())
    return status;
  return ReadLogical((recipe.rows() / 2 + first / 2) * row, out.subspan(half, half));
}

absl::Status Materialize(const plan::Weight &weight, const SourceLookup &lookup, std::span<std::byte> out,
                         ThreadPool &pool) {
  absl::StatusOr<WeightRecipe> recipe = WeightRecipe::Open(weight, lookup);
  if (!recipe.ok())
    return recipe.status();
  constexpr uint64_t kBytesPerJob = uint64_t{1} << 20;
  std::mutex mutex;
  absl::Status first_error;
  pool.Run(static_cast<int64_t>((out.size() + kBytesPerJob - 1) / kBytesPerJob), [&](int64_t job) {
    uint64_t at = static_cast<uint64_t>(job) * kBytesPerJob;
    absl::Status status = recipe->Make(at, out.subspan(at, std::min(kBytesPerJob, out.size() - at)));
    std::lock_guard lock(mutex);
    first_error.Update(status);
  });
  return first_error;
}

} // namespace inlay

#include "runtime/bundle/recipe.h"

#include "fmt/format.h"
#include "formats/quantization/e2m1.h"
#include "runtime/bundle/code_words.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>

namespace inlay {
namespace {

// --- Places -----------------------------------------------------------------

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

// Units of codes, and runs of 16 rows (see Packing in dialects/llm/LlmOps.td).
constexpr uint64_t kUnitRows = 16, kUnitColumns = 128, kPieceBytes = 16;

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

absl::StatusOr<uint64_t> WeightBytes(const plan::Weight &weight) {
  const plan::Recipe &recipe = *weight.recipe();
  uint64_t rows = recipe.rows(), columns = recipe.columns(), elements = 0, bytes = 0;
  if (recipe.packing() == plan::Packing_Atom8x64) {
    rows = rows > (uint64_t{1} << 62) ? rows : RoundUp(rows, kAtomRows);
    columns = columns > (uint64_t{1} << 62) ? columns : RoundUp(columns, kAtomColumns);
  } else if (recipe.packing() != plan::Packing_RowMajor) {
    rows = rows > (uint64_t{1} << 62) ? rows : RoundUp(rows, kUnitRows);
    if (recipe.packing() == plan::Packing_Codes16x128)
      columns = columns > (uint64_t{1} << 62) ? columns : RoundUp(columns, kUnitColumns);
  }
  if (__builtin_mul_overflow(rows, columns, &elements) ||
      __builtin_mul_overflow(elements, ElementBits(weight.type()), &bytes) || bytes > (uint64_t{1} << 62))
    return absl::InvalidArgumentError(fmt::format("weight '{}': {} x {} elements do not fit into memory",
                                                  weight.name()->string_view(), recipe.rows(), recipe.columns()));
  return bytes / 8;
}

bool IsRopeTable(const plan::Recipe &recipe) { return recipe.inv_freq() && recipe.inv_freq()->size() > 0; }

bool FitsRopeTable(const plan::Recipe &recipe) {
  uint64_t half = recipe.columns() / 2, frequencies = recipe.inv_freq()->size();
  return half > 0 && recipe.columns() % 2 == 0 && frequencies % half == 0 && frequencies / half <= recipe.rows() &&
         recipe.short_rows() < recipe.rows() && (recipe.short_rows() == 0 || frequencies / half == 2);
}

// --- Rows of the sources ----------------------------------------------------

namespace {

// The most rows that are read at a time to be packed.
constexpr uint64_t kMaxRows = 64;

} // namespace

WeightRecipe::Place WeightRecipe::PlaceOf(uint64_t logical) const {
  size_t s = sources_.size() - 1;
  while (sources_[s].first > logical)
    --s;
  return {s, sources_[s].rows.TensorRow(logical - sources_[s].first)};
}

absl::Status WeightRecipe::ReadWords(const Source &source, uint64_t row, uint64_t count, uint64_t column,
                                     uint64_t columns, std::byte *out) {
  uint64_t element = ElementSize(source.tensor.type), pitch = source.rows.tensor_columns();
  if (!source.rows.is_transposed() && columns != pitch) {
    for (uint64_t r = 0; r < count; ++r, out += columns * element)
      if (absl::Status status =
              source.tensor.read(((row + r) * pitch + column) * element, std::span(out, columns * element));
          !status.ok())
        return status;
    return absl::OkStatus();
  }
  if (!source.rows.is_transposed())
    return source.tensor.read((row * pitch + column) * element, std::span(out, count * columns * element));
  std::array<std::byte, kMaxRows * sizeof(float)> line; // of the tensor: an element of each row
  for (uint64_t c = 0; c < columns; ++c) {
    if (absl::Status status =
            source.tensor.read(((column + c) * pitch + row) * element, std::span(line).first(count * element));
        !status.ok())
      return status;
    for (uint64_t r = 0; r < count; ++r)
      std::memcpy(out + (r * columns + c) * element, line.data() + r * element, element);
  }
  return absl::OkStatus();
}

// Elements of few bits: bytes, or F32 where they become floats.
absl::Status WeightRecipe::ReadFields(const Source &source, uint64_t row, uint64_t count, uint64_t column,
                                      uint64_t columns, std::byte *out) {
  const WordFields &fields = source.rows.fields();
  uint64_t in_word = fields.count(), word_bytes = fields.word_bits / 8;
  uint64_t rows_a_word = fields.along_rows ? in_word : 1, columns_a_word = fields.along_rows ? 1 : in_word;
  uint64_t first_row = row / rows_a_word, last_row = (row + count - 1) / rows_a_word;
  uint64_t first_column = column / columns_a_word, last_column = (column + columns - 1) / columns_a_word;
  uint64_t word_columns = last_column - first_column + 1;
  std::vector<std::byte> words((last_row - first_row + 1) * word_columns * word_bytes);
  if (absl::Status status =
          ReadWords(source, first_row, last_row - first_row + 1, first_column, word_columns, words.data());
      !status.ok())
    return status;
  const uint32_t mask = (1U << fields.bits) - 1;
  // Whole words of 8 codes along rows, which most checkpoints have: without a division for each code.
  if (source.type == plan::DataType_U8 && !fields.along_rows && in_word == 8 && column % 8 == 0 && columns % 8 == 0) {
    std::array<uint32_t, 8> shifts;
    for (uint32_t i = 0; i < shifts.size(); ++i)
      shifts[i] = fields.Shift(i);
    for (uint64_t w = 0; w < count * word_columns; ++w, out += shifts.size()) {
      uint32_t word = 0;
      std::memcpy(&word, words.data() + w * word_bytes, word_bytes);
      for (size_t i = 0; i < shifts.size(); ++i)
        out[i] = static_cast<std::byte>((word >> shifts[i]) & mask);
    }
    return absl::OkStatus();
  }
  for (uint64_t r = row; r < row + count; ++r)
    for (uint64_t c = column; c < column + columns; ++c) {
      uint64_t at = (r / rows_a_word - first_row) * word_columns + c / columns_a_word - first_column;
      uint32_t word = 0;
      std::memcpy(&word, words.data() + at * word_bytes, word_bytes);
      uint32_t field = (word >> fields.Shift(static_cast<uint32_t>((fields.along_rows ? r : c) % in_word))) & mask;
      if (fields.are_floats) {
        *out++ = static_cast<std::byte>(kE4M3OfE2M1[field]);
        continue;
      }
      if (source.type == plan::DataType_U8) {
        *out++ = static_cast<std::byte>(field);
        continue;
      }
      auto value = static_cast<float>(static_cast<int64_t>(field) + fields.addend);
      std::memcpy(out, &value, sizeof value);
      out += sizeof value;
    }
  return absl::OkStatus();
}

// Factors of a quantised weight, as F32.
absl::Status WeightRecipe::ReadScales(const Source &source, uint64_t row, uint64_t count, uint64_t column,
                                      uint64_t columns, std::byte *out) {
  const plan::RecipeStep &step = *source.rows.scale();
  uint64_t elements = count * columns;
  std::vector<std::byte> stored(elements * ElementSize(source.tensor.type));
  if (absl::Status status = ReadWords(source, row, count, column, columns, stored.data()); !status.ok())
    return status;
  if (const plan::RecipeStep *nested = source.rows.nested()) {
    for (uint64_t i = 0; i < elements; ++i) {
      const uint64_t at = (row + i / columns) * source.rows.tensor_columns() + column + i % columns;
      const float value = source.table[std::to_integer<size_t>(stored[i])] * source.scales[at / nested->block()] +
                          static_cast<float>(nested->factor());
      std::memcpy(out + i * sizeof value, &value, sizeof value);
    }
  } else if (step.type() == plan::DataType_F8E8M0) {
    for (uint64_t i = 0; i < elements; ++i) {
      const float value = DecodeF8E8M0(std::to_integer<uint8_t>(stored[i]));
      std::memcpy(out + i * sizeof value, &value, sizeof value);
    }
  } else {
    ConvertElements(stored.data(), source.tensor.type, out, plan::DataType_F32, elements);
  }
  for (uint64_t i = 0; i < elements; ++i) {
    float value = 0;
    std::memcpy(&value, out + i * sizeof value, sizeof value);
    if (!std::isfinite(value) || (value == 0 && !step.allows_zero()))
      return absl::InvalidArgumentError(
          fmt::format("tensor '{}': has the scale {} in row {}, expected a finite number that is not 0", source.name,
                      value, row + i / columns));
    value = static_cast<float>(value * step.factor());
    std::memcpy(out + i * sizeof value, &value, sizeof value);
  }
  return absl::OkStatus();
}

// Codes, one a byte, or F32 scales. Groups are read as a whole, whatever part of them is asked for.
absl::Status WeightRecipe::ReadQuantized(const Source &source, uint64_t row, uint64_t count, uint64_t column,
                                         uint64_t columns, std::byte *out) {
  const plan::RecipeStep &step = *source.rows.quantizer();
  const bool makes_scales = step.op() == plan::RecipeOp_QuantizeScales;
  const uint64_t size = step.block(), first_group = makes_scales ? column : column / size;
  const uint64_t groups = makes_scales ? columns : (column + columns - 1) / size + 1 - first_group;
  const uint64_t width = groups * size, elements = count * width;
  if (QuantizationRecord *record = source.tensor.record;
      makes_scales && record && record->CopyScales(row, count, first_group, groups, out))
    return absl::OkStatus();
  std::vector<std::byte> stored(elements * ElementSize(source.tensor.type));
  if (absl::Status status = ReadWords(source, row, count, first_group * size, width, stored.data()); !status.ok())
    return status;
  std::vector<float> values(elements);
  ConvertElements(stored.data(), source.tensor.type, reinterpret_cast<std::byte *>(values.data()), plan::DataType_F32,
                  elements);
  auto quantize = [&](std::byte *to) {
    return QuantizeRows(step, values, row, count, first_group, source.name, source.tensor.record, to);
  };
  if (makes_scales || columns == width)
    return quantize(out);
  std::vector<std::byte> codes(elements);
  if (absl::Status status = quantize(codes.data()); !status.ok())
    return status;
  for (uint64_t r = 0; r < count; ++r)
    std::memcpy(out + r * columns, codes.data() + r * width + (column - first_group * size), columns);
  return absl::OkStatus();
}

absl::Status WeightRecipe::ReadTensor(Place place, uint64_t count, uint64_t column, uint64_t columns,
                                      std::byte *out) const {
  const Source &source = sources_[place.source];
  if (place.row >= SourceRows::kZeroRows) {
    std::memset(out, 0, count * columns * ElementSize(source.type));
    return absl::OkStatus();
  }
  column += source.rows.first_column();
  auto read = source.rows.quantizer()      ? ReadQuantized
              : source.rows.scale()        ? ReadScales
              : source.rows.column_order() ? ReadSorted
              : source.rows.fields().bits  ? ReadFields
                                           : ReadWords;
  if (uint64_t repeat = source.rows.repeat(); repeat > 1) {
    // Rows that are the same one are read once.
    uint64_t row_bytes = columns * ElementSize(source.type);
    for (uint64_t r = 0; r < count; ++r) {
      uint64_t row = (place.row + r) / repeat;
      if (r > 0 && row == (place.row + r - 1) / repeat)
        std::memcpy(out + r * row_bytes, out + (r - 1) * row_bytes, row_bytes);
      else if (absl::Status status = read(source, row, 1, column, columns, out + r * row_bytes); !status.ok())
        return status;
    }
    return absl::OkStatus();
  }
  if (absl::Status status = read(source, place.row, count, column, columns, out); !status.ok())
    return status;
  if (source.type == plan::DataType_F8E4M3) {
    constexpr auto kNan = std::byte{0x7f};
    std::span<const std::byte> codes(out, count * columns);
    if (auto nan = std::find_if(codes.begin(), codes.end(), [&](std::byte code) { return (code & kNan) == kNan; });
        nan != codes.end())
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has a NaN in row {}, expected finite numbers",
                                                    source.name,
                                                    place.row + static_cast<uint64_t>(nan - codes.begin()) / columns));
  }
  return absl::OkStatus();
}

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

// What the elements of a source become when they are read, and whether they can become those of the weight.
absl::Status WeightRecipe::SetType(const plan::Weight &weight, Source &source) {
  const WordFields &fields = source.rows.fields();
  plan::DataType stored = source.tensor.type;
  source.type = stored;
  bool fits = source.rows.nested() ? stored == plan::DataType_U8 : !source.rows.scale() || IsFloat(stored);
  const plan::RecipeStep *scale = source.rows.scale();
  if (scale && scale->type() == plan::DataType_F8E8M0)
    fits = stored == plan::DataType_U8 || stored == plan::DataType_F8E8M0;
  if (const plan::RecipeStep *step = source.rows.quantizer()) {
    fits = IsFloat(stored);
    source.type = step->op() == plan::RecipeOp_QuantizeScales ? plan::DataType_F32
                  : step->type() == plan::DataType_U4         ? plan::DataType_U8
                                                              : step->type();
  } else if (scale) {
    source.type = plan::DataType_F32;
  } else if (fields.bits) {
    source.type = fields.are_floats        ? plan::DataType_F8E4M3
                  : IsFloat(weight.type()) ? plan::DataType_F32
                                           : plan::DataType_U8;
    fits = stored == (fields.word_bits == 32 ? plan::DataType_I32 : plan::DataType_U8);
  }
  if (fits && IsConvertible(source.type, weight.type()))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("tensor '{}': has elements {}, which cannot become the {} of weight '{}'", source.name,
                  plan::EnumNameDataType(stored), plan::EnumNameDataType(weight.type()), weight.name()->string_view()));
}

// Reads the tensors that say what codes of scales stand for.
absl::Status WeightRecipe::ReadNested(const SourceLookup &lookup, Source &source) {
  const plan::RecipeStep *nested = source.rows.nested();
  if (!nested)
    return absl::OkStatus();
  auto read = [&](const flatbuffers::String &name, uint64_t count, std::vector<float> &values) -> absl::Status {
    absl::StatusOr<SourceTensor> tensor = lookup(name.string_view());
    if (!tensor.ok())
      return tensor.status();
    if (tensor->type != plan::DataType_F32 || tensor->bytes != count * sizeof(float))
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has {} bytes of {}, expected {} elements F32",
                                                    name.string_view(), tensor->bytes,
                                                    plan::EnumNameDataType(tensor->type), count));
    values.resize(count);
    return tensor->read(0, std::as_writable_bytes(std::span(values)));
  };
  constexpr uint64_t kCodes = 256;
  if (absl::Status status = read(*nested->table(), kCodes, source.table); !status.ok())
    return status;
  return read(*nested->scales(), (source.tensor.bytes + nested->block() - 1) / nested->block(), source.scales);
}

absl::StatusOr<WeightRecipe> WeightRecipe::Open(const plan::Weight &weight, const SourceLookup &lookup, Rank rank) {
  WeightRecipe opened;
  opened.weight_ = &weight;
  const plan::Recipe &recipe = *weight.recipe();
  if (IsRopeTable(recipe))
    return opened;
  uint64_t columns = recipe.columns(), total = 0;
  std::string_view weight_name = weight.name()->string_view();
  for (const plan::Source *described : *recipe.sources()) {
    absl::StatusOr<SourceTensor> tensor = lookup(described->tensor()->string_view());
    if (!tensor.ok())
      return tensor.status();
    absl::StatusOr<SourceRows> rows = SourceRows::Open(*described, tensor->shape, columns, weight_name, rank);
    if (!rows.ok())
      return rows.status();
    uint64_t elements = ElementSize(tensor->type);
    for (int64_t size : tensor->shape)
      if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements))
        elements = 0;
    if (tensor->bytes != elements)
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has {} bytes, its shape needs {}",
                                                    described->tensor()->string_view(), tensor->bytes, elements));
    uint64_t count = rows->count();
    if (count == 0)
      continue;
    if (count > recipe.rows() - total) {
      total = recipe.rows() + 1;
      break;
    }
    Source source{*std::move(tensor), *std::move(rows), total, described->tensor()->str()};
    if (absl::Status status = SetType(weight, source); !status.ok())
      return status;
    if (absl::Status status = ReadNested(lookup, source); !status.ok())
      return status;
    if (absl::Status status = ReadColumnOrder(lookup, columns, source); !status.ok())
      return status;
    if (source.rows.is_transposed()) {
      source.cache = std::make_shared<StripCache>(source.tensor.bytes, std::move(source.tensor.read));
      source.tensor.read = [cache = source.cache](uint64_t offset, std::span<std::byte> out) {
        return cache->Read(offset, out);
      };
      opened.left_ = std::make_shared<std::atomic<uint64_t>>(weight.bytes());
    }
    opened.sources_.push_back(std::move(source));
    total += count;
  }
  if (total != recipe.rows())
    return absl::InvalidArgumentError(fmt::format("weight '{}': its sources have {} rows, expected {}",
                                                  weight.name()->string_view(), total, recipe.rows()));
  return opened;
}

absl::Status WeightRecipe::Make(uint64_t first, std::span<std::byte> out) const {
  absl::Status status = MakePart(first, out);
  if (left_ && left_->fetch_sub(out.size()) == out.size())
    for (const Source &source : sources_)
      if (source.cache)
        source.cache->Release();
  return status;
}

absl::Status WeightRecipe::MakePart(uint64_t first, std::span<std::byte> out) const {
  if (IsRopeTable(*weight_->recipe())) {
    MakeTable(first, out);
    return absl::OkStatus();
  }
  switch (weight_->recipe()->packing()) {
  case plan::Packing_RowMajor:
    return MakeRows(first, out);
  case plan::Packing_Atom8x64:
    return MakeAtoms(first, out);
  case plan::Packing_Codes16x128:
    return MakeCodes(first, out);
  case plan::Packing_Rows16:
    return MakeColumns(first, out);
  }
  return absl::InternalError("a recipe has an unknown packing");
}

void WeightRecipe::MakeTable(uint64_t first, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  uint64_t half = recipe.columns() / 2, begin = first / sizeof(float), count = out.size() / sizeof(float);
  uint64_t short_rows = recipe.short_rows(), temperature_length = recipe.temperature_length();
  uint64_t with_first_set = recipe.rows() - recipe.inv_freq()->size() / half; // rows before the last of them
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t row = (begin + i) / recipe.columns(), column = (begin + i) % recipe.columns();
    uint64_t position = row < short_rows ? row : row - short_rows;
    uint64_t set = short_rows > 0 ? row >= short_rows : row > with_first_set ? row - with_first_set : 0;
    // transformers multiplies position and frequency in f32.
    auto frequency = static_cast<float>(recipe.inv_freq()->Get(static_cast<uint32_t>(set * half + column % half)));
    double angle = static_cast<float>(position) * frequency;
    double value = column < half ? std::cos(angle) : std::sin(angle);
    uint64_t steps = position / temperature_length;
    double temperature = 1 + recipe.temperature_beta() * std::log1p(static_cast<double>(steps));
    auto element = static_cast<float>(value * recipe.attention_factor() * temperature);
    std::memcpy(out.data() + i * sizeof element, &element, sizeof element);
  }
}

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
    // A part of the columns at a time, so that their words stay in a core's cache.
    const uint64_t step = are_lines ? 1 : units;
    for (uint64_t u = 0; u < units; u += step)
      if (absl::Status status = MakeCodeUnits(rows, inside + u, step, words, out.data() + at + u * kRecipeUnit);
          !status.ok())
        return status;
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

// --- Rows for those who pack elsewhere ---------------------------------------

uint64_t WeightRecipe::PartRows() const {
  if (!weight_->pack() || sources_.empty())
    return 0;
  for (const Source &source : sources_)
    if (source.tensor.type != weight_->source_type() || source.rows.is_transposed())
      return 0;
  return weight_->recipe()->row_order() == plan::RowOrder_HalfPairs ? std::lcm(kAtomRows, weight_->recipe()->head_dim())
                                                                    : kAtomRows;
}

uint64_t WeightRecipe::SourceRowBytes() const {
  return weight_->recipe()->columns() * ElementSize(weight_->source_type());
}

absl::Status WeightRecipe::ReadLogical(uint64_t first, uint64_t count, std::byte *out) const {
  for (uint64_t i = 0; i < count;) {
    Place place = PlaceOf(first + i);
    uint64_t run = 1;
    while (i + run < count && PlaceOf(first + i + run) == Place{place.source, place.row + run})
      ++run;
    if (absl::Status status = ReadTensor(place, run, 0, weight_->recipe()->columns(), out + i * SourceRowBytes());
        !status.ok())
      return status;
    i += run;
  }
  return absl::OkStatus();
}

absl::Status WeightRecipe::ReadSources(uint64_t first, uint64_t count, std::span<std::byte> out) const {
  const plan::Recipe &recipe = *weight_->recipe();
  if (recipe.row_order() != plan::RowOrder_Alternate)
    return ReadLogical(first, count, out.data());
  // The rows of the first half, then as many of the second.
  if (absl::Status status = ReadLogical(first / 2, count / 2, out.data()); !status.ok())
    return status;
  return ReadLogical(recipe.rows() / 2 + first / 2, count / 2, out.data() + count / 2 * SourceRowBytes());
}

uint64_t WeightRecipe::JobBytes() const {
  // A scale may be that of a whole row of elements, so that few bytes of them are much work.
  const bool is_scale = std::any_of(sources_.begin(), sources_.end(), [](const Source &source) {
    return source.rows.quantizer() && source.rows.quantizer()->op() == plan::RecipeOp_QuantizeScales;
  });
  return is_scale ? kRecipeUnit : uint64_t{1} << 20;
}

absl::Status Materialize(const plan::Weight &weight, const SourceLookup &lookup, std::span<std::byte> out,
                         ThreadPool &pool, Rank rank) {
  absl::StatusOr<WeightRecipe> recipe = WeightRecipe::Open(weight, lookup, rank);
  if (!recipe.ok())
    return recipe.status();
  const uint64_t job_bytes = recipe->JobBytes();
  std::mutex mutex;
  absl::Status first_error;
  pool.Run(static_cast<int64_t>((out.size() + job_bytes - 1) / job_bytes), [&](int64_t job) {
    uint64_t at = static_cast<uint64_t>(job) * job_bytes;
    absl::Status status = recipe->Make(at, out.subspan(at, std::min(job_bytes, out.size() - at)));
    std::lock_guard lock(mutex);
    first_error.Update(status);
  });
  return first_error;
}

} // namespace inlay

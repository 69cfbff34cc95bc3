// Reading rows of the tensors that a weight is made of (recipe.h).
#include "fmt/format.h"
#include "formats/quantization/e2m1.h"
#include "runtime/bundle/recipe.h"
#include "runtime/bundle/recipe_layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace inlay {

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

} // namespace inlay

#include "runtime/bundle/recipe.h"

#include "fmt/format.h"
#include "fmt/ranges.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>

namespace inlay {
namespace {

// --- Elements ---------------------------------------------------------------

float HalfToFloat(uint16_t half) {
  _Float16 value;
  std::memcpy(&value, &half, sizeof value);
  return static_cast<float>(value);
}

uint16_t FloatToHalf(float value) {
  auto half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

uint16_t FloatToBfloat16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value))
    return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Converts `count` elements.
void Convert(const std::byte *from, plan::DataType from_type, std::byte *to, plan::DataType to_type, size_t count) {
  if (from_type == to_type) {
    std::memcpy(to, from, count * ElementSize(to_type));
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    float value = 0;
    uint16_t bits = 0;
    if (from_type == plan::DataType_F32)
      std::memcpy(&value, from + 4 * i, 4);
    else
      std::memcpy(&bits, from + 2 * i, 2);
    if (from_type == plan::DataType_BF16)
      value = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
    if (from_type == plan::DataType_F16)
      value = HalfToFloat(bits);
    if (to_type == plan::DataType_F32) {
      std::memcpy(to + 4 * i, &value, 4);
      continue;
    }
    bits = to_type == plan::DataType_BF16 ? FloatToBfloat16(value) : FloatToHalf(value);
    std::memcpy(to + 2 * i, &bits, 2);
  }
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

constexpr uint64_t kAtomRows = 8, kAtomColumns = 64, kChunkBytes = 16;

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// Writes a row of `columns` 16-bit elements into its atoms (see Packing in plan.fbs).
void PackRow(const std::byte *row, uint64_t columns, uint64_t stored_row, std::span<std::byte> out) {
  uint64_t atoms = RoundUp(columns, kAtomColumns) / kAtomColumns;
  uint64_t in_atom = stored_row % kAtomRows;
  std::byte *group = out.data() + stored_row / kAtomRows * atoms * 1024 + in_atom * 128;
  for (uint64_t byte = 0; byte < columns * 2; byte += kChunkBytes) {
    uint64_t atom = byte / 128, chunk = byte % 128 / kChunkBytes;
    std::memcpy(group + atom * 1024 + (chunk ^ in_atom) * kChunkBytes, row + byte,
                std::min(kChunkBytes, columns * 2 - byte));
  }
}

// --- Contents ---------------------------------------------------------------

void FillRopeTable(const plan::Weight &weight, std::span<std::byte> out, ThreadPool &pool) {
  const plan::Recipe &recipe = *weight.recipe();
  uint64_t half = recipe.columns() / 2;
  pool.Run(static_cast<int64_t>(recipe.rows()), [&](int64_t position) {
    auto *row = reinterpret_cast<float *>(out.data()) + static_cast<uint64_t>(position) * recipe.columns();
    for (uint64_t i = 0; i < half; ++i) {
      // transformers multiplies position and frequency in f32.
      auto frequency = static_cast<float>(recipe.inv_freq()->Get(static_cast<uint32_t>(i)));
      double angle = static_cast<float>(position) * frequency;
      row[i] = static_cast<float>(std::cos(angle) * recipe.attention_factor());
      row[half + i] = static_cast<float>(std::sin(angle) * recipe.attention_factor());
    }
  });
}

// SplitMix64 (Steele et al., 2014).
uint64_t Mix(uint64_t z) {
  z *= 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Uniform numbers.
void MakeNoise(plan::DataType type, double mean, double deviation, uint64_t seed, std::span<std::byte> out,
               ThreadPool &pool) {
  size_t size = ElementSize(type), count = out.size() / size;
  constexpr size_t kPerJob = 1 << 14;
  pool.Run(static_cast<int64_t>((count + kPerJob - 1) / kPerJob), [&](int64_t job) {
    size_t first = static_cast<size_t>(job) * kPerJob, last = std::min(count, first + kPerJob);
    for (size_t i = first; i < last; ++i) {
      double uniform = static_cast<double>(Mix(i + seed * 0x632be59bd9b4e019) >> 11) * 0x1p-53 * 2 - 1;
      auto value = static_cast<float>(mean + deviation * std::sqrt(3.0) * uniform);
      Convert(reinterpret_cast<const std::byte *>(&value), plan::DataType_F32, out.data() + i * size, type, 1);
    }
  });
}

// A prime, so that rows of no length repeat soon.
constexpr uint64_t kNoiseElements = 4'194'319;

// Noise for matrices, made once for each type.
std::span<const std::byte> SharedNoise(plan::DataType type, ThreadPool &pool) {
  static std::mutex mutex;
  static std::map<plan::DataType, std::vector<std::byte>> blocks;
  std::lock_guard lock(mutex);
  std::vector<std::byte> &block = blocks[type];
  if (block.empty()) {
    block.resize(kNoiseElements * ElementSize(type));
    MakeNoise(type, /*mean=*/0, /*deviation=*/0.02, /*seed=*/0, block, pool);
  }
  return block;
}

bool IsRopeTable(const plan::Recipe &recipe) { return recipe.inv_freq() && recipe.inv_freq()->size() > 0; }

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

absl::Status CarryOut(const plan::Weight &weight, const SourceLookup &lookup, std::span<std::byte> out,
                      ThreadPool &pool) {
  const plan::Recipe &recipe = *weight.recipe();
  if (IsRopeTable(recipe)) {
    FillRopeTable(weight, out, pool);
    return absl::OkStatus();
  }
  uint64_t columns = recipe.columns(), total = 0;
  std::vector<SourceTensor> sources;
  std::vector<uint64_t> first_rows;
  for (const flatbuffers::String *name : *recipe.sources()) {
    absl::StatusOr<SourceTensor> source = lookup(name->string_view());
    if (!source.ok())
      return source.status();
    bool fits = !source->shape.empty() && source->shape.size() <= 2;
    uint64_t rows = fits ? static_cast<uint64_t>(source->shape[0]) : 0;
    uint64_t source_columns = fits && source->shape.size() == 2 ? static_cast<uint64_t>(source->shape[1]) : 1;
    if (!fits || source_columns != columns || source->bytes.size() != rows * columns * ElementSize(source->type) ||
        rows > recipe.rows())
      return absl::InvalidArgumentError(fmt::format("tensor '{}': has shape [{}], expected rows of {} for weight '{}'",
                                                    name->string_view(), fmt::join(source->shape, ", "), columns,
                                                    weight.name()->string_view()));
    first_rows.push_back(total);
    total += rows;
    sources.push_back(*std::move(source));
  }
  if (total != recipe.rows())
    return absl::InvalidArgumentError(fmt::format("weight '{}': its sources have {} rows, expected {}",
                                                  weight.name()->string_view(), total, recipe.rows()));
  bool packed = recipe.packing() == plan::Packing_Atom8x64;
  if (packed && (columns % kAtomColumns != 0 || recipe.rows() % kAtomRows != 0))
    std::memset(out.data(), 0, out.size());
  size_t row_bytes = columns * ElementSize(weight.type());
  constexpr uint64_t kRowsPerJob = 64;
  pool.Run(static_cast<int64_t>((recipe.rows() + kRowsPerJob - 1) / kRowsPerJob), [&](int64_t job) {
    std::vector<std::byte> scratch(packed ? row_bytes : 0);
    uint64_t first = static_cast<uint64_t>(job) * kRowsPerJob, last = std::min(recipe.rows(), first + kRowsPerJob);
    for (uint64_t stored = first; stored < last; ++stored) {
      uint64_t logical = LogicalRow(recipe, stored);
      size_t s = sources.size() - 1;
      while (first_rows[s] > logical)
        --s;
      const std::byte *from =
          sources[s].bytes.data() + (logical - first_rows[s]) * columns * ElementSize(sources[s].type);
      std::byte *to = packed ? scratch.data() : out.data() + stored * row_bytes;
      Convert(from, sources[s].type, to, weight.type(), columns);
      if (packed)
        PackRow(to, columns, stored, out);
    }
  });
  return absl::OkStatus();
}

absl::Status FillRandom(const plan::Weight &weight, uint64_t seed, std::span<std::byte> out, ThreadPool &pool) {
  const plan::Recipe &recipe = *weight.recipe();
  if (IsRopeTable(recipe)) {
    FillRopeTable(weight, out, pool);
    return absl::OkStatus();
  }
  if (recipe.columns() == 1 && weight.name()->string_view().find("norm") != std::string_view::npos) {
    MakeNoise(weight.type(), /*mean=*/1, /*deviation=*/0.1, seed, out, pool);
    return absl::OkStatus();
  }
  // The same noise for all, from different places: what matters for speed is that bits look random.
  std::span<const std::byte> noise = SharedNoise(weight.type(), pool);
  uint64_t start = Mix(seed) % kNoiseElements * ElementSize(weight.type());
  constexpr uint64_t kBytesPerJob = uint64_t{4} << 20;
  pool.Run(static_cast<int64_t>((out.size() + kBytesPerJob - 1) / kBytesPerJob), [&](int64_t job) {
    uint64_t at = static_cast<uint64_t>(job) * kBytesPerJob, end = std::min<uint64_t>(out.size(), at + kBytesPerJob);
    while (at < end) {
      uint64_t from = (start + at) % noise.size(), count = std::min<uint64_t>(end - at, noise.size() - from);
      std::memcpy(out.data() + at, noise.data() + from, count);
      at += count;
    }
  });
  return absl::OkStatus();
}

} // namespace inlay

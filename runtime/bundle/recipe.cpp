#include "runtime/bundle/recipe.h"

#include "fmt/format.h"
#include "runtime/bundle/recipe_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numeric>

namespace inlay {

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

bool HasValues(const plan::Recipe &recipe) { return recipe.values() && recipe.values()->size() > 0; }

bool FitsRopeTable(const plan::Recipe &recipe) {
  uint64_t half = recipe.columns() / 2, frequencies = recipe.inv_freq()->size();
  return half > 0 && recipe.columns() % 2 == 0 && frequencies % half == 0 && frequencies / half <= recipe.rows() &&
         recipe.short_rows() < recipe.rows() && (recipe.short_rows() == 0 || frequencies / half == 2);
}

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
  if (IsRopeTable(recipe) || HasValues(recipe))
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
  if (HasValues(*weight_->recipe())) {
    MakeValues(first, out);
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

void WeightRecipe::MakeValues(uint64_t first, std::span<std::byte> out) const {
  // Both are little-endian.
  std::memcpy(out.data(), weight_->recipe()->values()->Data() + first, out.size());
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

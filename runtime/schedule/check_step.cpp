#include "runtime/schedule/check_step.h"

#include "fmt/format.h"

#include <algorithm>
#include <vector>

namespace inlay {
namespace {

class Checker {
public:
  Checker(const MetadataLayout &layout, const void *block)
      : layout_(layout), block_(static_cast<const int32_t *>(block)) {}

  // Returns element `at` of `array`. Records an error if it is not in [low, high).
  int32_t Take(plan::Metadata array, int64_t at, int64_t low, int64_t high) {
    int32_t value = block_[layout_.OffsetOf(array) / sizeof(int32_t) + static_cast<uint64_t>(at)];
    if (status_.ok() && (value < low || value >= high))
      status_ = absl::InternalError(fmt::format("step metadata: {}[{}] is {}, expected {} to {}",
                                                plan::EnumNameMetadata(array), at, value, low, high - 1));
    return value;
  }
  bool ok() const { return status_.ok(); }
  const absl::Status &status() const { return status_; }

private:
  const MetadataLayout &layout_;
  const int32_t *block_;
  absl::Status status_;
};

} // namespace

absl::Status CheckStep(const MetadataLayout &layout, const void *block, const StepSizes &sizes,
                       const StepBounds &bounds) {
  Checker check(layout, block);
  const StepCapacity &capacity = layout.capacity;
  int32_t tokens = sizes[plan::Extent_Tokens], sequences = sizes[plan::Extent_Sequences];
  std::vector<int32_t> lengths(static_cast<size_t>(std::max(sequences, 0))); // that the rows of each sequence see
  for (int32_t row = 0; row < tokens && check.ok(); ++row) {
    check.Take(plan::Metadata_TokenIds, row, 0, bounds.vocab_size);
    int32_t sequence = check.Take(plan::Metadata_RowSequences, row, -1, sequences);
    if (!check.ok() || sequence < 0)
      continue;
    int64_t most = int64_t{capacity.pages_per_sequence} * capacity.page_size;
    int32_t position = check.Take(plan::Metadata_Positions, row, 0, most);
    check.Take(plan::Metadata_RopeRows, row, 0, bounds.short_rope_len + most);
    if (int32_t &length = lengths[static_cast<size_t>(sequence)]; check.ok())
      length = std::max(length, position + 1);
  }
  for (int32_t sequence = 0; sequence < sequences && check.ok(); ++sequence)
    for (int32_t page = 0; page * capacity.page_size < lengths[static_cast<size_t>(sequence)] && check.ok(); ++page)
      check.Take(plan::Metadata_PageTable, int64_t{sequence} * capacity.pages_per_sequence + page, 0,
                 bounds.total_pages);
  for (int32_t tile = 0; tile < sizes[plan::Extent_QueryTiles] && check.ok(); ++tile) {
    int32_t sequence = check.Take(plan::Metadata_TileSequences, tile, -1, sequences);
    int32_t first = check.Take(plan::Metadata_TileRows, tile, 0, tokens);
    check.Take(plan::Metadata_TileEnds, tile, first, int64_t{tokens} + 1);
    int64_t keys = check.ok() && sequence >= 0 ? lengths[static_cast<size_t>(sequence)] : 0;
    check.Take(plan::Metadata_TileKeys, tile, 0, keys + 1);
  }
  for (int32_t row = 0; row < sizes[plan::Extent_LogitRows] && check.ok(); ++row)
    check.Take(plan::Metadata_LogitRowIndices, row, -1, tokens);
  return check.status();
}

absl::Status CheckArrived(const MetadataLayout &layout, const void *host, const void *device) {
  const auto *sent = static_cast<const int32_t *>(host), *found = static_cast<const int32_t *>(device);
  uint64_t ids = layout.OffsetOf(plan::Metadata_TokenIds) / sizeof(int32_t);
  uint64_t ids_end = ids + static_cast<uint64_t>(MetadataElements(plan::Metadata_TokenIds, layout.capacity));
  for (uint64_t i = 0; i < layout.bytes / sizeof(int32_t); ++i)
    if (sent[i] != found[i] && (i < ids || i >= ids_end))
      return absl::InternalError(fmt::format("step metadata: byte {} is {:#x} on the device, expected {:#x}",
                                             i * sizeof(int32_t), found[i], sent[i]));
  return absl::OkStatus();
}

} // namespace inlay

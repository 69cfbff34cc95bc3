#include "runtime/schedule/check_step.h"

#include "fmt/format.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <vector>

namespace inlay {
namespace {

class Checker {
public:
  Checker(const MetadataLayout &layout, const void *block)
      : layout_(layout), block_(static_cast<const int32_t *>(block)) {}

  // Returns element `at` of `array`. Records an error if it is not in [low, high).
  int32_t Take(plan::Metadata array, int64_t at, int64_t low, int64_t high) {
    return Take(layout_.OffsetOf(array), plan::EnumNameMetadata(array), at, low, high);
  }
  // The same of the page table of a cache group.
  int32_t TakePage(size_t group, int64_t at, int64_t high) {
    std::string_view name = plan::EnumNameMetadata(plan::Metadata_PageTable);
    uint64_t offset = layout_.OffsetOfPageTable(group);
    if (layout_.capacity.cache_groups == 1)
      return Take(offset, name, at, 0, high);
    return Take(offset, fmt::format("cache group {}: {}", group, name), at, 0, high);
  }
  bool ok() const { return status_.ok(); }
  const absl::Status &status() const { return status_; }

private:
  int32_t Take(uint64_t offset, std::string_view name, int64_t at, int64_t low, int64_t high) {
    int32_t value = block_[offset / sizeof(int32_t) + static_cast<uint64_t>(at)];
    if (status_.ok() && (value < low || value >= high))
      status_ = absl::InternalError(
          fmt::format("step metadata: {}[{}] is {}, expected {} to {}", name, at, value, low, high - 1));
    return value;
  }

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
  // Of each sequence: the positions that its rows see, and the first of its rows.
  std::vector<int32_t> lengths(static_cast<size_t>(std::max(sequences, 0)));
  std::vector<int32_t> firsts(lengths.size(), std::numeric_limits<int32_t>::max());
  for (int32_t row = 0; row < tokens && check.ok(); ++row) {
    check.Take(plan::Metadata_TokenIds, row, 0, bounds.vocab_size);
    int32_t sequence = check.Take(plan::Metadata_RowSequences, row, -1, sequences);
    if (!check.ok() || sequence < 0)
      continue;
    int64_t most = int64_t{capacity.pages_per_sequence} * capacity.page_size;
    int32_t position = check.Take(plan::Metadata_Positions, row, 0, most);
    check.Take(plan::Metadata_RopeRows, row, 0, bounds.short_rope_len + most);
    if (!check.ok())
      continue;
    int32_t &length = lengths[static_cast<size_t>(sequence)], &first = firsts[static_cast<size_t>(sequence)];
    length = std::max(length, position + 1);
    first = std::min(first, position);
  }
  for (int32_t sequence = 0; sequence < sequences && check.ok(); ++sequence)
    for (size_t group = 0; group < bounds.cache.groups(); ++group) {
      int32_t length = lengths[static_cast<size_t>(sequence)];
      int32_t page = length > 0 ? bounds.cache.FirstVisible(group, firsts[static_cast<size_t>(sequence)]) : 0;
      for (; page * capacity.page_size < length && check.ok(); ++page)
        check.TakePage(group, int64_t{sequence} * capacity.pages_per_sequence + page, bounds.total_pages);
    }
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

#include "runtime/schedule/step.h"

#include "fmt/format.h"

#include <algorithm>

namespace inlay {

namespace {

// In the order of their offsets in the block.
constexpr plan::Metadata kTokenArrays[] = {
    plan::Metadata_TokenIds, plan::Metadata_Positions, plan::Metadata_RowSequences, plan::Metadata_TileSequences,
    plan::Metadata_TileRows, plan::Metadata_TileEnds,  plan::Metadata_TileKeys,     plan::Metadata_RopeRows};
constexpr plan::Metadata kSequenceArrays[] = {plan::Metadata_LogitRowIndices,
                                              plan::Metadata_Temperature,
                                              plan::Metadata_TopK,
                                              plan::Metadata_TopP,
                                              plan::Metadata_MinP,
                                              plan::Metadata_Seeds,
                                              plan::Metadata_RepetitionPenalty,
                                              plan::Metadata_PresencePenalty,
                                              plan::Metadata_FrequencyPenalty};
constexpr plan::Metadata kPenaltyArrays[] = {plan::Metadata_PenaltyRows, plan::Metadata_PenaltyTokens,
                                             plan::Metadata_PenaltyCounts};

uint64_t PitchOf(int64_t elements) { return (static_cast<uint64_t>(elements) * sizeof(int32_t) + 255) / 256 * 256; }

} // namespace

MetadataLayout::MetadataLayout(const StepCapacity &capacity) : capacity(capacity) {
  auto place = [&](plan::Metadata array, uint64_t &end) {
    offsets[static_cast<size_t>(array)] = end;
    end += PitchOf(MetadataElements(array, capacity));
  };
  for (plan::Metadata array : kTokenArrays)
    place(array, bytes);
  for (plan::Metadata array : kSequenceArrays)
    place(array, bytes);
  offsets[plan::Metadata_PageTable] = bytes;
  page_table_bytes = PitchOf(MetadataElements(plan::Metadata_PageTable, capacity));
  bytes += static_cast<uint64_t>(capacity.cache_groups) * page_table_bytes;
  for (plan::Metadata array : kPenaltyArrays)
    place(array, penalty_bytes);
}

bool MetadataLayout::IsPenalty(plan::Metadata array) {
  return std::ranges::find(kPenaltyArrays, array) != std::end(kPenaltyArrays);
}

StepMetadata::StepMetadata(const MetadataLayout &layout, void *block)
    : layout_(layout), block_(static_cast<int32_t *>(block)) {
  std::fill_n(block_, layout_.OffsetOf(plan::Metadata_PageTable) / sizeof(int32_t), 0);
  for (size_t group = 0; group < static_cast<size_t>(layout_.capacity.cache_groups); ++group)
    std::fill_n(block_ + layout_.OffsetOfPageTable(group) / sizeof(int32_t),
                MetadataElements(plan::Metadata_PageTable, layout_.capacity), -1);
  pages_written_.resize(static_cast<size_t>(layout_.capacity.sequences));
  pages_changed_.resize(static_cast<size_t>(layout_.capacity.cache_groups));
}

absl::Status StepMetadata::CheckCapacity(std::span<const ScheduledRows> rows, int32_t padded_rows,
                                         int32_t query_tile_rows) const {
  int64_t total = 0, tiles = 0, entries = 0, pages = 0, logits = 0;
  auto sequences = static_cast<int64_t>(rows.size());
  for (const ScheduledRows &part : rows) {
    total += part.count;
    logits += part.logits_rows();
    tiles += (part.count + query_tile_rows - 1) / query_tile_rows;
    pages = std::max(pages, static_cast<int64_t>(part.sequence->cache.pages.size()) / layout_.capacity.cache_groups);
    if (part.wants_token() && part.sequence->sampling.has_penalties())
      entries += static_cast<int64_t>(part.sequence->counts.size());
  }
  if (padded_rows < total)
    return absl::InternalError(
        fmt::format("a step of {} rows is padded to {} rows, expected at least as many", total, padded_rows));
  if (query_tile_rows == 1) { // each row of padding has its own query tile and sequence
    tiles += padded_rows - total;
    sequences = std::max(sequences, int64_t{padded_rows});
  }
  struct {
    const char *what;
    int64_t found, bound;
  } checks[] = {{"rows", padded_rows, layout_.capacity.tokens},
                {"sequences", sequences, layout_.capacity.sequences},
                {"rows of logits", logits, layout_.capacity.sequences},
                {"query tiles", tiles, layout_.capacity.tokens},
                {"pages of a sequence", pages, layout_.capacity.pages_per_sequence},
                {"penalty entries", entries, layout_.capacity.penalty_entries}};
  for (const auto &check : checks)
    if (check.found > check.bound)
      return absl::InternalError(
          fmt::format("a step has {} {}, expected at most {}", check.found, check.what, check.bound));
  return absl::OkStatus();
}

absl::StatusOr<StepSizes> StepMetadata::Fill(std::span<const ScheduledRows> rows, int32_t padded_rows,
                                             int32_t query_tile_rows) {
  if (absl::Status status = CheckCapacity(rows, padded_rows, query_tile_rows); !status.ok())
    return status;
  int32_t *ids = Ints(plan::Metadata_TokenIds), *positions = Ints(plan::Metadata_Positions),
          *rope_rows = Ints(plan::Metadata_RopeRows), *sequences = Ints(plan::Metadata_RowSequences),
          *tile_sequences = Ints(plan::Metadata_TileSequences), *tile_rows = Ints(plan::Metadata_TileRows),
          *tile_ends = Ints(plan::Metadata_TileEnds), *tile_keys = Ints(plan::Metadata_TileKeys),
          *logit_rows = Ints(plan::Metadata_LogitRowIndices);
  int32_t row = 0, tiles = 0, logits = 0;
  query_tiles_.clear();
  std::ranges::fill(pages_changed_, 0);
  RowSampling greedy; // for rows whose sampled token is not used
  greedy.temperature = 0;
  for (std::vector<int32_t> &array : penalties_)
    array.clear();
  for (size_t s = 0; s < rows.size(); ++s) {
    const ScheduledRows &part = rows[s];
    const Sequence &sequence = *part.sequence;
    auto index = static_cast<int32_t>(s);
    SetPages(s, sequence.cache.pages);
    int32_t end = row + part.count;
    for (int32_t first = row; first < end; first += query_tile_rows) {
      int32_t tile_end = std::min(end, first + query_tile_rows);
      query_tiles_.push_back({index, first, tile_end, part.first + (tile_end - row)});
    }
    for (int32_t i = 0; i < part.count; ++i, ++row) {
      // A token that was sampled on the device and has not arrived on the host yet is copied on the device.
      auto position = static_cast<size_t>(part.first) + static_cast<size_t>(i);
      size_t known = sequence.tokens.size();
      ids[row] = position < known ? sequence.tokens[position] : part.drafts ? sequence.drafts[position - known] : 0;
      positions[row] = part.first + i;
      rope_rows[row] = sequence.cache.first_rope_row + part.first + i;
      sequences[row] = index;
    }
    for (int32_t position = part.prompt_first(); position < part.prompt_end(); ++position, ++logits) {
      logit_rows[logits] = end - part.count + (position - part.first);
      SetSampling(logits, greedy);
    }
    if (!part.wants_token())
      continue;
    for (int32_t back = part.drafts; back > 0; --back, ++logits) {
      logit_rows[logits] = row - 1 - back;
      SetSampling(logits, sequence.sampling);
    }
    logit_rows[logits] = row - 1;
    SetSampling(logits, sequence.sampling);
    if (sequence.sampling.has_penalties())
      for (const auto &[token, count] : sequence.counts) {
        penalties_[0].push_back(logits);
        penalties_[1].push_back(token);
        penalties_[2].push_back(count);
      }
    ++logits;
  }
  // Tiles with the most keys start first, so that no long tile is left at the end of the launch.
  std::sort(query_tiles_.begin(), query_tiles_.end(), [](const QueryTile &a, const QueryTile &b) {
    return a.keys != b.keys ? a.keys > b.keys : a.first < b.first;
  });
  for (const QueryTile &tile : query_tiles_) {
    tile_sequences[tiles] = tile.sequence;
    tile_rows[tiles] = tile.first;
    tile_ends[tiles] = tile.end;
    tile_keys[tiles] = tile.keys;
    ++tiles;
  }
  // Padding: rows, query tiles and rows of logits without a sequence. They overwrite the values of earlier steps.
  for (; row < padded_rows; ++row) {
    ids[row] = 0;
    positions[row] = rope_rows[row] = sequences[row] = -1;
    if (query_tile_rows == 1) {
      tile_sequences[tiles] = -1;
      tile_rows[tiles] = row;
      tile_ends[tiles] = row;
      tile_keys[tiles] = 0;
      ++tiles;
    }
  }
  auto sequence_count = static_cast<int32_t>(rows.size());
  if (query_tile_rows == 1) {
    for (; sequence_count < padded_rows; ++sequence_count)
      SetPages(static_cast<size_t>(sequence_count), {});
    for (; logits < padded_rows; ++logits) {
      logit_rows[logits] = -1;
      SetSampling(logits, greedy);
    }
  }
  SetUsed(std::max(padded_rows, tiles), std::max(sequence_count, logits), sequence_count);
  return StepSizes{padded_rows, sequence_count, tiles, logits, static_cast<int32_t>(penalties_[0].size()), 0};
}

void StepMetadata::Set(std::span<const CopyRows> used, std::span<const std::byte> rows,
                       std::array<std::vector<int32_t>, 3> penalties) {
  for (const CopyRows &range : used)
    for (uint64_t row = 0; row < range.rows; ++row, rows = rows.subspan(range.bytes))
      std::ranges::copy(rows.first(range.bytes),
                        reinterpret_cast<std::byte *>(block_) + range.offset + row * range.pitch);
  used_.assign(used.begin(), used.end());
  penalties_ = std::move(penalties);
}

void StepMetadata::SetUsed(int32_t token_elements, int32_t sequence_elements, int32_t sequences) {
  const StepCapacity &capacity = layout_.capacity;
  auto bytes = [](int32_t elements) { return static_cast<uint64_t>(elements) * sizeof(int32_t); };
  used_ = {{.offset = layout_.OffsetOf(kTokenArrays[0]),
            .bytes = bytes(token_elements),
            .rows = std::size(kTokenArrays),
            .pitch = PitchOf(capacity.tokens)},
           {.offset = layout_.OffsetOf(kSequenceArrays[0]),
            .bytes = bytes(sequence_elements),
            .rows = std::size(kSequenceArrays),
            .pitch = PitchOf(capacity.sequences)}};
  for (size_t group = 0; group < pages_changed_.size(); ++group)
    if (pages_changed_[group] > 0 || !is_copied_)
      used_.push_back(
          {.offset = layout_.OffsetOfPageTable(group),
           .bytes = is_copied_ ? pages_changed_[group] * sizeof(int32_t) : bytes(capacity.pages_per_sequence),
           .rows = static_cast<uint64_t>(is_copied_ ? sequences : capacity.sequences),
           .pitch = bytes(capacity.pages_per_sequence)});
  is_copied_ = false;
}

void StepMetadata::SetPages(size_t place, std::span<const int32_t> pages) {
  auto groups = static_cast<size_t>(layout_.capacity.cache_groups);
  size_t entries = pages.size() / groups, end = std::max(entries, pages_written_[place]);
  for (size_t group = 0; group < groups; ++group) {
    int32_t *row = block_ + layout_.OffsetOfPageTable(group) / sizeof(int32_t) +
                   place * static_cast<size_t>(layout_.capacity.pages_per_sequence);
    for (size_t i = 0; i < end; ++i) {
      int32_t page = i < entries ? pages[i * groups + group] : -1;
      if (row[i] != page)
        pages_changed_[group] = std::max(pages_changed_[group], i + 1);
      row[i] = page;
    }
  }
  pages_written_[place] = entries;
}

void StepMetadata::SetSampling(int32_t row, const RowSampling &sampling) {
  Floats(plan::Metadata_Temperature)[row] = sampling.temperature;
  Ints(plan::Metadata_TopK)[row] = sampling.top_k;
  Floats(plan::Metadata_TopP)[row] = sampling.top_p;
  Floats(plan::Metadata_MinP)[row] = sampling.min_p;
  Ints(plan::Metadata_Seeds)[row] = static_cast<int32_t>(sampling.seed);
  Floats(plan::Metadata_RepetitionPenalty)[row] = sampling.repetition_penalty;
  Floats(plan::Metadata_PresencePenalty)[row] = sampling.presence_penalty;
  Floats(plan::Metadata_FrequencyPenalty)[row] = sampling.frequency_penalty;
}

} // namespace inlay

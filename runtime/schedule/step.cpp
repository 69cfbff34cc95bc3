#include "runtime/schedule/step.h"

#include <algorithm>

namespace inlay {

StepMetadata::StepMetadata(const StepCapacity &capacity) : capacity_(capacity) {
  uint64_t at = 0;
  auto place = [&](plan::Metadata array, int64_t elements) {
    offsets_[static_cast<size_t>(array)] = at;
    at += (static_cast<uint64_t>(elements) * sizeof(int32_t) + 255) / 256 * 256;
  };
  for (plan::Metadata array : {plan::Metadata_TokenIds, plan::Metadata_Positions, plan::Metadata_RowSequences,
                               plan::Metadata_TileSequences, plan::Metadata_TileRows, plan::Metadata_TileEnds})
    place(array, capacity.tokens);
  for (plan::Metadata array :
       {plan::Metadata_ContextLengths, plan::Metadata_LogitRowIndices, plan::Metadata_Temperature, plan::Metadata_TopK,
        plan::Metadata_TopP, plan::Metadata_MinP, plan::Metadata_Seeds, plan::Metadata_RepetitionPenalty,
        plan::Metadata_PresencePenalty, plan::Metadata_FrequencyPenalty})
    place(array, capacity.sequences);
  place(plan::Metadata_PageTable, int64_t{capacity.sequences} * capacity.pages_per_sequence);
  penalty_offset_ = at;
  for (plan::Metadata array : {plan::Metadata_PenaltyRows, plan::Metadata_PenaltyTokens, plan::Metadata_PenaltyCounts})
    place(array, capacity.penalty_entries);
  block_.resize(at / sizeof(int32_t));
}

StepSizes StepMetadata::Fill(std::span<const ScheduledRows> rows, int32_t padded_rows, int32_t query_tile_rows) {
  int32_t *ids = Ints(plan::Metadata_TokenIds), *positions = Ints(plan::Metadata_Positions),
          *sequences = Ints(plan::Metadata_RowSequences), *pages = Ints(plan::Metadata_PageTable),
          *tile_sequences = Ints(plan::Metadata_TileSequences), *tile_rows = Ints(plan::Metadata_TileRows),
          *tile_ends = Ints(plan::Metadata_TileEnds), *logit_rows = Ints(plan::Metadata_LogitRowIndices);
  int32_t row = 0, tiles = 0, logits = 0, entries = 0;
  for (size_t s = 0; s < rows.size(); ++s) {
    const ScheduledRows &part = rows[s];
    const Sequence &sequence = *part.sequence;
    auto index = static_cast<int32_t>(s);
    Ints(plan::Metadata_ContextLengths)[s] = part.first + part.count;
    for (size_t p = 0; p < sequence.pages.size(); ++p)
      pages[s * static_cast<size_t>(capacity_.pages_per_sequence) + p] = sequence.pages[p];
    int32_t end = row + part.count;
    for (int32_t first = row; first < end; first += query_tile_rows, ++tiles) {
      tile_sequences[tiles] = index;
      tile_rows[tiles] = first;
      tile_ends[tiles] = std::min(end, first + query_tile_rows);
    }
    for (int32_t i = 0; i < part.count; ++i, ++row) {
      ids[row] = sequence.tokens[static_cast<size_t>(part.first + i)];
      positions[row] = part.first + i;
      sequences[row] = index;
    }
    if (!part.wants_token())
      continue;
    const SamplingParams &sampling = sequence.sampling;
    logit_rows[logits] = row - 1;
    Floats(plan::Metadata_Temperature)[logits] = sampling.temperature;
    Ints(plan::Metadata_TopK)[logits] = sampling.top_k;
    Floats(plan::Metadata_TopP)[logits] = sampling.top_p;
    Floats(plan::Metadata_MinP)[logits] = sampling.min_p;
    Ints(plan::Metadata_Seeds)[logits] = static_cast<int32_t>(sequence.seed);
    Floats(plan::Metadata_RepetitionPenalty)[logits] = sampling.repetition_penalty;
    Floats(plan::Metadata_PresencePenalty)[logits] = sampling.presence_penalty;
    Floats(plan::Metadata_FrequencyPenalty)[logits] = sampling.frequency_penalty;
    if (sequence.has_penalties())
      for (const auto &[token, count] : sequence.counts) {
        Ints(plan::Metadata_PenaltyRows)[entries] = logits;
        Ints(plan::Metadata_PenaltyTokens)[entries] = token;
        Ints(plan::Metadata_PenaltyCounts)[entries] = count;
        ++entries;
      }
    ++logits;
  }
  // Padding: rows, tiles and logits rows that belong to nobody.
  for (; row < padded_rows; ++row) {
    ids[row] = 0;
    positions[row] = sequences[row] = -1;
    if (query_tile_rows == 1) {
      tile_sequences[tiles] = -1;
      tile_rows[tiles] = row;
      tile_ends[tiles] = row;
      ++tiles;
    }
  }
  auto sequence_count = static_cast<int32_t>(rows.size());
  if (query_tile_rows == 1) {
    sequence_count = std::max(sequence_count, padded_rows);
    for (; logits < padded_rows; ++logits) {
      logit_rows[logits] = -1;
      Floats(plan::Metadata_Temperature)[logits] = 0;
    }
  }
  used_bytes_ = entries > 0 ? bytes() : penalty_offset_;
  return {padded_rows, sequence_count, tiles, logits, entries, 0};
}

} // namespace inlay

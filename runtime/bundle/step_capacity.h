// The sizes of a step, its maximum in a plan, and the arrays that the host writes for it.
#ifndef INLAY_RUNTIME_BUNDLE_STEP_CAPACITY_H_
#define INLAY_RUNTIME_BUNDLE_STEP_CAPACITY_H_

#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/step_sizes.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace inlay {

// The sizes of a step that every kernel receives, in the order of plan::Extent.
using StepSizes = std::array<int32_t, kStepSizeCount>;

// Bounds of a step's arrays.
struct StepCapacity {
  int32_t tokens = 0;
  int32_t sequences = 0;
  int32_t pages_per_sequence = 0; // of one cache group
  int32_t page_size = 0;
  int32_t penalty_entries = 0;
  int32_t cache_groups = 1;
};

// Of all entry points of a plan; the model's sizes were verified.
inline StepCapacity CapacityOf(const plan::Model &model) {
  uint32_t page_size = model.cache_groups()->Get(0)->page_size();
  uint32_t pages_per_sequence = (model.max_model_len() + page_size - 1) / page_size;
  StepCapacity capacity{
      static_cast<int32_t>(model.max_num_batched_tokens()),
      static_cast<int32_t>(model.max_num_seqs()),
      static_cast<int32_t>(pages_per_sequence),
      static_cast<int32_t>(page_size),
      static_cast<int32_t>(std::min<uint64_t>(
          uint64_t{model.max_num_seqs()} * std::min(model.max_model_len(), model.vocab_size()), uint64_t{1} << 30)),
      static_cast<int32_t>(model.cache_groups()->size())};
  capacity.tokens = std::max(capacity.tokens, capacity.sequences);
  return capacity;
}

// Elements, of 4 bytes, of a metadata array; of the page table, those of one cache group.
inline int64_t MetadataElements(plan::Metadata array, const StepCapacity &capacity) {
  switch (array) {
  case plan::Metadata_TokenIds:
  case plan::Metadata_Positions:
  case plan::Metadata_RowSequences:
  case plan::Metadata_TileSequences:
  case plan::Metadata_TileRows:
  case plan::Metadata_TileEnds:
  case plan::Metadata_TileKeys:
  case plan::Metadata_RopeRows:
    return capacity.tokens;
  case plan::Metadata_LogitRowIndices:
  case plan::Metadata_Temperature:
  case plan::Metadata_TopK:
  case plan::Metadata_TopP:
  case plan::Metadata_MinP:
  case plan::Metadata_Seeds:
  case plan::Metadata_RepetitionPenalty:
  case plan::Metadata_PresencePenalty:
  case plan::Metadata_FrequencyPenalty:
    return capacity.sequences;
  case plan::Metadata_PageTable:
    return int64_t{capacity.sequences} * capacity.pages_per_sequence;
  case plan::Metadata_PenaltyRows:
  case plan::Metadata_PenaltyTokens:
  case plan::Metadata_PenaltyCounts:
    return capacity.penalty_entries;
  }
  return 0;
}

} // namespace inlay

#endif // INLAY_RUNTIME_BUNDLE_STEP_CAPACITY_H_

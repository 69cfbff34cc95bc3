// One step: the rows of sequences that run, and the metadata that the host writes for the kernels.
#ifndef INLAY_RUNTIME_SCHEDULE_STEP_H_
#define INLAY_RUNTIME_SCHEDULE_STEP_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/bundle/plan_generated.h"
#include "runtime/bundle/step_capacity.h"
#include "runtime/schedule/sequence.h"
#include "runtime/support/copy_rows.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace inlay {

// Rows for positions [first, first + count) of a sequence in a step. The last `drafts` rows hold draft tokens. A draft
// token is accepted if it is equal to the token that is sampled from the row before it. The sequence continues with the
// sampled token where they first differ.
struct ScheduledRows {
  Sequence *sequence = nullptr;
  int32_t first = 0;
  int32_t count = 0;
  int32_t drafts = 0;
  // Prompt rows [prompt_first(), prompt_end()) whose logits are requested. The tokens sampled from them are not used.
  int32_t prompt_rows = 0;
  int32_t certain_end() const { return first + count - drafts; }
  int32_t prompt_end() const { return std::min(certain_end(), sequence->prompt_size - 1); }
  int32_t prompt_first() const { return prompt_end() - prompt_rows; }
  // Whether tokens are sampled from the last row before the draft tokens and from the rows of the draft tokens. This is
  // so if the step computes the last known token of the sequence. The value changes when the step is launched, since
  // Sequence::pending changes.
  bool wants_token() const { return certain_end() == sequence->length(); }
  // The number of rows of logits. Those of prompt rows come first.
  int32_t logits_rows() const { return prompt_rows + (wants_token() ? 1 + drafts : 0); }
};

// The offsets of the metadata arrays of plan.fbs. They are fixed, so that CUDA graphs can be captured. The penalty
// arrays are large and rarely used, so they are in a separate block.
struct MetadataLayout {
  explicit MetadataLayout(const StepCapacity &capacity);
  static bool IsPenalty(plan::Metadata array);

  // The offset in bytes from the start of the block that contains the array.
  uint64_t OffsetOf(plan::Metadata array) const { return offsets[static_cast<size_t>(array)]; }
  uint64_t OffsetOfPageTable(size_t group) const {
    return OffsetOf(plan::Metadata_PageTable) + group * page_table_bytes;
  }

  StepCapacity capacity;
  std::array<uint64_t, plan::Metadata_MAX + 1> offsets{}; // of the page table: that of the first cache group
  uint64_t page_table_bytes = 0;                          // of a cache group
  uint64_t bytes = 0, penalty_bytes = 0;
};

// Writes the metadata of steps to a block in host memory, which is then copied to a block on the device.
class StepMetadata {
public:
  // `block` has layout.bytes bytes and is aligned to 256 bytes. The caller copies the whole block to the device once,
  // before the first step.
  StepMetadata(const MetadataLayout &layout, void *block);

  const void *block() const { return block_; }
  // The ranges of the block to copy to the device for the step that was filled last. Page tables that did not change
  // since the last copy are not among them. Call Copied() when they were copied; otherwise the next step copies all
  // page tables.
  std::span<const CopyRows> used() const { return used_; }
  void Copied() { is_copied_ = true; }
  // The elements to copy to the penalty arrays: PenaltyRows, PenaltyTokens and PenaltyCounts. If they are empty,
  // nothing is to be copied.
  const std::array<std::vector<int32_t>, 3> &penalties() const { return penalties_; }

  // Writes what another process has filled: the rows of `used` one after the other.
  void Set(std::span<const CopyRows> used, std::span<const std::byte> rows,
           std::array<std::vector<int32_t>, 3> penalties);

  // Writes the metadata of a step. `padded_rows` is at least the number of scheduled rows; the remaining rows are
  // padding. Returns the step's sizes. If the step is larger than the capacity, returns an error and writes nothing.
  absl::StatusOr<StepSizes> Fill(std::span<const ScheduledRows> rows, int32_t padded_rows, int32_t query_tile_rows);

private:
  absl::Status CheckCapacity(std::span<const ScheduledRows> rows, int32_t padded_rows, int32_t query_tile_rows) const;
  void SetPages(size_t place, std::span<const int32_t> pages);
  void SetSampling(int32_t row, const RowSampling &sampling);
  void SetUsed(int32_t token_elements, int32_t sequence_elements, int32_t sequences);
  int32_t *Ints(plan::Metadata array) { return block_ + layout_.OffsetOf(array) / sizeof(int32_t); }
  float *Floats(plan::Metadata array) { return reinterpret_cast<float *>(Ints(array)); }

  // Rows [first, end) of the step, all of one sequence. They attend to at most its first `keys` positions.
  struct QueryTile {
    int32_t sequence, first, end, keys;
  };

  const MetadataLayout layout_;
  int32_t *const block_;
  std::vector<QueryTile> query_tiles_; // of the step being filled
  // For each row of the page tables: the number of entries; the rest is -1. It is the same in all cache groups.
  std::vector<size_t> pages_written_;
  bool is_copied_ = true; // whether the page tables on the device are those of the block, before this step
  // Of each cache group: the end of the entries of a row that this step changed, in any row of its page table.
  std::vector<size_t> pages_changed_;
  std::vector<CopyRows> used_;
  std::array<std::vector<int32_t>, 3> penalties_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_STEP_H_

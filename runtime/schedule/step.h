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

// Rows [first, first + count) of a sequence in a step. The last `drafts` of them are guesses: each row before gives the
// token that its guess is compared with, and the first that differs is what the sequence goes on with.
struct ScheduledRows {
  Sequence *sequence = nullptr;
  int32_t first = 0;
  int32_t count = 0;
  int32_t drafts = 0;
  int32_t prompt_rows = 0; // [prompt_first(), prompt_end()): their logits are wanted and what they sample is not
  int32_t certain_end() const { return first + count - drafts; }
  int32_t prompt_end() const { return std::min(certain_end(), sequence->prompt_size - 1); }
  int32_t prompt_first() const { return prompt_end() - prompt_rows; }
  // The last certain row's logits are wanted, and those of the guesses: all that is known of the sequence will have
  // been computed. Changes when the step is launched.
  bool wants_token() const { return certain_end() == sequence->length(); }
  // Those of the prompt come first.
  int32_t logits_rows() const { return prompt_rows + (wants_token() ? 1 + drafts : 0); }
};

// Where the metadata arrays of plan.fbs lie: at fixed places, so that graphs can be captured. Penalties, which are many
// and rare, have a block of their own.
struct MetadataLayout {
  explicit MetadataLayout(const StepCapacity &capacity);
  static bool IsPenalty(plan::Metadata array);

  // In bytes, from the beginning of the array's block.
  uint64_t OffsetOf(plan::Metadata array) const { return offsets[static_cast<size_t>(array)]; }

  StepCapacity capacity;
  std::array<uint64_t, plan::Metadata_MAX + 1> offsets{};
  uint64_t bytes = 0, penalty_bytes = 0;
};

// Writes the metadata of steps to the host's block, which is copied to one on the device.
class StepMetadata {
public:
  // `block` has layout.bytes, aligned to 256. All of it is to be copied once before the first step.
  StepMetadata(const MetadataLayout &layout, void *block);

  const void *block() const { return block_; }
  // What the device's block lacks for the step that was filled last, if it has all of those before.
  std::span<const CopyRows> used() const { return used_; }
  // What is to be copied to the block of penalties, in the order of plan::Metadata; nothing if it is empty.
  const std::array<std::vector<int32_t>, 3> &penalties() const { return penalties_; }

  // Describes a step. `padded_rows` at least the rows scheduled: the rest is padding. Returns the step's sizes; an
  // error, with nothing written, if the step is larger than the capacity.
  absl::StatusOr<StepSizes> Fill(std::span<const ScheduledRows> rows, int32_t padded_rows, int32_t query_tile_rows);

private:
  absl::Status CheckCapacity(std::span<const ScheduledRows> rows, int32_t padded_rows, int32_t query_tile_rows) const;
  void SetPages(size_t place, std::span<const int32_t> pages);
  void SetSampling(int32_t row, const RowSampling &sampling);
  void SetUsed(int32_t token_elements, int32_t sequence_elements, int32_t sequences);
  int32_t *Ints(plan::Metadata array) { return block_ + layout_.OffsetOf(array) / sizeof(int32_t); }
  float *Floats(plan::Metadata array) { return reinterpret_cast<float *>(Ints(array)); }

  // Rows [first, end) of a sequence, which see `keys` positions of it at the most.
  struct QueryTile {
    int32_t sequence, first, end, keys;
  };

  const MetadataLayout layout_;
  int32_t *const block_;
  std::vector<QueryTile> query_tiles_; // of the step being filled
  std::vector<size_t> pages_written_;  // by place in the page table; what lies after them is -1
  size_t pages_changed_ = 0;           // of a place, at most, by the step being filled
  std::vector<CopyRows> used_;
  std::array<std::vector<int32_t>, 3> penalties_;
};

} // namespace inlay

#endif // INLAY_RUNTIME_SCHEDULE_STEP_H_

//===- AttentionTuning.h - measured schedules of attention -----------------===//
//
// Where attention's programs meet the file of measurements, as ScheduleTuning.h for
// linear layers: the key of a program, the schedule that was measured for it, and
// all that it could have.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_ATTENTIONTUNING_H
#define INLAY_PASSES_TILE_ATTENTIONTUNING_H

#include "passes/tile/AttentionSchedule.h"
#include "passes/tile/ScheduleSpace.h"
#include "passes/tile/tuning/TuningFile.h"

#include <string>

namespace inlay {
/// An attention that the family decode_attention or prefill_attention runs, in the steps of one entry point.
struct AttentionWork {
  int64_t heads = 0; // query heads for each of keys
  int64_t kvHeads = 0;
  int64_t headDim = 0, pageSize = 0;
  int64_t sequences = 0;     // of decode steps; 0: steps of prompts
  std::string type = "bf16"; // of keys and values, as tuning files call it
};

/// The work of `program`, which was not rewritten yet, with the schedule `chosen` in decode steps of `sequences`
/// sequences; nothing if it is of neither family.
std::optional<AttentionWork> attentionWorkOf(tile::ProgramOp program, tile::Schedule chosen, int64_t sequences);

AttentionKey tuningKeyOf(const AttentionWork &work, tile::Schedule chosen);

/// The numbers of a schedule, in the order of kNames.
llvm::SmallVector<int64_t> numbersOf(tile::DecodeAttentionAttr schedule);
llvm::SmallVector<int64_t> numbersOf(tile::PrefillAttentionAttr schedule);

/// The schedule of the numbers of an entry, of the family of `chosen`; null, and why in `problem`, if it cannot run the
/// attention. Queries have the tile of `chosen`: all of a step share it.
tile::Schedule measuredAttention(const TuningEntry &entry, tile::Schedule chosen, const AttentionWork &work,
                                 tile::TargetAttr target, std::string &problem);

/// The legal schedules around `chosen`, as findSchedules gives those of linear layers. `context`: positions that a
/// sequence attends to.
ScheduleSpace findAttentionSchedules(tile::Schedule chosen, const AttentionWork &work, int64_t context,
                                     tile::TargetAttr target);
} // namespace inlay

#endif // INLAY_PASSES_TILE_ATTENTIONTUNING_H

//===- ScheduleSpace.h - the schedules that a linear layer can have --------===//
//
// What compile-model --tune measures: all schedules of a family that the verifier
// of its attribute, the program's shape and the chip's memory and registers allow,
// with the time that the analytic model expects of each.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_SCHEDULESPACE_H
#define INLAY_PASSES_TILE_SCHEDULESPACE_H

#include "passes/tile/LinearSchedule.h"

namespace inlay {
struct RatedSchedule {
  tile::Schedule schedule;
  int64_t nanoseconds = 0; // of one launch, by the analytic model
};

struct ScheduleSpace {
  tile::Schedule chosen;                      // by chooseLinear
  llvm::SmallVector<RatedSchedule> schedules; // all legal ones, the fastest by the model first; `chosen` is among them
};

/// The legal schedules of `family` (matvec, swap_ab or gemm) for programs of `shape` in steps of `stepRows` rows. Of
/// equal expected times, that of the schedule closest to `chosen` comes first. Empty after a diagnostic where
/// chooseLinear has no schedule.
ScheduleSpace findSchedules(tile::Family family, const LinearShape &shape, int64_t stepRows, tile::TargetAttr target,
                            llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

/// Keeps the first `most` schedules. `chosen` stays among them, as the last if it is none of the first.
void pruneSchedules(ScheduleSpace &space, size_t most);
} // namespace inlay

#endif // INLAY_PASSES_TILE_SCHEDULESPACE_H

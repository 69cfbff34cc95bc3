//===- ScheduleTuning.h - measured schedules and what a program takes ------===//
//
// Where tile programs meet the file of measurements (tuning/TuningFile.h): the key
// of a program, and the schedule that was measured for it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_SCHEDULETUNING_H
#define INLAY_PASSES_TILE_SCHEDULETUNING_H

#include "passes/tile/LinearSchedule.h"
#include "passes/tile/MainLoop.h"
#include "passes/tile/tuning/TuningFile.h"

#include <string>

namespace inlay {
LinearShape shapeOf(MainLoop &loop);
/// The key of a linear layer's program that waits for a schedule.
TuningKey tuningKeyOf(tile::ProgramOp program, MainLoop &loop);

/// The schedule of the numbers of an entry for programs of `shape`, of the families matvec, gemm or swap_ab; null, and
/// why in `problem`, if the family cannot run it. Registers are known only after ptxas ran.
tile::Schedule measuredSchedule(tile::Family family, const TuningEntry &entry, const LinearShape &shape,
                                tile::TargetAttr target, std::string &problem);
} // namespace inlay

#endif // INLAY_PASSES_TILE_SCHEDULETUNING_H

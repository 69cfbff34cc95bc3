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

#include <map>
#include <string>

namespace inlay {
LinearShape shapeOf(MainLoop &loop);
/// The key of a linear layer's program that waits for a schedule.
TuningKey tuningKeyOf(tile::ProgramOp program, MainLoop &loop);

/// Why the family cannot run a schedule for programs of `shape`; empty if it can. Registers are known only after ptxas
/// ran.
std::string whyRefused(tile::MatvecAttr schedule, const LinearShape &shape, tile::TargetAttr target);
std::string whyRefused(tile::GemmAttr schedule, const LinearShape &shape, tile::TargetAttr target);
std::string whyRefused(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target);

/// The numbers of a schedule, in the order of kNames.
llvm::SmallVector<int64_t> numbersOf(tile::MatvecAttr schedule);
llvm::SmallVector<int64_t> numbersOf(tile::GemmAttr schedule);
llvm::SmallVector<int64_t> numbersOf(tile::SwapAbAttr schedule);

/// The config of an entry of a tuning file for a schedule of the families matvec, gemm or swap_ab.
std::map<std::string, int64_t> configOf(tile::Schedule schedule);

/// The schedule of the numbers of an entry for programs of `shape`, of the families matvec, gemm or swap_ab; null, and
/// why in `problem`, if the family cannot run it.
tile::Schedule measuredSchedule(tile::Family family, const TuningEntry &entry, const LinearShape &shape,
                                tile::TargetAttr target, std::string &problem);
} // namespace inlay

#endif // INLAY_PASSES_TILE_SCHEDULETUNING_H

//===- ScheduleTuning.h - measured schedules and what a program takes ------===//
//
// Where tile programs meet the file of measurements (tuning/TuningFile.h): the key
// of a program, and the schedule that was measured for it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_SCHEDULETUNING_H
#define INLAY_PASSES_TILE_SCHEDULETUNING_H

#include "mlir/IR/Diagnostics.h"
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
std::string whyRefused(tile::StreamAttr schedule, const LinearShape &shape, tile::TargetAttr target);
std::string whyRefused(tile::GemmAttr schedule, const LinearShape &shape, tile::TargetAttr target);
std::string whyRefused(tile::SwapAbAttr schedule, const LinearShape &shape, tile::TargetAttr target);

/// The numbers of a schedule, in the order of kNames.
llvm::SmallVector<int64_t> numbersOf(tile::StreamAttr schedule);
llvm::SmallVector<int64_t> numbersOf(tile::GemmAttr schedule);
llvm::SmallVector<int64_t> numbersOf(tile::SwapAbAttr schedule);

/// The config of an entry of a tuning file for a schedule: of the families of linear layers, or of decode_attention or
/// prefill_attention.
std::map<std::string, int64_t> configOf(tile::Schedule schedule);

/// The numbers of `entry` in the order of `names`; empty, and why in `problem`, where the names differ.
llvm::SmallVector<int64_t> numbersOf(const TuningEntry &entry, llvm::ArrayRef<llvm::StringLiteral> names,
                                     std::string &problem);

/// The schedule of the kind `Attr` that `entry` says; null, and why in `problem`, where its verifier refuses it.
template <typename Attr> Attr scheduleOf(const TuningEntry &entry, mlir::MLIRContext *context, std::string &problem) {
  llvm::SmallVector<int64_t> numbers = numbersOf(entry, Attr::kNames, problem);
  if (numbers.empty())
    return {};
  // The verifier's message becomes part of a longer one.
  mlir::ScopedDiagnosticHandler handler(context, [&](mlir::Diagnostic &diagnostic) {
    problem = diagnostic.str();
    return mlir::success();
  });
  return Attr::ofNumbers([&] { return mlir::emitError(mlir::UnknownLoc::get(context)); }, context, numbers);
}

/// The schedule of the numbers of an entry for programs of `shape`, of the families matvec, gemm or swap_ab; null, and
/// why in `problem`, if the family cannot run it.
tile::Schedule measuredSchedule(tile::Family family, const TuningEntry &entry, const LinearShape &shape,
                                tile::TargetAttr target, std::string &problem);
} // namespace inlay

#endif // INLAY_PASSES_TILE_SCHEDULETUNING_H

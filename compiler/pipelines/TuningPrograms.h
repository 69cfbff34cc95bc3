//===- TuningPrograms.h - what compile-model --tune measures ---------------===//
//
// From the tile programs of a model to a module with several kernels for each of
// them, one for each schedule that is worth a measurement, and entry points that
// launch them. Nothing is measured here.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_TUNINGPROGRAMS_H
#define INLAY_COMPILER_PIPELINES_TUNINGPROGRAMS_H

#include "codegen/emit/CompileKernels.h"
#include "compiler/pipelines/Lowering.h"
#include "compiler/pipelines/PlanBuilder.h"
#include "passes/tile/ScheduleSpace.h"
#include "passes/tile/tuning/TuningFile.h"

#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace inlay {

/// A schedule of a program that is to be measured.
struct TunedSchedule {
  RatedSchedule rated;
  std::string kernel;  // its name
  std::string refusal; // why there is no kernel; empty if there is one
};

/// What an entry of a tuning file is for.
using TunedKey = std::variant<TuningKey, AttentionKey>;
std::string toString(const TunedKey &key);

/// A program whose schedule is to be measured in the steps of one entry point.
struct TunedProgram {
  TunedKey key;
  std::string program, steps; // their names
  size_t legal = 0;           // schedules that the family could run
  size_t incumbent = 0;       // the alternative that is used without this measurement
  std::vector<TunedSchedule> alternatives;

  /// Of the entry point that launches the alternatives.
  std::string entryName() const { return "tune_" + steps + "_" + program; }
};

struct TuningModule {
  std::vector<TunedProgram> programs;
  size_t known = 0;                         // programs that were measured before
  mlir::OwningOpRef<mlir::ModuleOp> module; // weights, alternatives that have kernels, entry points
  std::vector<EntryPoint> entries;          // one for each program; its launches are the alternatives with kernels
  std::vector<CudaAlternative> kernels;     // of all alternatives
  std::vector<KernelFacts> facts;           // of those that have kernels
};

struct TuningSearch {
  size_t most = 16;                              // schedules of a program
  int64_t context = 512;                         // positions that a sequence of a decode step attends to
  std::function<bool(const TunedKey &)> isKnown; // what need not be measured
};

/// Finds the programs of linear layers and attention in `tiles`, which have schedules, and schedules to measure for
/// each: the fastest by the model, the model's choice and the program's own.
mlir::FailureOr<TuningModule> findTunedPrograms(mlir::ModuleOp tiles, llvm::ArrayRef<EntryPoint> entries,
                                                const TuningSearch &search);

/// Compiles the alternatives and makes the entry points. `done`: see compileCudaAlternatives. A program without kernels
/// stays in the list, without an entry point.
mlir::LogicalResult compileAlternatives(TuningModule &tuning, mlir::ModuleOp tiles, const CudaOptions &options,
                                        const std::function<bool(size_t)> &done);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TUNINGPROGRAMS_H

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
#include <vector>

namespace inlay {

/// A schedule of a program that is to be measured.
struct TunedSchedule {
  RatedSchedule rated;
  std::string kernel;  // its name
  std::string refusal; // why there is no kernel; empty if there is one
};

/// A program whose schedule is to be measured.
struct TunedProgram {
  TuningKey key;
  std::string name;     // of the program
  std::string origin;   // ops of the model, for people
  size_t legal = 0;     // schedules that the family could run
  size_t incumbent = 0; // the alternative that is used without this measurement
  std::vector<TunedSchedule> alternatives;
};

/// The entry point that launches the alternatives of a program.
std::string entryNameOf(const TunedProgram &program);

struct TuningModule {
  std::vector<TunedProgram> programs;
  size_t known = 0;                         // programs that were measured before
  mlir::OwningOpRef<mlir::ModuleOp> module; // weights, alternatives that have kernels, entry points
  std::vector<EntryPoint> entries;          // one for each program; its launches are the alternatives with kernels
  std::vector<CudaAlternative> kernels;     // of all alternatives
  std::vector<KernelFacts> facts;           // of those that have kernels
};

/// Finds the linear layers' programs of `tiles`, which have schedules, and up to `most` schedules for each: the fastest
/// by the model, the model's choice and the program's own. Programs for which `isKnown` holds are left out.
mlir::FailureOr<TuningModule> findTunedPrograms(mlir::ModuleOp tiles, llvm::ArrayRef<EntryPoint> entries, size_t most,
                                                const std::function<bool(const TuningKey &)> &isKnown);

/// Compiles the alternatives and makes the entry points. `done`: see compileCudaAlternatives. A program without kernels
/// stays in the list, without an entry point.
mlir::LogicalResult compileAlternatives(TuningModule &tuning, mlir::ModuleOp tiles, const CudaOptions &options,
                                        const std::function<bool(size_t)> &done);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TUNINGPROGRAMS_H

//===- Tuning.h - measures the schedules of a model's kernels --------------===//
//
// compile-model --tune: opens the device, has the alternatives compiled
// (TuningPrograms.h), times them (runtime/tools/launch_timer.h) and keeps the
// fastest in a tuning file (passes/tile/tuning/TuningFile.h), from which
// tile-select-schedule takes it.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_TUNING_H
#define INLAY_COMPILER_PIPELINES_TUNING_H

#include "compiler/pipelines/TuningPrograms.h"
#include "runtime/tools/launch_timer.h"

namespace inlay {

struct TuneOptions {
  std::string target;    // sm_90a
  std::string file;      // tuning file: extended if it exists, and written after each program
  size_t candidates = 0; // schedules of a program that are measured; the program's own and the model's choice are more
  std::function<void(const std::string &)> progress;                        // called with a line; may be empty
  std::function<bool()> stop;                                               // true: end soon; may be empty
  std::function<absl::StatusOr<std::unique_ptr<Device>>()> openDevice = {}; // empty: the first GPU for `target`
  tools::LaunchTimerOptions timer = {};
};

/// What was measured of one program.
struct TunedResult {
  tools::LaunchTime incumbent, best;
  size_t bestAlternative = 0, measured = 0; // of TunedProgram::alternatives
};

class ScheduleTuner {
public:
  explicit ScheduleTuner(const TuneOptions &options) : options(options) {}

  /// Opens the device and the tuning file. A new file begins with the compiler's own measurements, if they are of this
  /// chip. Errors say what is missing.
  absl::Status open();

  /// Finds and compiles what is to be measured. Diagnostics say why it fails.
  mlir::LogicalResult prepare(mlir::ModuleOp tiles, llvm::ArrayRef<EntryPoint> entries, const CudaOptions &cuda);
  const TuningModule &alternatives() const { return tuning; }
  /// Whether nothing has to be measured.
  bool isDone() const { return tuning.entries.empty(); }

  /// Measures the entry points of `plan`, a finished plan that has those of alternatives(), and writes the file after
  /// each. Cancelled, after `stop`, names the file with what was measured so far.
  absl::Status measure(std::string plan);

  /// A table: for each program what the model expected and what was measured.
  std::string explain() const;

private:
  absl::Status measureAll(const Bundle &bundle);
  absl::Status keep(const TunedProgram &program, const std::vector<tools::LaunchTime> &times);
  std::string describeRefusals() const;
  void progress(const std::string &line) const {
    if (options.progress)
      options.progress(line);
  }

  const TuneOptions options;
  std::unique_ptr<Device> device;
  TuningFile file;
  TuningModule tuning;
  std::vector<std::pair<const TunedProgram *, TunedResult>> results;
};

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TUNING_H

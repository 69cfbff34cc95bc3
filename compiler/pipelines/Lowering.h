//===- Lowering.h - from an imported model to tile programs ----------------===//
//
// The pass pipeline of each target, and the entry points of a bundle.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_LOWERING_H
#define INLAY_COMPILER_PIPELINES_LOWERING_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <string>
#include <vector>

namespace inlay {

/// The bounds that kernels are compiled for. A load may lower them, not raise them.
struct StepLimits {
  int64_t maxModelLen = 0;         // positions of a sequence
  int64_t maxNumSeqs = 0;          // sequences of a step
  int64_t maxNumBatchedTokens = 0; // rows of a step
  int64_t pageSize = 16;           // positions of a page
};

/// What a compilation leaves out, to measure what it is worth (compile-model --without).
struct Ablation {
  bool dependentLaunch = false; // kernels start when the one before has ended
  bool earlyFill = false;       // nothing is loaded before the kernel before has ended
  bool normPrologues = false;   // norms are kernels of their own
};

/// Which products a GPU's library computes (llm-select-library).
enum class LibraryUse {
  Never,
  Measured, // where it was measured to be faster
  Always,   // where it can, to measure it
};

/// One entry point: the steps that it takes, and the rows for which a GPU captures a graph.
struct EntryPoint {
  std::string name;
  bool decode = false; // every sequence has one row
  int64_t maxTokens = 0;
  int64_t maxSequences = 0;
  std::vector<int64_t> graphBuckets;
};

/// The entry points of a bundle for `target`: decode steps of few and of many sequences, and steps of any rows.
std::vector<EntryPoint> chooseEntryPoints(llvm::StringRef target, const StepLimits &limits);

/// Runs the target's passes on a copy of `model` (as a frontend wrote it). The result holds the weights, the tile
/// programs, with the schedules of `tuning` (tile-select-schedule) and the products that `library` leaves to one for a
/// GPU, and a tile.entry for each entry point; with a `sourceType` (f32, bf16, f16) also programs that pack weights
/// from such sources. Fails after a diagnostic; remarks say what was fused and what not.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
lowerToTile(mlir::ModuleOp model, llvm::StringRef target, const StepLimits &limits, llvm::ArrayRef<EntryPoint> entries,
            llvm::StringRef sourceType = "", const Ablation &without = {}, llvm::StringRef tuning = "",
            LibraryUse library = LibraryUse::Never);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_LOWERING_H

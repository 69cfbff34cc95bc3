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

/// The bounds that kernels are compiled for. They can be lowered when the bundle is loaded, but not raised.
struct StepLimits {
  int64_t maxModelLen = 0;         // positions of a sequence
  int64_t maxNumSeqs = 0;          // sequences of a step
  int64_t maxNumBatchedTokens = 0; // rows of a step
  int64_t pageSize = 16;           // positions of a page
};

/// Optimizations that are disabled to measure their effect (compile-model --without).
struct Ablation {
  bool dependentLaunch = false; // if set, a kernel starts only after its predecessor has ended
  bool earlyFill = false;       // if set, a kernel loads no weights before its predecessor has ended
  bool normPrologues = false;   // if set, each norm is a separate kernel
  bool fusion = false;          // if set, each op is a separate kernel
};

/// How GPUs sum rows over ranks.
struct SumOptions {
  int64_t halvesRows = 0;    // rows of the smallest mixed step in which sums run beside other kernels; 0: in none
  bool sumPrologues = false; // if set, products of one row receive the sum in front of them (llm-form-groups)
};

/// Which matrix products a GPU library computes (llm-select-library).
enum class LibraryUse {
  Never,
  Measured, // those where the library was measured to be faster
  Always,   // all that the library supports, for measurements
};

/// One entry point: the steps that it accepts, and the numbers of rows for which CUDA graphs are captured.
struct EntryPoint {
  std::string name;
  bool decode = false;               // every sequence has one row
  int64_t maxTokens = 0;             // maximum rows of a step
  int64_t maxSequences = 0;          // maximum sequences of a step
  std::vector<int64_t> graphBuckets; // rows of each captured graph, ascending
};

/// The entry points of a bundle for `target`: some for decode steps, by maximum number of sequences, and one for steps
/// that mix decode and prompt rows.
std::vector<EntryPoint> chooseEntryPoints(llvm::StringRef target, const StepLimits &limits);

/// The symbol of a stage's entry in `module`: the name of the entry point, with the stage where there are several.
std::string entryName(const EntryPoint &entry, mlir::ModuleOp module, int64_t stage);

/// Runs the target's passes on a copy of `model`, which a frontend imported. The result holds the weights, the tile
/// programs and a tile.entry for each entry point. On a GPU, `tuning` gives the measured schedules of programs
/// (tile-select-schedule), and `library` says which products a library computes. `quantizesActivations`: steps with
/// prompts do so where the weights say how (llm-quantize-activations). With a `sourceType` (f32, bf16, f16) the result
/// also has programs that pack weights from sources of that type. Emits remarks that say which ops were fused and which
/// were not. Emits a diagnostic on failure.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
lowerToTile(mlir::ModuleOp model, llvm::StringRef target, const StepLimits &limits, llvm::ArrayRef<EntryPoint> entries,
            llvm::StringRef sourceType = "", const Ablation &without = {}, llvm::StringRef tuning = "",
            LibraryUse library = LibraryUse::Never, bool quantizesActivations = false, const SumOptions &sums = {});

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_LOWERING_H

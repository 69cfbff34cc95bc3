//===- TargetKernels.h - the kernels of one target -------------------------===//
//
// Compiles the tile programs of a target to the files of a bundle, and to what its plan and its manifest say of them.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_TARGETKERNELS_H
#define INLAY_COMPILER_PIPELINES_TARGETKERNELS_H

#include "absl/status/statusor.h"

#include "compiler/pipelines/CompileModel.h"
#include "compiler/pipelines/Diagnostics.h"
#include "compiler/pipelines/PlanKernels.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/JSON.h"

#include <string>
#include <utility>
#include <vector>

namespace inlay {

/// The parts of a bundle that belong to one target.
struct CompiledTarget {
  mlir::OwningOpRef<mlir::ModuleOp> tiles;
  mlir::OwningOpRef<mlir::ModuleOp> cudaKernels = {}; // null for the cpu
  std::vector<KernelFacts> kernels = {};
  std::vector<std::string> cpuFeatures = {};
  llvm::json::Array manifestKernels = {};
  std::vector<std::pair<std::string, std::string>> files = {}; // paths in the bundle and contents
  std::string text = {};                                       // of --emit cuda and ptx
};

/// Compiles the programs of `tiles` for `target`, with the options of `request`. `diagnostics` has those of the passes.
absl::StatusOr<CompiledTarget> compileKernels(mlir::OwningOpRef<mlir::ModuleOp> tiles, const std::string &target,
                                              const CompileRequest &request, const Diagnostics &diagnostics);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_TARGETKERNELS_H

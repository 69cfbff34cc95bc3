//===- CacheGroups.h - which layers share pages of the KV cache ------------===//
//
// Layers with the same shape of keys and values and the same window form groups of equally many layers, so that a page
// of any group has the same size (plan.fbs, CacheGroup). Kernels do not depend on the groups: each launch gets the page
// table of its layer's group.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_COMPILER_PIPELINES_CACHEGROUPS_H
#define INLAY_COMPILER_PIPELINES_CACHEGROUPS_H

#include "compiler/pipelines/Lowering.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

namespace inlay {

/// Layers whose pages are freed by the same rule.
struct CacheGroup {
  llvm::SmallVector<uint32_t> layers; // ascending
  int64_t kvHeads = 0, headDim = 0;
  mlir::Type type;    // of keys and values
  int64_t window = 0; // positions that a row sees, its own among them; 0: all before it

  bool contains(int64_t layer) const { return llvm::is_contained(layers, static_cast<uint32_t>(layer)); }
};

/// The groups of the layers of `model`, a module of the llm dialect, that have keys and values of their own. Chooses
/// the number of layers in a group so that a sequence of maxModelLen positions takes the least memory. Emits a remark
/// that says what pages of windows save, and a diagnostic if layers cannot share pages.
mlir::FailureOr<std::vector<CacheGroup>> chooseCacheGroups(mlir::ModuleOp model, const StepLimits &limits);

} // namespace inlay

#endif // INLAY_COMPILER_PIPELINES_CACHEGROUPS_H

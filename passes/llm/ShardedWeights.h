//===- ShardedWeights.h - weights of which each rank has a part ------------===//

#ifndef INLAY_PASSES_LLM_SHARDEDWEIGHTS_H
#define INLAY_PASSES_LLM_SHARDEDWEIGHTS_H

#include "passes/llm/Passes.h"
#include <map>
#include <tuple>

namespace inlay::llm {

/// How a weight is divided, as `#llm.shard` has it.
struct Division {
  Axis axis = Axis::Rows;
  int64_t parts = 1, size = 0;
  auto operator<=>(const Division &) const = default;
};

/// Replaces weights of a module by parts of them. A weight that others read as a whole stays beside its part.
class ShardedWeights {
public:
  explicit ShardedWeights(mlir::ModuleOp module);

  /// The name of the part of weight `name` that `user` reads from now on. Scales and zero points are divided with
  /// their weight.
  mlir::FailureOr<mlir::FlatSymbolRefAttr> divide(mlir::Operation *user, mlir::FlatSymbolRefAttr name,
                                                  const Division &division);
  /// Removes the weights that nothing reads any more.
  void eraseUnused();

private:
  mlir::LogicalResult divideInPlace(mlir::Operation *user, WeightOp weight, const Division &division);
  mlir::LogicalResult divideGroups(mlir::Operation *user, WeightOp weight, const Division &division);
  void countUses(mlir::Attribute attribute, int change);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  llvm::DenseMap<mlir::StringAttr, int> uses;
  std::map<std::tuple<std::string, Division>, mlir::FlatSymbolRefAttr> parts;
};

} // namespace inlay::llm

#endif // INLAY_PASSES_LLM_SHARDEDWEIGHTS_H

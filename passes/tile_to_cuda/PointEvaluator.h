//===- PointEvaluator.h - any value of a tile program at one point ---------===//
//
// Emits the scalar arithmetic behind one element of a tile (or behind a scalar) of a
// program: elementwise operations, constants, indices, broadcasts, and reads of what
// the host wrote. What a lowering has computed by itself (products, reductions) comes
// from its source. Nothing is emitted twice at one point in one evaluator, so an
// evaluator must not outlive the block of code that it was first used in.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_POINTEVALUATOR_H
#define INLAY_PASSES_TILE_TO_CUDA_POINTEVALUATOR_H

#include "dialects/tile/Tile.h"
#include "passes/tile_to_cuda/KernelBuilder.h"

#include <functional>
#include <map>

namespace inlay {
class PointEvaluator {
public:
  /// The scalar of a value at a point (one index for each dimension; none for a scalar), null if it is not the
  /// caller's.
  using Source = std::function<mlir::Value(mlir::Value, llvm::ArrayRef<mlir::Value>)>;

  /// `views` gives the kernel's pointer of a view.
  PointEvaluator(KernelBuilder &builder, std::function<mlir::Value(mlir::Value)> views, Source source)
      : b(builder), views(std::move(views)), source(std::move(source)) {}

  /// Null, after a diagnostic at the operation, where there is no such scalar.
  mlir::Value at(mlir::Value value, llvm::ArrayRef<mlir::Value> point = {});

  /// What was evaluated before; null if it was not.
  mlir::Value find(mlir::Value value, llvm::ArrayRef<mlir::Value> point) const;

private:
  mlir::Value compute(mlir::Operation *op, mlir::Value value, llvm::ArrayRef<mlir::Value> point);

  KernelBuilder &b;
  std::function<mlir::Value(mlir::Value)> views;
  Source source;
  using Key = std::pair<const void *, std::vector<const void *>>;
  static Key keyOf(mlir::Value value, llvm::ArrayRef<mlir::Value> point);
  std::map<Key, mlir::Value> known;
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_POINTEVALUATOR_H

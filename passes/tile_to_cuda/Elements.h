//===- Elements.h - tile programs one element at a time --------------------===//
//
// A thread that owns a row and a pair of neighbouring columns of a tile computes
// whatever the program says about them: each tile value becomes one scalar a
// position. Positions are named relative to the pair, since a deinterleaved tile
// has one column where the product has two.
//
//===----------------------------------------------------------------------===//

#ifndef INLAY_PASSES_TILE_TO_CUDA_ELEMENTS_H
#define INLAY_PASSES_TILE_TO_CUDA_ELEMENTS_H

#include "dialects/tile/Tile.h"
#include "passes/tile_to_cuda/KernelBuilder.h"

#include <functional>

namespace inlay {
/// Which element of a tile value: none for a scalar; in a vector along rows the thread's row; in a row the columns
/// 2 * pair, 2 * pair + 1 or, of a tile with half the columns, `pair`.
enum class Position { Scalar, Row, Even, Odd, Half };

class Elements {
public:
  /// Where a value comes from that the program does not compute by itself; null if it is not the caller's.
  using Source = std::function<mlir::Value(mlir::Value, Position)>;

  /// `columns`: of the whole tile. `views` gives the kernel's pointer of a view.
  Elements(KernelBuilder &builder, int64_t columns, mlir::Value row, mlir::Value pair,
           std::function<mlir::Value(mlir::Value)> views, Source source)
      : b(builder), columns(columns), row(row), pair(pair), views(std::move(views)), source(std::move(source)) {
    scopes.emplace_back();
  }

  /// The scalar at a position, or failure with a diagnostic at the operation that has none.
  mlir::FailureOr<mlir::Value> at(mlir::Value value, Position position);

  /// Evaluates here the loads of `block` (those in its branches too) that the results of `loop` don't lead to, so that
  /// several elements' are under way at once: a store in between would hold them up.
  mlir::LogicalResult prefetch(mlir::Block &block, mlir::scf::ForOp loop);

  /// Emits stores, scatters and branches of `block` that come after `from`.
  mlir::LogicalResult emit(mlir::Block &block, mlir::Operation *from = nullptr);

private:
  using Key = std::pair<mlir::Value, int>;
  mlir::FailureOr<mlir::Value> compute(mlir::Value value, Position position);
  mlir::FailureOr<mlir::Value> branch(mlir::scf::IfOp op, unsigned result, Position position);
  struct Address {
    mlir::Value base, index, valid; // `valid` null: always
  };
  mlir::FailureOr<Address> address(mlir::Operation *op, mlir::Value view, mlir::ValueRange offsets, mlir::Value indices,
                                   Position position);
  mlir::FailureOr<mlir::Value> load(mlir::Operation *op, mlir::Value view, mlir::ValueRange offsets,
                                    mlir::Value indices, Position position);
  mlir::LogicalResult store(mlir::Operation *op, mlir::Value value, mlir::Value view, mlir::ValueRange offsets,
                            mlir::Value indices);
  mlir::Value indexOf(Position position);
  llvm::SmallVector<Position> positionsOf(mlir::Value value);
  mlir::Value find(Key key);

  KernelBuilder &b;
  int64_t columns;
  mlir::Value row, pair;
  std::function<mlir::Value(mlir::Value)> views;
  Source source;
  /// What was computed, innermost branch last.
  llvm::SmallVector<llvm::DenseMap<Key, mlir::Value>> scopes;
};
} // namespace inlay

#endif // INLAY_PASSES_TILE_TO_CUDA_ELEMENTS_H
